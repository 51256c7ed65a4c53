//! Nodes that come to be declared and that no longer are, while the machine runs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::topology::{NODES_MAX, NodeId, NodeSpec};

use super::machine::Machine;
use super::node::{Floor, Node};
use super::tuning::Changed;
use super::{Level, Phase, Record};

/// What is remembered of a node that is not declared, or not yet: it may come back as it went.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    /// Its address.
    pub(super) name: String,
    /// See [`Node::in_sync`].
    pub(super) in_sync: Option<String>,
    /// See [`Node::deposed`].
    pub(super) deposed: bool,
    /// See [`Node::changed`].
    pub(super) changed: Vec<Changed>,
}

impl Machine {
    /// Whether these may be the nodes from now on.
    ///
    /// # Errors
    /// Why not, in one sentence: the primary is not among them, or a change of primary is under way.
    pub fn may_declare(&self, nodes: &[(NodeId, NodeSpec)]) -> Result<(), String> {
        if self.yielded {
            return Err("another process has taken over".to_owned());
        }
        if !matches!(self.phase(), Phase::Steady | Phase::Blocked | Phase::Observe | Phase::Discover) {
            return Err(format!(
                "a change of primary is under way (state {}): try again when it is over",
                self.phase().name()
            ));
        }
        let going = self.nodes.iter().filter(|node| !nodes.iter().any(|(id, _)| *id == node.id));
        let owe = self.undeclared.len() + going.filter(|node| node.in_sync.is_some()).count();
        if owe > NODES_MAX {
            return Err(format!(
                "{owe} nodes would be gone that may have what those that stay do not have yet"
            ));
        }
        let leads = self.group.primary.or_else(|| self.remembered());
        let leads = leads.filter(|primary| !nodes.iter().any(|(id, _)| id == primary));
        leads.map_or(Ok(()), |primary| {
            let name = self.node(primary).name();
            Err(format!(
                "{name} leads and can not be taken out: make another node primary first (redhold switchover)"
            ))
        })
    }

    /// These are the nodes from now on, in the order of ids, as [`Self::may_declare`] has allowed. A node that has gone may hold
    /// writes that were acknowledged, so it counts among those of whom nothing is known until all that stay have caught up.
    pub(super) fn declare(&mut self, nodes: Vec<(NodeId, NodeSpec)>) {
        let mut before = std::mem::take(&mut self.nodes);
        let (mut told, now) = (Vec::new(), self.now);
        for (id, spec) in nodes {
            let stays = before.iter().position(|node| node.id == id).map(|at| before.remove(at));
            if stays.is_none() {
                told.push(format!("{} is declared", spec.address));
            }
            let node = match stays {
                Some(mut node) => {
                    node.spec = spec;
                    node
                }
                None => self.newcomer(id, spec, now),
            };
            self.nodes.push(node);
        }
        // Who has been in sync for long says nothing of what only those that go may hold.
        if before.iter().any(|gone| gone.in_sync.is_some()) {
            self.nodes.iter_mut().for_each(|node| node.floor = Floor::Looks(0));
        }
        for gone in before {
            told.push(format!("{} is no longer declared", gone.name()));
            self.gauge.forget(gone.id);
            self.pending.retain(|_, pending| pending.node != Some(gone.id));
            if self.answer.as_ref().is_some_and(|answer| answer.node == Some(gone.id)) {
                self.answer = None;
            }
            self.forget(gone);
        }
        if !told.is_empty() {
            self.tell(Level::Info, told.join("; "));
        }
        // The same verdict may be of other nodes, or of another zone.
        self.published = None;
    }

    fn newcomer(&mut self, id: NodeId, spec: NodeSpec, now: Instant) -> Node {
        let mut node = Node::new(id, spec, now);
        self.declared += 1;
        // An id may have been another node's: nobody is to take the one for the other.
        node.generation = self.declared << 32;
        self.remember(&mut node);
        node
    }

    /// A node goes. The longest gone is no longer remembered when there are too many.
    fn forget(&mut self, node: Node) {
        let name = node.name();
        self.undeclared.extend(node.in_sync.clone().map(|run_id| (name.clone(), run_id)));
        if self.gone.len() >= NODES_MAX {
            self.gone.pop_front();
        }
        let Node { in_sync, deposed, changed, .. } = node;
        self.gone.push_back(Gone { name, in_sync, deposed, changed });
    }

    /// A node comes: what is remembered of it, from before it went or from an earlier life.
    pub(super) fn remember(&mut self, node: &mut Node) {
        let name = node.name();
        let Some(at) = self.gone.iter().position(|gone| gone.name == name) else { return };
        let Gone { in_sync, deposed, changed, .. } = self.gone.remove(at).unwrap_or_default();
        (node.in_sync, node.deposed, node.changed) = (in_sync, deposed, changed);
        self.undeclared.retain(|(gone, _)| *gone != name);
    }

    /// The names of all who may not lead by themselves.
    pub(super) fn all_deposed(&self) -> Vec<String> {
        let gone = self.gone.iter().filter(|gone| gone.deposed).map(|gone| gone.name.clone());
        self.nodes.iter().filter(|node| node.deposed).map(Node::name).chain(gone).collect()
    }
}

impl Record {
    /// What it tells of every node.
    pub(super) fn gone(&self) -> VecDeque<Gone> {
        let mut gone: BTreeMap<&str, Gone> = BTreeMap::new();
        for (name, run_id) in &self.run_ids {
            gone.entry(name).or_default().in_sync = Some(run_id.clone());
        }
        for name in &self.deposed {
            gone.entry(name).or_default().deposed = true;
        }
        for kept in &self.borrowed {
            gone.entry(&kept.node).or_default().changed.push(kept.clone().into());
        }
        let named = |(name, gone): (&str, Gone)| Gone { name: name.to_owned(), ..gone };
        gone.into_iter().map(named).collect()
    }
}
