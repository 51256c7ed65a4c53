//! What threads share about the nodes: the handle through which orders reach the control thread, and plain
//! atomics that workers and the monitor write once a batch.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{LostRequests, NodeId, Suspicion};

/// Per-node marks that the data path leaves for the monitor, and the reverse. All relaxed: a mark is a hint.
#[derive(Debug, Default)]
pub struct NodeMarks {
    /// Milliseconds since the process's own origin at which the last byte came from the node, over all
    /// connections.
    pub last_byte_ms: AtomicU64,
    /// Connections to the node that ended without our doing since the start.
    pub losses: AtomicU64,
    /// Writes sent to the node as primary and not yet answered, over all workers.
    pub writes_in_flight: AtomicU64,
    /// Milliseconds (same origin) since when the oldest unanswered request is one of the long-running class; 0: none.
    pub long_request_since_ms: AtomicU64,
    /// Milliseconds (same origin) until when a client's CLIENT PAUSE of all commands silences the node; 0 or past:
    /// not at all.
    pub paused_until_ms: AtomicU64,
    /// Name of that request's command.
    long_request: Mutex<&'static str>,
    /// What it owed when connections were last lost. No request that is answered comes near this lock.
    lost: Mutex<LostRequests>,
}

impl NodeMarks {
    /// Notes a request that was lost with its connection; true when it was not named before in this event.
    pub fn note_lost(
        &self,
        now: std::time::Instant,
        suspicion: Suspicion,
        describe: impl FnOnce() -> String,
    ) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).note(now, suspicion, describe)
    }

    /// What was lost last.
    #[must_use]
    pub fn lost(&self) -> LostRequests {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The marks of all nodes, by [`NodeId`].
#[derive(Debug)]
pub struct Marks {
    origin: std::time::Instant,
    nodes: Vec<NodeMarks>,
    /// Our ends of the control thread's connections.
    own: Mutex<OwnAddresses>,
}

/// Addresses of connections that have ended and are still known: what a node said of them may be read late.
const ENDED_KEPT: usize = 64;

#[derive(Debug, Default)]
struct OwnAddresses {
    live: BTreeSet<SocketAddr>,
    ended: VecDeque<SocketAddr>,
}

/// Says, as long as it lives and some connections longer, that a connection from this address is the control thread's.
#[derive(Debug)]
pub struct OwnAddress {
    marks: Arc<Marks>,
    address: SocketAddr,
}

impl Drop for OwnAddress {
    fn drop(&mut self) {
        let mut own = self.marks.own();
        own.live.remove(&self.address);
        own.ended.push_back(self.address);
        if own.ended.len() > ENDED_KEPT {
            own.ended.pop_front();
        }
    }
}

impl Marks {
    /// Marks for `count` nodes; `origin` is the process's start.
    #[must_use]
    pub fn new(count: usize, origin: std::time::Instant) -> Self {
        Self { origin, nodes: (0..count).map(|_| NodeMarks::default()).collect(), own: Mutex::default() }
    }

    /// Notes our end of a connection of the control thread, by which nodes name it, until the value is dropped.
    #[must_use]
    pub fn own_address(self: &Arc<Self>, address: SocketAddr) -> OwnAddress {
        self.own().live.insert(address);
        OwnAddress { marks: self.clone(), address }
    }

    /// Whether a connection of the control thread comes from there.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let own = self.own();
        own.live.contains(&address) || own.ended.contains(&address)
    }

    fn own(&self) -> MutexGuard<'_, OwnAddresses> {
        // No code panics while it holds the lock; a poisoned one still holds whole addresses.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of one node.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &NodeMarks {
        &self.nodes[node.index()]
    }

    /// `now` in the marks' own milliseconds; never 0.
    #[must_use]
    pub fn millis(&self, now: std::time::Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Notes that the oldest unanswered long request to `node`, a `command`, waits since `since`.
    pub fn works_on(&self, node: NodeId, since: std::time::Instant, command: &'static str) {
        let marks = self.of(node);
        *marks.long_request.lock().unwrap_or_else(PoisonError::into_inner) = command;
        marks.long_request_since_ms.store(self.millis(since), Ordering::Relaxed);
    }

    /// Notes that no long request to `node` waits.
    pub fn works_on_nothing_long(&self, node: NodeId) {
        self.of(node).long_request_since_ms.store(0, Ordering::Relaxed);
    }

    /// The command that `node` may be working on, and for how long at `now`, milliseconds.
    #[must_use]
    pub fn long_request(&self, node: NodeId, now: std::time::Instant) -> Option<(&'static str, u64)> {
        let marks = self.of(node);
        let since = marks.long_request_since_ms.load(Ordering::Relaxed);
        let command = *marks.long_request.lock().unwrap_or_else(PoisonError::into_inner);
        (since != 0).then(|| (command, self.millis(now).saturating_sub(since)))
    }

    /// Notes that bytes came from `node` at `now`.
    pub fn heard(&self, node: NodeId, now: std::time::Instant) {
        self.of(node).last_byte_ms.store(self.millis(now), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDED_KEPT, Marks};
    use std::net::SocketAddr;
    use std::sync::Arc;

    #[test]
    fn an_own_address_is_known_a_while_longer_than_its_connection() {
        let marks = Arc::new(Marks::new(1, std::time::Instant::now()));
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let first = marks.own_address(address(1));
        assert!(marks.is_own(address(1)) && !marks.is_own(address(2)));
        drop(first);
        assert!(marks.is_own(address(1)), "its lines may still be on their way");
        for port in 2.. {
            drop(marks.own_address(address(port)));
            if usize::from(port) == ENDED_KEPT + 1 {
                break;
            }
        }
        assert!(!marks.is_own(address(1)));
    }
}
