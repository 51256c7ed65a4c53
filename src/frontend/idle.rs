//! Lent connections that came back clean and wait for the next client who needs one.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::backend::{Pinned, Target};

/// Beyond this many per worker, one that comes back is closed.
const IDLE_MAX: usize = 32;

/// One that nobody took for this long is closed.
const AGE_MAX: Duration = Duration::from_secs(60);

/// See the module's text.
#[derive(Default)]
pub(super) struct Idle(RefCell<Vec<(Instant, Pinned)>>);

impl Idle {
    /// One of exactly this identity, epoch and node. A node may have closed it meanwhile, or said something that would
    /// be taken for the next client's reply: such a one is dropped.
    pub(super) fn take(&self, target: &Target) -> Option<Pinned> {
        let mut idle = self.0.borrow_mut();
        loop {
            let at = idle.iter().rposition(|(_, pinned)| {
                let other = pinned.target();
                other.node == target.node && other.epoch == target.epoch && other.identity == target.identity
            })?;
            let (_, pinned) = idle.swap_remove(at);
            if pinned.is_untouched() {
                return Some(pinned);
            }
        }
    }

    /// Takes a clean one back.
    pub(super) fn give(&self, pinned: Pinned, now: Instant) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push((now, pinned));
        }
    }

    /// Closes what is old or dead.
    pub(super) fn sweep(&self, now: Instant) {
        let fits = |(since, pinned): &(Instant, Pinned)| {
            now.duration_since(*since) < AGE_MAX && pinned.is_untouched()
        };
        self.0.borrow_mut().retain(fits);
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
