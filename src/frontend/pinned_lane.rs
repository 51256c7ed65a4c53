//! A client's lane while it has a connection of its own.
//!
//! The lane belongs to the client's task, which writes to the connection, reads from it and decides at each reply
//! whether the connection may be given back, must be closed, or stays.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::backend::{DialError, Piece, Pinned, Target};
use crate::command::Lane;
use crate::error::Failure;
use crate::resp::{Fed, RequestScanner, RequestTail};
use crate::routing::Choice;

use super::connection::{Connection, Step};
use super::dispatch::{Dispatched, LARGE};
use super::purpose::{After, Purpose};
use super::redo::Redo;

/// With this much unwritten output of the client its pinned connection is not read: the node feels the slow reader.
const OUTPUT_PAUSE: usize = 256 << 10;

/// With this much unwritten towards the node no more is taken from the client.
const SEND_PAUSE: usize = 256 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<Pinned, DialError>>>>;

enum Line {
    Opening(Opening, Vec<u8>),
    Open(Box<Pinned>),
}

/// See the module's text.
pub(super) struct PinnedLane {
    line: Line,
    target: Target,
    purpose: Purpose,
    /// Replies that the client is owed.
    owed: u32,
    /// Replies to come that no client asked for.
    swallow: u32,
    /// The request that pinned the client, when it may be needed again.
    request: Option<Bytes>,
    since: Instant,
    resent: bool,
    /// The rest of a large request that is still to come from the client.
    tail: Option<RequestTail>,
    /// A piece of the reply at hand was passed on.
    broken: bool,
    /// Counted among the process's pinned connections.
    counted: Counted,
}

/// Keeps the count of pinned connections true whatever way the lane ends.
struct Counted(std::sync::Arc<super::shared::Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.pinned.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PinnedLane {
    pub(super) fn is_owed_nothing(&self) -> bool {
        self.owed == 0 && self.tail.is_none()
    }

    /// Parked is not in flight: a client that leaves takes its connection along.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.purpose, Purpose::Blocking { .. })
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.line {
            Line::Opening(_, waiting) => waiting.extend_from_slice(bytes),
            Line::Open(pinned) => pinned.send(bytes),
        }
    }

    fn unwritten(&self) -> usize {
        match &self.line {
            Line::Opening(_, waiting) => waiting.len(),
            Line::Open(pinned) => pinned.unwritten(),
        }
    }

    /// Takes one piece of what came; true when it is the client's.
    fn take(&mut self, piece: &Piece<'_>) -> bool {
        let (kind, last) = match piece {
            Piece::Frame { kind, .. } => (*kind, true),
            Piece::Part { kind, last, .. } => (*kind, *last),
        };
        if kind == b'>' {
            return true;
        }
        if self.swallow > 0 {
            self.swallow -= u32::from(last);
            return false;
        }
        self.broken = !last;
        if last {
            self.owed = self.owed.saturating_sub(1);
        }
        true
    }
}

impl Connection {
    /// Gives the client a connection of its own for this request.
    pub(super) fn pin(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Dispatched { request, class, resent, since } = dispatched;
        let large = request.raw().len() as u64 >= LARGE;
        let mut bytes = bytes::BytesMut::new();
        request.write_multibulk(&mut bytes);
        let bytes = bytes.freeze();
        let purpose = Purpose::of(class, request);
        let keep = (!large).then(|| bytes.clone());
        match self.take_lane(purpose, *since) {
            Err(step) => step,
            Ok(mut lane) => {
                lane.resent = *resent;
                lane.request = keep;
                if class.lane == Lane::Wait {
                    lane.swallow = 1;
                    lane.send(super::purpose::BARRIER);
                }
                lane.owed = lane.purpose.replies_to(class, request);
                lane.send(&bytes);
                self.pinned = Some(lane);
                self.worker.count_command(class.row, self.pinned_node());
                Step::Taken
            }
        }
    }

    fn pinned_node(&self) -> crate::topology::NodeId {
        self.pinned.as_ref().map_or(crate::topology::NodeId(0), |lane| lane.target.node)
    }

    fn take_lane(&mut self, purpose: Purpose, since: Option<Instant>) -> Result<Box<PinnedLane>, Step> {
        let worker = self.worker.clone();
        let node = match worker.current().for_primary() {
            Choice::Node(node) => node,
            Choice::Hold => return Err(self.hold(super::dispatch::Held, since)),
        };
        let pinned_max = worker.pinned_max();
        if worker.shared.pinned.load(Ordering::Relaxed) >= pinned_max {
            return Err(self.answer_failure(&Failure::NoConnection { pinned_max }));
        }
        worker.shared.pinned.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(worker.shared.clone());
        let table = worker.current();
        let address = table.nodes[node.index()].address.clone();
        let target = Target { node, address, epoch: table.epoch, identity: self.session.identity.clone() };
        let line = match worker.take_idle(&target) {
            Some(pinned) => Line::Open(Box::new(pinned)),
            None => {
                let opening = Pinned::open(target.clone(), worker.pools.around().clone());
                Line::Opening(Box::pin(opening), Vec::new())
            }
        };
        worker.watch(&self.client);
        Ok(Box::new(PinnedLane {
            line,
            target,
            purpose,
            owed: 0,
            swallow: 0,
            request: None,
            since: since.unwrap_or_else(|| worker.now()),
            resent: false,
            tail: None,
            broken: false,
            counted,
        }))
    }

    /// The beginning of a request that is too large to be kept: its bytes pass through from here on.
    pub(super) fn stream_large(&mut self, scanner: &RequestScanner, bytes: &[u8]) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Some((mut tail, from)) = scanner.tail() else { return Step::Taken };
        if !matches!(tail.feed(&bytes[from..], &self.limits), Ok(Fed::More)) {
            return Step::Taken;
        }
        match self.take_lane(Purpose::Large, None) {
            Err(step) => step,
            Ok(mut lane) => {
                lane.send(bytes);
                lane.owed = 1;
                lane.tail = Some(tail);
                self.pinned = Some(lane);
                Step::Taken
            }
        }
    }

    /// Bytes of a large request on their way through; `None` when there is none. Else how many were taken.
    pub(super) fn stream_on(&mut self, bytes: &[u8]) -> Option<(usize, Step)> {
        let limits = self.limits.clone();
        let lane = self.pinned.as_mut()?;
        let mut tail = lane.tail.take()?;
        if bytes.is_empty() || lane.unwritten() > SEND_PAUSE {
            lane.tail = Some(tail);
            return Some((0, if bytes.is_empty() { Step::Taken } else { Step::Wait }));
        }
        let fed = tail.feed(bytes, &limits);
        let (taken, ended) = match fed {
            Ok(Fed::More) => (bytes.len(), false),
            Ok(Fed::Frame { end }) => (end, true),
            Err(error) => {
                // The node must not execute half of it: its connection goes, unanswered.
                self.pinned = None;
                error.write(&mut self.client.out.borrow_mut());
                self.client.doom("protocol error in a large request");
                return Some((0, Step::Wait));
            }
        };
        lane.send(&bytes[..taken]);
        if !ended {
            lane.tail = Some(tail);
        }
        Some((taken, Step::Taken))
    }

    /// The client is in the middle of a large request.
    pub(super) fn is_streaming(&self) -> bool {
        self.pinned.as_ref().is_some_and(|lane| lane.tail.is_some())
    }

    /// A request of a client that has a connection of its own.
    pub(super) fn dispatch_pinned(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let Some(lane) = self.pinned.as_mut() else { return Step::Wait };
        if !lane.purpose.takes_more() || lane.unwritten() > SEND_PAUSE {
            return Step::Wait;
        }
        let Dispatched { request, class, .. } = dispatched;
        if lane.purpose.is_left_by(request.name()) {
            // QUIT and RESET end what the connection was for; Redis answers what came before first.
            if !lane.is_owed_nothing() {
                return Step::Wait;
            }
            self.pinned = None;
            return self.session_command(dispatched);
        }
        lane.owed += lane.purpose.replies_to(class, request);
        let mut bytes = bytes::BytesMut::new();
        request.write_multibulk(&mut bytes);
        lane.send(&bytes);
        self.worker.count_command(class.row, self.pinned_node());
        Step::Taken
    }

    /// Moves bytes between the pinned connection and the client; true when something happened.
    pub(super) fn drive_pinned(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut lane) = self.pinned.take() else { return false };
        let current = self.worker.epoch();
        let mut progress = false;
        if lane.target.epoch != current {
            self.lane_lost(*lane);
            return true;
        }
        if let Line::Opening(opening, waiting) = &mut lane.line {
            match opening.as_mut().poll(cx) {
                Poll::Pending => {
                    self.pinned = Some(lane);
                    return false;
                }
                Poll::Ready(Ok(mut pinned)) => {
                    pinned.send(waiting);
                    lane.line = Line::Open(Box::new(pinned));
                    progress = true;
                }
                Poll::Ready(Err(DialError::Refused(error))) => {
                    for _ in 0..lane.owed {
                        self.client.out.borrow_mut().extend_from_slice(&error);
                    }
                    return true;
                }
                Poll::Ready(Err(DialError::Io(_))) => {
                    self.lane_lost(*lane);
                    return true;
                }
            }
        }
        match self.relay(&mut lane, cx) {
            Err(()) => {
                self.lane_lost(*lane);
                return true;
            }
            Ok(moved) => progress |= moved,
        }
        self.settle_lane(lane);
        progress
    }

    fn relay(&mut self, lane: &mut PinnedLane, cx: &mut Context<'_>) -> Result<bool, ()> {
        let mut moved = false;
        loop {
            let waiting = lane.unwritten();
            let Line::Open(mut pinned) = std::mem::replace(
                &mut lane.line,
                Line::Opening(Box::pin(std::future::pending()), Vec::new()),
            ) else {
                return Ok(moved);
            };
            let written = pinned.poll_write(cx);
            moved |= pinned.unwritten() < waiting;
            let may_read = self.client.out.borrow().len() < OUTPUT_PAUSE;
            let read = if written.is_ok() && may_read {
                pinned.poll_read(cx, |piece| {
                    if lane.take(&piece) {
                        let (Piece::Frame { bytes, .. } | Piece::Part { bytes, .. }) = piece;
                        self.client.out.borrow_mut().extend_from_slice(bytes);
                    }
                })
            } else {
                Poll::Pending
            };
            lane.line = Line::Open(pinned);
            written.map_err(|_| ())?;
            match read {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => return Ok(moved),
            }
        }
    }

    /// Nothing more is owed: the connection is given back, closed or kept, as its purpose says.
    fn settle_lane(&mut self, mut lane: Box<PinnedLane>) {
        if !lane.is_owed_nothing() || lane.swallow > 0 {
            self.pinned = Some(lane);
            return;
        }
        match lane.purpose.after() {
            After::Stays => self.pinned = Some(lane),
            After::Closes => {}
            After::Returns => {
                if let Line::Open(pinned) = std::mem::replace(
                    &mut lane.line,
                    Line::Opening(Box::pin(std::future::pending()), Vec::new()),
                ) && pinned.is_quiet()
                {
                    self.worker.give_idle(*pinned);
                }
            }
        }
    }

    /// The connection is gone, or belongs to an epoch that is over.
    fn lane_lost(&mut self, lane: PinnedLane) {
        let _ = &lane.counted;
        if lane.broken {
            self.client.doom("a reply was cut off in its middle");
            return;
        }
        let now = Instant::now();
        let epochs = (lane.target.epoch, self.worker.table().epoch);
        let ambiguous = Failure::Ambiguous { from: epochs.0, to: epochs.1.max(epochs.0) };
        let sent = matches!(&lane.line, Line::Open(pinned) if pinned.unwritten() == 0);
        let redo = match (&lane.purpose, &lane.request) {
            (Purpose::Large, _) if lane.tail.is_some() || !sent => {
                // The rest of the request still comes in and belongs to nobody: it can only be dropped by closing.
                self.client.fail(&Failure::HoldExpired { hold: self.worker.settings.hold });
                self.client.doom("a large request was cut off");
                return;
            }
            (_, _) if lane.owed == 0 => None,
            (Purpose::Blocking { row }, Some(request)) => {
                let left = super::parked::remaining(request, *row, now.duration_since(lane.since));
                Some(Redo::again(&left, false, now))
            }
            (_, Some(request)) if !sent => Some(Redo::again(request, lane.resent, lane.since)),
            (Purpose::One { .. }, Some(request)) => {
                let waited = now.duration_since(lane.since);
                let fate = super::redo::fate_of(request, &self.worker.retry_rules(), lane.resent, waited);
                Some(super::redo::after_loss(fate, request, lane.since, &ambiguous, &lane.target.address))
            }
            (Purpose::Wait { aof }, _) => {
                let nobody: &[u8] = if *aof { b"*2\r\n:0\r\n:0\r\n" } else { b":0\r\n" };
                self.client.out.borrow_mut().extend_from_slice(nobody);
                None
            }
            (_, _) => Some(Redo::Answer(ambiguous.clone())),
        };
        let standing = lane.purpose.after() == After::Stays;
        let mut queue = self.client.redo.borrow_mut();
        for _ in 1..lane.owed {
            queue.push_front(Redo::Answer(ambiguous.clone()));
        }
        if let Some(redo) = redo {
            queue.push_front(redo);
        }
        drop(queue);
        if standing {
            self.client.doom("the connection that held this client's state was lost");
        }
    }
}
