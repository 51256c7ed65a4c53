//! How people read a row: docs/commands.md and PROXY ROUTE say it in the same words.

use super::{Effect, Lane, Retry, Rule, Spec};

impl Lane {
    /// Where requests go.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Shared | Self::Pubsub | Self::ScriptCache => "shared",
            Self::Script => "shared: scripts",
            Self::Scan => "cursor",
            Self::Session => "session",
            Self::Clients => "client table",
            Self::Transaction => "pinned: transaction",
            Self::Blocking => "pinned: blocking",
            Self::Threaded => "pinned: threads",
            Self::Wait => "pinned: wait",
            Self::Subscribe => "own: subscription",
            Self::Monitor => "own: monitor",
            Self::Tracking => "own: tracking",
            Self::ReplyMode => "own: mode",
            Self::Own => "own",
            Self::Owned => "owned",
            Self::Proxy => "Redhold",
        }
    }
}

impl Retry {
    /// What happens when the connection is lost after the request was sent.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Read => "again",
            Self::Idempotent => "if configured",
            Self::Never => "ambiguous",
            Self::Parked => "waits again",
        }
    }
}

impl Spec {
    /// The same of a row, with what its arguments make of it.
    #[must_use]
    pub fn retry_words(&self) -> String {
        let plain = self.retry.words();
        let otherwise = match self.rule {
            Rule::Fixed | Rule::Settings | Rule::Reserved | Rule::Redirect => return plain.to_owned(),
            Rule::Set | Rule::Pairs => "ambiguous with a condition or GET",
            Rule::At(_) => "ambiguous with a condition or a time before 2026",
            Rule::Block if self.effect == Effect::Read => "without BLOCK: shared, again",
            Rule::Block => "without BLOCK: shared, ambiguous",
            Rule::Store => "again without STORE",
            Rule::Alone => "again without options",
        };
        format!("{plain}; {otherwise}")
    }
}
