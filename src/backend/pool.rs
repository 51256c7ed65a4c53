//! The pipelines of one worker: opened on demand, one identity each for life, bounded, closed when a new table
//! does not let them stay.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, Surroundings, Target};
use super::trouble::Trouble;
use super::{Caller, Carries, Identity, task};
use crate::topology::NodeId;

/// A pipeline that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

struct NodePool<C> {
    pipelines: RefCell<Vec<Pipeline<C>>>,
    trouble: Rc<Trouble>,
    /// When a connection was last lost.
    lost_at: Cell<Option<Instant>>,
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
    nodes: Vec<Rc<NodePool<C>>>,
    around: Surroundings,
}

impl<C: Caller> Pools<C> {
    /// Empty pools for `nodes` nodes.
    #[must_use]
    pub fn new(nodes: usize, around: Surroundings) -> Self {
        let pool =
            || NodePool { pipelines: RefCell::default(), trouble: Rc::default(), lost_at: Cell::default() };
        Self { nodes: (0..nodes).map(|_| Rc::new(pool())).collect(), around }
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
        let pool = &self.nodes[node.index()];
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
        self.nodes[node.index()].doubt(now);
    }

    /// When a connection to `node` was last lost.
    #[must_use]
    pub fn lost_at(&self, node: NodeId) -> Option<Instant> {
        self.nodes[node.index()].lost_at.get()
    }

    /// How hard it is to open connections to the node.
    #[must_use]
    pub fn trouble(&self, node: NodeId) -> &Rc<Trouble> {
        &self.nodes[node.index()].trouble
    }

    /// Requests that the node owes this worker.
    #[must_use]
    pub fn outstanding(&self, node: NodeId) -> usize {
        self.nodes[node.index()].outstanding()
    }

    /// Requests that all nodes owe this worker.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.nodes.iter().map(|pool| pool.outstanding()).sum()
    }

    /// Since when the oldest unanswered request to the node whose tag `matches` waits, and its tag. Not only the one that is
    /// answered next counts: a server writes the replies of a whole batch after the last request of it.
    #[must_use]
    pub fn oldest(&self, node: NodeId, matches: impl Fn(u16) -> bool) -> Option<(Instant, u16)> {
        let pipelines = self.nodes[node.index()].pipelines.borrow();
        pipelines.iter().filter_map(|pipeline| pipeline.oldest(&matches)).min()
    }

    /// A new routing table, of `epoch`, is in force. Unless they may `stay` under it, all pipelines to `node` are closed,
    /// and what they owe is handed back.
    pub fn refresh(&self, node: NodeId, stay: bool, epoch: u64) {
        let pool = &self.nodes[node.index()];
        pool.trouble.hurry();
        if stay {
            pool.pipelines.borrow().iter().for_each(|pipeline| pipeline.stays(epoch));
            return;
        }
        for pipeline in pool.pipelines.take() {
            pipeline.close();
        }
    }

    /// Closes what nobody used for a while, and lets the others keep no more memory than they need.
    pub fn sweep(&self, now: Instant) {
        for pool in &self.nodes {
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
