//! The nodes that are declared, and the tasks that look at each for as long as it is.

use std::collections::BTreeMap;
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

    /// Gives every node the id that it has or, in the order of declaration, the next that nobody has. Ids of nodes that have gone are
    /// given again as late as there is room for, so that whoever still speaks of one does not mean another.
    pub(super) fn name(&self, specs: &[NodeSpec]) -> Vec<(NodeId, NodeSpec)> {
        let dials = self.dials();
        let known: BTreeMap<&Address, NodeId> = dials.iter().map(|dial| (&dial.address, dial.node)).collect();
        let mut last = self.last;
        let mut taken: Vec<NodeId> = known.values().copied().collect();
        let mut named: Vec<(NodeId, NodeSpec)> = Vec::with_capacity(specs.len());
        for spec in specs {
            let id = known.get(&spec.address).copied().unwrap_or_else(|| {
                last = after(last, &taken);
                taken.push(last);
                last
            });
            named.push((id, spec.clone()));
        }
        named.sort_by_key(|(id, _)| *id);
        named
    }

    /// These are the nodes from now on, in the order of ids.
    pub(super) fn declare(&mut self, nodes: &[(NodeId, NodeSpec)]) {
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
                    self.last = *id;
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

/// The first id behind `last` that is not taken, round the end of those that there are.
fn after(last: NodeId, taken: &[NodeId]) -> NodeId {
    let next = |id: NodeId| NodeId(if id.slot() + 1 < NODES_MAX { id.0 + 1 } else { 0 });
    let ids = std::iter::successors(Some(next(last)), |id| Some(next(*id)));
    // There are as many ids as there may be nodes.
    ids.take(NODES_MAX).find(|id| !taken.contains(id)).unwrap_or(last)
}
