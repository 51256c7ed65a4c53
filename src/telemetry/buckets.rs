//! A histogram of durations in powers of two, written by one thread and read by any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bound of the first bucket: 2^5 = 32 µs.
const FIRST_POWER: u32 = 5;

/// Upper bound of the last finite bucket: 2^24 µs = 16.8 s.
const LAST_POWER: u32 = 24;

/// Finite buckets and the one for everything longer.
const BUCKETS: usize = (LAST_POWER - FIRST_POWER + 2) as usize;

/// Counts per bucket, and their sum.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// Adds to a cell that has one writer: a load and a store are cheaper than a locked addition.
pub(super) fn bump(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Histogram {
    /// Counts `n` events of `micros` each.
    pub(super) fn add(&self, micros: u64, n: u64) {
        bump(&self.buckets[index_of(micros)], n);
        bump(&self.sum_micros, micros.saturating_mul(n));
    }
}

/// The bucket with the least upper bound that is not below `micros`.
fn index_of(micros: u64) -> usize {
    let power = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (power.clamp(FIRST_POWER, LAST_POWER + 1) - FIRST_POWER) as usize
}

/// What some histograms hold together at one moment, or between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BUCKETS],
    sum_micros: u64,
}

impl Durations {
    /// Adds what `histogram` holds now.
    pub(super) fn take(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum_micros += histogram.sum_micros.load(Ordering::Relaxed);
    }

    /// Events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What came since an earlier moment of the same histograms.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = std::array::from_fn(|at| self.counts[at].saturating_sub(earlier.counts[at]));
        Self { counts, sum_micros: self.sum_micros.saturating_sub(earlier.sum_micros) }
    }

    /// The duration that `percent` of the events did not exceed, as Prometheus's `histogram_quantile` estimates it: events are
    /// taken to be spread evenly within their bucket, and what is longer than the last bound counts as that bound. `None`: there
    /// were no events.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        // Of a hundred times the events, so that the rank is whole.
        let rank = u128::from(self.count()) * u128::from(percent.min(100));
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let here = u128::from(*count) * 100;
            if below + here >= rank {
                let upper = 1_u128 << (FIRST_POWER as usize + index.min(BUCKETS - 2));
                let lower = if index == 0 { 0 } else { 1 << (FIRST_POWER as usize + index - 1) };
                let micros = lower + (upper - lower) * (rank - below) / here;
                return Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)));
            }
            below += here;
        }
        None
    }

    /// Seconds over all events.
    pub(super) fn seconds(&self) -> f64 {
        seconds(self.sum_micros)
    }

    /// Upper bound in seconds and events up to it, of each finite bucket.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.counts[..BUCKETS - 1].iter().enumerate().scan(0, |total, (index, count)| {
            *total += count;
            Some((seconds(1 << (FIRST_POWER as usize + index)), *total))
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 µs, which is 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (micros, index) in
            [(0, 0), (1, 0), (32, 0), (33, 1), (64, 1), (65, 2), (1 << 24, 19), ((1 << 24) + 1, 20)]
        {
            assert_eq!(index_of(micros), index, "{micros} µs");
        }
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn sums_are_cumulative_and_leave_the_longest_to_infinity() {
        let (a, b) = (Histogram::default(), Histogram::default());
        a.add(10, 2);
        a.add(40, 1);
        b.add(100_000_000, 3);
        let mut sum = Durations::default();
        sum.take(&a);
        sum.take(&b);
        let cumulative: Vec<_> = sum.cumulative().collect();
        assert_eq!((cumulative[0], cumulative[1]), ((0.000_032, 2), (0.000_064, 3)));
        assert_eq!(*cumulative.last().unwrap(), (16.777_216, 3));
        assert_eq!(sum.count(), 6);
        assert!((sum.seconds() - 300.000_06).abs() < 1e-9);
    }

    #[test]
    fn percentiles_lie_within_the_bucket_that_holds_them() {
        let us = |micros| Some(Duration::from_micros(micros));
        let of = |events: &[(u64, u64)]| {
            let histogram = Histogram::default();
            events.iter().for_each(|(micros, n)| histogram.add(*micros, *n));
            let mut sum = Durations::default();
            sum.take(&histogram);
            sum
        };
        assert_eq!(of(&[]).percentile(50), None);
        assert_eq!(of(&[(1, 10)]).percentile(50), us(16), "evenly from 0 to 32");
        let mixed = of(&[(50, 98), (1000, 2)]);
        assert_eq!((mixed.percentile(49), mixed.percentile(98)), (us(48), us(64)));
        assert_eq!((mixed.percentile(99), mixed.percentile(100)), (us(768), us(1024)));
        assert_eq!(of(&[(1 << 40, 3)]).percentile(99), us(1 << 24), "longer than is told apart");
        assert_eq!(of(&[(u64::MAX, u64::MAX / 200)]).percentile(100), us(1 << 24));
        let later = of(&[(50, 98), (1000, 7)]);
        assert_eq!((later.since(&mixed).count(), later.since(&mixed).percentile(50)), (5, us(768)));
        assert_eq!(mixed.since(&later).count(), 0, "never less than nothing");
    }
}
