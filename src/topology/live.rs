//! What threads share about the nodes: the handle through which orders reach the control thread, and plain
//! atomics that workers and the monitor write once a batch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::NodeId;

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
    /// The control thread has subscribed to a pattern on the node, as all proxies do to the same one.
    pub pattern_stands: AtomicBool,
}

/// The marks of all nodes, by [`NodeId`].
#[derive(Debug)]
pub struct Marks {
    origin: std::time::Instant,
    nodes: Vec<NodeMarks>,
}

impl Marks {
    /// Marks for `count` nodes; `origin` is the process's start.
    #[must_use]
    pub fn new(count: usize, origin: std::time::Instant) -> Self {
        Self { origin, nodes: (0..count).map(|_| NodeMarks::default()).collect() }
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

    /// Notes that bytes came from `node` at `now`.
    pub fn heard(&self, node: NodeId, now: std::time::Instant) {
        self.of(node).last_byte_ms.store(self.millis(now), Ordering::Relaxed);
    }
}
