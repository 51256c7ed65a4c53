//! What the rest of the process holds of the control thread.

use crate::routing::Routes;
use crate::topology::Orders;

use super::{Declarations, Parity, Signals, StatusReader};

/// The doors of the control thread. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Places orders.
    pub orders: Orders,
    /// Reads what is known of the group.
    pub status: StatusReader,
    /// Reads where requests go.
    pub routes: Routes,
    /// Tells what the data path saw.
    pub signals: Signals,
    /// Takes what every node has to have.
    pub parity: Parity,
    /// Takes which nodes there are to be.
    pub declarations: Declarations,
}
