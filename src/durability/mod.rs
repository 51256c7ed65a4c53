//! When a write counts as safe: barriers on the replication stream, and which replies wait for one. Pure.
//!
//! A barrier lies behind every write that the primary executed before it. So one barrier at a time is enough for all the
//! clients of a worker: replies that come while one is on its way wait for the next.

mod barriers;
mod question;
mod settings;
mod withheld;

pub use barriers::Barriers;
pub use settings::{Level, Settings};
pub use withheld::{Ticket, Withheld};
