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
    /// SELECT with its argument, `None` when it is no number.
    Select(Option<u32>),
    /// One of the SCAN family: its reply carries a cursor.
    Scan,
    /// As `Scan`; its cursor is of this earlier epoch, and it is sent so that the server refuses the cursor.
    Stale(u64),
    /// Leaves some other state on the connection that executes it.
    Stateful,
    /// Anything else.
    Other,
}

impl Word {
    /// Of a request with this row, whose first argument behind the name is `argument`.
    #[must_use]
    pub fn of(spec: &Spec, argument: Option<&[u8]>) -> Self {
        match (spec.name, spec.lane) {
            ("multi", _) => Self::Multi,
            ("exec", _) => Self::Exec,
            ("discard", _) => Self::Discard,
            ("watch", _) => Self::Watch,
            ("unwatch", _) => Self::Unwatch,
            ("reset", _) => Self::Reset,
            ("select", _) => {
                Self::Select(argument.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()))
            }
            (_, Lane::Scan) => Self::Scan,
            (
                _,
                Lane::Session
                | Lane::Subscribe
                | Lane::Monitor
                | Lane::Tracking
                | Lane::ReplyMode
                | Lane::Own,
            ) => Self::Stateful,
            _ => Self::Other,
        }
    }
}
