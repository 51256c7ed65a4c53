//! Sockets that face Redis. Knows nothing of clients.

mod settings;

pub use settings::Settings;
