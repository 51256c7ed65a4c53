//! What every node has to have and replication does not carry: users, settings, scripts. Start at `task.rs`.
//!
//! A change that a client made on the primary goes to the other nodes in the order in which it was accepted
//! (`courier.rs`); who missed one is known by [`keeper`], which decides and does nothing.

mod change;
mod courier;
mod handle;
mod keeper;
mod report;
mod task;

pub use handle::Parity;
pub(super) use handle::parity;
pub use report::{NodeParity, ParityReport};
pub(super) use task::{Ends, run};
