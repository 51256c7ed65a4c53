//! What the machine asks for. Each action is idempotent and answered by one [`Outcome`](super::Outcome) or by
//! its deadline.

use std::time::Duration;

use crate::topology::{Address, NodeId, Remedy};

use super::Divergence;

/// Ties an outcome to its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

/// Ties an answer to its order; given by whoever passes the order on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// Something to do, now.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A step on one node; the shell answers with [`Event::Outcome`](super::Event::Outcome) within `within`.
    Step {
        /// Ties the outcome to it.
        id: ActionId,
        /// On whom.
        node: NodeId,
        /// What.
        step: Step,
        /// Deadline, after which the outcome is unknown.
        within: Duration,
    },
    /// Replace the routing table. The shell does it synchronously, before the next action.
    Publish(Verdict),
    /// Write the group's record to the state directory; answered by an outcome.
    Record {
        /// Ties the outcome to it.
        id: ActionId,
        /// The record, as the machine wants to find it again after a restart.
        record: Box<super::Record>,
    },
    /// Read what only this paused old primary has, as a replica would, and keep it; answered by an outcome.
    Capture {
        /// Ties the outcome to it.
        id: ActionId,
        /// Of whom.
        node: NodeId,
        /// Which part of its history.
        part: Divergence,
        /// Deadline.
        within: Duration,
    },
    /// Wait until no write is in flight on the present primary; answered by an outcome (planned switches only).
    Quiesce {
        /// Ties the outcome to it.
        id: ActionId,
        /// Deadline.
        within: Duration,
    },
    /// An order ended: what was reached, or why not, as one sentence for the person who gave it.
    Answer {
        /// Which.
        id: OrderId,
        /// How.
        result: Result<String, String>,
    },
    /// A line for the log and the timeline.
    Tell(super::Note),
}

/// A step on a node. Each ends by reading INFO again, whose facts come back with the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// PING and INFO on a fresh connection. Failed with the node's text when INFO was refused.
    Probe,
    /// `REPLICAOF 127.0.0.1 0`: keeps replid and offset, follows nobody.
    Seal,
    /// `REPLICAOF NO ONE`.
    Promote,
    /// ROLE, INFO and the write check `DEL __redhold:none` on a fresh connection.
    Verify,
    /// `REPLICAOF <address>`; the shell kills the node's ordinary client connections when `kick` is set.
    Follow {
        /// Whom, as the other nodes reach it.
        primary: Address,
        /// Close connections of clients (they would otherwise stay on a demoted node).
        kick: bool,
    },
    /// `CLIENT PAUSE <ms> WRITE`, then INFO.
    Pause(Duration),
    /// `CLIENT UNPAUSE`.
    Unpause,
    /// `CONFIG SET` of these pairs; what each was before is told by [`Event::Changed`](super::Event::Changed).
    Tune(Vec<(String, String)>),
    /// `CONFIG SET` of these pairs, which is what they were before [`Step::Tune`].
    Restore(Vec<(String, String)>),
}

/// The decision that a routing table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Number of the decision.
    pub epoch: u64,
    /// Who takes writes.
    pub primary: Option<NodeId>,
    /// Of whom the lists below speak, in this order, which is that of ids.
    pub nodes: Vec<NodeId>,
    /// Whether writes may go; `None` opens, else the outage's beginning.
    pub held_since: Option<std::time::Instant>,
    /// Which replicas may answer reads, by node; always false for the primary, which may whenever it is writable.
    pub readable: Vec<bool>,
    /// Whether what the primary refuses with MISCONF or NOREPLICAS is worth keeping back.
    pub remedy: Remedy,
    /// By node: grows when its connections must be given up.
    pub generations: Vec<u64>,
    /// By node: run_id of the process that is meant. The primary's is that which was decided on, whatever has been seen
    /// since; empty: not known.
    pub run_ids: Vec<String>,
    /// The primary has lacked replicas for `durability.degrade_after`: writes wait for none.
    pub degraded: bool,
}
