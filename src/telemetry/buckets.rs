//! A histogram of durations in powers of two, written by one thread and read by any.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// The sum of some histograms at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sum {
    counts: [u64; BUCKETS],
    sum_micros: u64,
}

impl Sum {
    /// Adds what `histogram` holds now.
    pub(super) fn take(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum_micros += histogram.sum_micros.load(Ordering::Relaxed);
    }

    /// Events.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
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
        let mut sum = Sum::default();
        sum.take(&a);
        sum.take(&b);
        let cumulative: Vec<_> = sum.cumulative().collect();
        assert_eq!((cumulative[0], cumulative[1]), ((0.000_032, 2), (0.000_064, 3)));
        assert_eq!(*cumulative.last().unwrap(), (16.777_216, 3));
        assert_eq!(sum.count(), 6);
        assert!((sum.seconds() - 300.000_06).abs() < 1e-9);
    }
}
