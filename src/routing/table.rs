//! The routing table: immutable, replaced whole.

use std::time::Instant;

use crate::topology::{Address, NodeId};

/// Whether requests that need the primary may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They go to the table's primary.
    Open,
    /// They wait; the outage began at `since` and its age decides when waiting turns into `-TRYAGAIN`.
    Hold {
        /// When the outage began.
        since: Instant,
    },
}

/// One node as routing sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRoute {
    /// Who it is.
    pub id: NodeId,
    /// Where to connect.
    pub address: Address,
    /// `zone` as declared.
    pub zone: String,
    /// A replica whose link is up, not loading, not syncing, within the staleness bound: may answer reads.
    pub readable: bool,
    /// Grows whenever connections to this node must be given up (it restarted, changed role, was declared dead).
    pub generation: u64,
}

/// All that routing needs to know, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingTable {
    /// Number of the decision; grows by one at each change of primary. 0: none was ever made.
    pub epoch: u64,
    /// Who takes writes. `None` until the first decision.
    pub primary: Option<NodeId>,
    /// Whether writes may go.
    pub gate: Gate,
    /// Every declared node, by [`NodeId`].
    pub nodes: Vec<NodeRoute>,
}

impl RoutingTable {
    /// The primary, when writes may go to it.
    #[must_use]
    pub fn writable(&self) -> Option<&NodeRoute> {
        match self.gate {
            Gate::Open => self.primary.map(|id| &self.nodes[id.index()]),
            Gate::Hold { .. } => None,
        }
    }
}
