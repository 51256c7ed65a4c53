//! The routing table: immutable, replaced whole.

use std::sync::Arc;
use std::time::Instant;

use crate::topology::{Address, NodeId, OfNode, Remedy, find};

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
    /// run_id of the process that the decision speaks of, which alone is spoken to. `None`: nobody has seen one yet.
    pub run_id: Option<Arc<str>>,
}

impl OfNode for NodeRoute {
    fn node(&self) -> NodeId {
        self.id
    }
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
    /// How many times the gate was closed, not counting the first decision; the last of them may still last.
    pub holds: u64,
    /// The last of them is part of a planned switch.
    pub planned: bool,
    /// Replicas have been away for `durability.degrade_after`: writes wait for none.
    pub degraded: bool,
    /// Whether what the primary refuses with MISCONF or NOREPLICAS is worth keeping back.
    pub remedy: Remedy,
    /// Every declared node, in the order of ids.
    pub nodes: Vec<NodeRoute>,
}

impl RoutingTable {
    /// Whether a connection to this node that was open under `self` may stay open under `next`: within an epoch, or
    /// where the node is no primary in either and lives on. An epoch fences writes, and nobody sends any to a replica;
    /// one that led in between has changed its generation.
    #[must_use]
    pub fn carries_over(&self, next: &Self, node: NodeId) -> bool {
        let (Some(was), Some(is)) = (self.node(node), next.node(node)) else { return false };
        let same_process = was.run_id.is_none() || was.run_id == is.run_id;
        let lives_on = was.generation == is.generation && was.address == is.address && same_process;
        let only_reads = self.primary != Some(node) && next.primary != Some(node);
        lives_on && (self.epoch == next.epoch || only_reads)
    }

    /// Where `node` is; `None`: it is not declared, or no longer.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRoute> {
        find(&self.nodes, node)
    }

    /// The primary, when writes may go to it.
    #[must_use]
    pub fn writable(&self) -> Option<&NodeRoute> {
        match self.gate {
            Gate::Open => self.primary.and_then(|id| self.node(id)),
            Gate::Hold { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADS: NodeId = NodeId(0);
    const FOLLOWS: NodeId = NodeId(1);
    const NEXT: NodeId = NodeId(2);

    fn table(epoch: u64, primary: NodeId, generations: [u64; 3]) -> RoutingTable {
        let nodes = [LEADS, FOLLOWS, NEXT].map(|id| NodeRoute {
            id,
            address: Address { host: "h".into(), port: id.0 },
            zone: String::new(),
            readable: true,
            generation: generations[id.slot()],
            run_id: None,
        });
        RoutingTable {
            epoch,
            primary: Some(primary),
            gate: Gate::Open,
            holds: 0,
            planned: false,
            degraded: false,
            remedy: Remedy::Unjudged,
            nodes: nodes.into(),
        }
    }

    fn carried(before: &RoutingTable, after: &RoutingTable) -> Vec<NodeId> {
        let all = [LEADS, FOLLOWS, NEXT];
        all.into_iter().filter(|node| before.carries_over(after, *node)).collect()
    }

    #[test]
    fn a_new_epoch_ends_the_connections_that_may_carry_writes_and_no_other() {
        let before = table(1, LEADS, [0; 3]);
        assert_eq!(carried(&before, &table(2, NEXT, [0; 3])), [FOLLOWS]);
        assert_eq!(
            carried(&before, &table(2, LEADS, [0; 3])),
            [FOLLOWS, NEXT],
            "the same node in a new epoch"
        );
        assert_eq!(carried(&before, &before), [LEADS, FOLLOWS, NEXT]);
    }

    #[test]
    fn a_node_that_lives_another_life_is_connected_to_anew() {
        let before = table(1, LEADS, [0; 3]);
        assert_eq!(carried(&before, &table(1, LEADS, [0, 1, 0])), [LEADS, NEXT]);
        assert_eq!(carried(&before, &table(2, NEXT, [0, 1, 0])), Vec::new());
    }

    #[test]
    fn another_process_is_connected_to_anew_and_one_that_is_seen_for_the_first_time_is_not() {
        let table = |run_id: Option<&str>| {
            let mut table = table(1, LEADS, [0; 3]);
            table.nodes[LEADS.slot()].run_id = run_id.map(Arc::from);
            table
        };
        assert_eq!(carried(&table(None), &table(Some("a"))), [LEADS, FOLLOWS, NEXT]);
        assert_eq!(carried(&table(Some("a")), &table(Some("a"))), [LEADS, FOLLOWS, NEXT]);
        assert_eq!(carried(&table(Some("a")), &table(Some("b"))), [FOLLOWS, NEXT]);
    }
}
