//! Which requests are sampled: one of so many on average, at distances that nobody can foresee, or who sends the same few requests
//! in turn would be sampled at the same one for ever. A run of requests that are not sampled costs one subtraction.

use std::cell::Cell;

/// See the module's text.
#[derive(Debug)]
pub struct Sampler {
    /// Requests up to the next one that is sampled, that one included.
    left: Cell<u32>,
    one_in: u32,
    dice: Cell<u64>,
}

impl Sampler {
    /// `one_in`: 0: none is sampled. `seed`: any number.
    #[must_use]
    pub fn new(one_in: u32, seed: u64) -> Self {
        // Xorshift must not begin at 0.
        let sampler = Self { left: Cell::new(u32::MAX), one_in, dice: Cell::new(seed | 1) };
        if one_in > 0 {
            sampler.left.set(sampler.distance());
        }
        sampler
    }

    /// True when none of the next `count` requests is sampled: they are behind then. Else [`take`](Self::take) tells which.
    #[inline]
    #[must_use]
    pub fn passes(&self, count: u32) -> bool {
        let left = self.left.get();
        if left > count {
            self.left.set(left - count);
        }
        left > count
    }

    /// Calls `on_sampled` with the position of each of the next `count` requests that is sampled.
    #[cold]
    pub fn take(&self, count: u32, mut on_sampled: impl FnMut(u32)) {
        if self.one_in == 0 {
            self.left.set(u32::MAX);
            return;
        }
        let mut behind = 0;
        while self.left.get() <= count - behind {
            behind += self.left.get();
            on_sampled(behind - 1);
            self.left.set(self.distance());
        }
        self.left.set(self.left.get() - (count - behind));
    }

    /// From 1 to twice the mean without 1, the mean on average.
    fn distance(&self) -> u32 {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        let most = u64::from(self.one_in) * 2 - 1;
        u32::try_from(1 + dice % most).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of `count` requests are sampled that come in runs of `run`.
    fn sampled(sampler: &Sampler, count: u32, run: u32) -> Vec<u32> {
        let mut sampled = Vec::new();
        for begin in (0..count).step_by(run as usize) {
            if !sampler.passes(run) {
                sampler.take(run, |at| sampled.push(begin + at));
            }
        }
        sampled
    }

    #[test]
    fn runs_of_any_length_are_sampled_alike() {
        for seed in 0..50 {
            let one = sampled(&Sampler::new(7, seed), 10_000, 1);
            assert!((700..3_000).contains(&one.len()), "{}", one.len());
            for run in [2, 10, 100, 10_000] {
                assert_eq!(sampled(&Sampler::new(7, seed), 10_000, run), one, "seed {seed}, runs of {run}");
            }
            assert!(
                (0..10).all(|turn| one.iter().any(|at| at % 10 == turn)),
                "every tenth request is reached"
            );
        }
    }

    #[test]
    fn all_or_none_may_be_sampled() {
        for run in [1, 100] {
            assert_eq!(sampled(&Sampler::new(1, 5), 1_000, run), (0..1_000).collect::<Vec<_>>());
            assert!(sampled(&Sampler::new(0, 5), 1_000, run).is_empty());
        }
    }
}
