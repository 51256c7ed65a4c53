//! The admin endpoint (HTTP).

mod settings;

pub use settings::Settings;
