//! CLIENT's subcommands about the client itself and about others: what the server is asked, and what the proxy does
//! when the server does not refuse.
//!
//! None of them may reach a connection that others share as it is. Each is sent in a form that changes and shows
//! nothing there, so that `-NOAUTH`, `-NOPERM` and unknown subcommands are answered by the server in its own words
//! and for this very subcommand; only then the proxy carries it out.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::command::Lane;
use crate::error::Failure;
use crate::resp::{self, Request, encode};
use crate::session::{ClientRow, Kill, ListFilter, Listing, Misuse, Names, Notices, Unblock};

use super::connection::Connection;
use super::cursor;
use super::dispatch::Dispatched;

/// An id that no client of a server has.
pub(super) const NOBODY: &[u8] = b"9223372036854775807";

/// A capability that no server knows; unknown ones are ignored.
const NO_CAPABILITY: &[u8] = b"none";

const SILENCE: &str =
    "CLIENT REPLY OFF and SKIP are refused by Redhold from WATCH or MULTI to EXEC and while subscribed";

const CONFIRMATIONS: &str = "SUBSCRIBE and its like are refused by Redhold in a transaction except with one name, since \
    EXEC's reply would have more elements than it says";

/// What the proxy does in place of the server.
#[derive(Clone, Debug)]
pub(super) enum Local {
    /// CLIENT ID.
    Id,
    /// CLIENT INFO, in a request of so many bytes.
    Info(usize),
    /// CLIENT LIST, likewise.
    List(ListFilter, usize),
    /// CLIENT KILL.
    Kill(Kill),
    /// CLIENT GETNAME.
    Name,
    /// CLIENT SETNAME, SETINFO: this is what the client has said from now on. The server's reply is handed on.
    Says(Box<Names>),
    /// The arguments are wrong.
    Misuse(Misuse),
    /// PROXY: nothing changes, this is the answer.
    Say(Bytes),
    /// INFO, ROLE: handed on without the addresses of replicas. With what came so far of a large reply.
    Hidden(Vec<u8>),
    /// PUBSUB: the server's reply without what is Redhold's. With what came so far of a large one.
    Pubsub(Listing, Vec<u8>),
    /// Redhold owns the command, or keeps its reply to itself. Said in place of errors too.
    Owned(Failure),
    /// Redhold owns the command, which servers refuse themselves where it stands, in these words.
    Refused(&'static str),
    /// CONFIG SET of a setting that Redhold owns, to this value: granted when it is the present one.
    Settings(Vec<u8>, Box<Failure>),
    /// A cursor of another epoch, sent so that the server refuses it. Said in place of that refusal.
    Stale(Failure),
    /// The session awaits this reply, an error too.
    Session,
    /// CLIENT MAINT_NOTIFICATIONS: what the client wants to be told.
    Notices(Option<Notices>),
    /// The server would do it, which shared connections do not allow: it is unknown here.
    Unknown(Vec<u8>),
}

/// What goes to the server in place of a request, and what is done when it is not refused; `None`: the server's reply
/// is handed on.
#[derive(Debug)]
pub(super) struct Asked {
    /// AUTH and HELLO are among them.
    words: Zeroizing<Vec<Vec<u8>>>,
    pub(super) local: Option<Local>,
}

impl Local {
    /// Where the pieces of a large reply are kept that can only be looked at whole.
    pub(super) fn begun(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Hidden(begun) | Self::Pubsub(_, begun) => Some(begun),
            Self::Id
            | Self::Info(_)
            | Self::List(..)
            | Self::Kill(_)
            | Self::Name
            | Self::Says(_)
            | Self::Misuse(_)
            | Self::Say(_)
            | Self::Owned(_)
            | Self::Refused(_)
            | Self::Settings(..)
            | Self::Stale(_)
            | Self::Session
            | Self::Notices(_)
            | Self::Unknown(_) => None,
        }
    }

    /// Whether it stands in the place of an error as well.
    pub(super) fn replaces_errors(&self) -> bool {
        matches!(self, Self::Owned(_) | Self::Refused(_) | Self::Stale(_) | Self::Session)
    }
}

impl Asked {
    pub(super) fn new(words: impl Into<Zeroizing<Vec<Vec<u8>>>>, local: Option<Local>) -> Self {
        Self { words: words.into(), local }
    }

    /// What goes to the server.
    pub(super) fn bytes(&self) -> BytesMut {
        let words: Vec<&[u8]> = self.words.iter().map(Vec::as_slice).collect();
        let mut bytes = BytesMut::new();
        encode::command(&mut bytes, &words);
        bytes
    }
}

impl Connection {
    /// What would let replies go by uncounted: CLIENT REPLY OFF or SKIP in a transaction or beside subscriptions, and in
    /// MULTI what is confirmed more than once. A request that every server refuses, the transaction with it; Redis would
    /// cut EXEC's reply off, or append to it.
    pub(super) fn uncounted_asked(&self, dispatched: &Dispatched<'_>) -> Option<Asked> {
        let Dispatched { class, request, .. } = dispatched;
        let (standing, proto) = (&self.pinned.as_ref()?.standing, self.session.identity.proto);
        let queueing = standing.transaction().is_queueing();
        let refuses = |refused| {
            let local = Local::Owned(Failure::Uncounted { refused });
            Some(Asked::new(vec![b"REPLICAOF".to_vec()], Some(local)))
        };
        let spec = class.row.spec();
        if class.lane == Lane::Subscribe && queueing && request.len() != 2 {
            return refuses(CONFIRMATIONS);
        }
        let wanted = request.arg(2);
        if spec.name != "client|reply" || standing.obeys_reply(wanted, proto) {
            return None;
        }
        let silences = [&b"off"[..], b"skip"].iter().any(|mode| wanted.eq_ignore_ascii_case(mode));
        match silences {
            // The server says what a subscriber may send.
            true if standing.is_confined(proto) => {
                let words = [&b"CLIENT"[..], b"REPLY", b"NONE"].map(<[u8]>::to_vec);
                Some(Asked::new(words.to_vec(), None))
            }
            false if !queueing || standing.modes().is_loud() => None,
            _ => refuses(SILENCE),
        }
    }

    /// See the module's text. The request is one of CLIENT's of the lanes Session and Clients.
    pub(super) fn client_asked(&self, request: &Request<'_>) -> Asked {
        let args: Vec<&[u8]> = request.args().collect();
        if request.arg(1).eq_ignore_ascii_case(b"maint_notifications")
            && let Some(asked) = self.notices_asked(request)
        {
            return asked;
        }
        // The server's error for an unknown subcommand repeats it as written.
        let word = request.arg(1);
        let asked = |rest: &[&[u8]], local: Option<Local>| Asked {
            words: [b"CLIENT", word].iter().chain(rest).map(|word| word.to_vec()).collect::<Vec<_>>().into(),
            local,
        };
        let said = &self.session.said;
        let judged = |said: Names, judgement: Result<(), Misuse>| {
            Some(judgement.map_or_else(Local::Misuse, |()| Local::Says(Box::new(said))))
        };
        match word.to_ascii_lowercase().as_slice() {
            b"id" => asked(&[], Some(Local::Id)),
            b"info" => asked(&[], Some(Local::Info(request.raw().len()))),
            b"getname" => asked(&[], Some(Local::Name)),
            b"list" => {
                let local = ListFilter::parse(&args)
                    .map_or_else(Local::Misuse, |filter| Local::List(filter, request.raw().len()));
                asked(&[b"ID", NOBODY], Some(local))
            }
            b"kill" => match Kill::parse(&args) {
                Ok(kill) => {
                    let user = kill.filter().user.clone();
                    let mut rest: Vec<&[u8]> = vec![b"ID", NOBODY];
                    // Whether there is such a user only the server knows.
                    rest.extend(user.iter().flat_map(|user| [b"USER", user.as_slice()]));
                    asked(&rest, Some(Local::Kill(kill)))
                }
                Err(misuse) => asked(&[b"ID", NOBODY], Some(Local::Misuse(misuse))),
            },
            b"unblock" => match Unblock::parse(&args) {
                Ok(unblock) => {
                    let parked = unblock.id.and_then(|id| self.worker.shared.registry.parked_at(id));
                    let id = parked.map_or_else(|| NOBODY.to_vec(), |id| id.to_string().into_bytes());
                    let reason: &[u8] = if unblock.error { b"ERROR" } else { b"TIMEOUT" };
                    asked(&[&id, reason], None)
                }
                Err(misuse) => asked(&[NOBODY], Some(Local::Misuse(misuse))),
            },
            b"setname" => {
                let mut next = said.clone();
                let judgement = next.set_name(request.arg(2));
                asked(&[b""], judged(next, judgement))
            }
            b"setinfo" => {
                let mut next = said.clone();
                let judgement = next.set_info(request.arg(2), request.arg(3));
                asked(&[b"lib-name", b""], judged(next, judgement))
            }
            b"capa" => asked(&[NO_CAPABILITY], None),
            // Clients take the refusal for that of a server which has no such notifications.
            _ if request.arg(2).eq_ignore_ascii_case(b"off") => asked(&[b"OFF"], None),
            _ => asked(&[b"OFF"], Some(Local::Unknown(word.to_vec()))),
        }
    }

    /// Does in place of the server what the server has not refused with `reply`.
    pub(super) fn carry_out(&mut self, local: Local, reply: &[u8]) {
        let (id, proto) = (self.client.id, self.session.identity.proto);
        let registry = &self.worker.shared.registry;
        let now = Instant::now();
        let mut out = self.client.out.borrow_mut();
        match local {
            Local::Id => encode::integer(&mut out, i64::try_from(id).unwrap_or(i64::MAX)),
            Local::Info(asked) => {
                let mut text = String::new();
                let row = registry.row(id, now).map(|row| ClientRow { qbuf: row.qbuf + asked, ..row });
                row.inspect(|row| row.write(&mut text));
                encode::verbatim(&mut out, text.as_bytes(), proto);
            }
            Local::List(filter, asked) => {
                let mut text = String::new();
                let mut rows = registry.rows(now);
                // A server answers out of the buffer that the request still stands in.
                rows.iter_mut().filter(|row| row.id == id).for_each(|row| row.qbuf += asked);
                filter.select(&rows).iter().for_each(|row| row.write(&mut text));
                encode::verbatim(&mut out, text.as_bytes(), proto);
            }
            Local::Kill(kill) => {
                drop(out);
                self.kill(&kill, now);
            }
            Local::Name => match self.session.said.name() {
                [] => encode::null(&mut out, proto),
                name => encode::bulk(&mut out, name),
            },
            Local::Says(said) => {
                out.extend_from_slice(reply);
                drop(out);
                self.session.said = *said;
                self.register();
            }
            Local::Stale(failure) if cursor::is_refused(reply) => {
                drop(out);
                self.client.fail(&failure);
            }
            Local::Stale(_) => out.extend_from_slice(reply),
            Local::Session => {
                drop(out);
                self.session_replied(reply);
            }
            Local::Misuse(misuse) => misuse.write(&mut out),
            Local::Hidden(_) => self.worker.copy_hidden(reply, &mut out),
            Local::Pubsub(listing, _) => listing.write(reply, &mut out),
            Local::Say(said) => out.extend_from_slice(&said),
            Local::Owned(failure) => {
                drop(out);
                self.client.fail(&failure);
            }
            Local::Refused(words) => encode::error(&mut out, words),
            Local::Settings(wanted, refusal) => {
                let present = value_of_setting(reply);
                if present.is_some_and(|present| present == wanted) {
                    encode::simple(&mut out, "OK");
                } else {
                    drop(out);
                    self.client.fail(&refusal);
                }
            }
            Local::Notices(wanted) => {
                encode::simple(&mut out, "OK");
                drop(out);
                self.subscribe_notices(wanted);
            }
            Local::Unknown(word) => {
                let word = String::from_utf8_lossy(&word);
                encode::error(&mut out, &format!("ERR unknown subcommand '{word}'. Try CLIENT HELP."));
            }
        }
    }

    /// Ends clients of the proxy; the one that asks gets its answer first.
    fn kill(&self, kill: &Kill, now: Instant) {
        let (me, registry) = (self.client.id, &self.worker.shared.registry);
        let rows = registry.rows(now);
        let meant: Vec<u64> =
            rows.iter().filter(|row| kill.filter().matches(row, me)).map(|row| row.id).collect();
        let mut out = self.client.out.borrow_mut();
        match kill {
            Kill::Address(_) if meant.is_empty() => Kill::none_at_address().write(&mut out),
            Kill::Address(_) => encode::simple(&mut out, "OK"),
            Kill::Matching(_) => encode::integer(&mut out, i64::try_from(meant.len()).unwrap_or(i64::MAX)),
        }
        drop(out);
        for id in meant {
            if id == me {
                self.client.doom("CLIENT KILL of itself");
            } else {
                registry.kill(id);
            }
        }
    }
}

/// The value in a reply to CONFIG GET of one name; RESP3's map is read like RESP2's array.
fn value_of_setting(reply: &[u8]) -> Option<Vec<u8>> {
    let flat = match reply.strip_prefix(b"%1") {
        Some(rest) => [b"*2", rest].concat(),
        None => reply.to_vec(),
    };
    let (value, _) = resp::decode(&flat).ok()??;
    value.as_array()?.get(1)?.as_bytes().map(<[u8]>::to_vec)
}
