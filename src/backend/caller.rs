//! To whom a connection answers. The backend knows callers only by this trait, never clients.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use crate::topology::{Address, NodeId};

use super::pipeline::nth;

/// The bits of a tag that name a row of the command table, by which replies are timed. The others are the caller's own.
pub const ROW_BITS: u16 = (1 << 12) - 1;

/// Requests of one caller that a lost connection left without a reply.
#[derive(Debug)]
pub struct Unanswered<'a> {
    /// The caller's tag of these requests (one tag an entry).
    pub tag: u16,
    /// The requests, back to back, as they were handed over; empty when they were not kept.
    pub requests: &'a [u8],
    /// How many.
    pub count: u32,
    /// How many of `requests`' bytes were written to the node: a request whose last byte was written may have
    /// been executed, every other one was not.
    pub written: usize,
    /// True when these were sent again already after an earlier loss.
    pub resent: bool,
    /// Whether all the same it is the first time that they were lost: an earlier loss was of another connection that was open together
    /// with this one, to a node that was about to die.
    pub once: bool,
    /// When they were handed over.
    pub since: Instant,
    /// The epoch under which the connection was opened, or the latest one under which it was let stay.
    pub epoch: u64,
    /// The node that it led to.
    pub node: &'a Address,
}

/// Requests of one caller, handed over at one moment, whose replies took long. What of that time which of them took is not
/// known: servers answer together what came together.
#[derive(Clone, Copy, Debug)]
pub struct Slow<'a> {
    /// The caller's tag of these requests.
    pub tag: u16,
    /// All of them, back to back.
    pub requests: &'a [u8],
    /// How many.
    pub count: u32,
    /// The node that answered.
    pub node: NodeId,
    /// From when they were handed over until the last reply, in microseconds.
    pub micros: u64,
    /// Microseconds that they waited before they were handed over.
    pub waited: u32,
    /// The connection's own end.
    pub local: Option<SocketAddr>,
    /// When the last reply came.
    pub now: Instant,
}

/// Of a reply that is big.
#[derive(Clone, Copy, Debug)]
pub struct BigReply {
    /// Of the whole reply.
    pub bytes: u64,
    /// The node that answered.
    pub node: NodeId,
    /// The database of the connection.
    pub db: u32,
    /// When its end came.
    pub now: Instant,
}

impl Slow<'_> {
    /// The last of them. To find it costs a look at all.
    #[must_use]
    pub fn last(&self) -> &[u8] {
        nth(self.requests, self.count - 1)
    }
}

/// A request that is traced and has its reply.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// The caller's tag of it.
    pub tag: u16,
    /// The node that answered.
    pub node: NodeId,
    /// When it was handed over.
    pub since: Instant,
    /// Microseconds that it waited before.
    pub waited: u32,
    /// It was sent more than once.
    pub resent: bool,
    /// The reply, if it is an error.
    pub error: Option<&'a [u8]>,
    /// When the reply came.
    pub now: Instant,
}

/// Receives what comes back. Every method is called from the worker's own thread, never while the connection's
/// state is borrowed by the caller.
pub trait Caller: Clone + PartialEq + 'static {
    /// `count` whole replies to requests with this tag, back to back in `frames`, none of them an error.
    fn replies(&self, tag: u16, frames: &[u8], count: u32);

    /// As [`Self::replies`], of one reply that came in several reads: `frame` may be taken, and be left as any empty buffer.
    fn gathered(&self, tag: u16, frame: &mut BytesMut) {
        self.replies(tag, frame, 1);
    }

    /// One error reply, and the request that it answers; `resent` when that was sent again after an earlier loss.
    /// True when it is kept back, since the request is to be sent again.
    fn error(&self, tag: u16, frame: &[u8], request: &[u8], resent: bool) -> bool;

    /// A piece of one large reply, passed on as it comes; `last` ends it.
    fn part(&self, tag: u16, piece: &[u8], last: bool);

    /// The node refused to open a connection of this identity; `error` is its reply (with CRLF), handed over
    /// once for each of `count` requests, none of which was ever sent.
    fn refused(&self, tag: u16, error: &[u8], count: u32);

    /// The connection is gone. `broken` is true when a part of the first one's reply was passed on already.
    fn lost(&self, unanswered: &Unanswered<'_>, broken: bool);

    /// The replies to some requests took as long as [`Settings::slow_micros`](super::Settings::slow_micros) says, or longer. Told
    /// before the last of them is handed over.
    fn slow(&self, slow: &Slow<'_>);

    /// A request with this tag was sampled, in database `db`. Told before its reply is handed over.
    fn sampled(&self, tag: u16, request: &[u8], db: u32);

    /// A request of this caller is traced. Told before its reply is handed over, unless that is an error.
    fn traced(&self, traced: &Traced<'_>);

    /// The reply to this request, with this tag, is as long as [`Settings::big_bytes`](super::Settings::big_bytes) says, or longer.
    /// Told before its end is handed over.
    fn big(&self, tag: u16, request: &[u8], reply: &BigReply);

    /// The connection's turn is over: what was received may be written to the outside.
    fn settle(&self);
}
