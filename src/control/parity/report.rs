//! What the control thread shows of parity.

use crate::topology::NodeId;

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeParity {
    /// Whether it has what the primary has; `None`: not known.
    pub in_parity: Option<bool>,
    /// What it lacks or has otherwise, one sentence each; no secret is among them.
    pub faults: Vec<String>,
}

/// By node, in the order of declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityReport {
    /// See [`NodeParity`].
    pub nodes: Vec<NodeParity>,
    /// What makes each node a bad primary, in few words.
    pub lacking: Vec<Option<String>>,
    /// What is unwise about the group, one sentence each.
    pub advice: Vec<String>,
}

impl ParityReport {
    /// Of so many nodes, before anything is known.
    pub(in crate::control) fn unknown(nodes: usize) -> Self {
        let (nodes, lacking) = (vec![NodeParity::default(); nodes], vec![None; nodes]);
        Self { nodes, lacking, advice: Vec::new() }
    }

    /// Of one node.
    #[must_use]
    pub fn of(&self, node: NodeId) -> NodeParity {
        self.nodes.get(node.index()).cloned().unwrap_or_default()
    }
}
