//! What the control thread shows of parity.

use std::collections::BTreeMap;

use crate::topology::NodeId;

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeParity {
    /// Whether it has what the primary has; `None`: not known.
    pub in_parity: Option<bool>,
    /// What it lacks or has otherwise, one sentence each; no secret is among them.
    pub faults: Vec<String>,
    /// What makes it a bad primary, in few words.
    pub lacks: Option<String>,
}

/// What is known of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityReport {
    /// Of every node that is declared.
    pub nodes: BTreeMap<NodeId, NodeParity>,
    /// What is unwise about the group, one sentence each.
    pub advice: Vec<String>,
}

impl ParityReport {
    /// Of one node.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NodeParity {
        self.nodes.get(&node).cloned().unwrap_or_default()
    }
}
