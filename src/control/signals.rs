//! What the data path wants the failover machine to know at once, from any thread.

use tokio::sync::mpsc;

use crate::failover::Signal;
use crate::topology::NodeId;

/// More signals than these never wait; further ones are dropped, since each only hastens what the monitor's next
/// look finds anyway.
const WAITING_MAX: usize = 256;

/// Raises signals. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Signals {
    sender: mpsc::Sender<(NodeId, Signal)>,
}

/// Makes the pair.
pub(super) fn signals() -> (Signals, mpsc::Receiver<(NodeId, Signal)>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Signals { sender }, receiver)
}

impl Signals {
    /// `node` refused a request for what it is or how it is (READONLY, LOADING, MASTERDOWN, MISCONF); `text` is its
    /// own. A hint: it may get lost when many are raised at once.
    pub fn refused(&self, node: NodeId, text: String) {
        let _ = self.sender.try_send((node, Signal::Refused(text)));
    }

    /// A request to `node` waits for longer than usual. A hint as well.
    pub fn late(&self, node: NodeId) {
        let _ = self.sender.try_send((node, Signal::Late));
    }
}
