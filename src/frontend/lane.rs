//! A client's own connection with what is owed on it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::backend::{DialError, Pinned, Target};
use crate::command::RowId;
use crate::resp::RequestTail;

use super::cursor::Stamper;
use super::purpose::{Purpose, Sent};
use super::shared::Shared;

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
    /// The first of those is the reply to CLIENT ID.
    pub(super) asks_id: bool,
    /// That reply.
    pub(super) server_id: Option<i64>,
    pub(super) since: Instant,
    /// The rest of a large request that is still to come from the client.
    pub(super) tail: Option<RequestTail>,
    /// The frame at hand is large: what becomes of its further pieces.
    pub(super) middle: Option<Rest>,
    /// The reply at hand is EXEC's and has cursors in it.
    pub(super) stamper: Option<Stamper>,
    _counted: Counted,
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
}

/// Keeps the count of pinned connections true whatever way the lane ends.
pub(super) struct Counted(Arc<Shared>);

impl Counted {
    /// `None` when `most` are lent already.
    pub(super) fn take(shared: &Arc<Shared>, most: usize) -> Option<Self> {
        if shared.pinned.fetch_add(1, Ordering::Relaxed) >= most {
            shared.pinned.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(shared.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.pinned.fetch_sub(1, Ordering::Relaxed);
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
        Self {
            line,
            target,
            purpose,
            sent: VecDeque::new(),
            swallow: 0,
            asks_id: false,
            server_id: None,
            since,
            tail: None,
            middle: None,
            stamper: None,
            _counted: counted,
        }
    }

    pub(super) fn is_owed_nothing(&self) -> bool {
        self.sent.is_empty() && self.tail.is_none()
    }

    /// Parked is not in flight: a client that leaves takes its connection along.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.purpose, Purpose::Blocking | Purpose::Subscribed(_) | Purpose::Standing(_))
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
