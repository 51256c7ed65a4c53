//! What outages cost clients, as the workers count it. Plain atomics, written where a request is held, lost or sent again and
//! never for one that just passes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts since the start, over all workers.
#[derive(Debug, Default)]
pub struct Tolls {
    begun: AtomicU64,
    ended: AtomicU64,
    longest_micros: AtomicU64,
    ambiguous: AtomicU64,
    reissued: AtomicU64,
}

/// Counts at one moment, or those of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Requests that were held: one a client at a time, what it sends behind it is not read.
    pub held: u64,
    /// Of these, those that were sent or answered, or whose client left.
    pub released: u64,
    /// The longest wait of those.
    pub longest_hold: Duration,
    /// Writes answered with AMBIGUOUS.
    pub ambiguous: u64,
    /// Requests sent again after their connection was lost.
    pub reissued: u64,
    /// Bytes of writes that only an old primary had, kept in a file.
    pub quarantined_bytes: u64,
    /// Those given up.
    pub given_up_bytes: u64,
}

impl Tolls {
    /// A request is held from now on.
    pub fn hold_began(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A hold has ended after so many microseconds.
    pub fn hold_ended(&self, micros: u64) {
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        // Who finds it ended finds its length too.
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// A write was answered with AMBIGUOUS.
    pub fn ambiguous(&self) {
        self.ambiguous.fetch_add(1, Ordering::Relaxed);
    }

    /// So many requests were sent again.
    pub fn reissued(&self, count: u64) {
        self.reissued.fetch_add(count, Ordering::Relaxed);
    }

    /// The counts since the start, and the longest hold that ended since this was last asked for.
    #[must_use]
    pub fn take(&self) -> Toll {
        let released = self.ended.load(Ordering::Acquire);
        Toll {
            held: self.begun.load(Ordering::Relaxed),
            released,
            longest_hold: Duration::from_micros(self.longest_micros.swap(0, Ordering::Relaxed)),
            ambiguous: self.ambiguous.load(Ordering::Relaxed),
            reissued: self.reissued.load(Ordering::Relaxed),
            ..Toll::default()
        }
    }
}
