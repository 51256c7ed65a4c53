//! Why a client has a connection of its own, and what that means for it. Pure.

use crate::command::{Class, Lane, RowId};
use crate::resp::Request;

/// What moves the replication offset on the connection that WAIT will be asked on, so that WAIT speaks of the
/// client's own earlier writes, which went over other connections.
pub(super) const BARRIER: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n$18\r\n__redhold:barrier\r\n$0\r\n\r\n";

/// See the module's text.
#[derive(Debug)]
pub(super) enum Purpose {
    /// One request; the connection may be used again afterwards when `clean`.
    One {
        /// The request leaves nothing behind.
        clean: bool,
    },
    /// May block.
    Blocking {
        /// Which command.
        row: RowId,
    },
    /// WAIT or WAITAOF.
    Wait {
        /// WAITAOF answers with two numbers.
        aof: bool,
    },
    /// A request that is streamed.
    Large,
    /// Whatever is sent belongs here until the client leaves or resets: subscriptions, MONITOR, TRACKING, reply
    /// modes.
    Standing,
}

/// What becomes of the connection when nothing is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It is given back for others.
    Returns,
    /// It is closed.
    Closes,
    /// The client keeps it.
    Stays,
}

impl Purpose {
    pub(super) fn of(class: &Class, request: &Request<'_>) -> Self {
        match class.lane {
            Lane::Blocking => Self::Blocking { row: class.row },
            Lane::Wait => Self::Wait { aof: request.name().len() > 4 },
            Lane::Transaction | Lane::Subscribe | Lane::Monitor | Lane::Tracking | Lane::ReplyMode => {
                Self::Standing
            }
            Lane::Shared | Lane::Scan => Self::One { clean: true },
            Lane::Session | Lane::Clients | Lane::Own | Lane::Owned | Lane::Proxy => {
                Self::One { clean: false }
            }
        }
    }

    /// Further requests of the client go there too.
    pub(super) fn takes_more(&self) -> bool {
        matches!(self, Self::Standing)
    }

    /// Ends the purpose instead of being sent.
    pub(super) fn is_left_by(&self, name: &[u8]) -> bool {
        matches!(self, Self::Standing)
            && (name.eq_ignore_ascii_case(b"reset") || name.eq_ignore_ascii_case(b"quit"))
    }

    /// Replies that this request will get.
    pub(super) fn replies_to(&self, class: &Class, request: &Request<'_>) -> u32 {
        match class.lane {
            Lane::Subscribe => u32::try_from(request.len().max(2) - 1).unwrap_or(u32::MAX),
            _ => 1,
        }
    }

    pub(super) fn after(&self) -> After {
        match self {
            Self::One { clean: true } | Self::Blocking { .. } | Self::Wait { .. } => After::Returns,
            Self::One { clean: false } | Self::Large => After::Closes,
            Self::Standing => After::Stays,
        }
    }
}
