//! The door for what nodes accepted from clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::topology::NodeId;

/// Changes that wait for the control thread. One more waits for room, within [`PATIENCE`]; then all nodes but the one that
/// accepted it count as having missed it.
const WAITING_MAX: usize = 256;

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

/// Brings what every node has to have to the others. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Parity {
    changes: mpsc::Sender<Accepted>,
    missed: Arc<AtomicBool>,
}

/// What the task takes from.
#[derive(Debug)]
pub(in crate::control) struct Doors {
    pub(super) changes: mpsc::Receiver<Accepted>,
    /// A change found no room.
    pub(super) missed: Arc<AtomicBool>,
}

/// Makes the pair.
pub(in crate::control) fn parity() -> (Parity, Doors) {
    let (sender, changes) = mpsc::channel(WAITING_MAX);
    let missed = Arc::new(AtomicBool::new(false));
    (Parity { changes: sender, missed: missed.clone() }, Doors { changes, missed })
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
}
