//! What the control plane's snapshots tell: few writes, so a lock will do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::buckets::Histogram;

/// What a node last said it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeRole {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Primary.
    Primary,
    /// Replica.
    Replica,
}

impl NodeRole {
    pub(super) const ALL: [(Self, &'static str); 3] =
        [(Self::Primary, "primary"), (Self::Replica, "replica"), (Self::Unknown, "unknown")];
}

/// One node at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// The last look was answered.
    pub up: bool,
    /// What it last said it is.
    pub role: NodeRole,
    /// Bytes behind the primary; `None`: unknown.
    pub lag_bytes: Option<u64>,
    /// How old its data may be; `None`: unknown.
    pub staleness: Option<Duration>,
    /// It is slow while another is not; `None`: unknown.
    pub slow: Option<bool>,
    /// It has what every node has to have; `None`: unknown.
    pub in_parity: Option<bool>,
}

/// An ended episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// It began with an order.
    pub ordered: bool,
    /// The primary was changed.
    pub changed: bool,
    /// From its first sign to its end.
    pub total: Duration,
    /// Time spent in each phase, by the machine's own name of it.
    pub phases: Vec<(&'static str, Duration)>,
}

/// More names of phases than these are not the machine's; further ones are left out.
const PHASES_MAX: usize = 32;

/// What is shown of one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its address.
    pub(super) name: String,
    pub(super) view: NodeView,
    pub(super) ping: Histogram,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) epoch: u64,
    pub(super) degraded: bool,
    /// Requests wait, writes are refused.
    pub(super) restraint: (bool, bool),
    /// By section, when the first certificate that is shown expires.
    pub(super) expiries: [(&'static str, Option<u64>); 3],
    /// By id.
    pub(super) nodes: BTreeMap<u16, Node>,
    /// By ordered and changed.
    pub(super) episodes: [[u64; 2]; 2],
    pub(super) phases: BTreeMap<&'static str, Histogram>,
    /// Kept, given up.
    pub(super) quarantined: [u64; 2],
}

impl Group {
    /// See [`Metrics::declare`](super::Metrics::declare).
    pub(super) fn declare(&mut self, nodes: impl Iterator<Item = (u16, String)>) {
        let mut before = std::mem::take(&mut self.nodes);
        let known = |(id, name): (u16, String)| {
            let stays = before.remove(&id).filter(|node| node.name == name);
            (id, stays.unwrap_or_else(|| Node { name, ..Node::default() }))
        };
        self.nodes = nodes.map(known).collect();
    }

    pub(super) fn episode(&mut self, episode: &Episode) {
        self.episodes[usize::from(episode.ordered)][usize::from(episode.changed)] += 1;
        if !episode.changed {
            return;
        }
        let total = ("total", episode.total);
        for (phase, spent) in episode.phases.iter().chain([&total]) {
            if self.phases.len() < PHASES_MAX || self.phases.contains_key(phase) {
                self.phases.entry(phase).or_default().add(micros(*spent), 1);
            }
        }
    }
}

/// Whole microseconds; anything longer than 584,542 years is not told apart.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
