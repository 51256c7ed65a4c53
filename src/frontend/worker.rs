//! What the clients of one thread share: pipelines, the routing table, buffers, counters.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::backend::{self, Pinned, Pools, Surroundings};
use crate::command::RowId;
use crate::error::Failure;
use crate::routing::{self, Cached, Gate, Routes, RoutingTable};
use crate::telemetry::WorkerMetrics;
use crate::topology::{Marks, NodeId};

use super::client::ClientRef;
use super::cursor;
use super::idle::Idle;
use super::purpose::Sent;
use super::redo::{self, RetryRules};
use super::shared::Shared;
use super::{Control, Settings};

/// Bytes that one read of a socket takes at most.
pub(super) const READ_SIZE: usize = 64 << 10;

/// Lent connections when the configuration names no number: Redis's default `maxclients`, less 200.
const PINNED_DEFAULT: usize = 9_800;

/// How often long requests are looked for: well below the silence after which a node counts as hung.
const LONG_BEAT: Duration = Duration::from_millis(50);

/// Between two reports of the same node's refusals.
const REFUSAL_BEAT: Duration = Duration::from_millis(10);

/// How often idle pipelines are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// See the module's text.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) reads: routing::Settings,
    pub(super) pools: Pools<ClientRef>,
    /// Read buffer of the clients' sockets.
    pub(super) scratch: RefCell<Box<[u8]>>,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) control: Control,
    poison_after: Duration,
    marks: Arc<Marks>,
    latest: RefCell<Cached>,
    /// The table whose consequences were drawn.
    table: RefCell<Arc<RoutingTable>>,
    /// Clients that wait for the table to change or the hold to end.
    held: RefCell<Vec<ClientRef>>,
    /// Clients with a connection of their own, which ends with the epoch.
    watching: RefCell<BTreeMap<u64, ClientRef>>,
    /// All clients of this thread.
    clients: RefCell<BTreeMap<u64, ClientRef>>,
    pub(super) idle: Idle,
    /// Requests of the long-running class on connections of single clients.
    long: RefCell<BTreeMap<u64, (NodeId, Instant)>>,
    /// Nodes whose mark of a long request is this worker's.
    marked_long: RefCell<Vec<bool>>,
    /// Writes on their way to the primary: change since the mark was last written.
    writes: Cell<i64>,
    /// The last refusal that the control thread was told of.
    refusal_told: Cell<Option<(NodeId, Instant)>>,
    /// Clients subscribed again that the log was not told of.
    resubscribed: Cell<u64>,
    now: Cell<Instant>,
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        backend: backend::Settings,
        reads: routing::Settings,
        routes: &Routes,
        shared: Arc<Shared>,
        metrics: Arc<WorkerMetrics>,
        control: Control,
    ) -> Rc<Self> {
        let marks = shared.marks.clone();
        let poison_after = backend.timeout;
        let kept_max = usize::try_from(backend.hold_memory).unwrap_or(usize::MAX) / settings.workers;
        let around = Surroundings {
            settings: Rc::new(backend),
            marks: marks.clone(),
            scratch: Rc::new(RefCell::new(vec![0; READ_SIZE].into_boxed_slice())),
            kept: Rc::default(),
            kept_max,
            metrics: metrics.clone(),
        };
        let table = routes.load();
        let nodes = table.nodes.len();
        Rc::new(Self {
            settings,
            reads,
            pools: Pools::new(nodes, around),
            scratch: RefCell::new(vec![0; READ_SIZE].into_boxed_slice()),
            shared,
            metrics,
            control,
            poison_after,
            marks,
            latest: RefCell::new(routes.cached()),
            table: RefCell::new(table),
            held: RefCell::default(),
            watching: RefCell::default(),
            clients: RefCell::default(),
            idle: Idle::default(),
            resubscribed: Cell::new(0),
            long: RefCell::default(),
            marked_long: RefCell::new(vec![false; nodes]),
            writes: Cell::new(0),
            refusal_told: Cell::new(None),
            now: Cell::new(Instant::now()),
        })
    }

    /// The routing table as of now. When it is a new one, its consequences are drawn first: connections of
    /// another epoch or generation are given up and waiting clients look again.
    pub(super) fn table(&self) -> Arc<RoutingTable> {
        let latest = self.latest.borrow_mut().load().clone();
        if !Arc::ptr_eq(&latest, &self.table.borrow()) {
            let old = self.table.replace(latest.clone());
            self.draw_consequences(&old, &latest);
        }
        latest
    }

    fn draw_consequences(&self, old: &RoutingTable, new: &RoutingTable) {
        for (was, is) in old.nodes.iter().zip(&new.nodes) {
            let moved = was.generation != is.generation || was.address != is.address;
            self.pools.retire(is.id, |target| !moved && target.epoch == new.epoch);
        }
        if old.primary != new.primary {
            self.publish_writes_of(old.primary);
        }
        if old.epoch != new.epoch {
            self.idle.clear();
            for client in self.watching.borrow().values() {
                client.wake();
            }
        }
        self.wake_held();
    }

    /// The table whose consequences were drawn; newer than the last [`Self::table`] it is not.
    pub(super) fn current(&self) -> Ref<'_, Arc<RoutingTable>> {
        self.table.borrow()
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Begins a client's turn: looks at the clock and at the routing table once.
    pub(super) fn begin_turn(&self) {
        self.now.set(Instant::now());
        self.table();
    }

    pub(super) fn epoch(&self) -> u64 {
        self.table.borrow().epoch
    }

    /// Registers a client whose request waits for a change of the table or the end of the hold.
    pub(super) fn hold(&self, client: &ClientRef) {
        if client.held_since.get().is_none() {
            client.held_since.set(Some(self.now()));
            self.metrics.held(1);
        }
        self.wake_with_table(client);
    }

    /// The client is woken when the table changes or the hold ends.
    pub(super) fn wake_with_table(&self, client: &ClientRef) {
        let mut held = self.held.borrow_mut();
        if !held.contains(client) {
            held.push(client.clone());
        }
    }

    /// The client's hold is over, whichever way; true when there was one.
    pub(super) fn unhold(&self, client: &ClientRef) -> bool {
        let Some(since) = client.held_since.take() else { return false };
        self.metrics.held(-1);
        let micros = self.now().saturating_duration_since(since).as_micros();
        self.metrics.hold_duration(u64::try_from(micros).unwrap_or(u64::MAX));
        true
    }

    fn wake_held(&self) {
        for client in self.held.take() {
            client.wake();
        }
    }

    pub(super) fn write_sent(&self) {
        self.writes.set(self.writes.get() + 1);
    }

    pub(super) fn writes_answered(&self, count: u32) {
        self.writes.set(self.writes.get() - i64::from(count));
    }

    /// Brings the primary's mark up to date; called once a turn, not once a request.
    pub(super) fn publish_writes(&self) {
        if self.writes.get() != 0 {
            self.publish_writes_of(self.table.borrow().primary);
        }
    }

    fn publish_writes_of(&self, primary: Option<NodeId>) {
        let Some(node) = primary else { return };
        let change = self.writes.take();
        // Wrapping addition of a negative change is subtraction.
        self.marks.of(node).writes_in_flight.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
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

    pub(super) fn enter(&self, client: &ClientRef) {
        self.metrics.clients(1);
        self.metrics.client_connections(1);
        self.clients.borrow_mut().insert(client.id, client.clone());
    }

    pub(super) fn leave(&self, id: u64) {
        if let Some(client) = self.clients.borrow_mut().remove(&id) {
            self.unhold(&client);
            self.metrics.clients(-1);
        }
        self.watching.borrow_mut().remove(&id);
        self.long_ended(id);
    }

    /// A client's own connection carries a request that may take long.
    pub(super) fn long_begun(&self, client: u64, node: NodeId) {
        self.long.borrow_mut().entry(client).or_insert((node, self.now()));
    }

    pub(super) fn long_ended(&self, client: u64) {
        self.long.borrow_mut().remove(&client);
    }

    /// A client's CLIENT PAUSE of all commands, once the node has agreed, silences the node without being its death.
    pub(super) fn note_pause(&self, node: NodeId, sent: &Sent) {
        let mark = &self.marks.of(node).paused_until_ms;
        match sent.row.spec().name {
            "client|pause"
                if !cursor::nth_word(&sent.request, 3)
                    .is_some_and(|mode| mode.eq_ignore_ascii_case(b"write")) =>
            {
                let asked = cursor::nth_word(&sent.request, 2);
                let millis = asked.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<u64>().ok());
                mark.store(self.marks.millis(Instant::now()) + millis.unwrap_or(0), Ordering::Relaxed);
            }
            "client|unpause" => mark.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// A node that says it is in no state to serve is looked at before the next beat; how often it says so again within
    /// [`REFUSAL_BEAT`] tells nothing new.
    pub(super) fn note_refusal(&self, node: NodeId, frame: &[u8]) {
        let now = self.now();
        let last = self.refusal_told.get();
        if !redo::is_of_state(frame)
            || last.is_some_and(|(of, at)| of == node && now.duration_since(at) < REFUSAL_BEAT)
        {
            return;
        }
        self.refusal_told.set(Some((node, now)));
        let text = String::from_utf8_lossy(frame[1..].trim_ascii_end()).into_owned();
        self.control.signals.refused(node, text);
    }

    /// Tells the monitor of which nodes a silence would be explained by the request that they work on.
    fn mark_long(&self) {
        let is_long = |tag: u16| RowId(tag).spec().long;
        for (index, marked) in self.marked_long.borrow_mut().iter_mut().enumerate() {
            let node = NodeId(u16::try_from(index).unwrap_or(u16::MAX));
            let lent =
                self.long.borrow().values().filter(|(at, _)| *at == node).map(|(_, since)| *since).min();
            let oldest = lent.into_iter().chain(self.pools.oldest(node, is_long)).min();
            let mark = &self.marks.of(node).long_request_since_ms;
            match oldest {
                Some(since) => mark.store(self.marks.millis(since), Ordering::Relaxed),
                // Another worker's mark stays; it is renewed as long as it holds.
                None if *marked => mark.store(0, Ordering::Relaxed),
                None => {}
            }
            *marked = oldest.is_some();
        }
    }

    pub(super) fn wake_everybody(&self) {
        for client in self.clients.borrow().values() {
            client.wake();
        }
    }

    /// Takes a clean connection back, unless its epoch is over.
    pub(super) fn give_idle(&self, pinned: Pinned) {
        if pinned.target().epoch == self.epoch() {
            self.idle.give(pinned, self.now());
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

    /// Grows whenever connections to the node have to be given up.
    pub(super) fn generation(&self, node: NodeId) -> u64 {
        self.table.borrow().nodes[node.index()].generation
    }

    /// Most connections lent to single clients at once, over all workers.
    pub(super) fn pinned_max(&self) -> usize {
        match self.pools.around().settings.pinned_max {
            0 => PINNED_DEFAULT,
            given => given,
        }
    }

    pub(super) fn count_command(&self, row: RowId, node: NodeId) {
        self.metrics.command(row.0, Some(node) == self.table.borrow().primary, 1);
    }

    pub(super) fn count_failure(&self, failure: &Failure) {
        self.metrics.error(failure.into());
        if matches!(failure, Failure::Ambiguous { .. }) {
            self.metrics.ambiguous(1);
        }
    }
}

/// Follows the routing table for as long as the thread lives: without traffic nobody else would look.
pub(super) async fn follow_table(worker: Rc<Worker>, mut routes: Routes) {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut beat = tokio::time::interval(LONG_BEAT);
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
                worker.mark_long();
                worker.tell_resubscribed();
            }
            _ = sweep.tick() => {
                worker.pools.sweep(Instant::now());
                worker.idle.sweep(Instant::now());
            }
        }
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
