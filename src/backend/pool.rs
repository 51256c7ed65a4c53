//! The pipelines of one worker: opened on demand, one identity each for life, bounded, closed when a new table
//! does not let them stay.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, Surroundings, Target};
use super::trouble::Trouble;
use super::{Caller, Carries, Identity, task};
use crate::topology::{NODES_MAX, NodeId};

/// A pipeline that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A node that is no longer declared is waited for so long: what it still owes then is handed back.
const RETIRES_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it still owes anything.
const RETIRING_BEAT: Duration = Duration::from_millis(10);

struct NodePool<C> {
    pipelines: RefCell<Vec<Pipeline<C>>>,
    trouble: Rc<Trouble>,
    /// When a connection was last lost.
    lost_at: Cell<Option<Instant>>,
}

impl<C> Default for NodePool<C> {
    fn default() -> Self {
        Self { pipelines: RefCell::default(), trouble: Rc::default(), lost_at: Cell::default() }
    }
}

impl<C: Caller> NodePool<C> {
    fn outstanding(&self) -> usize {
        self.pipelines.borrow().iter().map(Pipeline::outstanding).sum()
    }

    fn doubt(&self, now: Instant) {
        self.lost_at.set(Some(now));
        self.pipelines.borrow().iter().for_each(|pipeline| pipeline.doubt(now));
    }
}

/// See the module's text.
pub struct Pools<C> {
    /// A place for each id, filled when its node is first asked for something.
    nodes: Box<[OnceCell<Rc<NodePool<C>>>]>,
    /// No place from this one on is filled.
    used: Cell<usize>,
    around: Surroundings,
}

impl<C: Caller> Pools<C> {
    /// Empty pools.
    #[must_use]
    pub fn new(around: Surroundings) -> Self {
        let nodes = (0..NODES_MAX).map(|_| OnceCell::new()).collect();
        Self { nodes, used: Cell::new(0), around }
    }

    fn pool(&self, node: NodeId) -> &Rc<NodePool<C>> {
        self.nodes[node.slot()].get_or_init(|| {
            self.used.set(self.used.get().max(node.slot() + 1));
            Rc::default()
        })
    }

    fn pools(&self) -> impl Iterator<Item = &Rc<NodePool<C>>> {
        self.nodes[..self.used.get()].iter().filter_map(OnceCell::get)
    }

    /// What its connections share.
    #[must_use]
    pub fn around(&self) -> &Surroundings {
        &self.around
    }

    /// The pipeline of `identity` to `node`, for scripts one whose script does not run for long already; when there is none, one is opened to `target`, which says the same of both.
    /// `None` when `pipelines_max` connections are open and none of them is idle: the caller needs a connection of its
    /// own.
    #[must_use]
    pub fn pipeline(
        &self,
        node: NodeId,
        identity: &Identity,
        carries: Carries,
        now: Instant,
        target: impl FnOnce() -> Target,
    ) -> Option<Pipeline<C>> {
        let pool = self.pool(node);
        let mut pipelines = pool.pipelines.borrow_mut();
        pipelines.retain(|pipeline| !pipeline.is_closed());
        // Of an earlier epoch are only those that `refresh` let stay.
        let fits = |pipeline: &&Pipeline<C>| {
            pipeline.carries() == carries
                && pipeline.target().identity == *identity
                && (carries == Carries::Anything || !pipeline.is_held_up(now))
        };
        if let Some(found) = pipelines.iter().find(fits) {
            return Some(found.clone());
        }
        if pipelines.len() >= self.around.settings.pipelines_max {
            let idle = pipelines.iter().filter(|pipeline| pipeline.outstanding() == 0);
            let oldest = idle.min_by_key(|pipeline| pipeline.last_used())?.clone();
            pipelines.retain(|pipeline| pipeline != &oldest);
            oldest.close();
        }
        let opened = Pipeline::new(target(), carries, self.around.clone(), now);
        pipelines.push(opened.clone());
        let (pool, running) = (pool.clone(), opened.clone());
        tokio::task::spawn_local(async move {
            match task::run(running, &pool.trouble).await {
                Ok(true) => pool.doubt(Instant::now()),
                Ok(false) => {}
                Err(error) => pool.trouble.note(Some(&error), Instant::now()),
            }
        });
        Some(opened)
    }

    /// A connection to `node` was lost: its others may be about to end as well. What is sent again on one of them and lost once
    /// more was lost once.
    pub fn doubt(&self, node: NodeId, now: Instant) {
        self.pool(node).doubt(now);
    }

    /// When a connection to `node` was last lost.
    #[must_use]
    pub fn lost_at(&self, node: NodeId) -> Option<Instant> {
        self.pool(node).lost_at.get()
    }

    /// How hard it is to open connections to the node.
    #[must_use]
    pub fn trouble(&self, node: NodeId) -> &Rc<Trouble> {
        &self.pool(node).trouble
    }

    /// Requests that the node owes this worker.
    #[must_use]
    pub fn outstanding(&self, node: NodeId) -> usize {
        self.pool(node).outstanding()
    }

    /// Requests that all nodes owe this worker.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.pools().map(|pool| pool.outstanding()).sum()
    }

    /// Since when the oldest unanswered request to the node whose tag `matches` waits, and its tag. Not only the one that is
    /// answered next counts: a server writes the replies of a whole batch after the last request of it.
    #[must_use]
    pub fn oldest(&self, node: NodeId, matches: impl Fn(u16) -> bool) -> Option<(Instant, u16)> {
        let pipelines = self.pool(node).pipelines.borrow();
        pipelines.iter().filter_map(|pipeline| pipeline.oldest(&matches)).min()
    }

    /// A new routing table, of `epoch`, is in force. Unless they may `stay` under it, all pipelines to `node` are closed,
    /// and what they owe is handed back.
    pub fn refresh(&self, node: NodeId, stay: bool, epoch: u64) {
        let pool = self.pool(node);
        pool.trouble.hurry();
        if stay {
            pool.pipelines.borrow().iter().for_each(|pipeline| pipeline.stays(epoch));
            return;
        }
        for pipeline in pool.pipelines.take() {
            pipeline.close();
        }
    }

    /// `node` is no longer declared: nothing more is asked of it, and its connections are closed when it owes nothing any more, after
    /// ten seconds at the latest.
    pub fn retire(&self, node: NodeId) {
        let by = Instant::now() + RETIRES_WITHIN;
        let pool = self.pool(node);
        pool.lost_at.set(None);
        for pipeline in pool.pipelines.take() {
            pipeline.retire();
            tokio::task::spawn_local(async move {
                while pipeline.outstanding() > 0 && Instant::now() < by {
                    tokio::time::sleep(RETIRING_BEAT).await;
                }
                pipeline.close();
            });
        }
    }

    /// Closes what nobody used for a while, and lets the others keep no more memory than they need.
    pub fn sweep(&self, now: Instant) {
        for pool in self.pools() {
            let idle: Vec<_> = {
                let mut pipelines = pool.pipelines.borrow_mut();
                let (idle, kept): (Vec<_>, Vec<_>) = pipelines.drain(..).partition(|pipeline| {
                    pipeline.outstanding() == 0 && now.duration_since(pipeline.last_used()) > IDLE
                });
                kept.iter().for_each(Pipeline::rest);
                *pipelines = kept;
                idle
            };
            for pipeline in idle {
                pipeline.close();
            }
        }
    }
}
