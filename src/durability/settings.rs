//! `[durability]` as used.

use std::time::Duration;

/// What a write waits for before its client hears of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Async,
    /// Replicas have applied it.
    SemiSync,
    /// It is on the primary's disk.
    AofLocal,
    /// … and on replicas'.
    AofReplicas,
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `durability.mode`
    pub mode: Level,
    /// `durability.replicas`
    pub replicas: u32,
    /// `durability.timeout`
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mode: Level::Async, replicas: 1, timeout: Duration::from_millis(200) }
    }
}

impl Settings {
    /// Whether any write waits for anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.mode != Level::Async
    }
}
