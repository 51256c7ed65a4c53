//! What the clients of one thread share: pipelines, the routing table, buffers, counters, and the marks that they leave
//! for the control thread.

mod big;
mod marks;
mod returning;
mod sample;
mod slow;
mod spill;
mod trace;
mod warm;

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::Notify;

use crate::backend::{Pinned, Pools, Sampler, Surroundings};
use crate::command::RowId;
use crate::error::Failure;
use crate::resp::RequestScanner;
use crate::routing::{self, Cached, Gate, Routes, RoutingTable};
use crate::session::Names;
use crate::telemetry::WorkerMetrics;
use crate::topology::{Marks, NodeId, Restraint};
use crate::traces::Traces;

use super::big_keys::BigKeys;
use super::blanks::Blanks;
use super::client::{Client, ClientRef};
use super::durable::Durable;
use super::hot_keys::HotKeys;
use super::idle::Idle;
use super::kept_back::Room;
use super::memory::Memory;
use super::redo::RetryRules;
use super::scripts::SeenScripts;
use super::shared::{Shared, lock};
use super::users::Users;
use super::{Control, Parts, Settings};
pub(super) use big::{Begun, Passed};
use returning::Returning;
pub(super) use returning::keep_waking;
pub(super) use slow::Took;
use spill::Spill;
pub(super) use trace::Answered;
use warm::Warming;

/// Bytes that one read of a socket takes at most: values of 64 KiB are common, and with what is around them they come in one.
pub(super) const READ_SIZE: usize = 72 << 10;

/// Connections of a node that are not lent: pipelines, the control thread, replicas, people.
const NOT_LENT: u64 = 200;

/// What a node allows that does not tell: Redis's default.
const MAX_CLIENTS_DEFAULT: u64 = 10_000;

/// How often long requests are looked for: well below the silence after which a node counts as hung.
const LONG_BEAT: Duration = Duration::from_millis(50);

/// How often the primary's oldest request is looked at while writes are on their way to it: a server that was told to end takes none
/// any more, and says so to whoever asks.
const LATE_BEAT: Duration = Duration::from_millis(3);

/// … and how often it is looked whether any write is on its way.
const WRITES_BEAT: Duration = Duration::from_millis(10);

/// How often idle pipelines, idle lent connections and clients that rest are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// See the module's text.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) users: Users,
    /// Replies to some writes wait until these are safe.
    pub(super) withholds: bool,
    /// … and those to others, to requests with the same name, do not.
    pub(super) spares: bool,
    pub(super) durable: Durable,
    pub(super) reads: routing::Settings,
    pub(super) pools: Pools<ClientRef>,
    /// Read buffer of the clients' sockets.
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) control: Control,
    pub(super) scripts: SeenScripts,
    /// For what is kept back.
    pub(super) room: Rc<Room>,
    pub(super) memory: Memory,
    spill: Spill,
    /// Takes requests that are traced.
    pub(super) traces: Traces,
    /// The client whose hold was over last, in which turn that was, and when it began.
    ended_hold: Cell<Option<(u64, Instant, Instant)>>,
    /// What it has sampled.
    hot_keys: Arc<Mutex<HotKeys>>,
    big_keys: Arc<Mutex<BigKeys>>,
    /// How often it came round to what is due, for whoever wonders whether it hangs.
    turns: Arc<AtomicU64>,
    /// Position of the node after the one that took the last read that was spread.
    pub(super) read_turn: Cell<usize>,
    /// Finds the end of the request at hand; kept for its allocation.
    pub(super) scanner: Cell<Option<Box<RequestScanner>>>,
    /// The request at hand in the form in which it is sent on, if it came in another one.
    pub(super) multibulk: RefCell<BytesMut>,
    /// Positions of the keys of the request at hand.
    pub(super) keys: RefCell<Vec<u16>>,
    poison_after: Duration,
    pub(super) marks: Arc<Marks>,
    latest: RefCell<Cached>,
    /// The table whose consequences were drawn.
    table: RefCell<Arc<RoutingTable>>,
    /// Clients that wait for the table to change or the hold to end.
    held: RefCell<Vec<ClientRef>>,
    /// Clients with a connection of their own, which ends with the epoch.
    watching: RefCell<BTreeMap<u64, ClientRef>>,
    /// All clients of this thread.
    pub(super) clients: RefCell<BTreeMap<u64, ClientRef>>,
    /// … and those of them that want to be told of holds.
    pub(super) noticed: RefCell<BTreeMap<u64, ClientRef>>,
    /// There is something to tell them.
    pub(super) notices_due: Notify,
    pub(super) idle: Idle,
    pub(super) blanks: Blanks,
    warming: Warming,
    pub(super) returning: Returning,
    /// Requests of the long-running class on connections of single clients.
    long: RefCell<BTreeMap<u64, (NodeId, Instant, RowId)>>,
    /// Nodes whose mark of a long request is this worker's.
    marked_long: RefCell<BTreeSet<NodeId>>,
    /// Writes on their way to a node: change since its mark was last written.
    writes: Cell<(NodeId, i64)>,
    /// The last refusal that the control thread was told of.
    refusal_told: Cell<Option<(NodeId, Instant)>>,
    /// When the control thread was last told that a request waits.
    late_told: Cell<Option<Instant>>,
    /// Clients subscribed again that the log was not told of.
    resubscribed: Cell<u64>,
    now: Cell<Instant>,
    /// See [`Self::is_stalled`].
    stalled: Cell<bool>,
    /// What operators ordered to wait or to be refused.
    pub(super) restraint: Cell<Restraint>,
}

impl Worker {
    pub(super) fn new(parts: &Parts, shared: Arc<Shared>, metrics: Arc<WorkerMetrics>) -> Rc<Self> {
        let Parts { settings, backend, routes, .. } = parts;
        let marks = shared.marks.clone();
        // Silence counts from the last byte, which may be a beat older than the request that silenced the node.
        let poison_after = backend.timeout * 3 / 4;
        let kept_max = usize::try_from(backend.hold_memory).unwrap_or(usize::MAX) / settings.workers;
        let idle = Idle::new(settings.workers);
        let kept = Rc::default();
        let room = Room::new(Rc::clone(&kept), kept_max);
        let seed = RandomState::new().hash_one(());
        let around = Surroundings {
            sampler: Rc::new(Sampler::new(backend.sample_one_in, seed)),
            tracer: Rc::new(Sampler::per_million(0, !seed)),
            settings: Rc::new(backend.clone()),
            tls: parts.node_tls.clone(),
            marks: marks.clone(),
            scratch: Rc::new(RefCell::new(vec![0; READ_SIZE].into_boxed_slice())),
            kept,
            kept_max,
            answered: Rc::default(),
            metrics: metrics.clone(),
        };
        let table = routes.load();
        let (hot_keys, big_keys, turns) = (shared.new_hot_keys(), shared.new_big_keys(), shared.new_turns());
        Rc::new(Self {
            withholds: settings.durability.is_on(),
            spares: !settings.durability.rules.is_empty(),
            durable: Durable::new(&settings.durability),
            settings: settings.clone(),
            users: Users::new(settings.users.clone(), &parts.control),
            reads: parts.reads.clone(),
            pools: Pools::new(around),
            scratch: RefCell::new(vec![0; READ_SIZE].into_boxed_slice()),
            shared,
            metrics,
            control: parts.control.clone(),
            scripts: SeenScripts::default(),
            room,
            memory: Memory::default(),
            spill: Spill::default(),
            traces: parts.traces.clone(),
            ended_hold: Cell::default(),
            hot_keys,
            big_keys,
            turns,
            read_turn: Cell::new(0),
            scanner: Cell::default(),
            multibulk: RefCell::default(),
            keys: RefCell::default(),
            poison_after,
            marks,
            latest: RefCell::new(routes.cached()),
            table: RefCell::new(table),
            held: RefCell::default(),
            watching: RefCell::default(),
            clients: RefCell::default(),
            noticed: RefCell::default(),
            notices_due: Notify::new(),
            idle,
            blanks: Blanks::default(),
            warming: Warming::default(),
            returning: Returning::default(),
            resubscribed: Cell::new(0),
            long: RefCell::default(),
            marked_long: RefCell::default(),
            writes: Cell::new((NodeId(0), 0)),
            refusal_told: Cell::new(None),
            late_told: Cell::new(None),
            now: Cell::new(Instant::now()),
            stalled: Cell::new(false),
            restraint: Cell::default(),
        })
    }

    /// The routing table as of now. When it is a new one, its consequences are drawn first: connections that
    /// may not go on under it are given up and waiting clients look again.
    pub(super) fn table(&self) -> Arc<RoutingTable> {
        let latest = self.latest.borrow_mut().load().clone();
        if !Arc::ptr_eq(&latest, &self.table.borrow()) {
            let old = self.table.replace(latest.clone());
            self.draw_consequences(&old, &latest);
        }
        latest
    }

    fn draw_consequences(&self, old: &RoutingTable, new: &RoutingTable) {
        for node in &new.nodes {
            self.pools.refresh(node.id, old.carries_over(new, node.id), new.epoch);
        }
        for gone in old.nodes.iter().filter(|node| new.node(node.id).is_none()) {
            // Between the two tables it may have ceased to lead.
            if old.primary == Some(gone.id) {
                self.pools.refresh(gone.id, false, new.epoch);
            } else {
                self.pools.retire(gone.id);
            }
        }
        self.durable.table_changed(self, old, new);
        if old.epoch != new.epoch {
            self.idle.clear();
            self.returning.all(&self.watching.borrow());
        }
        self.wake_held();
        self.wake_spilling();
        if (old.holds, old.gate) != (new.holds, new.gate) {
            self.shared.notices.saw(new);
            self.notices_due.notify_one();
        }
    }

    /// The table whose consequences were drawn; newer than the last [`Self::table`] it is not.
    pub(super) fn current(&self) -> Ref<'_, Arc<RoutingTable>> {
        self.table.borrow()
    }

    /// Who has sent nothing for a while keeps no memory for its next replies.
    fn rest(&self) {
        let now = Instant::now();
        for client in self.clients.borrow().values().filter(|client| client.live.rests_for(now) >= SWEEP) {
            client.rest();
        }
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Begins a client's turn: looks at the clock, the routing table and the primary's pause once.
    pub(super) fn begin_turn(&self) {
        self.now.set(Instant::now());
        let table = self.table();
        let until =
            table.primary.map_or(0, |node| self.marks.of(node).stalled_until_ms.load(Ordering::Relaxed));
        self.stalled.set(until != 0 && until > self.marks.millis(self.now()));
    }

    /// A client paused the primary: what it would stop must not stand before other clients' requests.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.table.borrow().epoch
    }

    /// Registers a client whose request waits for a change of the table or the end of the hold.
    pub(super) fn hold(&self, client: &ClientRef) {
        self.count_held(client, self.now());
        self.wake_with_table(client);
    }

    /// A request of this client is held from `now` on, unless one is already.
    pub(super) fn count_held(&self, client: &Client, now: Instant) {
        if client.held_since.get().is_none() {
            client.held_since.set(Some(now));
            self.metrics.held(1);
            self.marks.tolls.hold_began();
        }
    }

    /// The client is woken when the table changes or the hold ends.
    pub(super) fn wake_with_table(&self, client: &ClientRef) {
        if !client.waits_for_table.replace(true) {
            self.held.borrow_mut().push(client.clone());
        }
    }

    /// The client's hold is over, whichever way; how many microseconds it lasted, if there was one.
    pub(super) fn unhold(&self, client: &Client) -> Option<u32> {
        let since = client.held_since.take()?;
        self.ended_hold.set(Some((client.id, self.now(), since)));
        self.room.leave(client.id);
        self.metrics.held(-1);
        let micros = since.elapsed().as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        if self.is_slow(micros) {
            // It was looked at last, and waited whatever its arguments.
            let row = client.live.looked_at();
            let took = Took { row, node: None, micros, waited: 0, local: None, now: self.now() };
            self.note_slow(client, &took, || &[]);
        }
        self.metrics.hold_duration(micros);
        self.marks.tolls.hold_ended(micros);
        Some(u32::try_from(micros).unwrap_or(u32::MAX))
    }

    /// Who has something to send again comes first: it may have been executed before whatever was held after it. Who has
    /// a connection of its own comes last.
    pub(super) fn wake_held(&self) {
        let mut new = Vec::new();
        for client in self.held.take() {
            client.waits_for_table.set(false);
            if !client.redo.borrow().is_empty() {
                client.wake();
            } else if self.watching.borrow().contains_key(&client.id) {
                self.returning.one(&client);
            } else {
                new.push(client);
            }
        }
        new.iter().for_each(|client| client.wake());
    }

    /// What a further read costs at `node`: what it owes this worker already, in the time that it takes.
    pub(super) fn cost(&self, node: NodeId) -> usize {
        let weight = self.marks.of(node).weight.load(Ordering::Relaxed).max(1);
        (self.pools.outstanding(node) + 1).saturating_mul(usize::try_from(weight).unwrap_or(usize::MAX))
    }

    /// Number of the look at a node that began last: every later one finds what has been answered by now.
    pub(super) fn last_look(&self) -> u64 {
        self.marks.last_look()
    }

    pub(super) fn retry_rules(&self) -> RetryRules {
        RetryRules {
            idempotent: self.settings.retry_idempotent,
            all: self.settings.retry_all,
            poison_after: self.poison_after,
        }
    }

    /// Registers a client whose pinned connection ends with the epoch.
    pub(super) fn watch(&self, client: &ClientRef) {
        self.watching.borrow_mut().insert(client.id, client.clone());
    }

    /// A client of this thread has come.
    pub(super) fn enter(&self, client: &ClientRef, is_new: bool) {
        self.metrics.clients(1);
        self.metrics.client_connections(u64::from(is_new));
        self.clients.borrow_mut().insert(client.id, client.clone());
    }

    /// A client of this thread has gone.
    pub(super) fn leave(&self, id: u64) {
        if let Some(client) = self.clients.borrow_mut().remove(&id) {
            self.unhold(&client);
            self.metrics.clients(-1);
        }
        self.watching.borrow_mut().remove(&id);
        self.noticed.borrow_mut().remove(&id);
        self.long_ended(id);
    }

    pub(super) fn wake_everybody(&self) {
        for client in self.clients.borrow().values() {
            client.wake();
        }
    }

    /// The connections that wait; of those to `node` only the ones opened since it last lost one.
    pub(super) fn idle_to(&self, node: NodeId) -> &Idle {
        if let Some(lost) = self.pools.lost_at(node) {
            self.idle.forget(node, lost);
        }
        &self.idle
    }

    /// Takes a clean connection back, unless its epoch is over.
    pub(super) fn give_idle(&self, pinned: Box<Pinned>, told: Names) {
        if pinned.target().epoch == self.epoch() {
            self.idle.give(pinned, told, self.now());
        }
    }

    /// What a client was subscribed to, it is subscribed to again.
    pub(super) fn resubscribed(&self) {
        self.metrics.resubscribed(1);
        self.resubscribed.set(self.resubscribed.get() + 1);
    }

    /// One line for all of a beat: a node may have had thousands.
    fn tell_resubscribed(&self) {
        let clients = self.resubscribed.take();
        if clients > 0 {
            tracing::info!(clients, "subscribed again after a loss of their connections");
        }
    }

    /// Another one whenever connections to the node have to be given up; `None`: it is no longer declared.
    pub(super) fn generation(&self, node: NodeId) -> Option<u64> {
        self.table.borrow().node(node).map(|node| node.generation)
    }

    /// Most connections to `node` lent to single clients at once, over all workers.
    pub(super) fn pinned_max(&self, node: NodeId) -> usize {
        match self.pools.around().settings.pinned_max {
            0 => {
                let allowed = match self.marks.of(node).max_clients.load(Ordering::Relaxed) {
                    0 => MAX_CLIENTS_DEFAULT,
                    told => told,
                };
                // One at least: without any, whoever needs one could only ever fail.
                usize::try_from(allowed.saturating_sub(NOT_LENT)).unwrap_or(usize::MAX).max(1)
            }
            given => given,
        }
    }

    pub(super) fn count_commands(&self, row: RowId, node: NodeId, count: u32) {
        self.metrics.command(row.0, Some(node) == self.table.borrow().primary, u64::from(count));
    }

    pub(super) fn count_failure(&self, failure: &Failure) {
        self.metrics.error(failure.into());
        if matches!(failure, Failure::Ambiguous { .. }) {
            self.metrics.ambiguous(1);
            self.marks.tolls.ambiguous();
        }
    }

    /// A request was sent, and its connection lost before its reply.
    pub(super) fn count_unanswered(&self, row: RowId) {
        if row.is_pop() {
            self.metrics.lost_pops(1);
        }
    }

    /// A request is sent again after its connection was lost.
    pub(super) fn count_reissued(&self) {
        self.metrics.reissued(1);
        self.marks.tolls.reissued(1);
    }
}

/// Follows the routing table for as long as the thread lives: without traffic nobody else would look.
pub(super) async fn follow_table(worker: Rc<Worker>, mut routes: Routes) {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut beat = tokio::time::interval(LONG_BEAT);
    let mut late = tokio::time::Instant::now();
    worker.tune_traces();
    loop {
        let table = worker.table();
        let expiry = match table.gate {
            Gate::Hold { since } => Some(since + worker.settings.hold),
            Gate::Open => None,
        };
        let now = Instant::now();
        if expiry.is_some_and(|at| at <= now) {
            // Once the hold is over nobody is held for it any more, so this finds somebody only once.
            worker.wake_held();
        }
        let expiry = expiry.filter(|at| *at > now).map(tokio::time::Instant::from_std);
        tokio::select! {
            alive = routes.changed() => if !alive { return },
            () = until(expiry) => worker.wake_held(),
            _ = beat.tick() => {
                worker.turns.fetch_add(1, Ordering::Relaxed);
                worker.mark_long();
                worker.tell_resubscribed();
                worker.tune_traces();
            }
            () = tokio::time::sleep_until(late) => {
                late = tokio::time::Instant::now() + if worker.note_late() { LATE_BEAT } else { WRITES_BEAT };
            }
            _ = sweep.tick() => {
                worker.pools.sweep(Instant::now());
                worker.scripts.forget();
                worker.idle.sweep(Instant::now());
                worker.blanks.sweep();
                worker.rest();
            }
        }
    }
}

/// Wakes the client's task then, whatever else happens.
pub(super) fn wake_at(client: &ClientRef, at: Instant) {
    let client = client.clone();
    tokio::task::spawn_local(async move {
        tokio::time::sleep_until(at.into()).await;
        client.wake();
    });
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
