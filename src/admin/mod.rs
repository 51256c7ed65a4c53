//! The admin endpoint: HTTP on a port and a thread of its own. Metrics, probes, status for people and programs,
//! and orders. It reads snapshots and places orders; it decides nothing.

mod details;
mod drain;
mod follow;
mod guard;
mod history;
mod orders;
mod page;
mod places;
mod refusals;
mod roles;
mod routes;
mod server;
mod settings;
mod status;
mod time;
mod token;

#[cfg(test)]
mod tests;

// For fuzz/: who reads what strangers send.
#[doc(hidden)]
pub use guard::is_local_name;

pub use details::{BigKeyBody, BigKeysBody, ClientBody, DetailsBody, HotKeyBody, HotKeysBody, SlowBody};
pub use drain::Drain;
pub use history::{History, HistoryBody};
pub use refusals::Refusals;
pub use roles::{Grant, ROLES_MAX, TokenRole, Tokens, WHOLE};
pub use routes::Doors;
pub use server::{Bound, Server, bind};
pub use settings::Settings;
pub use status::{
    EpisodeBody, HeldBody, LostBody, LostRequestBody, NodeBody, NoteBody, OrderBody, SettingBody, StatusBody,
    TollBody,
};
pub use token::TokenFile;
