//! What the control thread shows of parity.

use crate::topology::NodeId;

/// What is known of one node beside the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeParity {
    /// Whether it has what the primary has; `None`: not known.
    pub in_parity: Option<bool>,
    /// What it lacks or has otherwise, one sentence each.
    pub faults: Vec<String>,
}

/// By node, in the order of declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityReport {
    /// See [`NodeParity`].
    pub nodes: Vec<NodeParity>,
}

impl ParityReport {
    /// Of so many nodes, before anything is known.
    pub(in crate::control) fn unknown(nodes: usize) -> Self {
        Self { nodes: vec![NodeParity::default(); nodes] }
    }

    /// Of one node.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NodeParity {
        self.nodes.get(node.index()).cloned().unwrap_or_default()
    }
}
