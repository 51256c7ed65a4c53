//! How much was answered, and how fast, second by second: so that a page that is opened afterwards shows what happened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::telemetry::{Durations, Metrics};

use super::time::{micros, millis};

/// Time between two samples.
const BEAT: Duration = Duration::from_secs(1);

/// Samples that are kept: five minutes. The oldest goes first.
const KEPT: usize = 300;

/// The last minutes, one element a sample, the newest last. A sample covers the second before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryBody {
    /// Requests that were answered, a second.
    pub requests: Vec<u64>,
    /// What half of them took at most, microseconds; `None`: there were none.
    pub p50_us: Vec<Option<u64>>,
    /// What 99 of 100 of them took at most.
    pub p99_us: Vec<Option<u64>>,
    /// How old each sample is.
    pub age_ms: Vec<u64>,
}

/// Of one second, as a rule: of the time since the sample before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    at: Instant,
    per_second: u64,
    median: Option<Duration>,
    slowest: Option<Duration>,
}

/// The samples, for the task that takes them and for whoever shows them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Arc<Mutex<VecDeque<Sample>>>,
}

impl History {
    /// Takes a sample each second for as long as the endpoint runs; that costs its thread some ten µs for each worker.
    pub(super) async fn keep(self, metrics: Arc<Metrics>) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = (Instant::now(), metrics.durations());
        loop {
            beats.tick().await;
            let now = (Instant::now(), metrics.durations());
            // The first tick comes at once.
            if now.0.saturating_duration_since(before.0) >= BEAT / 2 {
                self.push(sample(&before, &now));
                before = now;
            }
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// As it is shown.
    pub(super) fn body(&self, now: Instant) -> HistoryBody {
        let samples = self.samples();
        HistoryBody {
            requests: samples.iter().map(|sample| sample.per_second).collect(),
            p50_us: samples.iter().map(|sample| sample.median.map(micros)).collect(),
            p99_us: samples.iter().map(|sample| sample.slowest.map(micros)).collect(),
            age_ms: samples.iter().map(|sample| millis(now.saturating_duration_since(sample.at))).collect(),
        }
    }

    /// Samples are whole at any moment, so whoever panicked left nothing torn.
    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample((began, before): &(Instant, Durations), (at, now): &(Instant, Durations)) -> Sample {
    let here = now.since(before);
    let millis = at.saturating_duration_since(*began).as_millis().max(1);
    let per_second = (u128::from(here.count()) * 1000 + millis / 2) / millis;
    Sample {
        at: *at,
        per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        median: here.percentile(50),
        slowest: here.percentile(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_the_time_since_the_one_before() {
        let metrics = Metrics::new(vec!["get".to_owned()], vec![], 0, 1);
        let began = Instant::now();
        metrics.worker(0).duration(0, 100_000, 7);
        let before = (began, metrics.durations());
        metrics.worker(0).duration(0, 20, 2000);
        metrics.worker(0).duration(9, 1000, 40);
        let taken = sample(&before, &(began + 2 * BEAT, metrics.durations()));
        assert_eq!(taken.per_second, 1020, "over two seconds, other commands included");
        assert_eq!(taken.median, Some(Duration::from_micros(16)));
        assert!(taken.slowest.is_some_and(|slowest| slowest > Duration::from_micros(512)));
        let quiet = sample(&(began, metrics.durations()), &(began + BEAT, metrics.durations()));
        assert_eq!((quiet.per_second, quiet.median, quiet.slowest), (0, None, None));
    }

    #[test]
    fn the_last_minutes_are_kept_and_told_with_their_age() {
        let history = History::default();
        let began = Instant::now();
        for second in 1..=400 {
            let at = began + BEAT * second;
            history.push(Sample { at, per_second: u64::from(second), median: None, slowest: Some(BEAT) });
        }
        let body = history.body(began + BEAT * 400 + BEAT / 2);
        assert_eq!((body.requests.len(), body.requests[0], body.requests[KEPT - 1]), (KEPT, 101, 400));
        assert_eq!((body.age_ms[0], body.age_ms[KEPT - 1]), (299_500, 500));
        assert_eq!((body.p50_us[0], body.p99_us[0], body.p99_us.len()), (None, Some(1_000_000), KEPT));
    }
}
