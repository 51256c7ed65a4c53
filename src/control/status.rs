//! What the control thread shows: one immutable snapshot, replaced whole, read by admin and by `PROXY STATUS`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::failover::{self, Captured, SettingChanged};
use crate::topology::{Address, NodeId, OfNode, Replication, find};

use super::ParityReport;
use super::record::Unwritten;

/// Everything that is known about the group at one moment: what the failover machine makes of it, and beside it
/// what only the monitor and the actuator know.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// When the snapshot was made.
    pub at: Instant,
    /// The same moment by the wall clock.
    pub at_wall: SystemTime,
    /// What the machine says: phase, epoch, primary, hold, episodes, and its view of each node.
    pub machine: failover::Status,
    /// What was last seen of each declared node, in the order of ids.
    pub nodes: Vec<NodeFacts>,
    /// Where those who are no longer declared were, as long as their ids are nobody else's.
    pub gone: BTreeMap<NodeId, Address>,
    /// Settings that the proxy changed on nodes at run time and has not yet put back.
    pub settings_changed: Vec<SettingChanged>,
    /// Other brains heard since the start (Sentinels, other proxies); not empty: this proxy only observes.
    pub other_brains: Vec<String>,
    /// What old primaries alone had, since the start.
    pub quarantined: Quarantined,
    /// Who has what every node has to have.
    pub parity: Arc<ParityReport>,
    /// In what names of several nodes are not followed, one sentence each.
    pub moved: Arc<[String]>,
}

/// Bytes of commands that only old primaries had, pings and the like not counted, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// Kept in `failover.state_dir`.
    pub kept_bytes: u64,
    /// Read, and given up for want of a directory, or of room in it.
    pub given_up_bytes: u64,
}

impl Quarantined {
    pub(super) fn add(&mut self, captured: &Captured) {
        match captured {
            Captured::Read { bytes, kept: Ok(_), .. } => self.kept_bytes += bytes,
            Captured::Read { bytes, kept: Err(_), .. } => self.given_up_bytes += bytes,
            Captured::Unread(_) => {}
        }
    }
}

impl Status {
    /// Where a node is, or was.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<&Address> {
        find(&self.nodes, node).map(|known| &known.address).or_else(|| self.gone.get(&node))
    }

    /// An instant of this status (an episode's beginning) by the wall clock.
    #[must_use]
    pub fn wall(&self, instant: Instant) -> SystemTime {
        let before = self.at.saturating_duration_since(instant);
        let after = instant.saturating_duration_since(self.at);
        self.at_wall.checked_sub(before).unwrap_or(SystemTime::UNIX_EPOCH) + after
    }
}

/// What was last seen of a node, whatever the machine makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Who it is.
    pub id: NodeId,
    /// Where the proxy reaches it.
    pub address: Address,
    /// `zone` as declared.
    pub zone: String,
    /// Its last INFO; `None` until it answered once.
    pub facts: Option<Arc<Replication>>,
    /// When that INFO arrived.
    pub seen: Option<Instant>,
    /// Time from PING to PONG at that look.
    pub ping: Option<Duration>,
    /// Why the last look failed; `None` when it did not.
    pub error: Option<String>,
}

impl OfNode for NodeFacts {
    fn node(&self) -> NodeId {
        self.id
    }
}

/// Reads the present snapshot. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct StatusReader {
    pub(super) snapshots: watch::Receiver<Arc<Status>>,
    pub(super) unwritten: Unwritten,
}

impl StatusReader {
    /// The snapshot as of now, or the last one when the control thread ended.
    #[must_use]
    pub fn load(&self) -> Arc<Status> {
        self.snapshots.borrow().clone()
    }

    /// Why the last record of decisions could not be written, one sentence; `None`: it could, or none is kept.
    #[must_use]
    pub fn record_unwritten(&self) -> Option<String> {
        self.unwritten.reason()
    }

    /// Waits for a snapshot newer than the last one that this reader waited for; false when the control thread
    /// ended.
    pub async fn changed(&mut self) -> bool {
        self.snapshots.changed().await.is_ok()
    }
}

impl From<watch::Receiver<Arc<Status>>> for StatusReader {
    fn from(snapshots: watch::Receiver<Arc<Status>>) -> Self {
        Self { snapshots, unwritten: Unwritten::default() }
    }
}
