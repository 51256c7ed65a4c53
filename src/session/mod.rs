//! What one client may do next. Pure.
//!
//! [`Transaction`] and [`Subscriptions`] keep the two kinds of state that a client has on a connection of its own and
//! that must outlive that connection.

mod frame;
mod subscriptions;
mod transaction;

pub use subscriptions::{
    Again, Frame, Kind, Subscriptions, Verb, allowed_while_subscribed, refusal_while_subscribed,
};
pub use transaction::{COPY_MAX, Executed, Fate, Recovery, Send, Step, Transaction, Word};
