//! The threads that serve clients: one acceptor, and one worker a core.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

use crate::backend;
use crate::net::{TlsClient, TlsServer, keep_fresh};
use crate::routing::{self, Routes};
use crate::telemetry::{Metrics, TrafficReader};
use crate::topology::Marks;
use crate::traces::Traces;

use super::arrivals::take_clients;
use super::barrier_line;
use super::doorway::{Admitted, Doorway, WorkerDoor, door, take_up};
use super::handed::{HandOver, Handed};
use super::inactive;
use super::listener::{self, Bound};
use super::maintenance;
use super::park;
use super::restrained::obey_restraints;
use super::shared::{Ending, Shared};
use super::slow_log::SlowLog;
use super::traffic;
use super::worker::{Worker, follow_table, keep_waking};
use super::{Control, LimitsInForce, Settings};

/// For what is said to clients when the time to drain is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The acceptor ends at once, unless a certificate that it reads lies on a disk that does not answer.
const SHUTTING: Duration = Duration::from_secs(1);

/// Who holds nothing has gone over by then, as a rule.
const HANDING: Duration = Duration::from_secs(1);

/// Ids that a process gives at most between the start of another one and its own last client.
const IDS_BETWEEN: u64 = 1 << 20;

/// Notices that it tells at most until then.
const NOTICES_BETWEEN: i64 = 1 << 10;

/// What the frontend is made of.
pub struct Parts {
    /// `[proxy]` and `[limits]`
    pub settings: Settings,
    /// `[backend]`
    pub backend: backend::Settings,
    /// `[reads]`
    pub reads: routing::Settings,
    /// Where requests go.
    pub routes: Routes,
    /// Where the data path leaves marks.
    pub marks: Arc<Marks>,
    /// What the data path counts.
    pub metrics: Arc<Metrics>,
    /// Those that clients meet now; a reload puts others there.
    pub limits: LimitsInForce,
    /// Takes requests that are traced.
    pub traces: Traces,
    /// What PROXY reads and orders by.
    pub control: Control,
    /// The certificate of `settings.tls`.
    pub tls: Option<Arc<TlsServer>>,
    /// How nodes are spoken to over TLS, by `backend.tls`.
    pub node_tls: Option<Arc<TlsClient>>,
    /// Where ids of clients begin.
    pub first_id: u64,
    /// Numbers of notices go on after this one.
    pub last_notice: i64,
}

/// The running threads.
pub struct Frontend {
    workers: Vec<JoinHandle<()>>,
    doors: Vec<WorkerDoor>,
    acceptor: JoinHandle<()>,
    shared: Arc<Shared>,
    ending: watch::Sender<Ending>,
    sample_one_in: u32,
    big_bytes: u64,
}

impl Frontend {
    /// Starts serving `bound`.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start(parts: Parts, bound: Vec<Bound>) -> io::Result<Self> {
        let threshold = Duration::from_micros(parts.backend.slow_micros);
        let slow_log = SlowLog::new(threshold, parts.settings.slow_log_len);
        let rates = parts.settings.users.iter().map(|user| user.rate);
        let shared = Shared::new(parts.marks.clone(), parts.reads.own_writes, slow_log, parts.limits.clone());
        let shared = Arc::new(shared.metering(rates));
        shared.begin_ids_at(parts.first_id);
        shared.notices.go_on_after(parts.last_notice);
        let (ending, ends) = watch::channel(Ending::NotYet);
        let (mut workers, mut doors) = (Vec::new(), Vec::new());
        let (sample_one_in, big_bytes) = (parts.backend.sample_one_in, parts.backend.big_bytes);
        let parts = Arc::new(parts);
        for index in 0..parts.settings.workers {
            let (door, clients) = door();
            doors.push(door);
            let (parts, shared, ends) = (parts.clone(), shared.clone(), ends.clone());
            let work = move || run_worker(index, &parts, shared, clients, ends);
            workers.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(work)?);
        }
        let certificates = (parts.tls.clone(), parts.node_tls.clone());
        let doorway = Doorway::new(doors.clone(), shared.clone(), parts.metrics.acceptor());
        let acceptor = move || run_acceptor(bound, doorway, certificates, &ends);
        let acceptor = std::thread::Builder::new().name("acceptor".to_owned()).spawn(acceptor)?;
        Ok(Self { workers, doors, acceptor, shared, ending, sample_one_in, big_bytes })
    }

    /// Clients connected now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::Relaxed)
    }

    /// Tells what clients do: slow requests, hot keys, big keys, who is busy.
    #[must_use]
    pub fn traffic(&self) -> TrafficReader {
        traffic::reader(self.shared.clone(), self.sample_one_in, self.big_bytes)
    }

    /// Tells from any thread how often each worker has come round to what was due, twenty times a second as a rule.
    pub fn turns(&self) -> impl Fn() -> Vec<u64> + Send + 'static {
        let shared = self.shared.clone();
        move || shared.turns()
    }

    /// Serves clients of the process `pid`, which was before, as they come, on a thread of its own that ends with them.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn take_up(
        &self,
        pid: u32,
        mut next: impl FnMut() -> Option<Handed> + Send + 'static,
    ) -> io::Result<()> {
        let (doors, shared) = (self.doors.clone(), self.shared.clone());
        shared.predecessor.store(pid, Ordering::Relaxed);
        let take_all = move || {
            while let Some(handed) = next() {
                take_up(handed, &doors, &shared);
            }
            shared.predecessor.store(0, Ordering::Relaxed);
        };
        std::thread::Builder::new().name("successions".to_owned()).spawn(take_all).map(|_| ())
    }

    /// Clients of the process before may yet come.
    #[must_use]
    pub fn is_taking_up(&self) -> bool {
        self.shared.predecessor.load(Ordering::Relaxed) != 0
    }

    /// Process id of the one before, as long as clients of it may yet come; 0: none.
    #[must_use]
    pub fn predecessor(&self) -> Arc<AtomicU32> {
        self.shared.predecessor.clone()
    }

    /// Above all ids that clients have, and any that they are likely to get soon.
    #[must_use]
    pub fn ids_to_come(&self) -> u64 {
        self.shared.ids_so_far() + IDS_BETWEEN
    }

    /// As high as any notice has been numbered, and any that is likely to be told soon.
    #[must_use]
    pub fn notices_to_come(&self) -> i64 {
        self.shared.notices.last().saturating_add(NOTICES_BETWEEN)
    }

    /// As [`Self::drain`], but who is free goes to another process by `heir` instead of being closed.
    pub fn hand_over(self, heir: HandOver, patience: Duration) {
        self.shut();
        let _ = self.shared.heir.set(heir);
        let first = patience.min(HANDING);
        self.enter(Ending::Draining, first);
        tracing::info!(clients = self.clients(), "left where they hold something");
        // Who is still here holds something, and is told that it has to move.
        self.shared.notices.moving(Instant::now() + patience - first);
        self.let_go(patience - first);
    }

    /// Everybody is served for `delay` yet; clients that asked to be told are, so that they leave by themselves. Less than a
    /// second is no time to move in.
    pub fn announce_end(&self, delay: Duration) {
        if delay >= Duration::from_secs(1) {
            self.shared.notices.moving(Instant::now() + delay);
        }
        self.enter(Ending::Announced, Duration::ZERO);
    }

    /// Accepts nobody any more: who connects to a socket that outlives the process is the next one's, and not to be let in only to
    /// be sent away.
    pub fn shut(&self) {
        self.enter(Ending::Shut, Duration::ZERO);
        wait_while(SHUTTING, || !self.acceptor.is_finished());
    }

    /// Stops accepting and lets each client go when nothing is owed to it, at the latest after `patience`.
    pub fn drain(self, patience: Duration) {
        self.shut();
        // Whoever holds something stays until then.
        self.shared.notices.moving(Instant::now() + patience);
        self.let_go(patience);
    }

    fn let_go(self, patience: Duration) {
        self.enter(Ending::Draining, patience);
        let left = self.clients();
        if left > 0 {
            tracing::warn!(clients = left, "clients were still held by something at drain_timeout");
            self.enter(Ending::Over, LAST_WORDS);
        }
        drop(self.workers);
    }

    /// Tells everybody, and waits until all clients are gone, for `patience` at most.
    fn enter(&self, ending: Ending, patience: Duration) {
        self.shared.ending.store(ending as u8, Ordering::Relaxed);
        let _ = self.ending.send(ending);
        wait_while(patience, || self.clients() > 0);
    }
}

/// … and for so long at most.
fn wait_while(patience: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while holds() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn run_acceptor(
    bound: Vec<Bound>,
    doorway: Doorway,
    (tls, node_tls): (Option<Arc<TlsServer>>, Option<Arc<TlsClient>>),
    ends: &watch::Receiver<Ending>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the acceptor cannot start"),
    };
    let doorway = Rc::new(doorway);
    runtime.block_on(async {
        if let Some(tls) = tls {
            tokio::task::spawn_local(keep_fresh("proxy.tls", tls));
        }
        if let Some(tls) = node_tls {
            tokio::task::spawn_local(keep_fresh("backend.tls", tls));
        }
        let mut listening = Vec::new();
        for bound in bound {
            listening.push(tokio::task::spawn_local(listener::accept(bound, doorway.clone(), ends.clone())));
        }
        for task in listening {
            if let Ok(Err(error)) = task.await {
                tracing::error!(%error, "a listener ended");
            }
        }
    });
}

fn run_worker(
    index: usize,
    parts: &Parts,
    shared: Arc<Shared>,
    clients: mpsc::Receiver<Admitted>,
    ends: watch::Receiver<Ending>,
) {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().on_thread_park(park::before_park);
    let runtime = match builder.build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a worker cannot start"),
    };
    runtime.block_on(async move {
        let worker = Worker::new(parts, shared, parts.metrics.worker(index));
        park::serve(&worker);
        tokio::task::spawn_local(follow_table(worker.clone(), parts.routes.clone()));
        tokio::task::spawn_local(obey_restraints(worker.clone(), index));
        tokio::task::spawn_local(maintenance::keep_telling(worker.clone()));
        tokio::task::spawn_local(keep_waking(worker.clone()));
        tokio::task::spawn_local(inactive::keep_closing(worker.clone()));
        tokio::task::spawn_local(wake_at_the_end(worker.clone(), ends));
        for level in worker.durable.levels() {
            tokio::task::spawn_local(barrier_line::keep_open(worker.clone(), level));
        }
        take_clients(worker, clients, parts.tls.clone()).await;
    });
}

/// Clients that only listen would not notice that the proxy drains.
async fn wake_at_the_end(worker: Rc<Worker>, mut ends: watch::Receiver<Ending>) {
    while ends.changed().await.is_ok() {
        worker.notices_due.notify_one();
        worker.wake_everybody();
    }
}
