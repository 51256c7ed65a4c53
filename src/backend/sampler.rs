//! Which requests are sampled: one of so many on average, at distances that nobody can foresee, or who sends the same few requests
//! in turn would be sampled at the same one for ever. A run of requests that are not sampled costs one subtraction.

use std::cell::Cell;

/// How often a request is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rate {
    /// One of so many; 0: none. Two in a row lie no further apart than twice as many.
    OneIn(u32),
    /// So many of a million, each whatever becomes of the others: the distances are geometric.
    PerMillion(u32),
}

/// See the module's text.
#[derive(Debug)]
pub struct Sampler {
    /// Requests up to the next one that is sampled, that one included.
    left: Cell<u32>,
    rate: Cell<Rate>,
    dice: Cell<u64>,
}

impl Sampler {
    /// `one_in`: 0: none is sampled. `seed`: any number.
    #[must_use]
    pub fn new(one_in: u32, seed: u64) -> Self {
        // Xorshift must not begin at 0.
        let sampler =
            Self { left: Cell::default(), rate: Cell::new(Rate::OneIn(one_in)), dice: Cell::new(seed | 1) };
        sampler.left.set(sampler.distance());
        sampler
    }

    /// `ppm`: of a million; 0: none is sampled. `seed`: any number.
    #[must_use]
    pub fn per_million(ppm: u32, seed: u64) -> Self {
        let sampler = Self::new(0, seed);
        sampler.set_per_million(ppm);
        sampler
    }

    /// So many of a million from now on.
    pub fn set_per_million(&self, ppm: u32) {
        if self.rate.replace(Rate::PerMillion(ppm)) != Rate::PerMillion(ppm) {
            self.left.set(self.distance());
        }
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
        if matches!(self.rate.get(), Rate::OneIn(0) | Rate::PerMillion(0)) {
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

    /// The next one: the mean on average.
    fn distance(&self) -> u32 {
        match self.rate.get() {
            Rate::OneIn(0) | Rate::PerMillion(0) => u32::MAX,
            // From 1 to twice the mean without 1.
            Rate::OneIn(one_in) => {
                u32::try_from(1 + self.throw() % (u64::from(one_in) * 2 - 1)).unwrap_or(u32::MAX)
            }
            Rate::PerMillion(ppm) => geometric(self.throw(), ppm),
        }
    }

    fn throw(&self) -> u64 {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        dice
    }
}

/// After how many throws the first one comes that has a chance of `ppm` of a million, itself included; `dice`: a throw.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is far"
)]
fn geometric(dice: u64, ppm: u32) -> u32 {
    if ppm >= 1_000_000 {
        return 1;
    }
    // Above 0 and up to 1, in as many steps as a float tells apart.
    let share = ((dice >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let missed = (-f64::from(ppm) / 1_000_000.0).ln_1p();
    ((share.ln() / missed).ceil() as u32).max(1)
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
    fn a_share_is_kept_whatever_the_seed_and_however_requests_come() {
        for (ppm, requests) in [(500_000, 100_000), (10_000, 1_000_000), (1_000, 5_000_000)] {
            let share = f64::from(ppm) / 1_000_000.0;
            for seed in 0..8 {
                let one = sampled(&Sampler::per_million(ppm, seed << 20), requests, 1);
                let expected = f64::from(requests) * share;
                // Seven times what such a count strays by.
                let strays = 7.0 * (expected * (1.0 - share)).sqrt();
                let count = f64::from(u32::try_from(one.len()).unwrap());
                assert!((count - expected).abs() < strays, "{ppm} of a million, seed {seed}: {count}");
                for run in [16, 1_000] {
                    assert_eq!(
                        sampled(&Sampler::per_million(ppm, seed << 20), requests, run),
                        one,
                        "runs of {run}"
                    );
                }
            }
        }
    }

    #[test]
    fn who_repeats_himself_is_sampled_at_each_of_his_requests_alike() {
        // The period of the requests is the mean distance, which fixed distances would always meet at the same place.
        let one = sampled(&Sampler::per_million(100_000, 3), 1_000_000, 1);
        for turn in 0..10 {
            let met = one.iter().filter(|at| *at % 10 == turn).count();
            assert!((9_300..10_700).contains(&met), "number {turn} of each ten: {met}");
        }
        let neighbours = one.windows(2).filter(|two| two[0] + 1 == two[1]).count();
        assert!(
            (9_300..10_700).contains(&neighbours),
            "one that was sampled does not spare the next: {neighbours}"
        );
    }

    #[test]
    fn a_share_may_change_at_any_time() {
        let sampler = Sampler::per_million(0, 9);
        assert!(sampled(&sampler, 100_000, 100).is_empty());
        sampler.set_per_million(1_000_000);
        assert_eq!(sampled(&sampler, 100, 10).len(), 100);
        sampler.set_per_million(20_000);
        let few = sampled(&sampler, 100_000, 10).len();
        assert!((1_700..2_300).contains(&few), "{few}");
        sampler.set_per_million(0);
        assert!(sampled(&sampler, 100_000, 10).is_empty());
        assert_eq!(geometric(u64::MAX, 1), 1);
        assert!(geometric(0, 1) > 10_000_000, "the furthest");
    }

    #[test]
    fn all_or_none_may_be_sampled() {
        for run in [1, 100] {
            assert_eq!(sampled(&Sampler::new(1, 5), 1_000, run), (0..1_000).collect::<Vec<_>>());
            assert!(sampled(&Sampler::new(0, 5), 1_000, run).is_empty());
        }
    }
}
