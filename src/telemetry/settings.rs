//! `[log]` as used.

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `log.level`: error, warn, info, debug, trace.
    pub level: String,
    /// `log.format`
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}
