//! What a client changes that every node has to have: once the primary has accepted it, the other nodes are told.

use bytes::Bytes;

use crate::topology::NodeId;

use super::client::{ClientRef, Special};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::lane::PinnedLane;

impl Connection {
    /// A script or a function. EVAL's body is noted.
    pub(super) fn send_script(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let step = self.send_shared(dispatched);
        // Who was not let in says it in vain.
        let admitted = || self.client.lane.borrow().as_ref().is_some_and(|lane| lane.is_admitted());
        if step == Step::Taken && admitted() {
            self.worker.note_script(dispatched.class.row, &dispatched.request);
        }
        step
    }

    /// SCRIPT LOAD and FLUSH, whose replies are set apart.
    pub(super) fn change_scripts(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if self.client.owed.get() > 0 {
            return Step::Wait;
        }
        let step = self.send_shared(dispatched);
        let lane = self.client.lane.borrow().as_ref().map(|lane| lane.target().node);
        if let (Step::Taken, Some(node)) = (step, lane) {
            let request = dispatched.request.to_multibulk();
            self.client.special.replace(Some(Special::EveryNode(node, request)));
        }
        step
    }

    /// Whether the reply to the oldest request of a lane waits until the other nodes were told. Only where nothing can
    /// come behind it.
    pub(super) fn withholds(&self, lane: &PinnedLane, reply: &[u8]) -> bool {
        let Some(sent) = lane.sent.front().filter(|_| lane.purpose.is_one()) else { return false };
        sent.row.spec().parity && has_changed(reply)
    }

    /// The server has done what every node has to do.
    pub(super) fn spread_beside(&self, lane: &PinnedLane, request: &[u8]) {
        self.worker.control.parity.spread_beside(lane.target.node, Bytes::copy_from_slice(request));
    }
}

/// Whether a reply says that a change was made, not that it was refused or queued.
pub(super) fn has_changed(reply: &[u8]) -> bool {
    !reply.starts_with(b"-") && reply != b"+QUEUED\r\n"
}

impl ClientRef {
    /// The reply to a request that every node has to have; true when it is one and waits.
    pub(super) fn is_spread(&self, reply: &[u8]) -> bool {
        let special = &self.special;
        let taken = special.borrow_mut().take_if(|special| matches!(special, Special::EveryNode(..)));
        let Some(Special::EveryNode(node, request)) = taken else { return false };
        if !has_changed(reply) {
            return false;
        }
        self.spread(node, request, Bytes::copy_from_slice(reply));
        true
    }

    /// Tells the other nodes, and then the client, who is served no further meanwhile: who changes something and asks a
    /// replica for it, or loses the primary the next moment, finds it changed.
    pub(super) fn spread(&self, node: NodeId, request: Bytes, reply: Bytes) {
        self.special.replace(Some(Special::Order));
        let client = self.clone();
        tokio::task::spawn_local(async move {
            client.worker.control.parity.spread(node, request).await;
            client.out.borrow_mut().extend_from_slice(&reply);
            client.special.replace(None);
            client.wake();
        });
    }
}
