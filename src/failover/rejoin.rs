//! Everyone else under the primary: old primaries that return, replicas that follow someone else, blank nodes.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Role};

use super::machine::{CAPTURE, FOLLOW, Kind, Machine, words};
use super::node::{Node, Rejoin};
use super::{Action, Captured, Divergence, Level, Mode, Outcome, Step};

/// How long a returning old primary's writes are paused while it is looked at.
const PAUSE: Duration = Duration::from_secs(60);
/// A step that did not work is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// A replica that was told to follow gets this long to connect before anything else is thought of it.
const SETTLE: Duration = Duration::from_secs(1);
/// A replica that cannot reach its primary for this long, under a name that the primary had in its life before, is given the
/// present one.
const LOST_NAME: Duration = Duration::from_secs(10);
/// `repl-timeout` set by us is `health.busy_timeout`, and no shorter than this: a replica that gives up a primary
/// which a long request explains would bear false witness.
const REPL_TIMEOUT_MIN: u64 = 5;

/// What a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    /// It follows, or is on its way.
    Nothing,
    /// It writes, or could: pause, then follow.
    Depose,
    /// It cannot write: follow.
    Follow,
    /// Not ours to touch; why.
    Strange(String),
}

impl Machine {
    /// One step for each node that needs one. Orders nothing unless the machine may act.
    pub(super) fn tend(&mut self) {
        let Some(primary) = self.group.primary else {
            return;
        };
        if self.others(primary).all(|node| node.is_in_step(&self.group.replid)) {
            self.half_made = None;
        }
        for position in 0..self.nodes.len() {
            let id = self.nodes[position].id;
            if self.settings.tune_nodes && self.settings.mode == Mode::Auto {
                self.tune(id);
            }
            self.put_back(id);
            if id != primary {
                self.tend_one(id, primary);
            }
        }
    }

    fn tend_one(&mut self, id: NodeId, primary: NodeId) {
        let Rejoin::Idle { not_before } = self.node(id).rejoin else {
            return;
        };
        let need = self.need(self.node(id), self.node(primary));
        let remark = match &need {
            Need::Strange(why) => Some(why.clone()),
            Need::Depose | Need::Follow if self.settings.mode != Mode::Auto => {
                Some(format!("{} and is not made to follow: failover.mode is manual", said(self.node(id))))
            }
            Need::Nothing | Need::Depose | Need::Follow => None,
        };
        if self.node(id).remark != remark {
            if let Some(why) = &remark {
                self.tell(Level::Warn, format!("{} {why}", self.node(id).name()));
            }
            self.node_mut(id).remark = remark;
        }
        if matches!(need, Need::Nothing | Need::Strange(_)) || self.settings.mode != Mode::Auto {
            return;
        }
        if not_before > self.now {
            self.wake_at(not_before);
            return;
        }
        if self.copies_whole(id, primary) && self.someone_copies(id) {
            self.wake_at(self.now + AGAIN);
            return;
        }
        if need == Need::Depose {
            self.node_mut(id).rejoin = Rejoin::Pausing;
            self.ask(id, Step::Pause(PAUSE), FOLLOW);
        } else {
            self.order_follow(id, primary, false);
        }
    }

    /// Whether the node would have to copy everything.
    fn copies_whole(&self, id: NodeId, primary: NodeId) -> bool {
        let (Some(facts), Some(led)) = (&self.node(id).facts, &self.node(primary).facts) else {
            return true;
        };
        facts.replid != led.replid && facts.replid != led.replid2
    }

    /// Another node copies everything right now: one at a time, since each costs the primary a fork.
    fn someone_copies(&self, but: NodeId) -> bool {
        self.others(but).any(|node| {
            node.answered().is_some_and(|facts| facts.role == Role::Replica && facts.syncing)
                || matches!(node.rejoin, Rejoin::Pausing | Rejoin::Capturing(_) | Rejoin::Following { .. })
        })
    }

    /// Whether `id` is to be made a replica of `primary`.
    pub(super) fn is_to_follow(&self, id: NodeId, primary: NodeId) -> bool {
        matches!(self.need(self.node(id), self.node(primary)), Need::Depose | Need::Follow)
    }

    /// What `node` needs to be a replica of `primary`.
    fn need(&self, node: &Node, primary: &Node) -> Need {
        let (Some(facts), Some(led)) = (node.answered(), primary.answered()) else {
            return Need::Nothing;
        };
        if facts.loading || led.role != Role::Primary {
            return Need::Nothing;
        }
        if facts.run_id == led.run_id {
            let primary = primary.name();
            return Need::Strange(format!("is the same process as {primary}, under another address"));
        }
        let known = node.in_sync.is_some() || node.deposed || facts.keys == 0;
        let kin = [&led.replid, &led.replid2].contains(&&facts.replid);
        if facts.role == Role::Replica {
            let lost = node.link_down_since.is_some_and(|since| since + LOST_NAME <= self.now);
            let points_here = facts.primary.as_ref().is_some_and(|address| {
                if lost { primary.is_called_now(address) } else { primary.is_called(address) }
            });
            let points_at_us = facts
                .primary
                .as_ref()
                .is_some_and(|address| self.nodes.iter().any(|one| one.is_called(address)));
            // Behind another replica it would be lost with it, and acknowledge nothing to the primary.
            let attached = facts.link_up && facts.replid == led.replid && !points_at_us;
            return if attached || points_here || facts.syncing {
                Need::Nothing
            } else if (facts.sealed || points_at_us) && (known || kin) {
                Need::Follow
            } else {
                Need::Strange(format!("{}, which is not the group's doing: left alone", said(node)))
            };
        }
        let restarted = node.in_sync.as_ref().is_some_and(|run_id| *run_id != facts.run_id);
        let led_before = facts.replid == led.replid2;
        let half_made = self.half_made.as_ref() == Some(&facts.replid2);
        if node.deposed
            || restarted
            || led_before
            || half_made
            || facts.keys == 0 && facts.replicas.is_empty()
        {
            Need::Depose
        } else {
            Need::Strange(format!(
                "{} beside {} and was not made so by Redhold: left alone; to decide: redhold adopt NODE",
                said(node),
                primary.name()
            ))
        }
    }

    fn order_follow(&mut self, id: NodeId, primary: NodeId, paused: bool) {
        self.tell(
            Level::Info,
            format!("{} is to follow {}", self.node(id).name(), self.node(primary).name()),
        );
        self.node_mut(id).rejoin = Rejoin::Following { paused };
        let address = self.node(primary).peer();
        self.ask(id, Step::Follow { primary: address, kick: paused }, FOLLOW);
    }

    /// The outcome of a step of rejoining.
    pub(super) fn rejoined(&mut self, id: NodeId, kind: Kind, outcome: &Outcome) {
        let rejoin = self.node(id).rejoin.clone();
        let next = match (rejoin, kind, outcome) {
            (Rejoin::Pausing, Kind::Pause, Outcome::Done(_)) => {
                let Some(primary) = self.group.primary.filter(|primary| *primary != id) else {
                    return self.set_idle(id, AGAIN);
                };
                match self.diverged(id, primary) {
                    Some(divergence) => {
                        let part = divergence.clone();
                        let (node, within) = (id, CAPTURE);
                        let id = self.expect(Some(node), Kind::Capture, within);
                        self.queue.push_back(Action::Capture { id, node, part, within });
                        Rejoin::Capturing(divergence)
                    }
                    None => return self.order_follow(id, primary, true),
                }
            }
            (Rejoin::Capturing(divergence), Kind::Capture, outcome) => {
                self.tell_divergence(id, &divergence, outcome);
                match self.group.primary.filter(|primary| *primary != id) {
                    Some(primary) => return self.order_follow(id, primary, true),
                    None => return self.set_idle(id, AGAIN),
                }
            }
            (Rejoin::Following { paused: true }, Kind::Follow, Outcome::Done(_)) => {
                self.ask(id, Step::Unpause, FOLLOW);
                Rejoin::Unpausing
            }
            (Rejoin::Following { paused: false }, Kind::Follow, Outcome::Done(_))
            | (Rejoin::Unpausing, Kind::Unpause, Outcome::Done(_)) => {
                Rejoin::Idle { not_before: self.now + SETTLE }
            }
            (Rejoin::Pausing, Kind::Pause, failed)
            | (Rejoin::Following { .. }, Kind::Follow, failed)
            | (Rejoin::Unpausing, Kind::Unpause, failed) => {
                self.tell(
                    Level::Warn,
                    format!("{} does not rejoin yet: {}", self.node(id).name(), words(failed)),
                );
                Rejoin::Idle { not_before: self.now + AGAIN }
            }
            (same, _, _) => same,
        };
        self.node_mut(id).rejoin = next;
    }

    fn set_idle(&mut self, id: NodeId, pause: Duration) {
        let not_before: Instant = self.now + pause;
        self.node_mut(id).rejoin = Rejoin::Idle { not_before };
    }

    /// What only the old primary has; `None`, and told, when it is nothing or cannot be known.
    fn diverged(&mut self, old: NodeId, primary: NodeId) -> Option<Divergence> {
        let (facts, led) = (self.node(old).facts.as_ref()?, self.node(primary).facts.as_ref()?);
        let divergence = Divergence::between(facts, led, self.group.epoch);
        let name = self.node(old).name();
        if divergence.is_none() && facts.keys == 0 {
            self.tell(Level::Info, format!("{name} calls itself a primary and holds nothing"));
            return None;
        }
        let restarted = self.node(old).in_sync.as_ref().is_some_and(|run_id| *run_id != facts.run_id);
        let (level, text) = match divergence {
            Some(divergence) if divergence.bytes() > 0 => return Some(divergence),
            Some(_) => (Level::Info, "all of its history was replicated"),
            None if restarted => (Level::Warn, "it restarted, so what it held alone is unknown and given up"),
            None => (
                Level::Warn,
                "its history is not the one that was continued, so what it held alone is unknown and given up",
            ),
        };
        self.tell_after(level, format!("{name} returns as a primary of an older epoch: {text}"));
        None
    }

    fn tell_divergence(&mut self, old: NodeId, divergence: &Divergence, outcome: &Outcome) {
        let captured = match outcome {
            Outcome::Captured(captured) => captured.clone(),
            failed => Captured::Unread(words(failed)),
        };
        let (name, text) = (self.node(old).name(), captured.words(divergence.bytes()));
        let level = match captured {
            Captured::Read { commands: 0, .. } => Level::Info,
            Captured::Read { .. } | Captured::Unread(_) => Level::Warn,
        };
        self.tell_after(level, format!("{name} returns as a primary of an older epoch: {text}"));
    }

    /// Settings that make replication notice silence sooner; at run time only, once per start of the node.
    fn tune(&mut self, id: NodeId) {
        let Some(run_id) =
            self.node(id).answered().filter(|facts| !facts.loading).map(|facts| facts.run_id.clone())
        else {
            return;
        };
        if self.node(id).tuned.as_ref() == Some(&run_id) || self.is_out(id, Kind::Tune) {
            return;
        }
        self.node_mut(id).tuned = Some(run_id);
        let timeout = self.settings.busy_timeout.as_secs().max(REPL_TIMEOUT_MIN).to_string();
        let pairs = [("repl-ping-replica-period", "1"), ("repl-timeout", timeout.as_str())];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        self.ask(id, Step::Tune(pairs), FOLLOW);
    }
}

fn said(node: &Node) -> String {
    node.says().split_once(' ').map_or_else(String::new, |(_, said)| said.to_owned())
}
