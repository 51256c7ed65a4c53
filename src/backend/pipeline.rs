//! The shared connection: many callers' requests in one stream, replies handed back in order.
//!
//! A [`Pipeline`] is a handle; the socket belongs to one task (`task.rs`) that writes what was gathered once a
//! turn of the loop and delivers what came. Requests sent before the connection is open wait in its log.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::net::TlsClient;
use crate::resp::{Fed, ReplyScanner};
use crate::telemetry::WorkerMetrics;
use crate::topology::{Address, Marks, NodeId};

use super::owed::OwedQueue;
use super::send_log::SendLog;
use super::{BigReply, Caller, Identity, Past, Sampler, Settings, Unanswered};

/// Requests without a reply on a connection that is not known to be admitted. Servers close a connection that has to
/// authenticate when its replies outgrow the 16 KiB that every connection has; the longest that they give to strangers
/// have some 300 bytes.
const STRANGERS_MAX: usize = 32;

/// A script that was not answered for so long runs for long.
const HELD_UP: Duration = Duration::from_millis(50);

/// Where a connection leads and who it is; never changes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Where to connect.
    pub address: Address,
    /// run_id of the process to be met there; `None`: any.
    pub run_id: Option<Arc<str>>,
    /// Epoch under which it was opened.
    pub epoch: u64,
    /// Who it is.
    pub identity: Identity,
}

/// What a pipeline is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Requests that are soon answered.
    Anything,
    /// Scripts and functions: whoever comes behind one that runs for long waits for its end.
    Scripts,
}

/// What every connection of a worker shares.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Bounds and deadlines.
    pub settings: Rc<Settings>,
    /// How nodes are spoken to over TLS, if they are.
    pub tls: Option<Arc<TlsClient>>,
    /// Where the data path leaves marks for the monitor.
    pub marks: Arc<Marks>,
    /// One read buffer for all connections of the thread; borrowed only within one poll.
    pub scratch: Rc<RefCell<Box<[u8]>>>,
    /// Bytes of unanswered requests that all pipelines of the thread keep together.
    pub kept: Rc<Cell<usize>>,
    /// Bound on `kept`: this thread's share of `failover.hold_memory`.
    pub kept_max: usize,
    /// Replies that all pipelines of the thread have delivered.
    pub answered: Rc<Cell<u64>>,
    /// What the data path counts.
    pub metrics: Arc<WorkerMetrics>,
    /// Which answered requests their callers are told again.
    pub sampler: Rc<Sampler>,
    /// … and of which they are told for how long they took.
    pub tracer: Rc<Sampler>,
}

impl Surroundings {
    /// Tells the monitor that `node` ended a connection in the middle of something, or gave none.
    pub(super) fn note_loss(&self, node: NodeId) {
        self.marks.of(node).losses.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Open,
    Closed,
}

pub(super) struct Inner<C> {
    pub(super) target: Target,
    /// The latest epoch under which it was let stay.
    pub(super) epoch: Cell<u64>,
    pub(super) carries: Carries,
    pub(super) around: Surroundings,
    pub(super) phase: Cell<Phase>,
    /// Its node is no longer declared.
    pub(super) retired: Cell<bool>,
    /// Its own end, while it is open.
    pub(super) local: Cell<Option<SocketAddr>>,
    /// The node is known to serve this identity.
    pub(super) admitted: Cell<bool>,
    pub(super) log: RefCell<SendLog>,
    pub(super) owed: RefCell<OwedQueue<C>>,
    /// Callers that found no room and want to hear when there is some.
    pub(super) waiting: RefCell<Vec<C>>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// Bytes of the front run's next reply that were passed on before its end came.
    pub(super) passed_on: Cell<u64>,
    /// A request that was refused, while its caller is told; kept for its allocation.
    pub(super) refused: Cell<Vec<u8>>,
    pub(super) last_used: Cell<Instant>,
    /// When, since it is open, another connection to the node was first lost.
    pub(super) doubted: Cell<Option<Instant>>,
}

/// A handle; clones share the connection.
pub struct Pipeline<C>(pub(super) Rc<Inner<C>>);

impl<C> Clone for Pipeline<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Caller> Pipeline<C> {
    pub(super) fn new(target: Target, carries: Carries, around: Surroundings, now: Instant) -> Self {
        Self(Rc::new(Inner {
            epoch: Cell::new(target.epoch),
            target,
            carries,
            around,
            phase: Cell::new(Phase::Opening),
            retired: Cell::new(false),
            local: Cell::new(None),
            admitted: Cell::new(false),
            log: RefCell::default(),
            owed: RefCell::default(),
            waiting: RefCell::default(),
            waker: RefCell::default(),
            passed_on: Cell::new(0),
            refused: Cell::default(),
            last_used: Cell::new(now),
            doubted: Cell::new(None),
        }))
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Another connection to the node was lost at `now`, so this one may be about to end as well.
    pub(super) fn doubt(&self, now: Instant) {
        if self.is_open() && self.0.doubted.get().is_none() {
            self.0.doubted.set(Some(now));
        }
    }

    /// Whether what was sent at `since` was sent on a connection that the same event ends as an earlier one.
    fn was_doubted(&self, since: Instant) -> bool {
        self.0.doubted.get().is_some_and(|doubted| doubted <= since)
    }

    /// It stays open under the table of `epoch`.
    pub(super) fn stays(&self, epoch: u64) {
        self.0.epoch.set(epoch);
    }

    /// What it was opened for.
    pub(super) fn carries(&self) -> Carries {
        self.0.carries
    }

    /// Whether a request may be sent on it that asks for a pipeline which `carries` so much. Anything may follow scripts,
    /// but not the other way round.
    #[must_use]
    pub fn may_carry(&self, carries: Carries) -> bool {
        let fits = self.0.carries == Carries::Scripts || carries == Carries::Anything;
        fits && !self.0.retired.get()
    }

    /// Nothing more is asked of its node.
    pub(super) fn retire(&self) {
        self.0.retired.set(true);
    }

    /// True while the reply that comes next has been awaited for so long that others had better not wait behind it.
    #[must_use]
    pub fn is_held_up(&self, now: Instant) -> bool {
        let owed = self.0.owed.borrow();
        owed.front().is_some_and(|run| now.saturating_duration_since(run.since) >= HELD_UP)
    }

    /// True once it can not be used any more; everything unanswered was handed back.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.phase.get() == Phase::Closed
    }

    /// True while it carries requests to its node and replies back.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.phase.get() == Phase::Open
    }

    /// True once the node is known to serve this identity: it has answered with something else than `-NOAUTH`.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.0.admitted.get()
    }

    /// Notes that the node serves this identity.
    pub fn note_admitted(&self) {
        self.0.admitted.set(true);
    }

    /// Requests without a reply.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.0.owed.borrow().requests()
    }

    /// Since when the oldest unanswered request whose tag `matches` waits, and its tag.
    pub(super) fn oldest(&self, matches: impl Fn(u16) -> bool) -> Option<(Instant, u16)> {
        self.0.owed.borrow().iter().find(|run| matches(run.tag)).map(|run| (run.since, run.tag))
    }

    /// When a request was last handed over.
    #[must_use]
    pub fn last_used(&self) -> Instant {
        self.0.last_used.get()
    }

    /// True when a request of `len` bytes may be sent now. When not, `caller` hears by
    /// [`settle`](Caller::settle) as soon as half of the memory is free again. One request always fits.
    pub fn has_room(&self, len: usize, caller: &C) -> bool {
        let around = &self.0.around;
        let crowded = !self.is_admitted() && self.outstanding() >= STRANGERS_MAX;
        if !crowded && (self.0.log.borrow().len() == 0 || around.kept.get() + len <= around.kept_max) {
            return true;
        }
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.contains(caller) {
            waiting.push(caller.clone());
        }
        false
    }

    /// How many more bytes of requests may follow one that was just sent, if the node is known to serve this identity.
    #[must_use]
    pub fn room(&self) -> usize {
        let around = &self.0.around;
        if self.is_admitted() { around.kept_max.saturating_sub(around.kept.get()) } else { 0 }
    }

    /// Hands over `count` requests, back to back: exactly so many replies will come back to `caller`, or it is told of the loss.
    /// The pipeline must not be closed.
    pub fn send(&self, caller: &C, tag: u16, (requests, count): (&[u8], u32), past: Past, now: Instant) {
        debug_assert!(!self.is_closed());
        self.0.last_used.set(now);
        let mut log = self.0.log.borrow_mut();
        let idle = log.unwritten().is_empty();
        log.push(requests);
        drop(log);
        let kept = &self.0.around.kept;
        kept.set(kept.get() + requests.len());
        self.0.owed.borrow_mut().push(caller, tag, past, (count, requests.len()), now);
        if idle {
            self.wake();
        }
    }

    /// Gives back what a burst has left behind.
    pub(super) fn rest(&self) {
        self.0.refused.take();
        self.0.log.borrow_mut().rest();
        self.0.owed.borrow_mut().rest();
    }

    /// Closes it; everything unanswered is handed back before this returns.
    pub fn close(&self) {
        if self.0.phase.replace(Phase::Closed) != Phase::Closed {
            self.wake();
            self.hand_back(None);
        }
    }

    /// Appends the request whose reply comes next. `None` when none is owed.
    pub(super) fn front_request(&self, into: &mut Vec<u8>) -> Option<()> {
        let mut owed = self.0.owed.borrow_mut();
        let run = owed.front_mut()?;
        let log = self.0.log.borrow();
        let requests = log.kept().get(..run.bytes)?;
        run.locate(requests);
        let request = &requests[run.located.1..];
        into.extend_from_slice(&request[..first_len(request)]);
        Some(())
    }

    /// Tells `caller` of replies of the front run that are big, among `count` that have come: of so many bytes each.
    #[cold]
    pub(super) fn tell_big(&self, caller: &C, replies: impl Iterator<Item = u64>, now: Instant) {
        let inner = &self.0;
        let log = inner.log.borrow();
        let located = inner.owed.borrow_mut().front_mut().and_then(|run| {
            let requests = log.kept().get(..run.bytes)?;
            run.locate(requests);
            Some((run.tag, &requests[run.located.1..]))
        });
        let Some((tag, mut rest)) = located else { return };
        let (node, db) = (inner.target.node, inner.target.identity.db);
        for bytes in replies {
            let (request, behind) = rest.split_at(first_len(rest));
            if bytes >= inner.around.settings.big_bytes {
                caller.big(tag, request, &BigReply { bytes, node, db, now });
            }
            rest = behind;
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Tells every caller what became of its requests: refused by the node with `refusal`, or lost.
    pub(super) fn hand_back(&self, refusal: Option<&[u8]>) {
        let runs = self.0.owed.borrow_mut().take();
        let log = std::mem::take(&mut *self.0.log.borrow_mut());
        let total = &self.0.around.kept;
        total.set(total.get() - log.len());
        let (kept, mut written) = (log.kept(), log.written());
        let mut broken = self.0.passed_on.get() > 0;
        let mut start = 0;
        for run in &runs {
            let requests = &kept[start..start + run.bytes];
            start += run.bytes;
            match refusal {
                Some(error) if !run.past.resent => {
                    run.caller.refused(run.tag, error, run.count - run.answered);
                }
                // What was sent before may have been executed: an error would deny that, and asking again would be refused again.
                Some(_) | None => {
                    let (requests, skipped) = skip(requests, run.answered);
                    let written = if refusal.is_some() { usize::MAX } else { written };
                    let lost = Unanswered {
                        tag: run.tag,
                        requests,
                        count: run.count - run.answered,
                        written: written.saturating_sub(skipped).min(requests.len()),
                        resent: run.past.resent,
                        once: !run.past.resent || self.was_doubted(run.since),
                        since: run.since,
                        epoch: self.0.epoch.get(),
                        node: &self.0.target.address,
                    };
                    run.caller.lost(&lost, std::mem::take(&mut broken));
                }
            }
            written = written.saturating_sub(run.bytes);
        }
        for run in &runs {
            run.caller.settle();
        }
        for caller in self.0.waiting.take() {
            caller.settle();
        }
    }

    /// Tells the monitor that the node ended a connection in the middle of something.
    pub(super) fn note_loss(&self) {
        self.0.around.note_loss(self.0.target.node);
    }
}

/// `requests` without its first `count`, and how many bytes those took.
fn skip(requests: &[u8], count: u32) -> (&[u8], usize) {
    let mut start = 0;
    for _ in 0..count {
        start += first_len(&requests[start..]);
    }
    (&requests[start..], start)
}

/// Request number `at` of several.
pub(super) fn nth(requests: &[u8], at: u32) -> &[u8] {
    let (rest, _) = skip(requests, at);
    &rest[..first_len(rest)]
}

/// Length of the first of several requests that were sent in multibulk form.
#[must_use]
pub fn first_len(requests: &[u8]) -> usize {
    // A request is an array of bulk strings, so the scanner of replies finds its end.
    match ReplyScanner::default().feed(requests) {
        Ok(Fed::Frame { end }) => end,
        Ok(Fed::More) | Err(_) => requests.len(),
    }
}

impl<C> PartialEq for Pipeline<C> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
