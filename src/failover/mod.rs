//! Who should lead. Decides, never acts: no clock, socket, task, lock, metric or dice.
//!
//! The driver calls `Machine::handle` with an event and now, drains `next_action` until it is
//! empty, and calls again no later than `next_deadline`.

mod action;
mod event;
mod record;
mod settings;
mod status;

pub use crate::topology::Order;
pub use action::{Action, ActionId, OrderId, Step, Verdict};
pub use event::{Event, Outcome, Signal};
pub use record::{Level, Note, Record};
pub use settings::{EmptyPrimary, InFlight, Mode, OnNoQuorum, Settings};
pub use status::{EPISODES_MAX, Episode, NOTES_MAX, NodeStatus, Status};
