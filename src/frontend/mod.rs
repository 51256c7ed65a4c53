//! Sockets that face clients.

mod settings;

pub use settings::{Listen, Settings};
