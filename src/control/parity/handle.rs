//! The door for what nodes accepted from clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::resp::RequestScanner;
use crate::topology::NodeId;

use super::scripts::{self, Digest};

/// Changes that wait for the control thread. One more waits for room, within [`PATIENCE`]; then all nodes but the one that
/// accepted it count as having missed it.
const WAITING_MAX: usize = 256;

/// Scripts that wait to be remembered. One more is passed on when it is said again.
const SIGHTINGS_MAX: usize = 1024;

/// A client waits so long for the other nodes to have its change: whoever creates a user and loses the primary the next
/// moment finds the user on the new one. Somebody who hangs delays nobody for longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// A change that a node accepted from a client.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The node.
    pub(super) by: NodeId,
    /// The request, in multibulk form.
    pub(super) request: Bytes,
    /// Dropped when every other node has answered or was found not to.
    pub(super) done: oneshot::Sender<()>,
}

/// What clients said of scripts.
#[derive(Debug)]
pub(super) enum Sighting {
    /// The body of one.
    Seen(Arc<[u8]>),
    /// A node does not know one, by the request that asked for it.
    Missing(NodeId, Digest),
}

/// Brings what every node has to have to the others. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Parity {
    changes: mpsc::Sender<Accepted>,
    missed: Arc<AtomicBool>,
    sightings: mpsc::Sender<Sighting>,
    flushes: Arc<AtomicU64>,
    remembers_scripts: bool,
}

/// What the task takes from.
#[derive(Debug)]
pub(in crate::control) struct Doors {
    pub(super) changes: mpsc::Receiver<Accepted>,
    /// A change found no room.
    pub(super) missed: Arc<AtomicBool>,
    pub(super) sightings: mpsc::Receiver<Sighting>,
    /// SCRIPT FLUSHes that were accepted.
    pub(super) flushes: Arc<AtomicU64>,
}

/// Makes the pair. Without `remembers_scripts` none is taken.
pub(in crate::control) fn parity(remembers_scripts: bool) -> (Parity, Doors) {
    let (sender, changes) = mpsc::channel(WAITING_MAX);
    let (sightings, seen) = mpsc::channel(SIGHTINGS_MAX);
    let missed = Arc::new(AtomicBool::new(false));
    let flushes = Arc::new(AtomicU64::new(0));
    let doors = Doors { changes, missed: missed.clone(), sightings: seen, flushes: flushes.clone() };
    (Parity { changes: sender, missed, sightings, flushes, remembers_scripts }, doors)
}

impl Parity {
    /// `by` accepted `request`, which the other nodes need too. Returns when they have answered, soon in any case.
    pub async fn spread(&self, by: NodeId, request: Bytes) {
        let Ok(Ok(room)) = tokio::time::timeout(PATIENCE, self.changes.reserve()).await else {
            self.missed.store(true, Ordering::Relaxed);
            return;
        };
        let (done, over) = oneshot::channel();
        room.send(Accepted { by, request, done });
        let _ = tokio::time::timeout(PATIENCE, over).await;
    }

    /// The same, for who can not wait.
    pub fn spread_beside(&self, by: NodeId, request: Bytes) {
        let accepted = Accepted { by, request, done: oneshot::channel().0 };
        if self.changes.try_send(accepted).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether scripts are remembered at all.
    #[must_use]
    pub fn remembers_scripts(&self) -> bool {
        self.remembers_scripts
    }

    /// How often scripts were forgotten by order of a client.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// A client has said a script's body. False when there is no room for it now.
    #[must_use]
    pub fn script_seen(&self, body: Arc<[u8]>) -> bool {
        self.sightings.try_send(Sighting::Seen(body)).is_ok()
    }

    /// `node` said that it does not know the script that `request` asks for. A hint: it may get lost.
    pub fn script_missing(&self, node: NodeId, request: &[u8]) {
        let asked = RequestScanner::of_kept(request);
        let asked = asked.as_ref().map(|scanner| scanner.request(request)).filter(|asked| asked.len() > 1);
        if let Some(digest) = asked.and_then(|asked| scripts::parse(asked.arg(1))) {
            let _ = self.sightings.try_send(Sighting::Missing(node, digest));
        }
    }
}
