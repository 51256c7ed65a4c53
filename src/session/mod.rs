//! What one client may do next. Pure.
//!
//! [`Standing`] keeps the state that a client has on a connection of its own and that must outlive that connection; it
//! consists of [`Modes`], [`Subscriptions`] and the [`Transaction`]. [`Names`] is what it has said about itself, [`ClientRow`] and its company what CLIENT LIST,
//! KILL and UNBLOCK are about. [`Hello`] reads HELLO, [`read_notices`] CLIENT MAINT_NOTIFICATIONS, [`Listing`] leaves what is Redhold's own
//! out of a reply to PUBSUB, and [`in_the_clients_words`] puts a refusal of what the proxy asked into the words of the client's request.

mod clients;
mod frame;
mod hello;
mod listing;
mod maintenance;
mod misuse;
mod modes;
mod names;
mod standing;
mod subscriptions;
mod transaction;
mod unknown;

pub use clients::{ClientFlags, ClientKind, ClientRow, Filter, Kill, ListFilter, Unblock};
pub use hello::{Hello, Proof, parse_db, rewrite_hello};
pub use listing::Listing;
pub use maintenance::{Notices, read_notices};
pub use misuse::Misuse;
pub use modes::{KEPT_MAX, Modes};
pub use names::Names;
pub use standing::{Anew, Send, Standing, Verdict};
pub use subscriptions::Subscriptions;
pub use transaction::{COPY_MAX, Executed, Fate, ROOM, Recovery, Transaction, Word};
pub use unknown::in_the_clients_words;
