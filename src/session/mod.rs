//! What one client may do next. Pure.
//!
//! [`Transaction`] and [`Subscriptions`] keep the two kinds of state that a client has on a connection of its own and
//! that must outlive that connection. [`Greeting`] is what it has said about itself, [`ClientRow`] and its company what
//! CLIENT LIST, KILL and UNBLOCK are about.

mod clients;
mod frame;
mod greeting;
mod listing;
mod refusal;
mod subscriptions;
mod transaction;

pub use clients::{ClientFlags, ClientKind, ClientRow, Filter, Kill, ListFilter, Unblock};
pub use greeting::{Greeting, Hello, Login, Replayed, Secret, parse_db, rewrite_hello};
pub use listing::Listing;
pub use refusal::Refusal;
pub use subscriptions::{Again, Frame, Kind, Subscriptions, Verb};
pub use transaction::{COPY_MAX, Executed, Fate, Recovery, Send, Step, Transaction, Word};
