//! A worker's own connection to the primary for barriers, and who waits for them.
//!
//! Where the proxy's own user may do it, one message that moves the replication offset and a WAIT or WAITAOF go out in one write; the
//! answer speaks of every write that the primary executed before, on whichever connection. One barrier is on its way at a
//! time, and data connections never wait for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::backend::{Busy, DialError, Piece, Pinned, Target};
use crate::durability::{Barriers, Demand, Echo, Level, Settings, Ticket};
use crate::error::Failure;
use crate::resp::encode;
use crate::routing::RoutingTable;
use crate::topology::NodeId;

use super::client::ClientRef;
use super::wait_lane::{MAY_WAIT, PLAIN, Passage, SHARDED};
use super::worker::Worker;

/// How often it is seen whether somebody has waited too long, and how long after a failure the next attempt is made.
const BEAT: Duration = Duration::from_millis(20);

/// A node that refuses is not asked again sooner: what it refuses, people have to change.
const REFUSED_BEATS: u32 = 25;

/// Whether WAITAOF is known, allowed and of any use: a node without an append-only file refuses it at once.
const MAY_WAIT_FOR_DISKS: &[u8] = b"*4\r\n$7\r\nWAITAOf\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n1\r\n";

const NO_WAITAOF: &str = "the primary has no WAITAOF, which came with Redis 7.2";

/// See the module's text.
pub(super) struct BarrierLine {
    level: Level,
    settings: Settings,
    barriers: RefCell<Barriers>,
    /// Clients with replies that wait for the barrier on its way.
    flying: RefCell<Vec<ClientRef>>,
    /// … and for the next one.
    waiting: RefCell<Vec<ClientRef>>,
    /// When the barrier on its way was begun.
    begun: Cell<Option<Instant>>,
    /// … and whether it is asked for the second time, since the first answer came too late to be true.
    repeated: Cell<bool>,
    /// Since when somebody waits for the next one.
    awaited: Cell<Option<Instant>>,
    /// The node at which this line counts as a write in flight.
    counted: Cell<Option<NodeId>>,
    /// Why there is no connection, and since when; `None`: there is one.
    state: RefCell<Option<(State, Instant)>>,
    /// A barrier has passed in this life: enough replicas follow.
    passed: Cell<bool>,
    /// The looks at the nodes have found enough of them in this life.
    seen: Cell<bool>,
    /// Somebody waits for replicas that were there before.
    expects: Cell<bool>,
    /// When this life began.
    born: Cell<Instant>,
    /// Changes whenever the connection must be given up.
    life: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// Why no barrier passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is no connection yet; why the last attempt failed.
    Closed(String),
    /// The node refuses them, in these words.
    Refused(String),
}

/// Too few replicas follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Since then they may be on their way.
    Unproved(Instant),
    /// Enough were there and have left, or had long enough to come.
    Known,
}

/// What came of the barrier on its way.
#[derive(Debug, Default)]
struct Answers {
    passage: Option<Passage>,
    /// The answer to what was asked behind it; empty until it is here. Kept for its allocation.
    answer: Vec<u8>,
}

/// An open connection.
struct Open {
    pinned: Pinned,
    /// Barrier and WAIT.
    request: Bytes,
    /// The same while the group is degraded: it waits for nobody.
    relaxed: Bytes,
    /// The barrier on its way waits for nobody.
    waived: bool,
    answers: Answers,
    /// The barrier on its way was sent on this connection.
    sent: bool,
    /// The life of the line that it was opened for.
    life: u64,
    beat: Interval,
}

impl BarrierLine {
    pub(super) fn new(level: Level, settings: Settings) -> Self {
        Self {
            level,
            settings,
            barriers: RefCell::default(),
            flying: RefCell::default(),
            waiting: RefCell::default(),
            begun: Cell::new(None),
            repeated: Cell::new(false),
            awaited: Cell::new(None),
            counted: Cell::new(None),
            state: RefCell::new(Some((State::Closed("not opened yet".to_owned()), Instant::now()))),
            passed: Cell::new(!level.needs_replicas()),
            seen: Cell::new(false),
            expects: Cell::new(false),
            born: Cell::new(Instant::now()),
            life: Cell::new(0),
            waker: RefCell::default(),
        }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Why no barrier passes, and since when; `None`: they do.
    pub(super) fn state(&self) -> Option<(State, Instant)> {
        self.state.borrow().clone()
    }

    /// Whether too few replicas follow as that a write could become safe, as far as the last looks at them tell. After a
    /// change of primary they are attached one by one, so until the first barrier has passed nothing is known. Nor later in a young
    /// life while others are there: a primary that ends may have been the first replica of the next one, and the last to leave.
    pub(super) fn shortage(&self, worker: &Worker) -> Option<Shortage> {
        let enough = self.look(worker) || self.is_waived(worker);
        let may_come = || worker.shared.marks.attached_or_coming() >= self.settings.replicas;
        match () {
            () if !self.passed.get() => Some(Shortage::Unproved(self.born.get())),
            () if enough => None,
            () if self.is_grown(worker) => Some(Shortage::Known),
            () if !self.seen.get() => None,
            () if may_come() => {
                self.expects.set(true);
                Some(Shortage::Unproved(self.born.get()))
            }
            () => Some(Shortage::Known),
        }
    }

    /// Replicas have been away for so long that writes wait for none.
    fn is_waived(&self, worker: &Worker) -> bool {
        self.level.needs_replicas() && worker.current().degraded
    }

    /// This life has lasted for so long that every node was looked at in it.
    fn is_grown(&self, worker: &Worker) -> bool {
        self.born.get().elapsed() >= worker.settings.hold
    }

    /// Whether enough replicas were seen to follow; noted when they were.
    fn look(&self, worker: &Worker) -> bool {
        let enough = !self.level.needs_replicas() || worker.shared.marks.attached() >= self.settings.replicas;
        self.seen.set(self.seen.get() || enough);
        enough
    }

    /// A request of `client` was answered: the ticket that its reply waits for. The line counts as one write in flight as long
    /// as anybody waits, so that a planned change of primary waits too.
    pub(super) fn await_next(&self, worker: &Worker, client: &ClientRef, demand: Demand) -> Ticket {
        let mut barriers = self.barriers.borrow_mut();
        if self.counted.get().is_none()
            && let Some(primary) = worker.current().primary
        {
            worker.writes_sent(primary, 1);
            worker.publish_writes();
            self.counted.set(Some(primary));
        }
        let number = barriers.await_next();
        if self.awaited.get().is_none() {
            self.awaited.set(Some(Instant::now()));
        }
        let ticket = Ticket { level: self.level, number, reads: demand.reads };
        if !client.withheld.borrow().ends_with(ticket) {
            self.waiting.borrow_mut().push(client.clone());
        }
        if barriers.flight().is_none() {
            self.wake();
        }
        ticket
    }

    /// The table has changed. A line to a primary that leads no more, or lives another life, is over with all that waits.
    pub(super) fn table_changed(&self, worker: &Worker, old: &RoutingTable, new: &RoutingTable) {
        let stays = old.primary == new.primary && new.primary.is_none_or(|node| old.carries_over(new, node));
        if !stays {
            let failure = Failure::Ambiguous { from: old.epoch, to: new.epoch.max(old.epoch) };
            self.give_up(worker, &failure);
        }
        self.wake();
    }

    /// What waits will never be covered, as far as can be known: each reply becomes `failure`.
    fn give_up(&self, worker: &Worker, failure: &Failure) {
        self.life.set(self.life.get() + 1);
        self.passed.set(!self.level.needs_replicas());
        self.seen.set(false);
        self.born.set(Instant::now());
        self.state.replace(Some((State::Closed("not opened yet".to_owned()), Instant::now())));
        let ticket = self.up_to(self.barriers.borrow_mut().give_up());
        let (flying, waiting) = (self.flying.take(), self.waiting.take());
        self.begun.set(None);
        self.repeated.set(false);
        self.awaited.set(None);
        self.settled(worker);
        for client in flying.iter().chain(&waiting) {
            client.resolve(ticket, Some(failure));
        }
    }

    /// The ticket that covers all that waits for this barrier or for an earlier one.
    fn up_to(&self, number: u64) -> Ticket {
        Ticket { level: self.level, number, reads: false }
    }

    /// Notes why no barrier passes; since when is known if none passed before.
    fn close(&self, state: State) {
        let mut present = self.state.borrow_mut();
        let since = present.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        if present.as_ref().is_none_or(|(before, _)| *before != state) {
            tracing::warn!(level = ?self.level, ?state, "no connection for barriers");
        }
        *present = Some((state, since));
    }

    /// Nobody waits any more, maybe.
    fn settled(&self, worker: &Worker) {
        if self.barriers.borrow().is_idle()
            && let Some(node) = self.counted.take()
        {
            worker.writes_ended(node, 1);
            worker.publish_writes();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Somebody has waited for longer than any answer may take.
    fn is_overdue(&self, worker: &Worker) -> bool {
        let patience = self.settings.timeout + worker.settings.hold;
        let since = self.begun.get().or(self.awaited.get());
        since.is_some_and(|since| since.elapsed() >= patience)
    }

    /// What `work` comes to, unless this life ends before.
    async fn within<T>(&self, life: u64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            if self.life.get() != life { Poll::Ready(None) } else { work.as_mut().poll(cx).map(Some) }
        })
        .await
    }

    /// One turn with an open connection; ready when it is over.
    fn turn(&self, worker: &Worker, open: &mut Open, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waker.replace(Some(cx.waker().clone()));
        if self.life.get() != open.life {
            return Poll::Ready(Ok(()));
        }
        while open.beat.poll_tick(cx).is_ready() {
            if self.is_overdue(worker) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if !open.sent && self.barriers.borrow().flight().is_some() {
                // It was refused a moment ago.
                open.send(self.is_waived(worker));
            }
            self.look(worker);
            let expected =
                self.expects.take() && !matches!(self.shortage(worker), Some(Shortage::Unproved(_)));
            if expected || (!self.passed.get() && self.is_grown(worker)) {
                // Who waits for replicas has them, or is told that it does so in vain.
                worker.wake_held();
            }
        }
        loop {
            if self.barriers.borrow_mut().begin().is_some() {
                self.begun.set(Some(Instant::now()));
                self.awaited.set(None);
                // Nobody flies: whose barrier has ended was told, and left the list for the next ones.
                self.flying.swap(&self.waiting);
                open.send(self.is_waived(worker));
            }
            open.pinned.poll_write(cx)?;
            let Open { pinned, answers, .. } = open;
            ready!(pinned.poll_read(cx, |piece| answers.take(&piece)))?;
            if !open.answers.answer.is_empty() {
                // What comes from a primary that leads no more vouches for nothing.
                worker.table();
                if self.life.get() != open.life {
                    return Poll::Ready(Ok(()));
                }
                self.answered(worker, open);
            }
        }
    }

    /// The barrier on its way was answered.
    fn answered(&self, worker: &Worker, open: &mut Open) {
        let passed = matches!(open.answers.passage, Some(Passage::Passed));
        let echo = Echo { passed, waived: open.waived, answer: &open.answers.answer };
        let judged = self.settings.judge(self.level, &echo, self.is_waived(worker));
        open.answers.clear();
        let Some(begun) = self.begun.get() else { return };
        let failure = match judged {
            Some(said) => said.err(),
            // The node refuses it for now: once more in a moment, for as long as an answer may take.
            None if begun.elapsed() < self.settings.timeout => {
                open.sent = false;
                return;
            }
            None => Some(self.settings.unanswered(self.level)),
        };
        if failure.is_some() && self.settings.is_stale(begun.elapsed()) && !self.repeated.replace(true) {
            open.send(self.is_waived(worker));
            return;
        }
        self.repeated.set(false);
        let failure = failure.map(Failure::Undurable);
        let Some(number) = self.barriers.borrow_mut().end() else { return };
        if !self.passed.get() {
            self.prove(worker, failure.is_none());
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        worker.metrics.barrier_duration(micros);
        self.begun.set(None);
        let mut flying = self.flying.take();
        self.settled(worker);
        for client in flying.drain(..) {
            client.resolve(self.up_to(number), failure.as_ref());
        }
        self.flying.replace(flying);
    }

    /// The first barriers of a life are nobody's: they show whether enough replicas follow.
    fn prove(&self, worker: &Worker, passed: bool) {
        self.passed.set(passed);
        if passed {
            worker.wake_held();
        } else {
            self.barriers.borrow_mut().await_next();
        }
    }
}

impl Open {
    fn send(&mut self, waives: bool) {
        self.answers.clear();
        (self.sent, self.waived) = (true, waives);
        self.pinned.send(if waives { &self.relaxed } else { &self.request });
    }
}

impl Answers {
    fn clear(&mut self) {
        self.passage = None;
        self.answer.clear();
    }

    fn take(&mut self, piece: &Piece<'_>) {
        let Piece::Frame { bytes, .. } = piece else { return };
        if self.passage.is_none() {
            self.passage = Some(Passage::of(bytes));
        } else {
            self.answer.extend_from_slice(bytes);
        }
    }
}

/// Keeps the line of `level` open to whoever leads, for as long as the thread lives.
pub(super) async fn keep_open(worker: Rc<Worker>, level: Level) {
    let line = worker.durable.line(level);
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let life = line.life.get();
        let awaited = !line.barriers.borrow().is_idle();
        let opened = match worker.barrier_target(awaited) {
            // A change of primary does not wait for a host that does not answer.
            Some(target) => match line.within(life, open(&worker, line, target)).await {
                Some(opened) => Some(opened),
                None => continue,
            },
            None => None,
        };
        match opened.filter(|_| line.life.get() == life) {
            Some(Ok(opened)) => serve(&worker, line, opened).await,
            Some(Err(state)) => {
                let beats = if matches!(state, State::Refused(_)) { REFUSED_BEATS } else { 1 };
                line.close(state);
                rest(&worker, line, &mut beat, beats).await;
            }
            None => rest(&worker, line, &mut beat, 1).await,
        }
        if line.is_overdue(&worker) {
            let epoch = worker.epoch();
            line.give_up(&worker, &Failure::Ambiguous { from: epoch, to: epoch });
        }
    }
}

/// Serves until the connection is lost or given up. The next attempt is made at once: it tells whether it was this connection
/// or its node.
async fn serve(worker: &Worker, line: &BarrierLine, mut opened: Open) {
    line.state.replace(None);
    if line.passed.get() {
        worker.wake_held();
    } else if line.barriers.borrow().is_idle() {
        line.barriers.borrow_mut().await_next();
    }
    let ended = poll_fn(|cx| line.turn(worker, &mut opened, cx)).await;
    if line.life.get() == opened.life {
        opened.pinned.note_loss();
        line.close(State::Closed(ended.err().map_or_else(String::new, |error| error.to_string())));
    }
}

/// Waits for the next attempt, or until something has changed.
async fn rest(worker: &Worker, line: &BarrierLine, beat: &mut Interval, mut beats: u32) {
    let life = line.life.get();
    beat.reset();
    poll_fn(|cx| {
        line.waker.replace(Some(cx.waker().clone()));
        while beats > 0 && beat.poll_tick(cx).is_ready() {
            beats -= 1;
        }
        if beats == 0 || line.life.get() != life { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    if line.state().is_some_and(|(_, since)| since.elapsed() >= worker.settings.hold) {
        // Whoever waits for the line is told that it does so in vain.
        worker.wake_held();
    }
}

/// Opens a connection and finds out which message moves the offset there.
async fn open(worker: &Worker, line: &BarrierLine, target: Target) -> Result<Open, State> {
    let around = worker.pools.around().clone();
    let patience = around.settings.connect_timeout;
    let closed = |error: io::Error| State::Closed(error.to_string());
    let mut pinned = Pinned::open(target, around, Busy::Waits).await.map_err(|error| match error {
        DialError::Refused(said) => State::Refused(words(&said)),
        DialError::Io(error) => closed(error),
    })?;
    for message in [SHARDED, PLAIN] {
        pinned.send(message);
        pinned.send(if line.level.needs_disks() { MAY_WAIT_FOR_DISKS } else { MAY_WAIT });
        let asked = timeout(patience, replies(&mut pinned)).await;
        let asked = asked.map_err(|_| State::Closed("no reply to a barrier".to_owned()))?;
        let [passage, judged] = asked.map_err(closed)?;
        if judged.first() == Some(&b'-') {
            return Err(State::Refused(match Passage::of(&judged) {
                Passage::Unknown => NO_WAITAOF.to_owned(),
                _ => words(&judged),
            }));
        }
        match Passage::of(&passage) {
            Passage::Passed => {
                let mut request = BytesMut::from(message);
                let question = line.settings.question(line.level);
                let words: Vec<&[u8]> = question.iter().map(String::as_bytes).collect();
                encode::own_command(&mut request, &words);
                let mut beat = interval(BEAT);
                beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut open = Open {
                    pinned,
                    request: request.freeze(),
                    relaxed: [message, MAY_WAIT].concat().into(),
                    waived: false,
                    answers: Answers::default(),
                    sent: false,
                    life: line.life.get(),
                    beat,
                };
                if line.barriers.borrow().flight().is_some() {
                    // It was on its way on another connection to the same process.
                    open.send(line.is_waived(worker));
                }
                return Ok(open);
            }
            Passage::Unknown if message == SHARDED => {}
            Passage::Unknown | Passage::Forbidden => return Err(State::Refused(words(&passage))),
            Passage::Failed(said) => return Err(State::Closed(words(&said))),
        }
    }
    Err(State::Closed("no barrier is known there".to_owned()))
}

/// The next two replies.
async fn replies(pinned: &mut Pinned) -> io::Result<[Bytes; 2]> {
    let mut got: Vec<Bytes> = Vec::with_capacity(2);
    poll_fn(|cx| {
        pinned.poll_write(cx)?;
        while got.len() < 2 {
            ready!(pinned.poll_read(cx, |piece| {
                if let Piece::Frame { bytes, .. } = piece {
                    got.push(Bytes::copy_from_slice(bytes));
                }
            }))?;
        }
        Poll::Ready(Ok::<(), io::Error>(()))
    })
    .await?;
    let second = got.pop().unwrap_or_default();
    Ok([got.pop().unwrap_or_default(), second])
}

fn words(error: &[u8]) -> String {
    String::from_utf8_lossy(error).trim_start_matches('-').trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn line() -> BarrierLine {
        BarrierLine::new(Level::SemiSync, Settings::default())
    }

    /// A host that never answers, while another node has become the primary.
    #[tokio::test]
    async fn what_is_done_for_a_life_that_is_over_is_given_up() {
        let line = line();
        let over = async {
            // The other future is polled first, so that it is the end of the life that wakes it.
            line.life.set(line.life.get() + 1);
            line.wake();
        };
        let both = async { tokio::join!(line.within(0, pending::<()>()), over).0 };
        assert_eq!(timeout(Duration::from_secs(10), both).await, Ok(None));
        assert_eq!(line.within(0, async { 7 }).await, None, "nor is what would be done at once");
        assert_eq!(line.within(1, async { 7 }).await, Some(7));
    }
}
