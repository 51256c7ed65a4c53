//! The nodes that are declared, and the tasks that look at each for as long as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::net::{SocketOptions, TlsClient};
use crate::topology::{Address, Marks, NODES_MAX, NodeId, NodeSpec};

use super::Credentials;
use super::brains::{Greeted, Identity, listen};
use super::link::Dial;
use super::monitor::{Beat, Heard, Pace, watch_node};

/// What it takes to look at a node.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) credentials: Credentials,
    pub(super) identity: Identity,
    pub(super) options: SocketOptions,
    pub(super) tls: Option<Arc<TlsClient>>,
    pub(super) marks: Arc<Marks>,
    pub(super) beat: Beat,
    pub(super) pace: watch::Receiver<Pace>,
    pub(super) greeted: watch::Receiver<Greeted>,
    pub(super) sink: mpsc::Sender<Heard>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Watched {
    means: Means,
    tasks: BTreeMap<NodeId, [AbortHandle; 2]>,
    /// How each is reached, in the order of ids; who else speaks with them follows it.
    dials: watch::Sender<Arc<[Dial]>>,
    /// The id that was given last.
    last: NodeId,
}

impl Watched {
    /// Nobody yet.
    pub(super) fn new(means: Means) -> Self {
        let last = NodeId(u16::try_from(NODES_MAX - 1).unwrap_or(u16::MAX));
        Self { means, tasks: BTreeMap::new(), dials: watch::channel(Arc::default()).0, last }
    }

    /// How the nodes are reached, whenever that changes.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<[Dial]>> {
        self.dials.subscribe()
    }

    pub(super) fn dials(&self) -> Arc<[Dial]> {
        self.dials.borrow().clone()
    }

    /// Gives every node the id that it has or, in the order of declaration, the next that nobody has; and tells which was given last. Ids
    /// of nodes that have gone are given again as late as there is room for, so that whoever still speaks of one does not mean another.
    pub(super) fn name(&self, specs: &[NodeSpec]) -> (Vec<(NodeId, NodeSpec)>, NodeId) {
        let dials = self.dials();
        let known: BTreeMap<&Address, NodeId> = dials.iter().map(|dial| (&dial.address, dial.node)).collect();
        let mut taken: BTreeSet<NodeId> =
            specs.iter().filter_map(|spec| known.get(&spec.address).copied()).collect();
        let going: BTreeSet<NodeId> = known.values().copied().collect();
        let mut last = self.last;
        let mut named: Vec<(NodeId, NodeSpec)> = Vec::with_capacity(specs.len());
        for spec in specs {
            let id = known.get(&spec.address).copied().unwrap_or_else(|| {
                let free = after(last, |id| !taken.contains(&id) && !going.contains(&id));
                last = free.or_else(|| after(last, |id| !taken.contains(&id))).unwrap_or(last);
                taken.insert(last);
                last
            });
            named.push((id, spec.clone()));
        }
        named.sort_by_key(|(id, _)| *id);
        (named, last)
    }

    /// These are the nodes from now on, in the order of ids, of which `last` was given last.
    pub(super) fn declare(&mut self, nodes: &[(NodeId, NodeSpec)], last: NodeId) {
        self.last = last;
        let before = self.dials();
        let mut dials = Vec::with_capacity(nodes.len());
        let mut tasks = std::mem::take(&mut self.tasks);
        for (id, spec) in nodes {
            let stays = before.iter().find(|dial| dial.node == *id && dial.address == spec.address);
            let (dial, looks) = match (stays, tasks.remove(id)) {
                (Some(dial), Some(looks)) => (dial.clone(), looks),
                (_, gone) => {
                    gone.iter().flatten().for_each(AbortHandle::abort);
                    self.means.marks.of(*id).forget();
                    let dial = self.dial(*id, spec);
                    let looks = self.look_at(&dial);
                    (dial, looks)
                }
            };
            self.tasks.insert(*id, looks);
            dials.push(dial);
        }
        tasks.values().flatten().for_each(AbortHandle::abort);
        self.dials.send_replace(dials.into());
    }

    fn dial(&self, node: NodeId, spec: &NodeSpec) -> Dial {
        let means = &self.means;
        Dial {
            node,
            address: spec.address.clone(),
            credentials: means.credentials.clone(),
            name: means.identity.client_name().into(),
            options: means.options,
            tls: means.tls.clone(),
            marks: means.marks.clone(),
        }
    }

    fn look_at(&self, dial: &Dial) -> [AbortHandle; 2] {
        let Means { identity, beat, pace, greeted, sink, .. } = &self.means;
        let looks = watch_node(dial.clone(), identity.clone(), *beat, pace.clone(), sink.clone());
        let listens = listen(dial.clone(), identity.clone(), greeted.clone(), sink.clone());
        [tokio::spawn(looks).abort_handle(), tokio::spawn(listens).abort_handle()]
    }
}

/// The first id behind `last` that is free, round the end of those that there are.
fn after(last: NodeId, is_free: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    let next = |id: NodeId| NodeId(if id.slot() + 1 < NODES_MAX { id.0 + 1 } else { 0 });
    let ids = std::iter::successors(Some(next(last)), |id| Some(next(*id)));
    ids.take(NODES_MAX).find(|id| is_free(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_round_and_pass_over_those_that_are_not_free() {
        let free = |last: u16, free: &[u16]| after(NodeId(last), |id| free.contains(&id.0)).map(|id| id.0);
        assert_eq!(free(0, &[0, 1, 7]), Some(1));
        assert_eq!(free(1, &[0, 1, 7]), Some(7));
        assert_eq!(free(7, &[0, 1, 7]), Some(0));
        assert_eq!(free(255, &[0, 255]), Some(0));
        assert_eq!(free(3, &[3]), Some(3), "nobody else's is left");
        assert_eq!(free(3, &[]), None);
    }
}
