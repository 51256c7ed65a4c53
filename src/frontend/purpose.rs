//! Why a client has a connection of its own, and what that makes of each request and reply. Pure.

use std::time::Instant;

use bytes::Bytes;

use crate::command::{Class, Lane, RowId};
use crate::resp::{Proto, Request};
use crate::session::{self, Subscriptions, Transaction, Verb, Word};

use super::client_command::Local;
use super::cursor;
use super::monitor_line;
use super::registry::Held;

/// What moves the replication offset on the connection that WAIT will be asked on, so that WAIT speaks of the
/// client's own earlier writes, which went over other connections.
pub(super) const BARRIER: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n$17\r\n__redhold:barrier\r\n$0\r\n\r\n";

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
    Wait {
        /// WAITAOF answers with two numbers.
        aof: bool,
    },
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
    /// MONITOR, TRACKING, NO-EVICT, NO-TOUCH: what was said to the connection stands until it is taken back.
    Standing(Standing),
    /// CLIENT REPLY OFF or SKIP.
    Silent(Silence),
}

/// A mode of the connection, and how to ask for it again.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The request that set it.
    pub(super) setup: Vec<u8>,
    /// What kind of request that is.
    row: Option<RowId>,
    /// It was taken back: the connection goes when nothing is owed.
    pub(super) over: bool,
    /// CLIENT TRACKING: keys may have changed unseen while no connection stood.
    pub(super) tracks: bool,
    /// MONITOR: lines come without being owed.
    pub(super) watches: bool,
}

/// Which replies a client does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// All, until REPLY ON.
    Off,
    /// The next request's.
    Skip,
    /// None any more.
    Over,
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
    /// EXEC's reply, after which the session's database is this one; in these elements are cursors.
    Executed(Option<u32>, Vec<usize>),
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
            Lane::Wait => Self::Wait { aof: request.name().len() > 4 },
            Lane::Transaction => Self::Transaction { transaction: Box::default(), clean: true },
            Lane::Subscribe => Self::Subscribed(Box::default()),
            Lane::Monitor => Self::Standing(Standing { watches: true, ..Standing::default() }),
            Lane::Tracking => Self::Standing(Standing { tracks: true, ..Standing::default() }),
            Lane::ReplyMode if is_word(request, 1, "reply") => Self::Silent(Silence::Over),
            Lane::ReplyMode => Self::Standing(Standing::default()),
            Lane::Shared | Lane::Scan | Lane::Threaded => Self::One { clean: true },
            Lane::Session | Lane::Clients | Lane::Own | Lane::Owned | Lane::Proxy => {
                Self::One { clean: false }
            }
        }
    }

    /// Further requests of the client go there too.
    pub(super) fn takes_more(&self) -> bool {
        match self {
            Self::One { .. } | Self::Blocking | Self::Wait { .. } | Self::Large => false,
            Self::Transaction { .. } | Self::Subscribed(_) | Self::Standing(_) | Self::Silent(_) => true,
        }
    }

    /// Notes a request that is about to be sent; returns whether a reply will come to it. `None`: it must not be
    /// sent, and [`Self::unsent_answer`] has its reply once nothing is owed.
    pub(super) fn on_request(&mut self, class: &Class, request: &Request<'_>, bytes: &[u8]) -> Option<bool> {
        match self {
            Self::One { .. } | Self::Blocking | Self::Wait { .. } | Self::Large => Some(true),
            Self::Transaction { transaction, clean } => {
                let word = Word::of(class.row.spec(), (request.len() > 1).then(|| request.arg(1)));
                *clean &= word != Word::Stateful || transaction.is_queueing();
                match transaction.on_request(word, bytes) {
                    session::Send::Forward => Some(true),
                    session::Send::Answer => None,
                }
            }
            Self::Subscribed(subscriptions) => {
                subscriptions.on_request(Verb::of(request.name()), request.args().skip(1));
                Some(true)
            }
            Self::Standing(standing) => {
                standing.on_request(class, request, bytes);
                Some(true)
            }
            Self::Silent(silence) => Some(silence.on_request(class, request)),
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
                    Verdict::Executed(executed.database, scans)
                }
            },
            Self::Standing(Standing { watches: true, .. }) if monitor_line::is_line(frame) => Verdict::Extra,
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

    /// Lines of MONITOR come.
    pub(super) fn watches(&self) -> bool {
        matches!(self, Self::Standing(Standing { watches: true, .. }))
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
            Self::Standing(standing) => {
                held.flags.monitor = standing.watches;
                held.flags.tracking = standing.tracks && !standing.over;
                held.flags.no_evict = standing.is_set_by("client|no-evict");
                held.flags.no_touch = standing.is_set_by("client|no-touch");
            }
            Self::One { .. } | Self::Blocking | Self::Wait { .. } | Self::Large | Self::Silent(_) => {}
        }
        held
    }

    /// What becomes of the connection, nothing being owed.
    pub(super) fn after(&self) -> After {
        match self {
            Self::One { clean: true } | Self::Blocking | Self::Wait { .. } => After::Returns,
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
            Self::Standing(standing) if !standing.over => After::Stays,
            Self::Silent(silence) if *silence != Silence::Over => After::Stays,
            Self::Subscribed(_) | Self::Standing(_) | Self::Silent(_) => After::Closes,
        }
    }
}

impl Standing {
    /// Whether it was set by this command and not taken back.
    fn is_set_by(&self, name: &str) -> bool {
        !self.over && self.row.is_some_and(|row| row.spec().name == name)
    }

    fn on_request(&mut self, class: &Class, request: &Request<'_>, bytes: &[u8]) {
        if !matches!(class.lane, Lane::Tracking | Lane::ReplyMode | Lane::Monitor) {
            return;
        }
        if is_word(request, 2, "off") {
            self.over = true;
        } else if class.lane == Lane::Monitor || is_word(request, 2, "on") {
            self.setup = bytes.to_vec();
            self.row = Some(class.row);
            self.over = false;
        } else if self.setup.is_empty() {
            // CLIENT CACHING without tracking: the server refuses it.
            self.over = true;
        }
    }
}

impl Silence {
    /// The request that asks for it, unless none is needed.
    pub(super) fn request(self) -> Option<&'static [u8]> {
        match self {
            Self::Off => Some(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n"),
            Self::Skip => Some(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n"),
            Self::Over => None,
        }
    }

    /// Whether the request will be answered, which is also what Redis decides before it executes.
    pub(super) fn on_request(&mut self, class: &Class, request: &Request<'_>) -> bool {
        if class.lane == Lane::ReplyMode && is_word(request, 1, "reply") {
            *self = match request.arg(2).to_ascii_lowercase().as_slice() {
                b"off" => Self::Off,
                b"skip" if *self != Self::Off => Self::Skip,
                b"on" => Self::Over,
                _ => return *self == Self::Over,
            };
            return *self == Self::Over;
        }
        match self {
            Self::Off => false,
            Self::Skip => {
                *self = Self::Over;
                false
            }
            Self::Over => true,
        }
    }
}

/// Rows whose request sits on a lane of its own are named by it in what the proxy keeps of them.
pub(super) fn is_word(request: &Request<'_>, index: usize, word: &str) -> bool {
    request.len() > index && request.arg(index).eq_ignore_ascii_case(word.as_bytes())
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
}

#[cfg(test)]
mod tests {
    use super::BARRIER;
    use crate::resp::{Limits, RequestScanner, Scan};

    #[test]
    fn the_barrier_is_one_whole_request() {
        let mut scanner = RequestScanner::default();
        let scanned = scanner.scan(BARRIER, &Limits::default()).unwrap();
        assert_eq!(scanned, Scan::Complete { len: BARRIER.len() });
        assert_eq!(scanner.request(BARRIER).arg(1), b"__redhold:barrier");
    }
}
