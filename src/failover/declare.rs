//! Nodes that come to be declared and that no longer are, while the machine runs.

use crate::topology::{NodeId, NodeSpec};

use super::machine::Machine;
use super::node::Node;
use super::{Level, Phase};

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
        let leads = self.group.primary.filter(|primary| !nodes.iter().any(|(id, _)| id == primary));
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
            self.nodes.push(match stays {
                Some(mut node) => {
                    node.spec = spec;
                    node
                }
                None => {
                    self.declared += 1;
                    // An id may have been another node's: nobody is to take the one for the other.
                    let mut node = Node::new(id, spec, now);
                    node.generation = self.declared << 32;
                    node
                }
            });
        }
        for gone in before {
            told.push(format!("{} is no longer declared", gone.name()));
            self.gauge.forget(gone.id);
            self.pending.retain(|_, pending| pending.node != Some(gone.id));
            if self.answer.as_ref().is_some_and(|answer| answer.node == Some(gone.id)) {
                self.answer = None;
            }
            let name = gone.name();
            self.undeclared.extend(gone.in_sync.map(|run_id| (name, run_id)));
        }
        if !told.is_empty() {
            self.tell(Level::Info, told.join("; "));
        }
    }
}
