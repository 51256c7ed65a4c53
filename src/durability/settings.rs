//! `[durability]` as used.

use std::time::Duration;

use super::Rule;

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
    /// `durability.reads = "committed"`
    pub reads_wait: bool,
    /// `[[durability.rules]]`, at most [`RULES_MAX`](super::RULES_MAX), longer prefixes before shorter ones. Of their levels and
    /// `mode` at most one is not [`Level::Async`].
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        let (replicas, timeout) = (1, Duration::from_millis(200));
        Self { mode: Level::Async, replicas, timeout, reads_wait: false, rules: Vec::new() }
    }
}

impl Settings {
    /// Whether any write waits for anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.strictest() != Level::Async
    }
}
