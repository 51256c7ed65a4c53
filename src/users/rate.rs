//! How many requests a user may send: the generic cell rate algorithm (ITU-T I.371), in whole nanoseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So much may come at once after a pause, as time at the rate.
const BURST: Duration = Duration::from_secs(1);

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    per: Duration,
}

impl Rate {
    /// `requests` in `per`; `None` when one of them is zero.
    #[must_use]
    pub fn new(requests: u32, per: Duration) -> Option<Self> {
        (requests > 0 && !per.is_zero()).then_some(Self { requests, per })
    }

    /// From one request to the next.
    fn interval(self) -> Duration {
        self.per / self.requests
    }

    /// How far ahead of its time a request may come.
    fn tolerance(self) -> Duration {
        // A slow rate lets through what it allows in its own time; one request at least.
        self.per.min(BURST).max(self.interval()) - self.interval()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.requests),
            60 => write!(f, "{}/m", self.requests),
            _ => write!(f, "{}/h", self.requests),
        }
    }
}

/// What one user has sent, over all its connections on all threads.
#[derive(Debug)]
pub struct Meter {
    rate: Rate,
    origin: Instant,
    /// When the next request would come if they came evenly, nanoseconds after `origin`.
    due: AtomicU64,
}

impl Meter {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, origin: now, due: AtomicU64::new(0) }
    }

    /// Its rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// One request comes: whether it may go. What may not does not count.
    pub fn take(&self, now: Instant) -> bool {
        let now = nanos(now.saturating_duration_since(self.origin));
        let (interval, tolerance) = (nanos(self.rate.interval()), nanos(self.rate.tolerance()));
        let next = |due: u64| {
            let due = due.max(now);
            (due - now <= tolerance).then_some(due + interval)
        };
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Enough for five centuries.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32, seconds: u64) -> Rate {
        Rate::new(requests, Duration::from_secs(seconds)).unwrap()
    }

    /// Of so many requests that come at once, how many may go.
    fn burst(meter: &Meter, requests: u32, now: Instant) -> u32 {
        (0..requests).map(|_| u32::from(meter.take(now))).sum()
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_what_the_rate_says() {
        let begin = Instant::now();
        let meter = Meter::new(rate(100, 1), begin);
        assert_eq!(burst(&meter, 1000, begin), 100);
        assert_eq!(burst(&meter, 1000, begin), 0, "what was refused does not count");
        assert_eq!(burst(&meter, 1000, begin + Duration::from_millis(250)), 25);
        let later = begin + Duration::from_secs(3600);
        assert_eq!(burst(&meter, 1000, later), 100, "an hour's silence is not saved up");
        let evenly = (1..=500u32).filter(|at| meter.take(later + Duration::from_millis(10) * *at)).count();
        assert_eq!(evenly, 500);
    }

    #[test]
    fn a_slow_rate_lets_one_through_at_a_time() {
        let begin = Instant::now();
        let meter = Meter::new(rate(2, 60), begin);
        assert_eq!(burst(&meter, 10, begin), 1);
        assert_eq!(burst(&meter, 10, begin + Duration::from_secs(29)), 0);
        assert_eq!(burst(&meter, 10, begin + Duration::from_secs(30)), 1);
        let each = Meter::new(rate(1, 1), begin);
        assert_eq!(burst(&each, 10, begin), 1);
        assert_eq!(burst(&each, 10, begin + Duration::from_secs(1)), 1);
    }

    #[test]
    fn what_is_no_rate_is_none_and_one_is_shown_as_it_is_written() {
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        let shown = [rate(5, 1), rate(5, 60), rate(5, 3600)].map(|rate| rate.to_string());
        assert_eq!(shown, ["5/s", "5/m", "5/h"]);
    }
}
