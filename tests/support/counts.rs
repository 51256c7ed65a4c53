//! What is going on in a load, and a fault at an instant at which enough is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::wait::LONG;

/// A fault counts only when at least this many requests were in flight at its instant.
const LEAST_IN_FLIGHT: u64 = 10;
/// … and at least this many writes had been acknowledged before it.
const LEAST_ACKNOWLEDGED: u64 = 1_000;

/// Shared by the threads of a load and who watches it.
#[derive(Debug, Default)]
pub struct Counts {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    in_flight: AtomicU64,
}

impl Counts {
    /// So many requests were sent.
    pub fn sent(&self, count: usize) {
        self.in_flight.fetch_add(count as u64, Ordering::SeqCst);
    }

    /// So many will not be answered any more.
    pub fn given_up(&self, count: usize) {
        self.in_flight.fetch_sub(count as u64, Ordering::SeqCst);
    }

    /// One was answered, as acknowledged or otherwise.
    pub fn answered(&self, acknowledged: bool) {
        self.acknowledged.fetch_add(u64::from(acknowledged), Ordering::SeqCst);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The load is to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits until enough writes were acknowledged and enough are in flight, does `fault` at that instant, and
    /// returns how many were in flight. A fault in an idle system would prove nothing.
    #[track_caller]
    pub fn strike(&self, fault: impl FnOnce()) -> u64 {
        let start = Instant::now();
        loop {
            let in_flight = self.in_flight.load(Ordering::SeqCst);
            if in_flight >= LEAST_IN_FLIGHT && self.acknowledged() >= LEAST_ACKNOWLEDGED {
                fault();
                return in_flight;
            }
            assert!(start.elapsed() < LONG, "the load never was busy enough for a fault to count");
            std::thread::yield_now();
        }
    }
}
