//! What the machine tells people about itself: plain values, made on demand.

use std::time::{Duration, Instant};

use crate::topology::{Address, NodeId, Role, Toll};

use super::Note;

/// Everything the machine knows, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Name of the present state in lower case.
    pub phase: &'static str,
    /// Number of the last decision; 0: none was ever made.
    pub epoch: u64,
    /// Who leads by the last decision.
    pub primary: Option<NodeId>,
    /// Since when writes are held, and why, one sentence; `None`: they go.
    pub held: Option<(Instant, String)>,
    /// Replicas have been away for `durability.degrade_after`: writes wait for none.
    pub degraded: bool,
    /// Failovers that may follow at once before the brake holds.
    pub tokens: u32,
    /// The other brain that was heard; with one the machine only observes.
    pub other_brain: Option<String>,
    /// Another process has taken over from this one, which only observes.
    pub yielded: bool,
    /// Every declared node, by [`NodeId`].
    pub nodes: Vec<NodeStatus>,
    /// The last episodes, oldest first; the last one may still go on.
    pub episodes: Vec<Episode>,
}

/// One node as the machine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Who it is.
    pub node: NodeId,
    /// What it last said it is; `None` until it answered once.
    pub role: Option<Role>,
    /// The last look was answered with INFO.
    pub up: bool,
    /// Time since the last byte on any connection.
    pub silent_for: Duration,
    /// May answer reads as a replica.
    pub readable: bool,
    /// Bytes behind the primary's last known offset; replicas of the same history only.
    pub lag_bytes: Option<u64>,
    /// How old its data may be: zero when it has all that was seen of the primary; `None` when it cannot be told.
    pub staleness: Option<Duration>,
    /// Where the other nodes reach it, declared, learned or (without evidence) as the proxy does.
    pub peer_address: Address,
    /// Its PING takes many times as long as it used to, while another node's does not; `None`: not known.
    pub slow: Option<bool>,
    /// Why it would not be promoted now; `None`: it is a candidate, or the primary itself.
    pub ineligible: Option<String>,
    /// What is wrong with it, or being done to it; `None`: nothing.
    pub remark: Option<String>,
}

/// A stretch of trouble or of ordered change, from its first sign to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// When it began.
    pub began: Instant,
    /// When it was over; `None`: it goes on.
    pub ended: Option<Instant>,
    /// It began with an order.
    pub ordered: bool,
    /// Epoch and primary at its beginning.
    pub before: (u64, Option<NodeId>),
    /// Epoch and primary at its end, or at present.
    pub after: (u64, Option<NodeId>),
    /// For how long writes were held in it, so far.
    pub held: Duration,
    /// Time in each phase that took any, so far, by the one that was entered first.
    pub phases: Vec<(&'static str, Duration)>,
    /// What it cost clients. The machine does not know: whoever asks for its status fills it in.
    pub toll: Toll,
    /// What happened, in order, at most [`NOTES_MAX`]; when more happened the middle is left out.
    pub notes: Vec<Note>,
}

/// Episodes kept.
pub const EPISODES_MAX: usize = 16;

/// Notes kept of one episode.
pub const NOTES_MAX: usize = 64;
