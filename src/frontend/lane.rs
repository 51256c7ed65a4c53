//! A client's own connection with what is owed on it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::backend::{DialError, Pinned, Target};
use crate::command::RowId;
use crate::durability::Level;
use crate::resp::{Proto, Request, RequestTail};
use crate::session::{Anew, Names, ROOM, Standing};
use crate::topology::NodeId;

use super::cursor::Stamper;
use super::lent::Counted;
use super::purpose::{After, Purpose, Sent};
use super::redirect::Redirection;
use super::registry::Held;
use super::shared::Shared;
use super::worker::Begun;
use super::written::Touched;

/// Requests longer than this are not kept for sending again.
const COPY_MAX: usize = 64 << 10;

/// Requests up to this length are kept in memory of the lane's own, of which it takes so much at a time.
const KEPT: usize = 512;

type Opening = Pin<Box<dyn Future<Output = Result<Pinned, DialError>>>>;

/// Where the connection stands.
pub(super) enum Line {
    /// Being opened; these bytes wait.
    Opening(Opening, Vec<u8>),
    /// Open.
    Open(Box<Pinned>),
    /// None, until there is a primary to open one to and a pause is over; these bytes wait.
    Waiting(Vec<u8>),
}

/// See the module's text.
pub(super) struct PinnedLane {
    pub(super) line: Line,
    /// Our end of the connection that was opened last.
    pub(super) local: Option<SocketAddr>,
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    /// Requests of the client without a reply, oldest first.
    pub(super) sent: VecDeque<Sent>,
    /// Replies to come to requests of the proxy's own, before any of the client's.
    pub(super) swallow: u32,
    /// Where its invalidations were last to be redirected to.
    pub(super) redirection: Cell<Option<Redirection>>,
    /// Which of them must be no errors.
    vital: Vital,
    /// What stands on the connection.
    pub(super) standing: Standing,
    /// What the connection was told about the client.
    names: Names,
    pub(super) since: Instant,
    /// The rest of a large request that is still to come from the client.
    pub(super) tail: Option<RequestTail>,
    /// What is remembered of it once it has come.
    pub(super) begun: Option<Box<Begun>>,
    /// Bytes of the reply at hand that have come.
    pub(super) replied: u64,
    /// The frame at hand is large: what becomes of its further pieces.
    pub(super) middle: Option<Rest>,
    /// The reply at hand is EXEC's and has cursors in it.
    pub(super) stamper: Option<Stamper>,
    /// What the client held was carried over from a connection that was lost.
    pub(super) stood: bool,
    /// Its subscriptions are being made again.
    pub(super) resubscribes: bool,
    /// Epoch and generation of the node under which an open connection ended, if the node may live.
    pub(super) ended_in: Option<(u64, u64)>,
    /// Whether the node, which lives, closes each connection that the lane gets.
    pub(super) closings: Closings,
    /// There is no connection although there is a primary.
    pub(super) unopened: Option<Unopened>,
    /// No attempt is made before this moment, except in another epoch.
    pub(super) retry_at: Option<Instant>,
    /// A planned change of primary ended its epoch: until then its node may still say that it executed nothing.
    pub(super) leaves_at: Option<Instant>,
    /// Bytes that were to be written so far.
    pub(super) bytes: u64,
    /// What its writes touch, where that is asked for.
    pub(super) touched: Touched,
    /// Where levels differ by key: the strictest of the requests of the last transaction.
    pub(super) block: Level,
    /// Where copies of the requests stand.
    kept: BytesMut,
    writes: Writes,
    /// `None` while no client has it.
    counted: Option<Counted>,
}

/// Replies that must be no errors, since what the client holds depends on them. Counted from the front: more may be asked
/// behind them at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vital {
    /// So many others come before.
    ahead: u32,
    count: u32,
}

impl Vital {
    /// One reply comes; true when it is one of them.
    fn passes(&mut self) -> bool {
        let vital = self.ahead == 0 && self.count > 0;
        if vital {
            self.count -= 1;
        }
        self.ahead = self.ahead.saturating_sub(1);
        vital
    }
}

/// What becomes of the further pieces of a large frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// They are not for the client.
    Dropped,
    /// They are, and answer nothing.
    Extra,
    /// They are, and the oldest request is answered when they end.
    Reply,
    /// So it is, and they are kept until then: the reply can only be looked at whole.
    Kept,
}

/// Attempts to connect that failed, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Unopened {
    pub(super) since: Instant,
    pub(super) tries: u32,
    /// Why the last one did, in the words of the node or of the system.
    pub(super) said: String,
}

/// Open connections of one lane that ended one after the other, under a node that lives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closings {
    /// Epoch and generation of the node, and when the first of them ended.
    first: Option<((u64, u64), Instant)>,
    count: u32,
}

impl Closings {
    /// Within so long …
    const WITHIN: Duration = Duration::from_secs(60);
    /// … so many may be: a person or a failover closes one, a node that can not bear what stands there each.
    const MAX: u32 = 8;

    /// One more.
    pub(super) fn note(&mut self, lives: (u64, u64), now: Instant) {
        let goes_on = |&(before, at): &((u64, u64), Instant)| {
            before == lives && now.saturating_duration_since(at) <= Self::WITHIN
        };
        if !self.first.as_ref().is_some_and(goes_on) {
            *self = Self { first: Some((lives, now)), count: 0 };
        }
        self.count += 1;
    }

    pub(super) fn are_too_many(self) -> bool {
        self.count > Self::MAX
    }
}

/// Keeps the node's mark of writes in flight true whatever way they end. Written at once, since the change of primary
/// that waits for them ends the epoch that they belong to.
struct Writes {
    shared: Arc<Shared>,
    node: NodeId,
    count: u64,
}

impl Writes {
    fn set(&mut self, node: NodeId, count: u64) {
        if (node, count) == (self.node, self.count) {
            return;
        }
        let mark = |node| &self.shared.marks.of(node).writes_in_flight;
        mark(node).fetch_add(count, Ordering::Relaxed);
        mark(self.node).fetch_sub(self.count, Ordering::Relaxed);
        (self.node, self.count) = (node, count);
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.set(self.node, 0);
    }
}

impl PinnedLane {
    pub(super) fn new(
        line: Line,
        target: Target,
        purpose: Purpose,
        since: Instant,
        counted: Counted,
    ) -> Self {
        let writes = Writes { shared: counted.0.clone(), node: target.node, count: 0 };
        let local = if let Line::Open(pinned) = &line { pinned.local_addr() } else { None };
        Self {
            line,
            local,
            target,
            purpose,
            sent: VecDeque::new(),
            swallow: 0,
            redirection: Cell::default(),
            vital: Vital::default(),
            standing: Standing::default(),
            names: Names::default(),
            since,
            tail: None,
            begun: None,
            replied: 0,
            middle: None,
            stamper: None,
            stood: false,
            resubscribes: false,
            ended_in: None,
            closings: Closings::default(),
            unopened: None,
            retry_at: None,
            leaves_at: None,
            bytes: 0,
            touched: Touched::default(),
            block: Level::Async,
            kept: BytesMut::new(),
            writes,
            counted: Some(counted),
        }
    }

    /// No client has it any more. What was taken for this one's requests is kept for the next, unless that was much.
    pub(super) fn end(&mut self) {
        self.line = Line::Waiting(Vec::new());
        self.writes.set(self.target.node, 0);
        self.sent.clear();
        self.counted = None;
        self.standing.clear();
        (self.stamper, self.tail, self.begun, self.names) = (None, None, None, Names::default());
        if !self.kept.try_reclaim(KEPT) {
            self.kept = BytesMut::new();
        }
    }

    /// In place of one that [ended](Self::end), whose memory it takes over.
    pub(super) fn in_place_of(self, mut ended: Box<Self>) -> Box<Self> {
        let (mut sent, kept) = (std::mem::take(&mut ended.sent), std::mem::take(&mut ended.kept));
        sent.shrink_to(ROOM);
        let standing = std::mem::take(&mut ended.standing);
        *ended = Self { sent, kept, standing, ..self };
        ended
    }

    /// A copy of the request as it goes to the server, for as long as its reply is owed.
    pub(super) fn keep(&mut self, request: &Request<'_>) -> Bytes {
        let len = request.raw().len();
        if len > KEPT || !request.is_strict() {
            return request.to_multibulk();
        }
        if self.kept.capacity() < len {
            self.kept.reserve(KEPT);
        }
        request.write_multibulk(&mut self.kept);
        self.kept.split().freeze()
    }

    pub(super) fn is_owed_nothing(&self) -> bool {
        self.sent.is_empty() && self.tail.is_none()
    }

    /// Whether the server would execute a request of this row, and neither queue nor park it.
    pub(super) fn executes(&self, row: RowId) -> bool {
        let waits = matches!(self.purpose, Purpose::Blocking | Purpose::Wait(_));
        !waits && (!self.standing.transaction().is_queueing() || row.spec().name == "exec")
    }

    /// Parked is not in flight: a client that leaves takes its connection along.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.purpose, Purpose::Blocking) || self.standing.subscriptions().stand()
    }

    /// What its client waits for may never come, and who has left does not get it: a server closes then.
    pub(super) fn waits(&self) -> bool {
        matches!(self.purpose, Purpose::Wait(_))
    }

    /// With a connection that was told `told`.
    pub(super) fn known_as(self, told: Names) -> Self {
        Self { names: told, ..self }
    }

    /// What the connection was told about the client.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The client itself has said on the connection who it is.
    pub(super) fn note_names(&mut self, names: &Names) {
        self.names = names.clone();
    }

    /// Under which id the server knows the connection, if it is open and may ask.
    pub(super) fn server_id(&self) -> Option<i64> {
        let Line::Open(pinned) = &self.line else { return None };
        pinned.server_id()
    }

    /// Tells the connection who the client is, unless it knows.
    pub(super) fn introduce(&mut self, names: &Names) {
        if *names == self.names {
            return;
        }
        let mut requests = BytesMut::new();
        self.swallow += names.tell(&self.names, &mut requests);
        self.names = names.clone();
        self.write(&requests);
    }

    /// The connection is lost: the next one is told first who the client is and what stands. `None` when that can not be
    /// said again. `owed`: replies to so many requests are, the last byte of the newest `unwritten` of which was never
    /// written.
    pub(super) fn begin_anew(
        &mut self,
        names: &Names,
        proto: Proto,
        owed: usize,
        unwritten: usize,
    ) -> Option<Anew> {
        self.take_line();
        (self.swallow, self.leaves_at) = (0, None);
        self.vital = Vital::default();
        self.names = Names::default();
        self.introduce(names);
        let mut requests = BytesMut::new();
        let anew = self.standing.begin_anew(owed > 0, unwritten, proto, &mut requests)?;
        self.write(&requests);
        self.vital = Vital { ahead: self.swallow, count: anew.confirmations };
        self.swallow += anew.confirmations;
        self.resubscribes = self.standing.subscriptions().resubscribes();
        Some(anew)
    }

    /// One reply is not the client's; true when it refuses something that the client holds.
    pub(super) fn swallowed(&mut self, is_error: bool) -> bool {
        self.swallow -= 1;
        self.vital.passes() && is_error
    }

    /// What becomes of the connection when nothing is owed.
    pub(super) fn after(&self) -> After {
        match self.purpose {
            _ if self.standing.stands() => After::Stays,
            Purpose::One { clean: false } | Purpose::Overseer | Purpose::Large => After::Closes,
            _ if self.standing.is_touched() => After::Closes,
            Purpose::One { clean: true } | Purpose::Blocking | Purpose::Wait(_) | Purpose::Standing => {
                After::Returns
            }
        }
    }

    /// What the client table shows of it.
    pub(super) fn shown(&self) -> Held {
        let mut held = Held::default();
        let (modes, subscriptions) = (self.standing.modes(), self.standing.subscriptions());
        held.queued = self.standing.transaction().queued();
        held.flags.multi = held.queued.is_some();
        held.subscribed = subscriptions.counts();
        held.flags.pubsub = subscriptions.holds_any();
        held.flags.monitor = modes.watches();
        held.flags.tracking = modes.tracks();
        let redirected = self.redirection.get().filter(|_| modes.redirects());
        held.redirect = modes.tracks().then(|| redirected.map_or(0, |redirected| redirected.client));
        held.flags.no_evict = modes.is_set("client|no-evict");
        held.flags.no_touch = modes.is_set("client|no-touch");
        held
    }

    /// Appends bytes to what goes to the node.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match &mut self.line {
            Line::Opening(_, waiting) | Line::Waiting(waiting) => waiting.extend_from_slice(bytes),
            Line::Open(pinned) => pinned.send(bytes),
        }
    }

    /// Notes a request whose reply the client is owed; `left` of its bytes are written next, the others were just now.
    pub(super) fn owe(&mut self, mut sent: Sent, left: usize) {
        sent.end = self.bytes + left as u64;
        if sent.request.len() > COPY_MAX {
            sent.request = Bytes::new();
        }
        self.writes.set(self.target.node, self.writes.count + u64::from(sent.writes));
        self.sent.push_back(sent);
    }

    /// Strikes the oldest request off: it was answered.
    pub(super) fn strike(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front()?;
        self.writes.set(self.target.node, self.writes.count - u64::from(sent.writes));
        Some(sent)
    }

    /// Gives all up that is owed.
    pub(super) fn take_sent(&mut self) -> VecDeque<Sent> {
        self.writes.set(self.target.node, 0);
        std::mem::take(&mut self.sent)
    }

    /// Counts the owed writes as in flight from now on, or no more: without a connection nothing is.
    pub(super) fn count_writes(&mut self, in_flight: bool) {
        let count = self.sent.iter().filter(|sent| sent.writes && in_flight).count();
        self.writes.set(self.target.node, count as u64);
    }

    /// Bytes that the node has not been sent yet.
    pub(super) fn unwritten(&self) -> usize {
        match &self.line {
            Line::Opening(_, waiting) | Line::Waiting(waiting) => waiting.len(),
            Line::Open(pinned) => pinned.unwritten(),
        }
    }

    /// Of how many owed requests, counted from the newest, the last byte was never written.
    pub(super) fn unwritten_requests(&self) -> usize {
        let written = self.bytes.saturating_sub(self.unwritten() as u64);
        self.sent.iter().rev().take_while(|sent| sent.end > written).count()
    }

    /// Gives the line up, leaving nothing in its place.
    pub(super) fn take_line(&mut self) -> Line {
        std::mem::replace(&mut self.line, Line::Waiting(Vec::new()))
    }

    /// Opens; true when it did so just now.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, DialError>> {
        let Line::Opening(opening, waiting) = &mut self.line else { return Poll::Ready(Ok(false)) };
        match opening.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut pinned)) => {
                pinned.send(waiting);
                self.local = pinned.local_addr();
                self.line = Line::Open(Box::new(pinned));
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_fail_stands_behind_the_names_and_before_what_is_asked_later() {
        let passed = |ahead, count| {
            let mut vital = Vital { ahead, count };
            [(); 6].map(|()| vital.passes())
        };
        assert_eq!(passed(0, 0), [false; 6]);
        assert_eq!(passed(3, 0), [false; 6]);
        assert_eq!(passed(0, 2), [true, true, false, false, false, false]);
        assert_eq!(passed(2, 1), [false, false, true, false, false, false]);
        assert_eq!(passed(1, 3), [false, true, true, true, false, false]);
    }

    #[test]
    fn only_closings_by_one_node_within_a_minute_are_too_many() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let after = |lives: &[(u64, u64)], apart: Duration| {
            let mut closings = Closings::default();
            (0..).zip(lives).for_each(|(number, lives)| closings.note(*lives, start + apart * number));
            closings.are_too_many()
        };
        assert!(after(&[(1, 1); 9], second) && !after(&[(1, 1); 8], second));
        assert!(!after(&[(1, 1); 30], 10 * second), "people kill connections as well");
        assert!(!after(&[(1, 1), (1, 2), (2, 2)].repeat(10), second), "the node died in between");
    }
}
