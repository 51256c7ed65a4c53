//! How long a worker that has nothing left to do lets requests and replies gather before it looks for more. What comes
//! meanwhile shares system calls, here, at the node and at the clients, and waits for it. Whether that pays depends on how the
//! clients send, so it is tried: a wait stays when a request costs clearly less processor time with it, and no fewer are
//! answered. Pure.

use std::time::{Duration, Instant};

/// Waits to choose from, microseconds.
const LADDER: [u32; 5] = [0, 50, 100, 200, 400];

/// With fewer requests on their way at once, nothing would gather: each is passed on as it comes.
const CROWD: usize = 16;

/// A wait is at most this share of the time in which a request is answered.
const SHARE: u32 = 3;

/// What one wait costs and brings is counted for so long, then what another one does.
const WINDOW: Duration = Duration::from_millis(10);

/// Pairs of windows of a trial. Neighbours on the machine disturb single ones by a third and more.
const PAIRS: u32 = 16;

/// Who has answered more in so many pairs, by [`MORE`] in all, answers more: a shorter wait, and a longer one, of which less is
/// believed since it costs latency …
const WINS: (u32, u32) = (11, 13);

/// See [`WINS`].
const MORE: f64 = 1.03;

/// … and who has done so in fewer pairs than this answers less.
const LOSES: u32 = 6;

/// A longer wait must bring the processor time of a request down to this share.
const SAVES: f64 = 0.93;

/// A shorter one may cost so much: latency is worth something.
const COSTS: f64 = 1.03;

/// Between two trials when nothing better was found, doubled each time …
const REST: Duration = Duration::from_secs(1);

/// … up to this.
const REST_MAX: Duration = Duration::from_secs(10);

/// A number of answers that differs so many times from what it was is another load, and tried anew.
const ANOTHER: f64 = 1.3;

/// It is told over so many windows.
const SMOOTH: u32 = 16;

/// Who has answered less in each of the first so many pairs, and less than this in all, has lost: the rest would only cost.
const HOPELESS: (u32, f64) = (5, 0.95);

/// `proxy.batching`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// The wait that measures best, found by trials.
    Adaptive,
    /// Always this one, while enough requests are on their way.
    Fixed(Duration),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Batcher {
    policy: Batching,
    /// Position of the present wait in the ladder.
    level: usize,
    stage: Stage,
    rest: Duration,
    began: Instant,
    /// Totals then.
    total: Counted,
    /// Most requests on their way at once, in the window at hand and in the one before.
    crowd: (usize, usize),
}

/// Since the thread began, or in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Replies that came.
    pub(super) answered: u64,
    /// Processor time of the thread.
    pub(super) cpu: Duration,
}

#[derive(Debug)]
enum Stage {
    /// No trial before then, but for another load.
    Resting {
        until: Instant,
        load: Load,
    },
    Trying(Trial),
}

/// Answers a second while nothing is tried.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    windows: u32,
    /// In the first windows.
    first: f64,
    /// Of late.
    recent: f64,
}

impl Load {
    /// Whether it is another load now.
    fn note(&mut self, rate: f64) -> bool {
        self.windows = self.windows.saturating_add(1);
        let weight = f64::from(self.windows.min(SMOOTH));
        self.recent += (rate - self.recent) / weight;
        if self.windows <= SMOOTH {
            self.first = self.recent;
        }
        self.windows > 2 * SMOOTH
            && (self.recent > self.first * ANOTHER || self.recent * ANOTHER < self.first)
    }
}

/// Another wait against the present one, in turns.
#[derive(Debug)]
struct Trial {
    level: usize,
    /// The other direction is tried when this one is in vain.
    then: Option<usize>,
    windows: u32,
    present: Side,
    other: Side,
    wins: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Answers a second in the last window, and in all of them.
    rate: f64,
    rates: f64,
    answered: f64,
    cpu: f64,
}

impl Side {
    fn note(&mut self, rate: f64, counted: Counted) {
        self.rate = rate;
        self.rates += rate;
        self.answered += counted.answered as f64;
        self.cpu += counted.cpu.as_secs_f64();
    }

    fn cost(&self) -> f64 {
        self.cpu / self.answered.max(1.0)
    }
}

impl Trial {
    fn new(level: usize, then: Option<usize>) -> Self {
        let (present, other) = (Side::default(), Side::default());
        Self { level, then, windows: 0, present, other, wins: 0 }
    }

    /// Whether the window at hand is the other wait's: in the order 0110 0110, so that a drift favours neither.
    fn is_others(&self) -> bool {
        matches!(self.windows % 4, 1 | 2)
    }

    /// A window has ended; true when the trial has.
    fn note(&mut self, rate: f64, counted: Counted) -> bool {
        if self.is_others() {
            self.other.note(rate, counted)
        } else {
            self.present.note(rate, counted)
        }
        self.windows += 1;
        if self.windows.is_multiple_of(2) && self.other.rate > self.present.rate {
            self.wins += 1;
        }
        self.windows == 2 * PAIRS || self.is_hopeless()
    }

    fn is_hopeless(&self) -> bool {
        let (pairs, share) = HOPELESS;
        self.windows == 2 * pairs && self.wins == 0 && self.other.rates < self.present.rates * share
    }

    /// Whether the other wait is better than the one at `present`.
    fn is_won(&self, present: usize) -> bool {
        let rate = self.other.rates / self.present.rates.max(1.0);
        let cost = self.other.cost() / self.present.cost().max(f64::MIN_POSITIVE);
        let (wins, cheap) = if self.level > present { (WINS.1, SAVES) } else { (WINS.0, COSTS) };
        let less = self.wins < LOSES && rate < 1.0;
        (self.wins >= wins && rate >= MORE) || (cost <= cheap && !less)
    }
}

impl Batcher {
    pub(super) fn new(policy: Batching, now: Instant) -> Self {
        Self {
            policy,
            level: 0,
            stage: Stage::Resting { until: now, load: Load::default() },
            rest: REST,
            began: now,
            total: Counted::default(),
            crowd: (0, 0),
        }
    }

    /// Whether [`Self::end_window`] is to be told what was counted.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }

    /// The wait of a worker that is about to look for events while `on_their_way` requests are unanswered.
    pub(super) fn wait(&mut self, on_their_way: usize) -> Duration {
        self.crowd.0 = self.crowd.0.max(on_their_way);
        if self.crowded() < CROWD {
            return Duration::ZERO;
        }
        match (self.policy, &self.stage) {
            (Batching::Fixed(wait), _) => wait,
            (Batching::Adaptive, Stage::Trying(trial)) if trial.is_others() => length(trial.level),
            (Batching::Adaptive, _) => length(self.level),
        }
    }

    fn crowded(&self) -> usize {
        self.crowd.0.max(self.crowd.1)
    }

    /// Draws what follows from the window that ends; `total` is counted since the thread began.
    pub(super) fn end_window(&mut self, now: Instant, total: Counted) {
        let took = now.saturating_duration_since(self.began);
        let counted = Counted {
            answered: total.answered - self.total.answered,
            cpu: total.cpu.saturating_sub(self.total.cpu),
        };
        let crowd = self.crowded();
        // Who was there before a longer silence says nothing of who comes after it.
        let before = if took > 2 * WINDOW { 0 } else { self.crowd.0 };
        (self.began, self.total, self.crowd) = (now, total, (0, before));
        if self.policy != Batching::Adaptive {
            return;
        }
        if crowd < CROWD || counted.answered == 0 {
            // Nobody is there who would wait; whoever comes next may be another.
            self.stage = Stage::Resting { until: now, load: Load::default() };
            self.rest = REST;
            return;
        }
        if took > 2 * WINDOW {
            // The worker was kept from the processor, or slept in between.
            return;
        }
        let rate = counted.answered as f64 / took.as_secs_f64();
        // By Little's law a request takes as long as those on their way take to be answered.
        let most = highest((crowd as f64 / rate * 1e6) as u32 / SHARE);
        if self.level > most || matches!(&self.stage, Stage::Trying(trial) if trial.level > most) {
            self.level = self.level.min(most);
            self.stage = Stage::Resting { until: now + REST, load: Load::default() };
            return;
        }
        match &mut self.stage {
            Stage::Trying(trial) => {
                if trial.note(rate, counted) {
                    self.judge(now, most);
                }
            }
            Stage::Resting { until, load } => {
                if load.note(rate) {
                    self.rest = REST;
                    self.try_one(0, most);
                } else if now >= *until {
                    self.try_one(self.level.saturating_sub(1), most);
                }
            }
        }
    }

    /// A shorter wait is tried first: another load is compared with none at all.
    fn try_one(&mut self, shorter: usize, most: usize) {
        let longer = (self.level < most).then_some(self.level + 1);
        let (first, then) = match self.level {
            0 => (longer, None),
            _ => (Some(shorter), longer),
        };
        if let Some(first) = first {
            self.stage = Stage::Trying(Trial::new(first, then));
        }
    }

    fn judge(&mut self, now: Instant, most: usize) {
        let Stage::Trying(trial) = &self.stage else { return };
        let (level, then, won) =
            (trial.level, trial.then.filter(|level| *level <= most), trial.is_won(self.level));
        let next = match won {
            false => then,
            true if level > self.level => (level < most).then_some(level + 1),
            true => level.checked_sub(1),
        };
        if won {
            self.level = level;
            self.rest = REST;
        }
        match next {
            Some(next) => self.stage = Stage::Trying(Trial::new(next, None)),
            None => self.take_rest(now),
        }
    }

    fn take_rest(&mut self, now: Instant) {
        self.stage = Stage::Resting { until: now + self.rest, load: Load::default() };
        self.rest = (self.rest * 2).min(REST_MAX);
    }
}

fn length(level: usize) -> Duration {
    Duration::from_micros(LADDER[level].into())
}

/// The longest wait of the ladder that takes `micros` at most.
fn highest(micros: u32) -> usize {
    LADDER.iter().rposition(|wait| *wait <= micros).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker measures: at each wait of the ladder answers a second, and microseconds of processor time a request.
    type Load = ([f64; 5], [f64; 5]);

    /// Clients that send one request at a time: who gathers them saves work, and answers more.
    const SINGLE: Load = ([60e3, 66e3, 72e3, 70e3, 66e3], [13.0, 9.5, 8.0, 7.5, 7.4]);

    /// Clients that gather by themselves: waiting costs answers.
    const GATHERED: Load = ([136e3, 114e3, 96e3, 80e3, 60e3], [6.8, 6.4, 6.2, 6.1, 6.1]);

    /// As many answers, and hardly less work.
    const EQUAL: Load = ([60e3; 5], [8.0, 7.9, 7.8, 7.8, 7.8]);

    /// A worker under a load, its clock, and neighbours that take a fifth from any window.
    struct Bench {
        batcher: Batcher,
        now: Instant,
        total: Counted,
        dice: u64,
        on_their_way: usize,
    }

    impl Bench {
        fn new(seed: u64) -> Self {
            let now = Instant::now();
            let batcher = Batcher::new(Batching::Adaptive, now);
            Self { batcher, now, total: Counted::default(), dice: seed, on_their_way: 50 }
        }

        /// Between 0 and 1.
        fn roll(&mut self) -> f64 {
            self.dice =
                self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.dice >> 40) as f64 / (1_u64 << 24) as f64
        }

        /// Of a thousand windows, how many passed at each wait.
        fn play(&mut self, load: &Load, seconds: u32) -> [u32; 5] {
            let (windows, mut counts) = (seconds * 100, [0; 5]);
            for _ in 0..windows {
                let wait = self.batcher.wait(self.on_their_way).as_micros();
                let level = LADDER.iter().position(|length| u128::from(*length) == wait).unwrap();
                counts[level] += 1;
                let answered = load.0[level] * WINDOW.as_secs_f64() * (1.0 - 0.2 * self.roll());
                let cost = load.1[level] * (0.95 + 0.1 * self.roll());
                self.now += WINDOW;
                self.total.answered += answered as u64;
                self.total.cpu += Duration::from_secs_f64(answered * cost / 1e6);
                assert!(self.batcher.is_due(self.now));
                self.batcher.end_window(self.now, self.total);
            }
            counts.map(|count: u32| (count * 1_000).div_ceil(windows))
        }
    }

    const SEEDS: std::ops::Range<u64> = 0..200;

    #[test]
    fn single_requests_are_gathered_within_two_seconds() {
        for seed in SEEDS {
            let mut bench = Bench::new(seed);
            bench.play(&SINGLE, 2);
            let shares = bench.play(&SINGLE, 60);
            assert!(shares[0] < 50 && shares[4] < 100, "seed {seed}: {shares:?}");
        }
    }

    #[test]
    fn clients_that_gather_by_themselves_lose_next_to_nothing() {
        for seed in SEEDS {
            let mut bench = Bench::new(seed);
            bench.play(&GATHERED, 2);
            let shares = bench.play(&GATHERED, 60);
            assert!(shares[0] > 960, "seed {seed}: {shares:?}");
        }
    }

    #[test]
    fn what_saves_nothing_delays_nobody() {
        for seed in SEEDS {
            let mut bench = Bench::new(seed);
            bench.play(&EQUAL, 2);
            let shares = bench.play(&EQUAL, 60);
            assert!(shares[0] > 900, "seed {seed}: {shares:?}");
        }
    }

    #[test]
    fn another_load_is_met() {
        for seed in SEEDS {
            let mut bench = Bench::new(seed);
            bench.play(&SINGLE, 60);
            bench.play(&GATHERED, 12);
            let shares = bench.play(&GATHERED, 20);
            assert!(shares[0] > 900, "seed {seed}: {shares:?}");
            bench.play(&SINGLE, 12);
            let shares = bench.play(&SINGLE, 20);
            assert!(shares[0] < 100, "seed {seed}, back again: {shares:?}");
        }
    }

    #[test]
    fn few_requests_are_never_delayed() {
        let mut bench = Bench::new(1);
        bench.on_their_way = CROWD - 1;
        assert_eq!(bench.play(&SINGLE, 20)[0], 1_000);
        bench.on_their_way = 50;
        bench.play(&SINGLE, 20);
        bench.on_their_way = CROWD - 1;
        bench.play(&SINGLE, 1);
        assert_eq!(bench.play(&SINGLE, 20)[0], 1_000, "nor when many were before");
    }

    #[test]
    fn a_wait_is_a_third_of_what_a_request_takes_at_most() {
        let mut bench = Bench::new(1);
        let quick = ([400e3; 5], [2.0, 1.0, 0.5, 0.2, 0.1]);
        assert_eq!(bench.play(&quick, 20)[0], 1_000, "50 requests at 400,000 a second: 125 us each");
        bench.on_their_way = 200;
        bench.play(&quick, 2);
        let shares = bench.play(&quick, 20);
        assert!(shares[2] > 700 && shares[3] + shares[4] == 0, "500 us each: {shares:?}");
    }

    #[test]
    fn a_fixed_wait_is_kept_while_enough_are_on_their_way() {
        let wait = Duration::from_micros(200);
        let mut now = Instant::now();
        let mut batcher = Batcher::new(Batching::Fixed(wait), now);
        assert_eq!((batcher.wait(CROWD - 1), batcher.wait(CROWD)), (Duration::ZERO, wait));
        for expected in [wait, Duration::ZERO] {
            now += WINDOW;
            assert!(batcher.is_due(now));
            batcher.end_window(now, Counted::default());
            assert_eq!(batcher.wait(1), expected, "many are remembered for one window more");
        }
        assert_eq!(batcher.wait(CROWD), wait);
        batcher.end_window(now + 3 * WINDOW, Counted::default());
        assert_eq!(batcher.wait(1), Duration::ZERO, "and not over a silence");
    }
}
