//! What every node has to have and replication does not carry: users, settings, scripts. Start at `task.rs`.
//!
//! A change that a client made on the primary goes to the other nodes in the order in which it was accepted
//! (`courier.rs`). Every minute, and whenever somebody may have missed one, what each node has (`snapshot.rs`) is compared
//! with what the primary has (`compare.rs`); of the names that clients changed (`ledger.rs`) a node is brought what it
//! missed, and every other difference is told. `keeper.rs` decides all that and does nothing. Users of the proxy's own (`introductions.rs`) are
//! given to each node and not compared. Scripts (`scripts.rs`) are
//! brought to every node before anybody asks for them there.

mod change;
mod compare;
mod courier;
mod handle;
mod introductions;
mod keeper;
mod ledger;
mod report;
mod scripts;
mod shelves;
mod snapshot;
mod task;

pub(super) use compare::{Difference, compare, evicts_unseen};
pub use handle::Parity;
pub(super) use handle::parity;
pub use report::{NodeParity, ParityReport};
pub(super) use snapshot::{Snapshot, read};
pub(super) use task::{Ends, Warm, run};
