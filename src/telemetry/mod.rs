//! Metrics and logs. The only folder that names `prometheus`.

mod settings;

pub use settings::{Format, Settings};
