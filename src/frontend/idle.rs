//! Connections that wait for the next client who needs one of its own: spares, and lent ones that came back clean.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::backend::{Pinned, Target};
use crate::session::Names;
use crate::topology::NodeId;

/// So many over all workers may wait for each of them to keep what its clients lately had at a time: one that is opened for a
/// single transaction costs as much as several. They fit into what `backend.pinned_max` leaves of the node's `maxclients`.
const IDLE_MAX: usize = 128;

/// A worker keeps so many however many workers there are; beyond that, one that comes back is closed.
const IDLE_LEAST: usize = 32;

/// One that nobody took for this long is closed.
const AGE_MAX: Duration = Duration::from_secs(60);

/// See the module's text.
pub(super) struct Idle {
    waiting: RefCell<Vec<Waiting>>,
    most: usize,
}

fn is_to((_, pinned, _): &Waiting, target: &Target) -> bool {
    let other = pinned.target();
    other.node == target.node && other.epoch == target.epoch && other.identity == target.identity
}

/// Since when it waits, and what it was told about the client that had it last.
type Waiting = (Instant, Box<Pinned>, Names);

impl Idle {
    /// For one of so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self { waiting: RefCell::default(), most: IDLE_LEAST.max(IDLE_MAX / workers) }
    }

    /// One of exactly this identity, epoch and node, rather one that was told these names; with what it was told. A node may
    /// have closed it meanwhile, or said something that would be taken for the next client's reply: such a one is dropped.
    pub(super) fn take(&self, target: &Target, names: &Names) -> Option<(Box<Pinned>, Names)> {
        let mut idle = self.waiting.borrow_mut();
        let fits = |waiting: &Waiting| is_to(waiting, target);
        loop {
            let known = idle.iter().rposition(|waiting| waiting.2 == *names && fits(waiting));
            let at = known.or_else(|| idle.iter().rposition(fits))?;
            let (_, pinned, told) = idle.swap_remove(at);
            if pinned.is_untouched() {
                return Some((pinned, told));
            }
        }
    }

    /// Whether there is one of this identity, epoch and node, as far as is known.
    pub(super) fn holds(&self, target: &Target) -> bool {
        self.waiting.borrow().iter().any(|waiting| is_to(waiting, target))
    }

    /// Takes a clean one.
    pub(super) fn give(&self, pinned: Box<Pinned>, told: Names, now: Instant) {
        let mut idle = self.waiting.borrow_mut();
        if idle.len() < self.most {
            idle.push((now, pinned, told));
        }
    }

    /// Closes what is old or dead; the others keep no memory for what comes next.
    pub(super) fn sweep(&self, now: Instant) {
        self.waiting.borrow_mut().retain_mut(|(since, pinned, _)| {
            pinned.rest();
            now.duration_since(*since) < AGE_MAX && pinned.is_untouched()
        });
    }

    /// A connection to this node was lost then, so those that were open may be about to end: what is sent again must not go on
    /// one of them.
    pub(super) fn forget(&self, node: NodeId, lost: Instant) {
        self.waiting
            .borrow_mut()
            .retain(|(_, pinned, _)| pinned.target().node != node || pinned.opened() > lost);
    }

    /// Closes all.
    pub(super) fn clear(&self) {
        self.waiting.borrow_mut().clear();
    }
}
