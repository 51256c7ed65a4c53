//! Why a client has a connection of its own, and what is kept of a request on it until its reply comes. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::backend::Busy;
use crate::command::{Class, Lane, RowId};
use crate::durability::Demand;
use crate::resp::Request;

use super::client_command::Local;
use super::wait_lane::{self, Wait};

/// What ends a script that runs, and what tells of it.
const SERVED_WHILE_BUSY: [&str; 3] = ["script|kill", "function|kill", "function|stats"];

/// What changes its connection, or may, or has it closed.
const LEAVES_STATE: [&str; 11] = [
    "unknown",
    "debug",
    "json.debug",
    "script|debug",
    "asking",
    "restore-asking",
    "readonly",
    "readwrite",
    "post",
    "host:",
    "module",
];

/// See the module's text.
#[derive(Debug)]
pub(super) enum Purpose {
    /// One request; the connection may be used again afterwards when `clean`.
    One {
        /// The request leaves nothing behind.
        clean: bool,
    },
    /// SCRIPT KILL, FUNCTION KILL or FUNCTION STATS: a node that is busy with a script serves these, and hardly anything else.
    Overseer,
    /// May block.
    Blocking,
    /// WAIT or WAITAOF.
    Wait(Wait),
    /// A request that is streamed.
    Large,
    /// For what stands on the connection as long as it stands; see [`Standing`](crate::session::Standing).
    Standing,
}

impl Purpose {
    /// Of the request that pins.
    pub(super) fn of(class: &Class, request: &Request<'_>) -> Self {
        match class.lane {
            Lane::Blocking => Self::Blocking,
            Lane::Wait if request.raw().len() > wait_lane::REQUEST_MAX => Self::One { clean: true },
            Lane::Wait => Self::Wait(Wait::new(request.name().len() > 4)),
            Lane::Transaction | Lane::Subscribe | Lane::Monitor | Lane::Tracking | Lane::ReplyMode => {
                Self::Standing
            }
            Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Script | Lane::ScriptCache | Lane::Threaded => {
                Self::One { clean: true }
            }
            Lane::Own if SERVED_WHILE_BUSY.contains(&class.row.spec().name) => Self::Overseer,
            Lane::Own => Self::One { clean: !LEAVES_STATE.contains(&class.row.spec().name) },
            Lane::Session | Lane::Clients | Lane::Owned | Lane::Proxy => Self::One { clean: false },
        }
    }

    /// What becomes of the request that the connection is opened for when its node is busy with a script.
    pub(super) fn when_busy(&self) -> Busy {
        if matches!(self, Self::Overseer) { Busy::Passes } else { Busy::Refuses }
    }

    /// It is there for one request alone.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One { .. } | Self::Overseer)
    }

    /// It is there for what stands, and further requests of the client go there too.
    pub(super) fn is_standing(&self) -> bool {
        matches!(self, Self::Standing)
    }
}

/// What becomes of a connection when nothing is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It is given back for others.
    Returns,
    /// It is closed.
    Closes,
    /// The client keeps it.
    Stays,
}

/// A request on a lane that was not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// In multibulk form; empty when it was too large to be kept.
    pub(super) request: Bytes,
    /// How many bytes were to be written on the lane with it and before it.
    pub(super) end: u64,
    pub(super) since: Instant,
    /// Microseconds that it waited before.
    pub(super) waited: u32,
    pub(super) row: RowId,
    pub(super) resent: bool,
    /// It counts as a write in flight.
    pub(super) writes: bool,
    /// What its reply waits for.
    pub(super) demand: Demand,
    /// Unless the reply is an error, the proxy does this in place of the server.
    pub(super) local: Option<Box<Local>>,
}

impl Sent {
    pub(super) fn new(request: Bytes, row: RowId, since: Instant) -> Self {
        Self {
            request,
            end: 0,
            since,
            waited: 0,
            row,
            resent: false,
            writes: false,
            demand: Demand::NONE,
            local: None,
        }
    }

    /// Its reply decides who the client is.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(self.local.as_deref(), Some(Local::Session))
    }
}
