//! Why a client has a connection of its own, and what is kept of a request on it until its reply comes. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::command::{Class, Lane, RowId};
use crate::durability::Demand;
use crate::resp::Request;

use super::client_command::Local;
use super::wait_lane::{self, Wait};

/// What ends a script that runs.
const KILLS: [&str; 2] = ["script|kill", "function|kill"];

/// See the module's text.
#[derive(Debug)]
pub(super) enum Purpose {
    /// One request; the connection may be used again afterwards when `clean`.
    One {
        /// The request leaves nothing behind.
        clean: bool,
    },
    /// SCRIPT KILL or FUNCTION KILL: a node that is busy with a script serves these, and hardly anything else.
    Kill,
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
            Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Script | Lane::Threaded => {
                Self::One { clean: true }
            }
            Lane::Own if KILLS.contains(&class.row.spec().name) => Self::Kill,
            Lane::Session | Lane::Clients | Lane::Own | Lane::Owned | Lane::Proxy => {
                Self::One { clean: false }
            }
        }
    }

    /// It is there for one request alone.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One { .. } | Self::Kill)
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
        Self { request, end: 0, since, row, resent: false, writes: false, demand: Demand::NONE, local: None }
    }

    /// Its reply decides who the client is.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(self.local.as_deref(), Some(Local::Session))
    }
}
