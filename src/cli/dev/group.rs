//! The throwaway group: started as a primary with replicas in sync, watched, and restarted node by node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::resp::Value;

use super::node::Node;
use super::ports::NodePorts;
use super::servers::Servers;
use super::wire::{self, Wire};

/// How long a node stays dead, as under a supervisor that restarts at once; long enough to be seen as dead.
pub(crate) const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How often processes are looked at.
const BEAT: Duration = Duration::from_millis(20);
/// How long the first synchronisation of empty servers may take.
const SYNC: Duration = Duration::from_secs(15);
/// How many ports are tried for a node when others take them between our look and the server's.
const PORT_TRIES: usize = 5;
/// Orders that may wait; there is one user.
const ORDERS: usize = 4;

/// What happened to a node, for whoever tells people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent {
    /// It ended without our doing, or because of [`Group::kill`].
    Ended {
        /// Its port.
        port: u16,
        /// As the system tells it: `signal: 9 (SIGKILL)`, `exit status: 1`.
        how: String,
    },
    /// It runs again, sealed and empty.
    Restarted {
        /// Its port.
        port: u16,
    },
    /// It cannot be started again; tried again later.
    NotRestarted {
        /// Its port.
        port: u16,
        /// One sentence.
        why: String,
    },
}

impl std::fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended { port, how } => {
                write!(f, "server 127.0.0.1:{port} ended ({how}); it is started again soon")
            }
            Self::Restarted { port } => write!(f, "server 127.0.0.1:{port} runs again, sealed and empty"),
            Self::NotRestarted { port, why } => write!(f, "server 127.0.0.1:{port} does not start: {why}"),
        }
    }
}

enum Order {
    Kill { port: u16, done: mpsc::SyncSender<Option<Instant>> },
    Stop,
}

/// Real servers on loopback, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    ports: Vec<u16>,
    orders: mpsc::SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Group {
    /// Starts one primary and `replicas` replicas in `scratch` and waits until the replicas
    /// have what the primary has. `tell` is called from the group's own
    /// thread.
    ///
    /// # Errors
    /// A sentence, when a server cannot be started or does not synchronise.
    pub(crate) fn start(
        servers: Servers,
        scratch: &Path,
        replicas: u8,
        tell: impl Fn(NodeEvent) + Send + 'static,
    ) -> Result<Self, String> {
        let (started, wait_started) = mpsc::sync_channel(1);
        let (orders, queue) = mpsc::sync_channel(ORDERS);
        let scratch = scratch.to_path_buf();
        // The kernel ends the servers with the thread that spawned them, so one thread spawns them all and lives as long as they do.
        let thread = std::thread::Builder::new()
            .name("dev-nodes".to_owned())
            .spawn(move || {
                let (mut keeper, result) = Keeper::start(servers, scratch, replicas);
                let failed = result.is_err();
                if started.send(result).is_ok() && !failed {
                    keeper.watch(&queue, &tell);
                }
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let ports =
            wait_started.recv().map_err(|_| "the thread that starts the servers ended".to_owned())??;
        Ok(Self { ports, orders, thread: Some(thread) })
    }

    /// The nodes' ports on 127.0.0.1, the first primary's first.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// `kill -9` of the node on `port`; returns the moment, or `None` when it does not run.
    pub(crate) fn kill(&self, port: u16) -> Option<Instant> {
        let (done, answer) = mpsc::sync_channel(1);
        self.orders.send(Order::Kill { port, done }).ok()?;
        answer.recv().ok()?
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.orders.send(Order::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// How many replicas, all with their links up, have what the primary has, as soon as it is `wanted` of them. Links do not say so:
/// after a synchronisation without a file a primary sends nothing until the replica's next beat, and what it has executed by then dies
/// with it.
fn caught_up(primary: u16, wanted: usize) -> Result<usize, std::io::Error> {
    let mut wire = Wire::open(SocketAddr::from(([127, 0, 0, 1], primary)))?;
    wire.patience(2 * SYNC)?;
    // WAIT speaks of what came before it on its connection. A message is the least that moves the offset, once somebody is attached.
    wire.ask(&[b"PUBLISH", b"__redhold:barrier", b""])?;
    let timeout = SYNC.as_millis().to_string();
    match wire.ask(&[b"WAIT", wanted.to_string().as_bytes(), timeout.as_bytes()])? {
        Value::Integer(count) => Ok(usize::try_from(count).unwrap_or(0)),
        other => Err(std::io::Error::other(format!("WAIT answered {other:?}"))),
    }
}

/// Lives on the group's thread.
struct Keeper {
    servers: Servers,
    nodes: Vec<Node>,
    restart_at: Vec<Option<Instant>>,
}

impl Keeper {
    fn start(servers: Servers, scratch: PathBuf, replicas: u8) -> (Self, Result<Vec<u16>, String>) {
        let mut keeper = Self { servers, nodes: Vec::new(), restart_at: Vec::new() };
        let result = keeper.start_nodes(&scratch, replicas).and_then(|()| keeper.join());
        keeper.restart_at = vec![None; keeper.nodes.len()];
        let ports = keeper.nodes.iter().map(|node| node.port).collect();
        (keeper, result.map(|()| ports))
    }

    fn start_nodes(&mut self, scratch: &Path, replicas: u8) -> Result<(), String> {
        let mut ports = NodePorts::new();
        for _ in 0..=replicas {
            let mut tries = 0;
            let node = loop {
                let port = ports.take().ok_or("no free port on 127.0.0.1")?;
                let mut node = Node::start(&self.servers, scratch, port)?;
                tries += 1;
                match node.wait_ready() {
                    Ok(()) => break node,
                    Err(error) if tries == PORT_TRIES => return Err(error),
                    Err(_) => {}
                }
            };
            self.nodes.push(node);
        }
        Ok(())
    }

    /// The first becomes the primary, the others follow it.
    fn join(&self) -> Result<(), String> {
        let Some((primary, replicas)) = self.nodes.split_first() else { return Ok(()) };
        let order = |port: u16, words: &[&str]| {
            wire::ask(port, words)
                .map_err(|error| format!("the server on port {port} refused {words:?}: {error}"))
        };
        order(primary.port, &["REPLICAOF", "NO", "ONE"])?;
        for replica in replicas {
            order(replica.port, &["REPLICAOF", "127.0.0.1", &primary.port.to_string()])?;
        }
        let deadline = Instant::now() + SYNC;
        for replica in replicas {
            while !order(replica.port, &["INFO", "replication"])?.contains("master_link_status:up") {
                if Instant::now() > deadline {
                    return Err(format!(
                        "the replica on port {} does not synchronise: {}",
                        replica.port,
                        replica.last_words()
                    ));
                }
                std::thread::sleep(BEAT);
            }
        }
        let streaming = caught_up(primary.port, replicas.len())
            .map_err(|error| format!("the server on port {} does not answer: {error}", primary.port))?;
        if streaming < replicas.len() {
            return Err(format!(
                "{streaming} of {} replicas receive what the primary executes",
                replicas.len()
            ));
        }
        Ok(())
    }

    fn watch(&mut self, queue: &mpsc::Receiver<Order>, tell: &impl Fn(NodeEvent)) {
        loop {
            match queue.recv_timeout(BEAT) {
                Ok(Order::Kill { port, done }) => {
                    let node = self.nodes.iter_mut().find(|node| node.port == port && node.pid().is_some());
                    let at = node.map(|node| {
                        node.kill();
                        Instant::now()
                    });
                    let _ = done.send(at);
                }
                Ok(Order::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            self.look(tell);
        }
    }

    fn look(&mut self, tell: &impl Fn(NodeEvent)) {
        for (node, restart_at) in self.nodes.iter_mut().zip(&mut self.restart_at) {
            let port = node.port;
            if let Some(status) = node.ended() {
                *restart_at = Some(Instant::now() + RESTART_AFTER);
                tell(NodeEvent::Ended { port, how: status.to_string() });
            }
            if restart_at.is_some_and(|at| at <= Instant::now()) {
                *restart_at = None;
                match node.spawn(&self.servers) {
                    Ok(()) => tell(NodeEvent::Restarted { port }),
                    Err(why) => {
                        *restart_at = Some(Instant::now() + RESTART_AFTER);
                        tell(NodeEvent::NotRestarted { port, why });
                    }
                }
            }
        }
    }
}
