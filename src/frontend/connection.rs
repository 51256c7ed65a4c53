//! One client's task: read, dispatch, write. Start reading here.
//!
//! [`Connection::poll`] is one turn. It only moves bytes between buffers that the task owns, so a turn can end
//! anywhere; whatever the client waits for (its socket, replies, the routing table, its pinned connection) wakes
//! the task for the next one.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;

use crate::backend::Pipeline;
use crate::command::RowId;
use crate::error::Failure;
use crate::resp::{Limits, ProtocolError, RequestScanner, RequestTail, Scan};
use crate::telemetry::{Direction, ErrorKind, Side};
use crate::topology::NodeId;

use super::client::{Client, ClientRef, Special};
use super::lane::PinnedLane;
use super::redo::Redo;
use super::registry::{Closed, Held};
use super::session::Session;
use super::shared::Ending;
use super::stream::{Reader, Writer};
use super::worker::{Worker, wake_at};

/// While a client may not be served, this much of what it sends is still read, so that its end is noticed.
const READ_AHEAD: usize = 64 << 10;

/// With this much unwritten output a client's next requests wait: its own socket is the bound.
const OUTPUT_PAUSE: usize = 256 << 10;

/// Turns of work in one poll, after which the other clients of the thread get theirs.
const STEPS_PER_POLL: usize = 16;

/// A client's task.
pub(super) struct Connection {
    pub(super) client: ClientRef,
    pub(super) worker: Rc<Worker>,
    pub(super) session: Session,
    reader: Reader,
    /// Bytes read and not yet dispatched.
    unread: BytesMut,
    /// Of a request whose end has not come.
    scanner: Option<Box<RequestScanner>>,
    /// The limits of those who have yet to authenticate do not hold.
    pub(super) authenticated: bool,
    /// Each of its requests is judged here before it goes anywhere.
    pub(super) judged: bool,
    /// The request at hand was counted against the rate of its user.
    pub(super) metered: bool,
    /// The rest of a large request that was refused: read and dropped.
    pub(super) dropping: Option<Box<RequestTail>>,
    /// The client sends no more.
    ended: bool,
    /// Nor does it get anything more.
    broken: bool,
    /// The next request can not be served yet.
    waits: bool,
    /// The pipeline that took the last request for the primary; asked for again when it is closed.
    pub(super) primary: Option<Pipeline<ClientRef>>,
    /// The same for its scripts.
    pub(super) scripts: Option<Pipeline<ClientRef>>,
    pub(super) pinned: Option<Box<PinnedLane>>,
    /// The row of the request at hand, once it was sent on a shared pipeline.
    pub(super) sent: Option<RowId>,
    /// The read at hand goes to the primary though it is meant for a replica.
    pub(super) spills: bool,
    /// The replica that the read at hand goes to, if it is sent.
    pub(super) reads_at: Option<NodeId>,
    /// Since when a redirection waits for the other client's connection.
    pub(super) target_since: Option<Instant>,
    /// When it is woken because its wait will have been too long.
    pub(super) woken_at: Option<Instant>,
    /// The client table shows what is held on a connection of its own.
    shown: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was taken: sent, answered or refused.
    Taken,
    /// It has to wait; whoever can end the wait knows this client.
    Wait,
}

impl Connection {
    /// `connected`: when.
    pub(super) fn new(
        id: u64,
        connected: Instant,
        worker: Rc<Worker>,
        (reader, writer): (Reader, Writer),
    ) -> Self {
        let client = Client::shared(id, connected, worker.clone(), writer);
        Self {
            client,
            session: Session::new(),
            judged: worker.users.any(),
            metered: false,
            worker,
            reader,
            unread: BytesMut::new(),
            scanner: None,
            authenticated: false,
            dropping: None,
            ended: false,
            broken: false,
            waits: false,
            primary: None,
            scripts: None,
            pinned: None,
            sent: None,
            spills: false,
            reads_at: None,
            target_since: None,
            woken_at: None,
            shown: false,
        }
    }

    /// The client has sent this before.
    pub(super) fn sent_before(&mut self, bytes: BytesMut) {
        self.unread = bytes;
    }

    /// The client sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What the client has sent and was not served yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// What it may send.
    #[inline]
    pub(super) fn limits(&self) -> Limits {
        let max_request = self.worker.settings.request_size;
        Limits { authenticated: self.authenticated, max_request, ..Limits::default() }
    }

    /// Dispatches what `bytes` hold, as far as the client may be served now; returns how many bytes were taken
    /// and whether the rest has to wait for something else than more bytes.
    fn process(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut taken = 0;
        loop {
            if self.client.doomed.get().is_some() || self.is_full() {
                return (taken, Step::Wait);
            }
            let rest = &bytes[taken..];
            if let Some((passed, step)) = self.stream_on(rest) {
                taken += passed;
                if passed == 0 {
                    return (taken, step);
                }
                continue;
            }
            if rest.is_empty() {
                return (taken, Step::Taken);
            }
            let spare = || self.worker.scanner.take().unwrap_or_default();
            let mut scanner = self.scanner.take().unwrap_or_else(spare);
            let step = match scanner.scan(rest, &self.limits()) {
                Ok(Scan::Incomplete { .. }) => {
                    let step = self.dispatch_partial(&scanner, rest);
                    if self.is_streaming() || self.dropping.is_some() {
                        return (bytes.len(), step);
                    }
                    self.scanner = Some(scanner);
                    return (taken, step);
                }
                Ok(Scan::Empty { len }) => Ok(len),
                Ok(Scan::Complete { len }) => match self.dispatch(&scanner.request(rest), false, None) {
                    Step::Taken => Ok(len + self.take_alike(&scanner.request(rest), &rest[len..])),
                    Step::Wait => Err(Step::Wait),
                },
                Err(error) if error.is_of_strangers() => Err(self.ask_admission(error)),
                Err(error) => {
                    self.protocol_error(error);
                    Err(Step::Wait)
                }
            };
            scanner.reset();
            self.worker.scanner.set(Some(scanner));
            match step {
                Ok(len) => {
                    self.client.live.took(1);
                    self.client.waited.set(0);
                    self.metered = false;
                    taken += len;
                }
                Err(step) => return (taken, step),
            }
        }
    }

    /// Redis answers and closes; what it owes before that comes first.
    pub(super) fn protocol_error(&self, error: ProtocolError) {
        if self.is_owed_nothing() {
            self.worker.metrics.error(ErrorKind::Protocol);
            error.write(&mut self.client.out.borrow_mut());
            self.client.doom("protocol error");
        }
    }

    /// True when every request of this client was answered.
    pub(super) fn is_owed_nothing(&self) -> bool {
        self.client.owed.get() == 0 && self.pinned.as_ref().is_none_or(|lane| lane.is_owed_nothing())
    }

    /// What a loss left to be done comes before anything new.
    fn process_redo(&mut self) -> Step {
        loop {
            let next = self.client.redo.borrow_mut().next();
            let step = match &next {
                None => {
                    self.client.end_keeping_back();
                    return Step::Taken;
                }
                Some(Redo::Answer { failure, row, since }) => {
                    if self.is_owed_nothing() {
                        let before = self.client.out.borrow().len();
                        self.client.fail(failure);
                        if self.worker.is_traced() {
                            let reply = &self.client.out.borrow()[before..];
                            self.worker.trace_waited(&self.client, *row, *since, reply);
                        }
                        Step::Taken
                    } else {
                        Step::Wait
                    }
                }
                Some(Redo::Say(bytes)) => {
                    if self.is_owed_nothing() {
                        self.client.out.borrow_mut().extend_from_slice(bytes);
                        Step::Taken
                    } else {
                        Step::Wait
                    }
                }
                Some(Redo::Send { .. }) => self.send_again(next.as_ref()),
            };
            if let (Step::Wait, Some(next)) = (step, next) {
                self.client.redo.borrow_mut().put_back(next);
                return Step::Wait;
            }
        }
    }

    fn send_again(&mut self, redo: Option<&Redo>) -> Step {
        let Some(redo @ Redo::Send { request, resent, since, after, probe, .. }) = redo else {
            return Step::Taken;
        };
        let now = Instant::now();
        if redo.refusal().is_some() && now.duration_since(*since) >= self.worker.settings.hold {
            if !self.is_owed_nothing() {
                return Step::Wait;
            }
            self.worker.unhold(&self.client);
            self.client.hand_on_one(redo);
            return Step::Taken;
        }
        if let Some(after) = after.filter(|after| *after > now) {
            wake_at(&self.client, after);
            return Step::Wait;
        }
        match RequestScanner::of_kept(request) {
            Some(_) if *probe && !self.is_owed_nothing() => Step::Wait,
            Some(scanner) => {
                let request = scanner.request(request);
                // Who has a connection of its own waits there, and what is said to him depends on what he holds.
                let shared = self.pinned.is_none();
                if let Some(failure) = shared.then(|| self.given_up(&request, *resent, *since)).flatten() {
                    self.worker.unhold(&self.client);
                    return self.answer_failure(&failure);
                }
                let step = self.dispatch(&request, *resent, Some(*since));
                if *probe && self.client.owed.get() > 0 {
                    self.client.special.borrow_mut().get_or_insert(Special::Probe);
                }
                step
            }
            None => self.answer_failure(&Failure::Unreadable),
        }
    }

    /// Serves what was read and could not be served then.
    fn process_unread(&mut self) -> (bool, Step) {
        let mut unread = std::mem::take(&mut self.unread);
        let (taken, step) = self.process(&unread);
        unread.advance(taken);
        if unread.is_empty() {
            self.worker.blanks.give_buffer(unread);
        } else {
            self.unread = unread;
        }
        (taken > 0, step)
    }

    /// Reads once; `Pending` when nothing is there.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let worker = self.worker.clone();
        let mut scratch = worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match self.reader.poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => {
                (self.ended, self.broken) = (true, true);
                self.client.doom("the client's connection broke");
                return Poll::Ready(Step::Wait);
            }
            Poll::Ready(Ok(())) => {}
        }
        let bytes = buffer.filled();
        worker.metrics.bytes(Side::Client, Direction::In, bytes.len() as u64);
        self.client.live.read(bytes.len(), worker.now());
        if bytes.is_empty() {
            self.ended = true;
            return Poll::Ready(Step::Wait);
        }
        let idle = self.unread.is_empty() && self.client.redo.borrow().is_empty();
        if !idle || self.waits {
            self.unread.extend_from_slice(bytes);
            return Poll::Ready(Step::Taken);
        }
        let (taken, step) = self.process(bytes);
        if taken < bytes.len() {
            if self.unread.capacity() == 0 {
                self.unread = worker.blanks.buffer();
            }
            self.unread.extend_from_slice(&bytes[taken..]);
        }
        self.waits = step == Step::Wait;
        Poll::Ready(Step::Taken)
    }

    /// Room for more bytes: a partial request may need more than the read-ahead.
    fn may_read(&self) -> bool {
        !self.ended && (self.unread.len() < READ_AHEAD || !self.waits)
    }

    /// One step of work; true when another one may find something to do.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if self.worker.shared.ending() == Ending::Over {
            self.end_parked();
            self.client.doom("the proxy stops");
            return false;
        }
        if let Some(reply) = self.client.session_reply.take() {
            self.session_replied(&reply);
            progress = true;
        }
        if self.client.identity_refused.take() {
            self.identity_was_refused();
        }
        progress |= self.drive_pinned(cx);
        if self.client.untold.get() {
            progress |= self.tell();
        }
        if self.client.doomed.get().is_some() {
            return progress;
        }
        let redo = self.client.redo.borrow().len();
        let mut step = self.process_redo();
        // What was taken may have to be written, or has a connection to open, in this very turn.
        progress |= self.client.redo.borrow().len() != redo;
        // What a client that leaves sends from now on is served where it goes.
        let leaves = self.leaves();
        if step == Step::Taken && !self.unread.is_empty() && !leaves {
            let (some, then) = self.process_unread();
            (progress, step) = (progress | some, then);
        }
        self.waits = step == Step::Wait;
        if !leaves && self.may_read() && self.read(cx).is_ready() {
            progress = true;
        }
        progress
    }

    /// At once, as Redis does: what it has not read it will not get.
    fn close_because(&mut self, why: Closed) {
        if why == Closed::Largest && self.client.doomed.get().is_none() {
            self.client.close_as_largest(self.is_owed_nothing());
        }
        (self.ended, self.broken) = (true, true);
        self.client.doom(match why {
            Closed::Killed => "CLIENT KILL",
            Closed::Largest => "limits.memory",
        });
    }

    /// After the client's end of sending: is there still something it may be given?
    fn is_finished(&self) -> bool {
        if matches!(*self.client.special.borrow(), Some(Special::Order)) {
            return false;
        }
        if !self.ended {
            // Whoever holds something (a subscription, an open transaction) keeps it until drain_timeout.
            return self.worker.shared.ending() == Ending::Draining
                && self.pinned.is_none()
                && !self.leaves_later()
                && self.is_owed_nothing()
                && (self.unread.is_empty() || self.leaves())
                && self.client.redo.borrow().is_empty();
        }
        let is_parked = |lane: &PinnedLane| lane.is_parked() || lane.waits() || lane.tail.is_some();
        let parked = self.pinned.as_deref().is_some_and(is_parked);
        // Without a redo, whoever waits and is not held waits for room for replies: they come.
        let idle = !self.waits && self.client.redo.borrow().is_empty();
        // Without a reply nobody tells that what it sent has arrived.
        let written = self.pinned.as_ref().is_none_or(|lane| lane.unwritten() == 0);
        parked || (self.is_owed_nothing() && ((idle && written) || self.is_held()))
    }

    /// Its next request waits for the node: who gave up meanwhile must not have it executed.
    fn is_held(&self) -> bool {
        self.client.held_since.get().is_some() || (self.waits && !self.client.redo.borrow().is_empty())
    }

    /// Brings the client table up to date about what no request tells it.
    fn show(&mut self) {
        let client = &self.client;
        let unsent = self.pinned.as_ref().map_or(0, |lane| lane.unwritten());
        client
            .live
            .buffers(self.unread.len() + unsent, client.out.borrow().len() + client.writer.unwritten());
        client.note_memory();
        client.midway.set(self.scanner.is_some() || self.dropping.is_some() || self.is_streaming());
        if self.pinned.is_some() || self.shown {
            self.shown = self.pinned.is_some();
            client.live.hold(self.pinned.as_ref().map_or_else(Held::default, |lane| lane.shown()));
            let owes = self.pinned.as_ref().is_some_and(|lane| !lane.is_owed_nothing() && !lane.is_parked());
            client.lane_owes.set(owes);
        }
    }

    /// So much waits to be read by the client that it gets nothing more to wait for.
    pub(super) fn is_full(&self) -> bool {
        let full = self.client.out.borrow().len() >= OUTPUT_PAUSE && self.client.pending() >= OUTPUT_PAUSE;
        if full {
            self.client.was_full.set(true);
        }
        full
    }

    /// Writes; true when nothing is left to write.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.client.out.borrow().is_empty() && self.client.writer.unwritten() == 0 {
            return true;
        }
        loop {
            if !self.client.flush() {
                (self.ended, self.broken) = (true, true);
                self.client.doom("the client closed its connection");
                self.client.drop_output();
                return true;
            }
            if !self.client.is_unread() {
                // What is left waits for a barrier, whose end writes it.
                return self.client.out.borrow().is_empty();
            }
            if self.client.writer.poll_ready(cx).is_pending() {
                return false;
            }
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let known = this.client.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            this.client.waker.replace(Some(cx.waker().clone()));
            this.client.live.wake_by(cx.waker());
        }
        if let Some(why) = this.client.live.closed() {
            this.close_because(why);
        }
        this.worker.begin_turn();
        if this.client.live.is_redirected_to() {
            this.become_target();
        }
        for _ in 0..STEPS_PER_POLL {
            let mut progress = this.client.doomed.get().is_none() && this.step(cx);
            this.worker.publish_writes();
            this.show();
            let was_full = this.is_full();
            let written = this.write(cx);
            if this.client.noted_memory.get() > 0 {
                this.client.note_written();
            }
            // Nobody else tells that there is room again.
            progress |= was_full && !this.is_full();
            if let Some(reason) = this.client.doomed.get() {
                if written || this.broken {
                    tracing::debug!(client = this.client.id, reason, "client closed");
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
            if this.is_finished() {
                // Whoever writes the rest wakes it.
                this.client.blocked.set(true);
                if this.leaves() {
                    if !written {
                        return Poll::Pending;
                    }
                    if let Some(gone) = this.go_over() {
                        return gone;
                    }
                    this.client.stays.set(true);
                    continue;
                }
                return if written { Poll::Ready(()) } else { Poll::Pending };
            }
            if !progress {
                this.client.blocked.set(this.waits || this.ended || this.leaves());
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Replies that are still to come find the client gone; its socket does not wait for them.
        self.client.close();
        self.worker.shared.lent.leave(self.client.id);
    }
}
