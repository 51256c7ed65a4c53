//! What a request is to a transaction.

use crate::command::{Lane, Spec};

/// What a request is to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH
    Watch,
    /// UNWATCH
    Unwatch,
    /// RESET
    Reset,
    /// One of the SCAN family: its reply carries a cursor.
    Scan,
    /// As `Scan`; its cursor is of this earlier epoch, and it is sent so that the server refuses the cursor.
    Stale(u64),
    /// This row of PUBSUB: its reply speaks of what only Redhold listens to.
    Listed(&'static str),
    /// Leaves state on the connection that executes it.
    Stateful,
    /// Its effect goes beyond the connection: every node has to have it, or others' requests wait because of it.
    Beyond,
    /// Nobody knows what it leaves there.
    Unknown,
    /// Anything else.
    Other,
}

impl Word {
    /// Of a request with this row.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        match (spec.name, spec.lane) {
            ("multi", _) => Self::Multi,
            ("exec", _) => Self::Exec,
            ("discard", _) => Self::Discard,
            ("watch", _) => Self::Watch,
            ("unwatch", _) => Self::Unwatch,
            ("reset", _) => Self::Reset,
            (_, Lane::Scan) => Self::Scan,
            (name, Lane::Pubsub) => Self::Listed(name),
            (_, Lane::Own | Lane::ScriptCache) if spec.parity => Self::Beyond,
            ("client|pause" | "client|unpause" | "config|resetstat", _) => Self::Beyond,
            (_, Lane::Session | Lane::Subscribe | Lane::Monitor | Lane::Tracking | Lane::ReplyMode) => {
                Self::Stateful
            }
            (_, Lane::Own) => Self::Unknown,
            _ => Self::Other,
        }
    }
}
