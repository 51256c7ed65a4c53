//! Latencies in buckets that grow with the value: relative error at most 1/64.

use std::time::Duration;

/// Sub-buckets of a power of two.
const STEPS: usize = 64;
const POWERS: usize = 40;

/// Counts of durations, in nanoseconds up to 2^46.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; STEPS * (POWERS + 1)], total: 0, max: 0 }
    }

    /// Counts a request that took `latency`.
    pub(crate) fn record(&mut self, latency: Duration) {
        let value = latency.as_nanos() as u64;
        let place = place(value).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// The upper edge of the bucket that holds the quantile; zero when nothing was counted.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let rank = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_edge(place).min(self.max));
            }
        }
        Duration::ZERO
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

/// Values below [`STEPS`] have a bucket each; above, the top seven bits choose it.
fn place(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = value.ilog2() as usize - STEPS.ilog2() as usize;
    STEPS * (power + 1) + (value >> power) as usize - STEPS
}

fn upper_edge(place: usize) -> u64 {
    if place < STEPS {
        return place as u64;
    }
    let power = place / STEPS - 1;
    ((place % STEPS + STEPS + 1) as u64) << power
}
