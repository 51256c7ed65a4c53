//! Who should lead. Decides, never acts: no clock, socket, task, lock, metric or dice.
//!
//! The driver calls [`Machine::handle`] with an event and now, drains [`Machine::next_action`] until it is
//! empty, and calls again no later than [`Machine::next_deadline`].

mod action;
mod budget;
mod candidate;
mod capture;
mod declare;
mod detect;
mod discover;
mod episode;
mod event;
mod invariants;
mod machine;
mod node;
mod phase;
mod promote;
mod quorum;
mod record;
mod rejoin;
mod remedy;
mod report;
mod settings;
mod sight;
mod slow;
mod state;
mod status;
mod switchover;
mod tuning;
mod verdict;

pub use crate::topology::Order;
pub use action::{Action, ActionId, OrderId, Step, Verdict};
pub use capture::{Captured, Divergence};
pub use event::{Changes, Event, Outcome, SettingChanged, Signal};
pub use machine::Machine;
pub use phase::Phase;
pub use quorum::required;
pub use record::{Borrowed, Intent, Level, Note, Record};
pub use settings::{Durability, EmptyPrimary, InFlight, Mode, OnNoQuorum, Settings, SlowPrimary};
pub use status::{EPISODES_MAX, Episode, NOTES_MAX, NodeStatus, Status};
