use super::*;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const BEAT: Duration = Duration::from_millis(100);

/// Two nodes, looked at on the beat.
struct Bench {
    gauge: Gauge,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let rules = Slowness::of(Duration::from_secs(10), BEAT);
        Self { gauge: Gauge::new(rules), now: Instant::now() }
    }

    /// Both answer for so many seconds, after so many microseconds each.
    fn run(&mut self, seconds: u32, took: [u64; 2]) -> &mut Self {
        self.run_explained(seconds, took, false)
    }

    fn run_explained(&mut self, seconds: u32, took: [u64; 2], explained: bool) -> &mut Self {
        for _ in 0..seconds * 10 {
            self.now += BEAT;
            self.note(took, explained);
        }
        self
    }

    fn note(&mut self, took: [u64; 2], explained: bool) {
        self.gauge.note(A, Duration::from_micros(took[0]), explained, self.now);
        self.gauge.note(B, Duration::from_micros(took[1]), false, self.now);
    }

    fn slow(&self) -> [bool; 2] {
        [A, B].map(|node| self.gauge.slow(node).is_some())
    }
}

#[test]
fn a_node_is_slow_after_ten_seconds_of_ten_times_its_baseline_beside_one_that_is_not() {
    let mut bench = Bench::new();
    bench.run(12, [300, 200]);
    assert!(bench.gauge.knows(A));
    assert_eq!(bench.run(9, [40_000, 200]).slow(), [false, false]);
    assert_eq!(bench.run(3, [40_000, 200]).slow(), [true, false]);
    let slow = bench.gauge.slow(A).unwrap();
    assert_eq!(slow.takes.as_millis(), 40);
    assert!((280..400).contains(&slow.took.as_micros()), "{slow:?}");
    assert!(bench.gauge.relieves(B, A) && !bench.gauge.relieves(A, B));
    assert_eq!(bench.run(3, [300, 200]).slow(), [false, false], "it recovered");
}

#[test]
fn what_never_counts_as_slow() {
    // What it is, round trips as a rule, then.
    let cases = [
        ("both are: it is the way there, or this proxy", [300, 200], [40_000, 40_000]),
        ("less than ten times as long", [5_000, 200], [45_000, 200]),
        ("less than ten milliseconds", [100, 100], [9_000, 100]),
        ("as quick as the other one ever is", [300, 30_000], [40_000, 30_000]),
        ("quicker than before", [40_000, 200], [300, 200]),
    ];
    for (what, rule, then) in cases {
        let mut bench = Bench::new();
        assert_eq!(bench.run(12, rule).run(60, then).slow(), [false, false], "{what}");
    }
}

#[test]
fn without_a_baseline_nobody_is_slow() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(5, [300, 200]).run(60, [40_000, 200]).slow(), [false, false], "too few looks");
    let mut bench = Bench::new();
    bench.run(12, [300, 200]);
    bench.gauge.forget(B);
    assert_eq!(bench.run(9, [40_000, 200]).slow(), [false, false], "nothing to compare with");
    assert!(!bench.gauge.knows(B));
}

#[test]
fn a_request_that_takes_long_explains_it() {
    let mut bench = Bench::new();
    bench.run(12, [300, 200]);
    assert_eq!(bench.run_explained(60, [40_000, 200], true).slow(), [false, false]);
    assert_eq!(bench.run(12, [40_000, 200]).slow(), [true, false], "and nothing does");
    assert_eq!(bench.run_explained(1, [40_000, 200], true).slow(), [false, false]);
}

#[test]
fn a_stall_or_a_gap_begins_anew_and_forgets_no_baseline() {
    let mut bench = Bench::new();
    bench.run(12, [300, 200]).run(9, [40_000, 200]);
    bench.gauge.rest();
    assert_eq!(bench.run(9, [40_000, 200]).slow(), [false, false]);
    bench.now += Duration::from_secs(6);
    assert_eq!(bench.run(9, [40_000, 200]).slow(), [false, false]);
    assert_eq!(bench.run(4, [40_000, 200]).slow(), [true, false]);
}

#[test]
fn what_lasts_for_hours_is_the_new_normal_and_minutes_do_not_do() {
    let mut bench = Bench::new();
    bench.run(12, [300, 200]);
    assert_eq!(bench.run(1_800, [40_000, 200]).slow(), [true, false]);
    assert_eq!(bench.run(86_400, [40_000, 200]).slow(), [false, false]);
}

#[test]
fn a_day_of_ordinary_round_trips_keeps_the_baseline() {
    let mut dice = crate::topology::seeded(7);
    let mut bench = Bench::new();
    for _ in 0..36_000 * 10 {
        bench.now += BEAT;
        let took = [100 + dice(400), 100 + dice(400)];
        bench.note(took, false);
    }
    let baseline = bench.gauge.tracks[&NodeId(0)].baseline.unwrap();
    assert!((0.000_2..0.000_4).contains(&baseline), "{baseline}");
}

/// Whatever mixture of hiccups, nobody is slow; and whatever the noise around it, a node that is for long enough is found.
#[test]
fn chance_makes_nobody_slow_and_hides_nobody() {
    for seed in 0..200 {
        let mut dice = crate::topology::seeded(seed);
        let mut bench = Bench::new();
        let rule = [200 + dice(2_000), 200 + dice(2_000)];
        let hiccups = dice(30);
        let noisy = |dice: &mut dyn FnMut(u64) -> u64, typical: u64| {
            let hiccup = if dice(100) < hiccups { 100_000 } else { 0 };
            typical / 2 + dice(typical) + hiccup
        };
        for beat in 0..3_000 {
            bench.now += BEAT + Duration::from_millis(dice(20));
            let took = [noisy(&mut dice, rule[0]), noisy(&mut dice, rule[1])];
            bench.note(took, false);
            assert_eq!(bench.slow(), [false, false], "seed {seed}, beat {beat}");
        }
        // The other one has no more hiccups than that it counts as normal.
        let mut found = false;
        for _ in 0..300 {
            bench.now += BEAT;
            bench.note([rule[0] * 40 + dice(rule[0] * 40) + 10_000, rule[1]], false);
            found |= bench.slow() == [true, false];
            assert!(!bench.slow()[1], "seed {seed}");
        }
        assert!(found, "seed {seed}");
    }
}

#[test]
fn rare_looks_make_longer_slices_and_fewer() {
    let rules = |window, interval| {
        let rules = Slowness::of(Duration::from_millis(window), Duration::from_millis(interval));
        (rules.slice.as_millis(), rules.slices)
    };
    assert_eq!(rules(10_000, 100), (1_000, 10));
    assert_eq!(rules(2_000, 20), (200, 10));
    assert_eq!(rules(10_000, 1_000), (3_000, 4));
    assert_eq!(rules(120_000, 60_000), (180_000, 1));
}
