//! Chance, for beats that must not march in step and for names that must not collide. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A xorshift generator, seeded by the system.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// `length` ± 10 %.
    pub(super) fn around(&mut self, length: Duration) -> Duration {
        let permille = u32::try_from(900 + self.next() % 201).unwrap_or(1000);
        length * permille / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_spread_by_a_tenth_and_no_more() {
        let mut dice = Dice::new();
        let beats: Vec<_> = (0..10_000).map(|_| dice.around(Duration::from_millis(100))).collect();
        let (least, most) = (*beats.iter().min().unwrap(), *beats.iter().max().unwrap());
        assert!(least >= Duration::from_millis(90) && least < Duration::from_millis(92), "{least:?}");
        assert!(most <= Duration::from_millis(110) && most > Duration::from_millis(108), "{most:?}");
        assert_ne!(Dice::new().next(), Dice::new().next());
    }
}
