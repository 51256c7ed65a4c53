//! Starts and ends the control thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::failover::Machine;
use crate::net::{SocketOptions, TlsClient};
use crate::routing::{Gate, NodeRoute, Publisher, ReadPolicy, RoutingTable, publisher};
use crate::topology::{Marks, NodeId, NodeSpec, Remedy, numbered, orders};
use crate::users::User;

use super::brains::{Greeted, Identity};
use super::coordinator::{Coordinator, local};
use super::declared::{Declaration, declarations};
use super::driver::{self, Driver, Ends, unseen};
use super::monitor::{Beat, Pace};
use super::names::keep_looking;
use super::parity::{self, parity};
use super::quarantine::Quarantine;
use super::record::Unwritten;
use super::signals::signals;
use super::watched::{Means, Watched};
use super::yielding::{Brain, Will};
use super::{Handle, ParityReport, Quarantined, Settings, StartError, Status, StatusReader};

/// Looks that wait for the driver; each node has one or two at a time.
const HEARD_MAX: usize = 64;

/// Orders that wait for the nodes to be compared; one more does not wait for it.
const DEMANDS_MAX: usize = 16;

/// Nodes that are about to lead; there is one at a time.
const WARMS_MAX: usize = 4;

/// Longest wait in [`Running::yield_to_another`].
pub const YIELDING: Duration = super::driver::STOP_PATIENCE;

/// The running control thread. Dropping it stops the thread without waiting for it.
#[derive(Debug)]
pub struct Running {
    wills: mpsc::Sender<Will>,
    instance: Arc<str>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Stops the thread and waits for its end. A change of primary that is under way is brought to its end first,
    /// for five seconds at most. Blocks.
    pub fn stop(self) {
        drop(self.wills);
        if self.thread.join().is_err() {
            tracing::error!("the control thread had panicked");
        }
    }

    /// Has nothing decided or recorded here from now on, so that another process may: `failover.state_dir` is free, and the roles
    /// that the nodes have are followed. A change of primary that is under way is brought to its end first. Blocks, for five
    /// seconds at most.
    ///
    /// # Errors
    /// One sentence: why not; nothing changed then.
    pub fn yield_to_another(&self) -> Result<(), String> {
        self.want(Will::Yield)
    }

    /// Takes back what was yielded, from what is recorded on. Blocks.
    ///
    /// # Errors
    /// One sentence: why `state_dir` can not be used; the roles that the nodes have are followed then, and it is tried again, after a
    /// tenth of a second at first and each ten seconds at last.
    pub fn regain(&self) -> Result<(), String> {
        self.want(Will::Regain)
    }

    /// How this process is called among brains.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    fn want(&self, will: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Will) -> Result<(), String> {
        let (done, ended) = oneshot::channel();
        let sent = self.wills.blocking_send(will(done));
        let ended = sent.ok().and_then(|()| ended.blocking_recv().ok());
        ended.unwrap_or_else(|| Err("the control thread has ended".to_owned()))
    }

    /// Whether the thread still runs; it ends only when stopped, so `false` before that means that it panicked.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// Starts the thread `redhold-control`, which looks at the nodes, decides who leads and publishes where requests go.
/// No node needs to be reachable. `instance`: how this process is called among brains, as one before it was; `None`: by a new name. `tls`: how they are spoken to over TLS, if they are. `marks` are the data path's.
///
/// # Errors
/// When `state_dir` cannot be used: see [`StartError`]. Nothing was started then.
pub fn start(
    settings: Settings,
    instance: Option<Arc<str>>,
    tls: Option<Arc<TlsClient>>,
    marks: Arc<Marks>,
) -> Result<(Handle, Running), StartError> {
    let unwritten = Unwritten::default();
    let (coordinator, record) = local(settings.state_dir.as_deref(), unwritten.clone())?;
    let now = Instant::now();
    let brain = Brain {
        nodes: numbered(&settings.nodes),
        settings: settings.failover.clone(),
        state_dir: settings.state_dir.clone(),
        unwritten: unwritten.clone(),
    };
    let machine = Machine::new(brain.nodes.clone(), settings.failover.clone(), record, now);
    let (publisher, routes) = publisher(first_table(&brain.nodes, now));
    let (orders, placed) = orders();
    let (signals, raised) = signals();
    let (parity, parity_doors) = parity(settings.script_cache > 0);
    let unknown = Arc::new(ParityReport::default());
    let (report, reported) = watch::channel(unknown.clone());
    let (compare, demands) = mpsc::channel(DEMANDS_MAX);
    let first_status = Status {
        at: now,
        at_wall: std::time::SystemTime::now(),
        machine: machine.status(now),
        nodes: unseen(&brain.nodes),
        gone: BTreeMap::new(),
        settings_changed: Vec::new(),
        other_brains: Vec::new(),
        quarantined: Quarantined::default(),
        parity: unknown.clone(),
        moved: Arc::default(),
    };
    let (status, snapshots) = watch::channel(Arc::new(first_status));
    let status_reader = StatusReader { snapshots, unwritten };
    let spreads_reads = settings.reads.policy != ReadPolicy::Primary;
    let (warm, warms) = mpsc::channel(WARMS_MAX);
    let parity_ends = parity::Ends {
        doors: parity_doors,
        report,
        status: status_reader.clone(),
        demands,
        warms,
        spreads_reads,
        script_cache: settings.script_cache,
        introductions: settings.users.iter().filter_map(User::acl_setuser).collect(),
    };
    let identity = Identity::of(instance);
    let instance = identity.instance.clone();
    let (wills, wanted) = mpsc::channel(1);
    let (declarations, declared) = declarations();
    let parts = Parts {
        settings,
        tls,
        marks,
        identity,
        decider: (coordinator, machine),
        brain,
        publisher,
        placed,
        raised,
        status,
        wanted,
        declarations: declared,
        parity: (parity_ends, driver::Parity { reported, compare, warm }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Thread)?;
    let thread = std::thread::Builder::new()
        .name("redhold-control".to_owned())
        .spawn(move || runtime.block_on(parts.run()))
        .map_err(StartError::Thread)?;
    let handle = Handle { orders, status: status_reader, routes, signals, parity, declarations };
    Ok((handle, Running { wills, thread, instance }))
}

/// Nobody leads yet: writes wait from now on.
fn first_table(nodes: &[(NodeId, NodeSpec)], now: Instant) -> RoutingTable {
    let route = |(id, spec): &(NodeId, NodeSpec)| NodeRoute {
        id: *id,
        address: spec.address.clone(),
        zone: spec.zone.clone(),
        readable: false,
        generation: 0,
        run_id: None,
    };
    let nodes = nodes.iter().map(route).collect();
    RoutingTable {
        epoch: 0,
        primary: None,
        gate: Gate::Hold { since: now },
        holds: 0,
        planned: false,
        degraded: false,
        remedy: Remedy::Unjudged,
        nodes,
    }
}

/// All that moves into the thread.
struct Parts {
    settings: Settings,
    tls: Option<Arc<TlsClient>>,
    marks: Arc<Marks>,
    identity: Identity,
    decider: (Box<dyn Coordinator>, Machine),
    brain: Brain,
    publisher: Publisher,
    placed: mpsc::Receiver<crate::topology::Placed>,
    raised: mpsc::Receiver<(NodeId, crate::failover::Signal)>,
    status: watch::Sender<Arc<Status>>,
    wanted: mpsc::Receiver<Will>,
    declarations: mpsc::Receiver<Declaration>,
    parity: (parity::Ends, driver::Parity),
}

impl Parts {
    async fn run(self) {
        let settings = &self.settings;
        let quarantine = Quarantine::new(
            settings.state_dir.as_deref(),
            settings.quarantine_files,
            settings.quarantine_size,
        );
        let (declared, _) = watch::channel(Arc::new(self.settings.declared()));
        let Settings { credentials, failover, .. } = self.settings;
        let (sink, heard) = mpsc::channel(HEARD_MAX);
        let (pace, paces) = watch::channel(Pace::Ordinary);
        let (greets, greeted) = watch::channel(Greeted::default());
        let mut watched = Watched::new(Means {
            credentials,
            identity: self.identity,
            options: SocketOptions::noticing_after(failover.timeout),
            tls: self.tls,
            marks: self.marks.clone(),
            beat: Beat { interval: failover.interval, timeout: failover.timeout },
            pace: paces,
            greeted,
            sink,
        });
        let last = self.brain.nodes.last().map_or(NodeId(0), |(id, _)| *id);
        watched.declare(&self.brain.nodes, last);
        let (seen, names) = mpsc::channel(1);
        tokio::spawn(keep_looking(declared.subscribe(), seen));
        let (parity_ends, parity) = self.parity;
        tokio::spawn(parity::run(watched.follow(), parity_ends));
        let ends = Ends {
            heard,
            signals: self.raised,
            orders: self.placed,
            wills: self.wanted,
            publisher: self.publisher,
            status: self.status,
            pace,
            greets,
            parity,
            names,
            declarations: self.declarations,
            declared,
        };
        Driver::new(self.decider, self.brain, watched, self.marks, quarantine, ends).run().await;
    }
}
