//! What the tasks that look at nodes say: for the machine, for people, and for the data path.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::failover::Event;
use crate::topology::{Health, NodeId, Replication, Role, position};

use super::NodeFacts;
use super::attached::attached;
use super::brains::Greeted;
use super::driver::{BRAINS_MAX, Driver};
use super::monitor::{Heard, Look};

/// A node that has said nothing for so long may be gone for good, if its name says so too.
const GONE_AFTER: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn take(&mut self, heard: Heard, after_stall: bool) {
        match heard {
            Heard::Look(look) => {
                self.note(&look);
                // What was missed while we were stalled may be waiting in the socket.
                if !(after_stall && look.observation.health == Health::Silent) {
                    let (node, took) = (look.observation.node, look.ping.filter(|_| !after_stall));
                    self.feed(Event::Seen(look.observation));
                    if let Some(took) = took {
                        let explained = self.is_explained(node);
                        self.feed(Event::Timed { node, took, explained });
                    }
                }
            }
            Heard::Signal(node, signal) => self.feed(Event::Signal { node, signal }),
            Heard::OtherBrain(brain) => {
                if !self.other_brains.contains(&brain) && self.other_brains.len() < BRAINS_MAX {
                    warn!(brain, "another brain was heard");
                    self.other_brains.push(brain.clone());
                    self.status_due = true;
                }
                self.feed(Event::OtherBrain(brain));
            }
        }
    }

    /// Keeps a look for people, and draws what only the shell wants from it.
    fn note(&mut self, look: &Look) {
        let node = look.observation.node;
        let Some(at) = position(&self.nodes, node) else { return };
        let known = &mut self.nodes[at];
        known.error.clone_from(&look.error);
        match &look.observation.health {
            Health::Answered(_) => {
                self.absent.remove(&node);
            }
            Health::Down(_) | Health::Refused(_) => {
                self.absent.insert(node);
            }
            Health::Silent => {}
        }
        if let Health::Answered(facts) = &look.observation.health {
            self.heard_at.insert(node, look.observation.at);
            known.facts = Some(Arc::from(facts.clone()));
            known.seen = Some(look.observation.at);
            known.ping = look.ping;
            self.mark(node, look.number, facts);
            if let Some(took) = look.ping {
                self.weigh(node, took);
            }
        }
        self.choose_greeted();
        self.note_attached();
    }

    /// Whether a node has answered of late, as one of the group.
    pub(super) fn lives(&self, node: NodeId) -> bool {
        let facts = |node| position(&self.nodes, node).and_then(|at| self.nodes[at].facts.as_deref());
        let led = self.verdict.as_ref().and_then(|verdict| facts(verdict.primary?));
        facts(node).is_some_and(|it| is_of_group(it, led))
            && self.heard_at.get(&node).is_some_and(|at| at.elapsed() < GONE_AFTER)
    }

    /// Makes known how many replicas follow the primary, as far as the last looks tell.
    pub(super) fn note_attached(&self) {
        let facts: Vec<_> = self.nodes.iter().map(|known| known.facts.as_deref()).collect();
        let absent: Vec<_> = self.nodes.iter().map(|known| self.absent.contains(&known.id)).collect();
        let primary = self.verdict.as_ref().and_then(|now| position(&self.nodes, now.primary?));
        if let Some(attached) = attached(primary, &facts, &absent) {
            self.marks.note_attached(attached.following, attached.coming);
        }
    }

    /// Tells the data path what it may draw from a look.
    fn mark(&mut self, node: NodeId, look: u64, facts: &Replication) {
        let marks = self.marks.of(node);
        marks.max_clients.store(facts.max_clients.unwrap_or(0), Ordering::Relaxed);
        let primary = self.verdict.as_ref().and_then(|now| now.primary);
        if let Some(reached) = self.caught_up.note(primary, node, look, facts) {
            marks.applied_look.store(reached, Ordering::Relaxed);
        }
    }

    /// Whether a PING that takes long says nothing: the node works on a request of a kind that does, or a client paused it.
    fn is_explained(&self, node: NodeId) -> bool {
        let marks = self.marks.of(node);
        let paused_until = marks.paused_until_ms.load(Ordering::Relaxed);
        marks.long_requests.load(Ordering::Relaxed) != 0 || paused_until > self.marks.millis(Instant::now())
    }

    /// Tells the data path how slow nodes are.
    fn weigh(&mut self, node: NodeId, took: Duration) {
        self.weights.note(node, took);
        for (node, weight) in self.weights.list() {
            self.marks.of(node).weight.store(weight, Ordering::Relaxed);
        }
    }

    /// Replicas are greeted on; a primary only while it stands alone and undoubted.
    fn choose_greeted(&self) {
        let role = |known: &NodeFacts| {
            known.facts.as_ref().filter(|_| known.error.is_none()).map(|facts| facts.role)
        };
        let alone = !self.nodes.iter().any(|known| role(known) == Some(Role::Replica));
        let primary =
            self.verdict.as_ref().filter(|now| now.held_since.is_none()).and_then(|now| now.primary);
        let is_greeted = |known: &&NodeFacts| match role(known) {
            Some(Role::Replica) => true,
            Some(Role::Primary) => alone && primary == Some(known.id),
            None => false,
        };
        let greets: Greeted = Arc::new(self.nodes.iter().filter(is_greeted).map(|known| known.id).collect());
        self.ends.greets.send_if_modified(|before| {
            let changed = *before != greets;
            *before = greets;
            changed
        });
    }
}

/// Whether this is a server of the group that `led` leads: an address may have been given to somebody else's.
fn is_of_group(facts: &Replication, led: Option<&Replication>) -> bool {
    let is_copying = facts.role == Role::Replica && facts.syncing;
    is_copying || led.is_none_or(|led| [&led.replid, &led.replid2].contains(&&facts.replid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_history_of_the_group_is_of_it() {
        let of = |replid: &str| Replication { replid: replid.to_owned(), ..Replication::default() };
        let led = Replication { replid2: "before".to_owned(), ..of("now") };
        assert!(["now", "before"].iter().all(|replid| is_of_group(&of(replid), Some(&led))));
        assert!(!is_of_group(&of("another's"), Some(&led)));
        assert!(is_of_group(&of("another's"), None), "nobody is known to lead");
        assert!(is_of_group(
            &Replication { role: Role::Replica, syncing: true, ..of("none yet") },
            Some(&led)
        ));
    }
}
