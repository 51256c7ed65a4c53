//! What threads share about the nodes: the handle through which orders reach the control thread, and plain
//! atomics that workers and the monitor write once a batch.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{LostRequests, NODES_MAX, NodeId, OwnCalls, RefusedUsers, Suspicion, Told, Tolls};

/// A long request is worth a word when it has been under way for this long, milliseconds.
const LONG_TOLD: u64 = 500;

/// Per-node marks that the data path leaves for the monitor, and the reverse. All relaxed: a mark is a hint.
#[derive(Debug, Default)]
pub struct NodeMarks {
    /// Milliseconds since the process's own origin at which the last byte came from the node, over all
    /// connections.
    pub last_byte_ms: AtomicU64,
    /// Connections to the node that ended without our doing, or could not be opened, since the start.
    pub losses: AtomicU64,
    /// Writes sent to the node as primary and not yet answered, over all workers.
    pub writes_in_flight: AtomicU64,
    /// Workers for whom the oldest unanswered request is one of the long-running class.
    pub long_requests: AtomicU64,
    /// Milliseconds (same origin) until when a client's CLIENT PAUSE of all commands silences the node; 0 or past:
    /// not at all.
    pub paused_until_ms: AtomicU64,
    /// The same for a pause of any kind: what it stops on a shared connection stops everybody behind it.
    pub stalled_until_ms: AtomicU64,
    /// Number of the latest look at the primary whose offset this replica is known to have applied; 0: of none.
    pub applied_look: AtomicU64,
    /// How many times as long as the fastest node it takes to answer; 0: unknown.
    pub weight: AtomicU64,
    /// `maxclients` as the node last told it; 0: it did not.
    pub max_clients: AtomicU64,
    /// The control thread has subscribed to a pattern on the node, as all proxies do to the same one.
    pub pattern_stands: AtomicBool,
    /// What the proxy itself asked of it. No client's request comes near this lock.
    own_calls: Mutex<OwnCalls>,
    /// Users that it refused to be given. No request comes near this lock, only who opens a connection.
    refused_users: Mutex<RefusedUsers>,
    /// One of those requests: since when it waits, in the same milliseconds, and the name of its command.
    long_request: Mutex<(u64, &'static str)>,
    /// What it owed when connections were last lost. No request that is answered comes near this lock.
    lost: Mutex<LostRequests>,
}

impl NodeMarks {
    /// Notes a request that was lost with its connection; true when it was not named before in this event.
    pub fn note_lost(
        &self,
        now: std::time::Instant,
        suspicion: Suspicion,
        describe: impl FnOnce() -> Told,
    ) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).note(now, suspicion, describe)
    }

    /// What the proxy itself asked of it.
    pub fn own_calls(&self) -> MutexGuard<'_, OwnCalls> {
        self.own_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Users that it refused to be given.
    pub fn refused_users(&self) -> MutexGuard<'_, RefusedUsers> {
        self.refused_users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot is another node's from now on. What workers still count of the one before they will count down themselves.
    pub fn forget(&self) {
        let Self { last_byte_ms, losses, writes_in_flight: _, long_requests: _, .. } = self;
        let hints = [last_byte_ms, losses, &self.paused_until_ms, &self.stalled_until_ms];
        let hints = hints.into_iter().chain([&self.applied_look, &self.weight, &self.max_clients]);
        hints.for_each(|hint| hint.store(0, Ordering::Relaxed));
        self.pattern_stands.store(false, Ordering::Relaxed);
        *self.own_calls() = OwnCalls::default();
        *self.refused_users() = RefusedUsers::default();
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = LostRequests::default();
    }

    /// What was lost last.
    #[must_use]
    pub fn lost(&self) -> LostRequests {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The marks of all nodes, by [`NodeId`].
#[derive(Debug)]
pub struct Marks {
    origin: std::time::Instant,
    nodes: Vec<NodeMarks>,
    /// Looks at nodes begun so far.
    looks: AtomicU64,
    /// Declared replicas that the last looks found in step with the present primary.
    attached: AtomicU32,
    /// Others that the last looks found alive.
    coming: AtomicU32,
    /// What outages cost clients.
    pub tolls: Tolls,
}

impl Marks {
    /// Marks of nobody yet; `origin` is the process's start.
    #[must_use]
    pub fn new(origin: std::time::Instant) -> Self {
        let nodes = (0..NODES_MAX).map(|_| NodeMarks::default()).collect();
        let (looks, tolls) = (AtomicU64::new(0), Tolls::default());
        Self { origin, nodes, looks, attached: AtomicU32::new(0), coming: AtomicU32::new(0), tolls }
    }

    /// Those of one node.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &NodeMarks {
        &self.nodes[node.slot()]
    }

    /// Declared replicas that the last looks found in step with the present primary; 0 until it was looked at as such.
    #[must_use]
    pub fn attached(&self) -> u32 {
        self.attached.load(Ordering::Relaxed)
    }

    /// Those, and the other nodes that are there and may follow yet.
    #[must_use]
    pub fn attached_or_coming(&self) -> u32 {
        self.attached() + self.coming.load(Ordering::Relaxed)
    }

    /// Notes how many they are.
    pub fn note_attached(&self, attached: u32, coming: u32) {
        self.attached.store(attached, Ordering::Relaxed);
        self.coming.store(coming, Ordering::Relaxed);
    }

    /// Numbers a look at a node that is about to begin. Sequentially consistent, beside what [`Marks`] says of marks:
    /// nothing of the look may be sent before its number is to be seen.
    #[must_use]
    pub fn begin_look(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Number of the look that began last. What a node has answered before this is asked for, it did before every
    /// look with a higher number.
    #[must_use]
    pub fn last_look(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    /// `now` in the marks' own milliseconds; never 0.
    #[must_use]
    pub fn millis(&self, now: std::time::Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// What [`Self::millis`] said of an instant, to the millisecond.
    #[must_use]
    pub fn instant(&self, millis: u64) -> std::time::Instant {
        self.origin + std::time::Duration::from_millis(millis)
    }

    /// A worker's oldest unanswered long request to `node` is a `command` that waits since `since`; `begins`: it had none
    /// before. To be said again as long as it holds.
    pub fn works_on(&self, node: NodeId, since: std::time::Instant, command: &'static str, begins: bool) {
        let marks = self.of(node);
        *marks.long_request.lock().unwrap_or_else(PoisonError::into_inner) = (self.millis(since), command);
        marks.long_requests.fetch_add(u64::from(begins), Ordering::Relaxed);
    }

    /// A worker's long requests to `node` have ended.
    pub fn worked_long(&self, node: NodeId) {
        self.of(node).long_requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// The command that `node` may be working on, and for how long at `now`, milliseconds; `None`: of none worth a word.
    #[must_use]
    pub fn long_request(&self, node: NodeId, now: std::time::Instant) -> Option<(&'static str, u64)> {
        let marks = self.of(node);
        let (since, command) = *marks.long_request.lock().unwrap_or_else(PoisonError::into_inner);
        let works = marks.long_requests.load(Ordering::Relaxed) != 0;
        let ms = self.millis(now).saturating_sub(since);
        (works && ms >= LONG_TOLD).then_some((command, ms))
    }

    /// Notes that bytes came from `node` at `now`.
    pub fn heard(&self, node: NodeId, now: std::time::Instant) {
        self.of(node).last_byte_ms.store(self.millis(now), Ordering::Relaxed);
    }
}
