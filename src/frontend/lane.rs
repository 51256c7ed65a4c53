//! A client's own connection with what is owed on it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::backend::{DialError, Pinned, Target};
use crate::command::RowId;
use crate::resp::RequestTail;
use crate::session::{Modes, Names};

use super::lent::Counted;
use super::purpose::{After, Purpose, Sent};
use super::registry::Held;

/// Requests longer than this are not kept for sending again.
const COPY_MAX: usize = 64 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<Pinned, DialError>>>>;

/// Where the connection stands.
pub(super) enum Line {
    /// Being opened; these bytes wait.
    Opening(Opening, Vec<u8>),
    /// Open.
    Open(Box<Pinned>),
    /// Lost, and no primary to open another to; these bytes wait.
    Waiting(Vec<u8>),
}

/// See the module's text.
pub(super) struct PinnedLane {
    pub(super) line: Line,
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    /// Requests of the client without a reply, oldest first.
    pub(super) sent: VecDeque<Sent>,
    /// Replies to come to requests of the proxy's own, before any of the client's.
    pub(super) swallow: u32,
    /// That many of the last of them must be no errors: what the client holds depends on them.
    pub(super) vital: u32,
    /// The reply to CLIENT ID is among them, behind so many others.
    pub(super) asks_id: Option<u32>,
    /// That reply.
    pub(super) server_id: Option<i64>,
    /// What the client has asked of the connection beside its purpose.
    pub(super) modes: Modes,
    /// What the connection was told about the client.
    names: Names,
    pub(super) since: Instant,
    /// The rest of a large request that is still to come from the client.
    pub(super) tail: Option<RequestTail>,
    /// The reply at hand is large, and this is what becomes of its further pieces: handed on or dropped.
    pub(super) middle: Option<bool>,
    _counted: Counted,
}

/// What a reply to a request of the proxy's own was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swallowed {
    /// The reply to CLIENT ID.
    Id,
    /// Something that the client holds is refused here.
    Refusal,
    /// Nothing that matters.
    Other,
}

impl PinnedLane {
    pub(super) fn new(
        line: Line,
        target: Target,
        purpose: Purpose,
        since: Instant,
        counted: Counted,
    ) -> Self {
        Self {
            line,
            target,
            purpose,
            sent: VecDeque::new(),
            swallow: 0,
            vital: 0,
            asks_id: None,
            server_id: None,
            modes: Modes::default(),
            names: Names::default(),
            since,
            tail: None,
            middle: None,
            _counted: counted,
        }
    }

    pub(super) fn is_owed_nothing(&self) -> bool {
        self.sent.is_empty() && self.tail.is_none()
    }

    /// Parked is not in flight: a client that leaves takes its connection along.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.purpose, Purpose::Blocking | Purpose::Subscribed(_) | Purpose::Standing)
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

    /// The connection is lost: the next one is told first who the client is and what stands. False when that can not be
    /// said again.
    pub(super) fn begin_anew(&mut self, names: &Names) -> bool {
        self.take_line();
        (self.swallow, self.vital, self.asks_id, self.server_id) = (0, 0, None, None);
        self.names = Names::default();
        self.introduce(names);
        let mut requests = BytesMut::new();
        let Some(confirmations) = self.modes.replay(&mut requests) else { return false };
        self.write(&requests);
        self.swallow += confirmations;
        self.vital = confirmations;
        true
    }

    /// One reply is not the client's.
    pub(super) fn swallowed(&mut self, is_error: bool) -> Swallowed {
        let vital = self.swallow <= self.vital;
        self.swallow -= 1;
        self.vital = self.vital.min(self.swallow);
        if vital && is_error {
            return Swallowed::Refusal;
        }
        match self.asks_id {
            Some(0) => {
                self.asks_id = None;
                Swallowed::Id
            }
            behind => {
                self.asks_id = behind.map(|behind| behind - 1);
                Swallowed::Other
            }
        }
    }

    /// What becomes of the connection when nothing is owed.
    pub(super) fn after(&self) -> After {
        match self.purpose.after() {
            After::Stays => After::Stays,
            _ if self.modes.stand() => After::Stays,
            After::Returns if self.modes.is_touched() => After::Closes,
            after => after,
        }
    }

    /// What the client table shows of it.
    pub(super) fn shown(&self) -> Held {
        let mut held = self.purpose.shown();
        held.flags.monitor = self.modes.watches();
        held.flags.tracking = self.modes.tracks();
        held.flags.no_evict = self.modes.is_set("client|no-evict");
        held.flags.no_touch = self.modes.is_set("client|no-touch");
        held
    }

    /// Appends bytes to what goes to the node.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Opening(_, waiting) | Line::Waiting(waiting) => waiting.extend_from_slice(bytes),
            Line::Open(pinned) => pinned.send(bytes),
        }
    }

    /// Notes a request whose reply the client is owed.
    pub(super) fn owe(&mut self, request: &Bytes, row: RowId, resent: bool) {
        let kept = if request.len() <= COPY_MAX { request.clone() } else { Bytes::new() };
        self.sent.push_back(Sent { request: kept, len: request.len(), row, resent, local: None });
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
        let mut left = self.unwritten();
        let mut count = 0;
        for sent in self.sent.iter().rev() {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(sent.len);
            count += 1;
        }
        count
    }

    /// Gives the line up, leaving nothing in its place.
    pub(super) fn take_line(&mut self) -> Line {
        std::mem::replace(&mut self.line, Line::Waiting(Vec::new()))
    }

    /// Opens; true when something happened.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        let Line::Opening(opening, waiting) = &mut self.line else { return Poll::Ready(Ok(())) };
        match opening.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut pinned)) => {
                pinned.send(waiting);
                self.line = Line::Open(Box::new(pinned));
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}
