//! The half of a client that others reach: where replies are put and how its task is woken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::backend::{BigReply, Caller, Pipeline, Slow, Traced, Unanswered, first_len};
use crate::command::{Effect, Lane};
use crate::durability::Withheld;
use crate::error::Failure;
use crate::resp::encode;
use crate::session::Listing;
use crate::telemetry::{Direction, ErrorKind, Side};
use crate::topology::NodeId;

use super::big_keys::Direction as Way;
use super::cursor;
use super::lost_request::LostRequest;
use super::maintenance::Subscription;
use super::redo::{self, Fate, Redo, Redos};
use super::registry::Live;
use super::stream::Writer;
use super::tag::row_of;
use super::window::Window;
use super::worker::{Passed, Took, Worker};
use super::written::Touches;

/// An output buffer that outgrew this is given back when it runs empty.
const KEEP_CAPACITY: usize = 16 << 10;

/// What has to happen to the one reply that a client waits for.
#[derive(Debug)]
pub(super) enum Special {
    /// A session command: the connection looks at the reply before the client gets it. With the request as the
    /// client sent it, since something else was sent in its place; empty when the proxy asks of its own accord.
    Session(Bytes),
    /// An order of PROXY, or a change on its way to every node: others work on it meanwhile.
    Order,
    /// This node's reply to a request that every node has to have, and that request.
    EveryNode(NodeId, Bytes),
    /// A reply of the SCAN family, whose cursor is stamped with this epoch.
    Cursor(u64),
    /// A reply to PUBSUB, from which something is left out, and what came of it so far.
    Pubsub(Listing, Vec<u8>),
    /// A reply to INFO or ROLE without the addresses of replicas, and what came of it so far.
    Hidden(Vec<u8>),
    /// The last requests that were answered were all refused, and more replies are owed: whether they may be sent again
    /// depends on what becomes of the later ones. Nothing new is sent meanwhile.
    Refused(Vec<Redo>),
    /// A refused request that was sent again alone.
    Probe,
}

/// See the module's text.
pub(super) struct Client {
    pub(super) id: u64,
    /// What other threads see of it.
    pub(super) live: Arc<Live>,
    pub(super) worker: Rc<Worker>,
    pub(super) writer: Writer,
    pub(super) out: RefCell<BytesMut>,
    /// What of it waits for a barrier.
    pub(super) withheld: RefCell<Withheld>,
    /// What the worker knows of its memory.
    pub(super) noted_memory: Cell<usize>,
    /// The end of a request has not come.
    pub(super) midway: Cell<bool>,
    /// Its task takes nothing more before there is room in `out`.
    pub(super) was_full: Cell<bool>,
    /// Requests on a pipeline without a reply.
    pub(super) owed: Cell<u32>,
    /// Bytes of those requests, as near as runs allow.
    pub(super) in_flight: Cell<usize>,
    /// How many may be on their way.
    pub(super) window: Cell<Window>,
    /// The pipeline that owes them.
    pub(super) lane: RefCell<Option<Pipeline<ClientRef>>>,
    /// What has to be sent or answered again, before anything new.
    pub(super) redo: RefCell<Redos>,
    pub(super) special: RefCell<Option<Special>>,
    /// The reply to a [`Special::Session`] request.
    pub(super) session_reply: RefCell<Option<Bytes>>,
    /// A node refused this client's identity.
    pub(super) identity_refused: Cell<bool>,
    /// Why the connection must end; it is closed once what is written was flushed.
    pub(super) doomed: Cell<Option<&'static str>>,
    /// The task waits for something that [`settle`](Caller::settle) may bring.
    pub(super) blocked: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// The task has ended.
    closed: Cell<bool>,
    /// Number of the look at a node that began last when its last write was answered; 0: it wrote nothing.
    pub(super) wrote_by_look: Cell<u64>,
    /// The same of what a replica last answered it; 0: nothing.
    pub(super) read_by_look: Cell<u64>,
    /// A replica owes it replies.
    pub(super) reads_replica: Cell<bool>,
    /// Reads meant for replicas that the primary owes it.
    pub(super) spilled: Cell<usize>,
    /// What its writes on their way touch, where that is asked for.
    pub(super) touches: RefCell<Touches>,
    /// Its next request stands in the queue for a connection of its own.
    pub(super) queues: Cell<bool>,
    /// It is woken when the routing table changes.
    pub(super) waits_for_table: Cell<bool>,
    /// It may look at its own connection, while others wait for their turn to do so.
    pub(super) its_turn: Cell<bool>,
    /// Since when its next request is held.
    pub(super) held_since: Cell<Option<Instant>>,
    /// Microseconds for which what is about to be sent was held.
    pub(super) waited: Cell<u32>,
    /// Since when requests that are still to be answered were refused.
    pub(super) refused_since: Cell<Option<Instant>>,
    /// Its next request waits for PROXY RESUME.
    pub(super) paused: Cell<bool>,
    /// Its own connection owes it something, for which it does not wait at the node.
    pub(super) lane_owes: Cell<bool>,
    /// What it wants to be told beside its replies.
    pub(super) notices: Cell<Option<Subscription>>,
    /// There is something to tell it.
    pub(super) untold: Cell<bool>,
    /// The output ends in the middle of a reply that comes in pieces on a pipeline.
    pub(super) in_middle: Cell<bool>,
    /// Since when its blocking command has been refused each time it was sent to wait.
    pub(super) unparked_since: Cell<Option<Instant>>,
    /// The process that takes over could not be given it.
    pub(super) stays: Cell<bool>,
}

/// A counted reference, compared by identity.
#[derive(Clone)]
pub(super) struct ClientRef(pub(super) Rc<Client>);

impl std::ops::Deref for ClientRef {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl PartialEq for ClientRef {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Client {
    pub(super) fn shared(id: u64, connected: Instant, worker: Rc<Worker>, writer: Writer) -> ClientRef {
        let live = Live::new(connected);
        ClientRef(Rc::new(Self {
            id,
            live,
            worker,
            writer,
            out: RefCell::default(),
            withheld: RefCell::default(),
            noted_memory: Cell::new(0),
            midway: Cell::new(false),
            was_full: Cell::new(false),
            owed: Cell::new(0),
            in_flight: Cell::new(0),
            window: Cell::default(),
            lane: RefCell::default(),
            redo: RefCell::default(),
            special: RefCell::default(),
            session_reply: RefCell::default(),
            identity_refused: Cell::new(false),
            doomed: Cell::new(None),
            blocked: Cell::new(false),
            waker: RefCell::default(),
            closed: Cell::new(false),
            wrote_by_look: Cell::new(0),
            read_by_look: Cell::new(0),
            reads_replica: Cell::new(false),
            spilled: Cell::new(0),
            touches: RefCell::default(),
            queues: Cell::new(false),
            waits_for_table: Cell::new(false),
            its_turn: Cell::new(false),
            held_since: Cell::new(None),
            waited: Cell::new(0),
            refused_since: Cell::new(None),
            unparked_since: Cell::new(None),
            paused: Cell::new(false),
            lane_owes: Cell::new(false),
            notices: Cell::new(None),
            untold: Cell::new(false),
            in_middle: Cell::new(false),
            stays: Cell::new(false),
        }))
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection for `reason`, once what it was given is written.
    pub(super) fn doom(&self, reason: &'static str) {
        self.doomed.set(Some(reason));
        self.wake();
    }

    /// The task has ended: what still comes is dropped.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.redo.borrow_mut().clear();
        self.special.borrow_mut().take_if(|special| matches!(special, Special::Refused(_)));
        self.worker.unhold(self);
        self.drop_output();
        self.live.buffers(0, 0);
        self.note_memory();
        self.writer.shut();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Keeps no memory for the next replies, if none waits.
    pub(super) fn rest(&self) {
        if self.out.borrow().is_empty() {
            self.out.take();
        }
    }

    /// Nobody reads it.
    pub(super) fn drop_output(&self) {
        self.out.replace(BytesMut::new());
        self.withheld.borrow_mut().clear();
    }

    /// Appends an error of the proxy's own.
    pub(super) fn fail(&self, failure: &Failure) {
        self.worker.count_failure(failure);
        encode::error(&mut self.out.borrow_mut(), &failure.to_string());
    }

    /// Writes what the socket takes; false when it is broken.
    pub(super) fn flush(&self) -> bool {
        if !self.writer.try_flush() {
            return false;
        }
        let (mut out, mut withheld) = (self.out.borrow_mut(), self.withheld.borrow_mut());
        loop {
            let ready = withheld.writable(out.len());
            if ready == 0 {
                break;
            }
            match self.writer.try_write(&out[..ready]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.worker.metrics.bytes(Side::Client, Direction::Out, count as u64);
                    self.live.wrote(count);
                    out.advance(count);
                    withheld.wrote(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        if !out.is_empty() {
            return true;
        }
        if out.capacity() > KEEP_CAPACITY {
            *out = BytesMut::new();
        } else {
            out.clear();
        }
        true
    }

    /// Strikes `count` answered requests off.
    fn struck(&self, tag: u16, count: u32) {
        let owed = self.owed.get();
        debug_assert!(count <= owed);
        let in_flight = self.in_flight.get();
        let left = owed - count;
        self.owed.set(left);
        self.in_flight.set(if left == 0 {
            0
        } else {
            in_flight - in_flight / owed as usize * count as usize
        });
        let effect = row_of(tag).spec().effect;
        if self.worker.is_waited_for(effect)
            && let Some(lane) = self.lane.borrow().as_ref()
        {
            self.worker.writes_ended(lane.target().node, count);
            if effect == Effect::Write {
                self.note_writes(count);
            }
        }
        let spilled = self.spilled.get();
        if spilled > left as usize {
            self.spilled.set(left as usize);
            self.worker.spilled_ended(spilled - left as usize);
        }
        if left == 0 {
            self.lane.replace(None);
            self.note_read();
        }
    }

    /// How much longer the output became by a reply that is set apart, if it is: if `take` takes it.
    #[inline]
    fn set_apart(&self, take: impl FnOnce() -> bool) -> Option<usize> {
        if self.special.borrow().is_none() {
            return None;
        }
        let before = self.out.borrow().len();
        take().then(|| self.out.borrow().len() - before)
    }

    /// Gives the client a reply as it is; how long it is.
    #[inline]
    fn hand_over(&self, frames: &[u8]) -> usize {
        self.out.borrow_mut().extend_from_slice(frames);
        frames.len()
    }

    /// Takes a reply whose content matters to the session or carries a cursor.
    fn take_special(&self, frame: &[u8]) -> bool {
        match self.special.take() {
            // Nothing is sent while an order is worked on.
            None | Some(Special::Order | Special::Probe | Special::EveryNode(..)) => false,
            Some(Special::Refused(kept)) => {
                self.hand_on(&kept);
                false
            }
            Some(Special::Session(_)) => {
                self.session_reply.replace(Some(Bytes::copy_from_slice(frame)));
                true
            }
            Some(Special::Cursor(epoch)) => {
                cursor::stamp_reply(frame, epoch, &mut self.out.borrow_mut());
                true
            }
            // What was too large to be looked at whole is shown to nobody, its end neither.
            Some(Special::Pubsub(..) | Special::Hidden(_)) if self.doomed.get().is_some() => true,
            Some(Special::Pubsub(listing, begun)) => {
                let whole = if begun.is_empty() { frame } else { &begun };
                listing.write(whole, &mut self.out.borrow_mut());
                true
            }
            Some(Special::Hidden(begun)) => {
                let whole = if begun.is_empty() { frame } else { &begun };
                self.worker.copy_hidden(whole, &mut self.out.borrow_mut());
                true
            }
        }
    }

    /// Keeps a piece of a large reply that can only be looked at whole; true when it is one.
    fn gathers(&self, piece: &[u8]) -> bool {
        let mut special = self.special.borrow_mut();
        let Some(Special::Pubsub(_, begun) | Special::Hidden(begun)) = special.as_mut() else { return false };
        if self.doomed.get().is_none() {
            begun.extend_from_slice(piece);
            if begun.len() as u64 > self.worker.settings.client_output {
                *begun = Vec::new();
                self.too_large();
            }
        }
        true
    }

    /// A reply that can only be looked at whole is more than a client may be owed: it is closed, and counted once, whatever of the
    /// reply comes yet.
    pub(super) fn too_large(&self) {
        if self.doomed.get().is_none() {
            self.worker.metrics.error(ErrorKind::ClientOutput);
            self.doom("a reply is larger than a client may be owed");
        }
    }
}

impl Caller for ClientRef {
    fn replies(&self, tag: u16, frames: &[u8], count: u32) {
        self.struck(tag, count);
        self.window.set(self.window.get().noted(frames.len(), count));
        let apart = self.set_apart(|| self.is_spread(frames) || self.take_special(frames));
        let len = apart.unwrap_or_else(|| self.hand_over(frames));
        if self.worker.withholds && len > 0 {
            self.withhold(tag, len, count);
        }
    }

    fn gathered(&self, tag: u16, frame: &mut BytesMut) {
        let moves = frame.len() > KEEP_CAPACITY && self.special.borrow().is_none();
        if !moves || self.worker.withholds || !self.out.borrow().is_empty() {
            return self.replies(tag, frame, 1);
        }
        self.struck(tag, 1);
        self.window.set(self.window.get().noted(frame.len(), 1));
        std::mem::swap(&mut *self.out.borrow_mut(), frame);
    }

    fn error(&self, tag: u16, frame: &[u8], request: &[u8], resent: bool) -> bool {
        let frame = redo::instead_of_redirect(row_of(tag), frame).unwrap_or(frame);
        if let Some(lane) = self.lane.borrow().as_ref() {
            if redo::is_of_state(frame) {
                self.worker.note_refusal(lane.target().node, frame);
            }
            self.worker.note_missing(lane.target().node, frame, request);
        }
        self.struck(tag, 1);
        if redo::is_proof(row_of(tag), frame)
            || self.awaits_remedy(row_of(tag), frame, self.refused_since.get())
        {
            self.keep_back(frame, request, resent);
            return true;
        }
        let len = self.set_apart(|| self.take_special(frame)).unwrap_or_else(|| self.hand_over(frame));
        if self.worker.withholds && len > 0 {
            self.withhold_error(tag, frame, len, resent);
        }
        false
    }

    fn part(&self, tag: u16, piece: &[u8], last: bool) {
        self.window.set(self.window.get().noted(piece.len(), u32::from(last)));
        let gathers = self.gathers(piece);
        self.in_middle.set(!last && !gathers);
        if last {
            self.reply_ended();
            self.struck(tag, 1);
            if gathers {
                self.take_special(piece);
            }
        }
        if gathers {
            return;
        }
        let mut before = self.out.borrow().len();
        match self.special.take() {
            // It stands at the beginning of the first piece, which is never a small one.
            Some(Special::Cursor(epoch)) => cursor::stamp_reply(piece, epoch, &mut self.out.borrow_mut()),
            Some(Special::Refused(kept)) => {
                self.hand_on(&kept);
                before = self.out.borrow().len();
                self.out.borrow_mut().extend_from_slice(piece);
            }
            other => {
                self.special.replace(other.filter(|_| !last));
                self.out.borrow_mut().extend_from_slice(piece);
            }
        }
        if self.worker.withholds {
            self.withhold_part(tag, self.out.borrow().len() - before, last);
        }
    }

    fn refused(&self, tag: u16, error: &[u8], count: u32) {
        for _ in 0..count {
            self.struck(tag, 1);
            if !self.take_special(error) {
                // Only a judgement of the proof makes the client prove itself again.
                let judged = [b"-WRONGPASS ".as_slice(), b"-NOAUTH ", b"-NOPERM "];
                self.identity_refused.set(judged.iter().any(|code| error.starts_with(code)));
                self.out.borrow_mut().extend_from_slice(error);
            }
        }
    }

    fn lost(&self, lost: &Unanswered<'_>, broken: bool) {
        let now = Instant::now();
        let ambiguous = Failure::Ambiguous { from: lost.epoch, to: self.worker.epoch().max(lost.epoch) };
        let refused = self.special.borrow_mut().take_if(|special| matches!(special, Special::Refused(_)));
        if let Some(Special::Refused(kept)) = refused {
            // What was not written was not executed, and nothing behind it was.
            if lost.written == 0 {
                self.redo_refused(kept);
            } else {
                self.hand_on(&kept);
            }
        }
        let mut start = 0;
        for index in 0..lost.count {
            let len = first_len(&lost.requests[start..]);
            let request = &lost.requests[start..start + len];
            start += len;
            self.struck(lost.tag, 1);
            let special = self.special.take();
            if broken && index == 0 && !matches!(special, Some(Special::Pubsub(..) | Special::Hidden(_))) {
                self.cut_unfinished();
                self.doom("a reply was cut off in its middle");
                continue;
            }
            if let Some(Special::Session(original)) = special {
                if original.is_empty() {
                    // The proxy's own question, which is asked again when it matters.
                    continue;
                }
                self.redo.borrow_mut().lost(Redo::again(&original, lost.resent, lost.since));
                continue;
            }
            let restored = match special {
                Some(Special::Cursor(epoch)) => cursor::restore_request(request, epoch),
                _ => None,
            };
            let request = restored.as_deref().unwrap_or(request);
            let row = row_of(lost.tag);
            let redo = if start > lost.written || row.spec().lane == Lane::Session {
                // Not executed: its last byte was not written, or it concerns a connection that is gone.
                Redo::again(request, lost.resent, lost.since)
            } else {
                self.worker.count_unanswered(row);
                let waited = now.duration_since(lost.since);
                let (node, epoch, resent) = (lost.node, lost.epoch, !lost.once);
                self.worker.note_lost(&LostRequest { node, epoch, row, request, resent, waited });
                let rules = self.worker.rules_after(lost.node, epoch, row);
                let fate = redo::fate_of(request, &rules, !lost.once, waited);
                if fate == Fate::Again {
                    self.worker.count_reissued();
                }
                redo::after_loss(fate, (row, request), lost.since, &ambiguous, lost.node)
            };
            self.redo.borrow_mut().lost(redo);
        }
    }

    fn slow(&self, slow: &Slow<'_>) {
        // What is asked in the course of a change of session is not what the client sent, and may be a secret.
        if !matches!(*self.special.borrow(), Some(Special::Session(_))) {
            let Slow { node, micros, waited, local, now, .. } = *slow;
            let took = Took { row: row_of(slow.tag), node: Some(node), micros, waited, local, now };
            self.worker.note_slow(self, &took, || slow.last());
        }
    }

    fn sampled(&self, tag: u16, request: &[u8], db: u32) {
        self.worker.note_sampled(row_of(tag), request, db);
    }

    fn traced(&self, traced: &Traced<'_>) {
        self.worker.trace_answered(self, traced);
    }

    fn big(&self, tag: u16, request: &[u8], reply: &BigReply) {
        let BigReply { bytes, node, db, now } = *reply;
        let passed = Passed { direction: Way::Reply, row: row_of(tag), node, db, bytes, now };
        self.worker.note_big(self, &passed, request);
    }

    fn settle(&self) {
        self.worker.publish_writes();
        self.end_keeping_back();
        if self.closed.get() {
            self.close();
            return;
        }
        self.window.set(self.window.get().adapted());
        if !self.out.borrow().is_empty() {
            if self.worker.withholds && self.out.borrow().len() as u64 > self.worker.settings.client_output {
                self.relieve();
            }
            if !self.flush() {
                self.doom("the client closed its connection");
                return;
            }
            self.note_written();
            let waiting = self.out.borrow().len() as u64;
            if waiting > self.worker.settings.client_output {
                self.worker.metrics.error(ErrorKind::ClientOutput);
                tracing::warn!(
                    client = self.id,
                    waiting,
                    "closed: it does not read its replies, and more than limits.client_output waits for it"
                );
                // It does not read: what it was given will never be written.
                self.close();
                self.doom("the client does not read its replies");
            } else if self.is_unread() {
                self.wake();
            }
        }
        if self.blocked.get() || !self.redo.borrow().is_empty() || self.session_reply.borrow().is_some() {
            let half = self.worker.settings.in_flight_per_client / 2;
            let owed = self.owed.get();
            if owed == 0 || (self.in_flight.get() as u64 <= half && owed <= self.window.get().requests() / 2)
            {
                self.wake();
            }
        }
    }
}
