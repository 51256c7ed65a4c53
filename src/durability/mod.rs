//! When a write counts as safe: barriers on the replication stream, and which replies wait for one. Pure.
//!
//! A barrier lies behind every write that the primary executed before it. So one barrier at a time is enough for all the
//! clients of a worker: replies that come while one is on its way wait for the next.

mod barriers;
mod demand;
mod question;
mod rules;
mod settings;
mod withheld;

pub use barriers::Barriers;
pub use demand::{Demand, shows_data};
pub use question::Echo;
pub use rules::{RULES_MAX, Rule};
pub use settings::{Level, Settings};
pub use withheld::{Instead, Replaced, Ticket, Withheld};
