//! Who has what every node has to have. Decides, never acts; `now` and what nodes said come as arguments.

use std::sync::Arc;

use crate::topology::NodeId;

use super::change::Change;
use super::courier::End;
use super::report::{NodeParity, ParityReport};

/// Refusals that are told of one node; further ones are counted in the last.
const REFUSALS_MAX: usize = 8;

/// What is known of one node.
#[derive(Debug, Default)]
struct Node {
    /// Changes that it refused, with its words, by what may be told of them.
    refused: Vec<(String, String)>,
    /// Why it may lack something; the first reason.
    behind: Option<String>,
    /// It was reached once.
    known: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Keeper {
    nodes: Vec<Node>,
}

impl Keeper {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes: (0..nodes).map(|_| Node::default()).collect() }
    }

    /// `by` accepted a change from a client: who is to be told.
    pub(super) fn accepted(&mut self, by: NodeId) -> Vec<NodeId> {
        self.all().filter(|node| *node != by).collect()
    }

    /// An errand ended.
    pub(super) fn ended(&mut self, node: NodeId, change: &Arc<Change>, end: &End) {
        let Some(node) = self.nodes.get_mut(node.index()) else { return };
        node.known = true;
        match end {
            // What it refused before it has now.
            End::Done => node.refused.retain(|(told, _)| *told != change.told),
            End::Refused(words) => {
                node.refused.retain(|(told, _)| *told != change.told);
                node.refused.truncate(REFUSALS_MAX - 1);
                node.refused.insert(0, (change.told.clone(), harmless(words)));
            }
            End::Missed => node.miss(&change.told),
        }
    }

    /// Everybody but `by` may have missed something.
    pub(super) fn missed(&mut self, by: Option<NodeId>, what: &str) {
        for id in self.all().filter(|node| Some(*node) != by) {
            self.nodes[id.index()].miss(what);
        }
    }

    /// What people are shown.
    pub(super) fn report(&self) -> ParityReport {
        let of = |node: &Node| {
            let refused = node.refused.iter().map(|(told, words)| format!("refused {told}: {words}"));
            let faults: Vec<String> = refused.chain(node.behind.clone()).collect();
            let in_parity = (node.known || !faults.is_empty()).then_some(faults.is_empty());
            NodeParity { in_parity, faults }
        };
        ParityReport { nodes: self.nodes.iter().map(of).collect() }
    }

    fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(|index| NodeId(u16::try_from(index).unwrap_or(u16::MAX)))
    }
}

impl Node {
    fn miss(&mut self, what: &str) {
        self.behind.get_or_insert_with(|| format!("missed {what}"));
    }
}

/// A server repeats the word that it does not understand, which may be a password: what it quotes is left out.
fn harmless(words: &str) -> String {
    match words.split_once('\'') {
        Some((before, rest)) => {
            let after = rest.rsplit_once('\'').map_or("", |(_, after)| after);
            format!("{before}'…'{after}")
        }
        None => words.to_owned(),
    }
}
