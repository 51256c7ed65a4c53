//! Why a client has a connection of its own, and what that makes of each request and reply. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::command::{Class, Lane, RowId};
use crate::resp::{Proto, Request};
use crate::session::{self, Subscriptions, Transaction, Verb, Word};

use super::client_command::Local;
use super::cursor;
use super::registry::Held;
use super::wait_lane::{self, Wait};

/// See the module's text.
#[derive(Debug)]
pub(super) enum Purpose {
    /// One request; the connection may be used again afterwards when `clean`.
    One {
        /// The request leaves nothing behind.
        clean: bool,
    },
    /// May block.
    Blocking,
    /// WAIT or WAITAOF.
    Wait(Wait),
    /// A request that is streamed.
    Large,
    /// From the first WATCH or MULTI until the transaction is over.
    Transaction {
        transaction: Box<Transaction>,
        /// The connection is as any other afterwards.
        clean: bool,
    },
    /// While anything is subscribed.
    Subscribed(Box<Subscriptions>),
    /// What the client has asked of the connection stands there; see [`session::Modes`].
    Standing,
}

/// What a frame of the connection is to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The reply to the oldest owed request: handed on.
    Reply,
    /// Handed on; belongs to no request.
    Extra,
    /// Dropped; belongs to no request of the client.
    Drop,
    /// The client gets these bytes in place of the reply.
    Instead(Vec<u8>),
    /// EXEC's reply, after which the session's database is this one; in these elements are cursors, and in those refusals
    /// of cursors of other epochs.
    Executed(Option<u32>, Vec<usize>, Vec<(usize, u64)>),
    /// The node refused what it would have to execute as primary: the connection is given up.
    PlayAgain,
    /// What the client held can not be held here.
    Refused,
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
    /// Of the request that pins.
    pub(super) fn of(class: &Class, request: &Request<'_>) -> Self {
        match class.lane {
            Lane::Blocking => Self::Blocking,
            Lane::Wait if request.raw().len() > wait_lane::REQUEST_MAX => Self::One { clean: true },
            Lane::Wait => Self::Wait(Wait::new(request.name().len() > 4)),
            Lane::Transaction => Self::Transaction { transaction: Box::default(), clean: true },
            Lane::Subscribe => Self::Subscribed(Box::default()),
            Lane::Monitor | Lane::Tracking | Lane::ReplyMode => Self::Standing,
            Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Threaded => Self::One { clean: true },
            Lane::Session | Lane::Clients | Lane::Own | Lane::Owned | Lane::Proxy => {
                Self::One { clean: false }
            }
        }
    }

    /// It is there for one request alone.
    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One { .. })
    }

    /// Further requests of the client go there too.
    pub(super) fn takes_more(&self) -> bool {
        match self {
            Self::One { .. } | Self::Blocking | Self::Wait(_) | Self::Large => false,
            Self::Transaction { .. } | Self::Subscribed(_) | Self::Standing => true,
        }
    }

    /// Notes a request that is about to be sent. `None`: it must not be sent, and [`Self::unsent_answer`] has its reply
    /// once nothing is owed. `stale`: the epoch of its cursor, which is not the present one.
    pub(super) fn on_request(
        &mut self,
        class: &Class,
        request: &Request<'_>,
        bytes: &[u8],
        stale: Option<u64>,
    ) -> Option<()> {
        match self {
            Self::One { .. } | Self::Blocking | Self::Wait(_) | Self::Large | Self::Standing => Some(()),
            Self::Transaction { transaction, clean } => {
                let word = Word::of(class.row.spec(), (request.len() > 1).then(|| request.arg(1)));
                let word = stale.map_or(word, Word::Stale);
                *clean &= word != Word::Stateful || transaction.is_queueing();
                match transaction.on_request(word, bytes) {
                    session::Send::Forward => Some(()),
                    session::Send::Answer => None,
                }
            }
            Self::Subscribed(subscriptions) => {
                subscriptions.on_request(Verb::of(request.name()), request.args().skip(1));
                Some(())
            }
        }
    }

    /// The reply to a request that was not to be sent.
    pub(super) fn unsent_answer(&mut self, proto: Proto) -> Vec<u8> {
        match self {
            Self::Transaction { transaction, clean } => {
                *clean = false;
                transaction.exec_answer(proto)
            }
            _ => Vec::new(),
        }
    }

    /// Judges a frame, or the first piece of a large one (`whole` is false then).
    pub(super) fn on_frame(
        &mut self,
        kind: u8,
        frame: &[u8],
        whole: bool,
        proto: Proto,
        epoch: u64,
    ) -> Verdict {
        let push = kind == b'>';
        match self {
            // The words by which a frame is known stand in the first piece of a large one.
            Self::Subscribed(subscriptions) => match subscriptions.on_frame(frame) {
                session::Frame::Message | session::Frame::Confirmation => Verdict::Extra,
                session::Frame::Settled | session::Frame::Reply => Verdict::Reply,
                session::Frame::Swallow => Verdict::Drop,
                session::Frame::Refused => Verdict::Refused,
            },
            _ if push => Verdict::Extra,
            Self::Transaction { transaction, clean } => match transaction.on_reply(frame, whole, proto) {
                session::Step::Forward => Verdict::Reply,
                session::Step::Swallow => Verdict::Drop,
                session::Step::PlayAgain => Verdict::PlayAgain,
                session::Step::Answer(bytes) => {
                    *clean = false;
                    Verdict::Instead(bytes)
                }
                session::Step::Executed(executed) => {
                    *clean &= !executed.stateful && executed.database.is_none();
                    let scans = if cursor::stamp(epoch) == 0 { Vec::new() } else { executed.scans };
                    Verdict::Executed(executed.database, scans, executed.stale)
                }
            },
            _ => Verdict::Reply,
        }
    }

    /// What was subscribed to on a connection that was lost is not yet confirmed on this one.
    pub(super) fn resubscribes(&self) -> bool {
        matches!(self, Self::Subscribed(subscriptions) if subscriptions.resubscribes())
    }

    /// The server takes requests to queue them.
    pub(super) fn is_queueing(&self) -> bool {
        matches!(self, Self::Transaction { transaction, .. } if transaction.is_queueing())
    }

    /// What the client table shows of it.
    pub(super) fn shown(&self) -> Held {
        let mut held = Held::default();
        match self {
            Self::Transaction { transaction, .. } => {
                held.queued = transaction.queued();
                held.flags.multi = held.queued.is_some();
            }
            Self::Subscribed(subscriptions) => {
                held.subscribed = subscriptions.counts();
                held.flags.pubsub = subscriptions.holds_any();
            }
            Self::One { .. } | Self::Blocking | Self::Wait(_) | Self::Large | Self::Standing => {}
        }
        held
    }

    /// What becomes of the connection, nothing being owed.
    pub(super) fn after(&self) -> After {
        match self {
            Self::One { clean: true } | Self::Blocking | Self::Wait(_) => After::Returns,
            Self::One { clean: false } | Self::Large => After::Closes,
            Self::Transaction { transaction, .. } if transaction.is_pinned() => After::Stays,
            Self::Transaction { clean, .. } => {
                if *clean {
                    After::Returns
                } else {
                    After::Closes
                }
            }
            Self::Subscribed(subscriptions) if subscriptions.is_active() => After::Stays,
            Self::Subscribed(_) | Self::Standing => After::Closes,
        }
    }
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
    /// Unless the reply is an error, the proxy does this in place of the server.
    pub(super) local: Option<Box<Local>>,
}

impl Sent {
    pub(super) fn new(request: Bytes, row: RowId, since: Instant) -> Self {
        Self { request, end: 0, since, row, resent: false, writes: false, local: None }
    }

    /// Its reply decides who the client is.
    pub(super) fn is_of_session(&self) -> bool {
        matches!(self.local.as_deref(), Some(Local::Session))
    }
}
