//! Which keys are asked for most, by a sample of the requests, for PROXY HOTKEYS. Pure.
//!
//! Each worker counts by itself, in two windows of time: the one that runs and the one before. A window has room for a bounded
//! number of keys (Space-Saving): a new key takes the place of the one that was counted least and begins with its count, which
//! is how much it may be overrated by.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::slow_log::cut;
use super::two_windows::TwoWindows;

/// Keys that one window has room for. A key with a larger share of what was sampled than one of so many is never missing.
pub(super) const ROOM: usize = 128;

/// How long a window lasts: what is told is never older than twice that.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// A key, and how often it was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Cut as in the slow log.
    pub(super) key: Vec<u8>,
    pub(super) db: u32,
    /// Never less than it was.
    pub(super) most: u64,
    /// By how much that may be too many.
    pub(super) over: u64,
}

impl Counted {
    /// Never more often than it was.
    pub(super) fn least(&self) -> u64 {
        self.most - self.over
    }
}

/// What was sampled within one window.
#[derive(Clone, Debug, Default)]
struct Window {
    /// Of the keys at the same places in `keys`: apart, since all of them are looked through.
    hashes: Vec<u64>,
    keys: Vec<Counted>,
    sampled: u64,
}

impl Window {
    fn note(&mut self, hash: u64, db: u32, key: &[u8]) {
        self.sampled += 1;
        if let Some(at) = self.hashes.iter().position(|known| *known == hash) {
            self.keys[at].most += 1;
            return;
        }
        let fresh = |over| Counted { key: cut(key), db, most: over + 1, over };
        if self.keys.len() < ROOM {
            self.hashes.push(hash);
            self.keys.push(fresh(0));
        } else if let Some((at, least)) =
            self.keys.iter().map(|key| key.most).enumerate().min_by_key(|(_, most)| *most)
        {
            self.hashes[at] = hash;
            self.keys[at] = fresh(least);
        }
    }

    /// How often a key was sampled at most that is not among the counted.
    fn unknown(&self) -> u64 {
        if self.keys.len() < ROOM {
            return 0;
        }
        self.keys.iter().map(|key| key.most).min().unwrap_or(0)
    }
}

/// One worker's. See the module's text.
#[derive(Clone, Debug)]
pub(super) struct HotKeys {
    hasher: RandomState,
    windows: TwoWindows<Window>,
}

impl HotKeys {
    /// `hasher` and `born` are the same for all that are [merged].
    pub(super) fn new(hasher: RandomState, born: Instant) -> Self {
        Self { hasher, windows: TwoWindows::new(WINDOW, born) }
    }

    /// A request for this key was sampled.
    pub(super) fn note(&mut self, db: u32, key: &[u8], now: Instant) {
        self.advance(now);
        let hash = self.hasher.hash_one((db, key));
        self.windows.now.note(hash, db, key);
    }

    /// Forgets what is too old by now.
    pub(super) fn advance(&mut self, now: Instant) {
        self.windows.advance(now);
    }
}

/// What all workers have counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hottest {
    /// How far back that goes.
    pub(super) span: Duration,
    /// How many keys were sampled, each as often as it was.
    pub(super) sampled: u64,
    /// Those that were sampled most often for certain, the first first. What was sampled once may be as rare as any other.
    pub(super) keys: Vec<Counted>,
}

/// What all workers, [advanced](HotKeys::advance) to `now`, have counted: the first `count` keys.
pub(super) fn merged(workers: &[HotKeys], count: usize, now: Instant) -> Hottest {
    let windows = || workers.iter().flat_map(|worker| worker.windows.both());
    let unknown: u64 = windows().map(Window::unknown).sum();
    let mut keys: HashMap<u64, Counted> = HashMap::new();
    for window in windows() {
        let elsewhere = unknown - window.unknown();
        for (hash, counted) in window.hashes.iter().zip(&window.keys) {
            keys.entry(*hash)
                .and_modify(|known| {
                    known.most = known.most + counted.most - window.unknown();
                    known.over = known.over + counted.over - window.unknown();
                })
                .or_insert_with(|| Counted {
                    most: counted.most + elsewhere,
                    over: counted.over + elsewhere,
                    ..counted.clone()
                });
        }
    }
    let mut keys: Vec<Counted> = keys.into_values().filter(|key| key.least() > 1).collect();
    keys.sort_by(|a, b| (b.least(), b.most, &a.key, a.db).cmp(&(a.least(), a.most, &b.key, b.db)));
    keys.truncate(count);
    Hottest {
        span: workers.iter().map(|worker| worker.windows.span(now)).max().unwrap_or_default(),
        sampled: windows().map(|window| window.sampled).sum(),
        keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like dice, the same for each seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % most
        }
    }

    /// What `samples` keys are counted as, the `n`th of them about twice as often as the `2n`th, and what was really asked for.
    fn sampled(seed: u64, workers: usize, samples: u64) -> (Vec<HotKeys>, HashMap<Vec<u8>, u64>) {
        let (mut dice, hasher, now) = (Dice(seed), RandomState::new(), Instant::now());
        let mut hot: Vec<_> = (0..workers).map(|_| HotKeys::new(hasher.clone(), now)).collect();
        let mut exact: HashMap<Vec<u8>, u64> = HashMap::new();
        for _ in 0..samples {
            let key = (5_000 / (dice.below(5_000) + 1)) * 10 + dice.below(1 + seed % 7);
            let key = format!("key:{key}").into_bytes();
            let worker = usize::try_from(dice.below(workers as u64)).expect("few");
            hot[worker].note(0, &key, now);
            *exact.entry(key).or_default() += 1;
        }
        (hot, exact)
    }

    #[test]
    fn counts_lie_within_their_bounds_and_no_hot_key_is_missing() {
        for seed in 0..200 {
            let workers = 1 + usize::try_from(seed % 4).expect("few");
            let samples = 2_000 + seed * 50;
            let (hot, exact) = sampled(seed, workers, samples);
            let Hottest { sampled, keys, .. } = merged(&hot, usize::MAX, hot[0].windows.began);
            assert_eq!(sampled, samples);
            let bound = hot.iter().map(|worker| worker.windows.now.sampled / ROOM as u64).sum::<u64>();
            for key in &keys {
                let really = exact[&key.key];
                assert!(key.least() <= really && really <= key.most, "seed {seed}: {key:?}, {really}");
                assert!(key.over <= bound, "seed {seed}: {key:?} may be wrong by {bound}");
            }
            for (key, really) in exact.iter().filter(|(_, count)| **count > bound + 1) {
                assert!(keys.iter().any(|it| it.key == *key), "seed {seed}: {key:?} with {really}");
            }
            assert!(hot.iter().all(|worker| worker.windows.now.keys.len() <= ROOM));
        }
    }

    #[test]
    fn while_there_is_room_counts_are_exact() {
        let mut hot = HotKeys::new(RandomState::new(), Instant::now());
        let now = hot.windows.began;
        for (key, count) in [("a", 3), ("b", 5), ("once", 1)] {
            (0..count).for_each(|_| hot.note(0, key.as_bytes(), now));
        }
        (0..4).for_each(|_| hot.note(1, b"a", now));
        let counted = |key: &str, db, most| Counted { key: key.into(), db, most, over: 0 };
        let told = merged(&[hot.clone()], 10, now + WINDOW / 2);
        let keys = vec![counted("b", 0, 5), counted("a", 1, 4), counted("a", 0, 3)];
        assert_eq!(told, Hottest { span: WINDOW / 2, sampled: 13, keys });
        assert_eq!(merged(&[hot], 1, now).keys, vec![counted("b", 0, 5)]);
    }

    #[test]
    fn what_is_older_than_two_windows_is_forgotten() {
        let began = Instant::now();
        let mut hot = HotKeys::new(RandomState::new(), began);
        let told = |hot: &mut HotKeys, after: Duration| {
            hot.advance(began + after);
            let told = merged(std::slice::from_ref(hot), 10, began + after);
            (told.keys.first().map_or(0, |key| key.most), told.span)
        };
        (0..3).for_each(|_| hot.note(0, b"k", began + WINDOW / 2));
        assert_eq!(told(&mut hot, WINDOW / 2), (3, WINDOW / 2));
        (0..4).for_each(|_| hot.note(0, b"k", began + WINDOW * 3 / 2));
        assert_eq!(told(&mut hot, WINDOW * 3 / 2), (7, WINDOW * 3 / 2), "both windows count");
        assert_eq!(told(&mut hot, 2 * WINDOW), (4, WINDOW), "windows do not begin at what is counted");
        assert_eq!(told(&mut hot, WINDOW * 7 / 2), (0, WINDOW * 3 / 2));
    }
}
