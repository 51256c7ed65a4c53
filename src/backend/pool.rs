//! The pipelines of one worker: opened on demand, one identity each for life, bounded, retired by epoch.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, Surroundings, Target};
use super::{Caller, Identity, task};
use crate::topology::{Address, NodeId};

/// A pipeline that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// After a failed attempt the next one waits this long, doubling up to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_millis(2);
const DELAY_MAX: Duration = Duration::from_millis(128);

struct NodePool<C> {
    pipelines: RefCell<Vec<Pipeline<C>>>,
    /// Attempts to connect that failed in a row.
    failures: Rc<Cell<u32>>,
}

/// See the module's text.
pub struct Pools<C> {
    nodes: Vec<NodePool<C>>,
    around: Surroundings,
}

impl<C: Caller> Pools<C> {
    /// Empty pools for `nodes` nodes.
    #[must_use]
    pub fn new(nodes: usize, around: Surroundings) -> Self {
        let nodes =
            (0..nodes).map(|_| NodePool { pipelines: RefCell::default(), failures: Rc::default() }).collect();
        Self { nodes, around }
    }

    /// What its connections share.
    #[must_use]
    pub fn around(&self) -> &Surroundings {
        &self.around
    }

    /// The pipeline of `identity` to `node` under `epoch`, opened when there is none. `None` when
    /// `pipelines_max` connections are open and none of them is idle: the caller needs a connection of its own.
    #[must_use]
    pub fn pipeline(
        &self,
        node: NodeId,
        address: &Address,
        epoch: u64,
        identity: &Identity,
        now: Instant,
    ) -> Option<Pipeline<C>> {
        let pool = &self.nodes[node.index()];
        let mut pipelines = pool.pipelines.borrow_mut();
        pipelines.retain(|pipeline| !pipeline.is_closed());
        let fits = |pipeline: &&Pipeline<C>| {
            let target = pipeline.target();
            target.epoch == epoch && target.identity == *identity
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
        let target = Target { node, address: address.clone(), epoch, identity: identity.clone() };
        let opened = Pipeline::new(target, self.around.clone(), now);
        pipelines.push(opened.clone());
        let failures = pool.failures.clone();
        let delay = delay_after(failures.get());
        let running = opened.clone();
        tokio::task::spawn_local(async move {
            match task::run(running, delay).await {
                Ok(()) => failures.set(0),
                Err(()) => failures.set(failures.get().saturating_add(1)),
            }
        });
        Some(opened)
    }

    /// Requests that the node owes this worker.
    #[must_use]
    pub fn outstanding(&self, node: NodeId) -> usize {
        self.nodes[node.index()].pipelines.borrow().iter().map(Pipeline::outstanding).sum()
    }

    /// Since when the oldest unanswered request to the node whose tag `matches` waits, and its tag. Not only the one that is
    /// answered next counts: a server writes the replies of a whole batch after the last request of it.
    #[must_use]
    pub fn oldest(&self, node: NodeId, matches: impl Fn(u16) -> bool) -> Option<(Instant, u16)> {
        let pipelines = self.nodes[node.index()].pipelines.borrow();
        pipelines.iter().filter_map(|pipeline| pipeline.oldest(&matches)).min()
    }

    /// Closes every pipeline to `node` that `keep` does not speak for; what they owe is handed back.
    pub fn retire(&self, node: NodeId, keep: impl Fn(&Target) -> bool) {
        let pool = &self.nodes[node.index()];
        let retired: Vec<_> = {
            let mut pipelines = pool.pipelines.borrow_mut();
            let (kept, retired) = pipelines.drain(..).partition(|pipeline| keep(pipeline.target()));
            *pipelines = kept;
            retired
        };
        pool.failures.set(0);
        for pipeline in retired {
            pipeline.close();
        }
    }

    /// Closes what nobody used for a while.
    pub fn sweep(&self, now: Instant) {
        for pool in &self.nodes {
            let idle: Vec<_> = {
                let mut pipelines = pool.pipelines.borrow_mut();
                let (idle, kept) = pipelines.drain(..).partition(|pipeline| {
                    pipeline.outstanding() == 0 && now.duration_since(pipeline.last_used()) > IDLE
                });
                *pipelines = kept;
                idle
            };
            for pipeline in idle {
                pipeline.close();
            }
        }
    }
}

fn delay_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => (DELAY_MIN * 2_u32.saturating_pow(n.min(16) - 1)).min(DELAY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::{DELAY_MAX, DELAY_MIN, delay_after};

    #[test]
    fn the_delay_grows_from_nothing_to_its_bound() {
        assert!(delay_after(0).is_zero());
        assert_eq!(delay_after(1), DELAY_MIN);
        assert_eq!(delay_after(2), 2 * DELAY_MIN);
        assert_eq!(delay_after(u32::MAX), DELAY_MAX);
    }
}
