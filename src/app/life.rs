//! The process from its start to its end: signals, orders to drain, another process that takes over.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{self, Drain};
use crate::control;
use crate::frontend::{Frontend, HandOver, LimitsInForce};
use crate::supervisor::Supervisor;
use crate::topology::{Answer, Orders, Placed, Reread, Upgrade, orders};
use crate::traces::Exporter;
use crate::upgrade::{self, Legacy, Line, Successor};

/// What the end takes beside the two times that clients are given: their last words, and a change of primary that is under way.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// How long a process that is itself a successor waits for the last clients of the one before, which may hold something there.
const ALL_HERE: Duration = Duration::from_secs(5);

// Whoever ordered it is to hear of it; what is yielded is given back at once where it is not taken.
const _: () = assert!(
    ALL_HERE.as_secs() + upgrade::LONGEST.as_secs() + control::YIELDING.as_secs()
        <= Upgrade::WITHIN.as_secs()
);

/// What runs.
pub(super) struct Life {
    pub(super) frontend: Frontend,
    pub(super) brain: control::Running,
    pub(super) admin: admin::Server,
    pub(super) exporter: Exporter,
    pub(super) limits: LimitsInForce,
    pub(super) supervisor: Supervisor,
    pub(super) drain: Drain,
    pub(super) rereads: Orders<Reread>,
    /// All that listen; `None` where the process has no file that another one could read.
    pub(super) sockets: Option<Vec<OwnedFd>>,
}

/// What a signal or an order asks for.
enum Wish {
    End,
    /// With where to say what came of it, unless it was a signal.
    Succession(Option<oneshot::Sender<Answer>>),
}

/// What comes from now on waits until it is asked for.
pub(super) struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    /// Caught, since the system's answer to it is to end the process.
    hangup: Signal,
    succession: Signal,
    upgrades: mpsc::Receiver<Placed<Upgrade>>,
    /// Somebody has asked for the end meanwhile.
    ended: bool,
}

impl Life {
    /// Runs until somebody ends it, or another process has taken over; then lets clients go.
    pub(super) fn until_the_end(self, mut signals: Signals) {
        while let Wish::Succession(asker) = signals.next(&self.drain, &self.rereads) {
            match self.hand_over(|| signals.is_ending(&self.drain)) {
                Ok((successor, line)) => {
                    let answer = format!("process {successor} has taken over");
                    asker.into_iter().chain(signals.others_who_ask()).for_each(|asker| {
                        let _ = asker.send(Ok(answer.clone()));
                    });
                    if signals.is_ending(&self.drain) {
                        end_process(successor);
                    }
                    return self.leave(successor, line);
                }
                Err(why) => {
                    tracing::error!("no other process takes over: {why}");
                    // Whoever asked may have left.
                    let answer = Err(format!("no other process takes over: {why}"));
                    asker.map(|asker| asker.send(answer));
                }
            }
        }
        self.end();
    }

    /// Has the program started again, and another process take over, whose id is returned. An error: this one goes on.
    fn hand_over(&self, mut gives_up: impl FnMut() -> bool) -> Result<(u32, Line), String> {
        if std::process::id() == 1 {
            return Err("the first process of a container can not be succeeded: its end would end the other"
                .to_owned());
        }
        self.await_clients(&mut gives_up)?;
        let sockets = self.sockets.as_ref().ok_or("it was started without a configuration file")?;
        let legacy = Legacy {
            instance: self.brain.instance().to_owned(),
            first_id: self.frontend.ids_to_come(),
            last_notice: self.frontend.notices_to_come(),
        };
        let successor = Successor::start(sockets, &legacy, gives_up)?;
        let pid = successor.pid();
        self.brain.yield_to_another()?;
        let taken = successor.take_over();
        if taken.is_err() {
            self.brain.regain().unwrap_or_else(|error| {
                tracing::error!("nothing is decided until it can be taken back: {error}")
            });
        }
        Ok((pid, taken?))
    }

    /// Waits until no client of the process before this one can come any more, for a while.
    fn await_clients(&self, gives_up: &mut impl FnMut() -> bool) -> Result<(), String> {
        let by = Instant::now() + ALL_HERE;
        while self.frontend.is_taking_up() {
            if gives_up() || Instant::now() >= by {
                return Err("clients of the process before this one may yet come".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Who comes finds the successor, so that nobody has to be kept away first.
    fn leave(self, successor: u32, line: Line) {
        self.frontend.shut();
        drop(self.sockets);
        self.admin.stop();
        self.supervisor.succeeded(successor);
        tracing::info!(pid = successor, clients = self.frontend.clients(), "another process has taken over");
        let heir = HandOver(Arc::new(move |words, socket| line.give(words, socket)));
        self.frontend.hand_over(heir, self.limits.load().drain_timeout);
        self.brain.stop();
        self.exporter.stop();
        tracing::info!("stopped");
    }

    fn end(self) {
        self.drain.begin();
        let (delay, patience) = {
            let limits = self.limits.load();
            (limits.drain_delay, limits.drain_timeout)
        };
        self.supervisor.stopping(delay + patience + LAST_STEPS);
        self.frontend.announce_end(delay);
        std::thread::sleep(delay);
        // Kept for a successor; who connects is refused from now on, unless the socket is somebody else's too.
        drop(self.sockets);
        tracing::info!(clients = self.frontend.clients(), "draining");
        self.frontend.drain(self.limits.load().drain_timeout);
        self.brain.stop();
        self.admin.stop();
        // When everybody has gone: nobody waits for it but the end of the process.
        self.exporter.stop();
        tracing::info!("stopped");
    }
}

/// Whoever asked this process to end meant whoever serves.
fn end_process(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        tracing::error!(%error, "the process that has taken over can not be ended");
    }
}

impl Signals {
    /// # Errors
    /// The system has no descriptor left.
    pub(super) fn caught() -> Result<(Self, Orders<Upgrade>), String> {
        let (upgrades, ordered) = orders();
        let signals = Self::catch(ordered).map_err(|error| format!("cannot wait for signals: {error}"))?;
        Ok((signals, upgrades))
    }

    fn catch(upgrades: mpsc::Receiver<Placed<Upgrade>>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (hangup, succession) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined2())?);
        drop(entered);
        Ok(Self { runtime, terminate, interrupt, hangup, succession, upgrades, ended: false })
    }

    /// Whether the process is to end; if so that is what comes next.
    fn is_ending(&mut self, drain: &Drain) -> bool {
        let Self { runtime, terminate, interrupt, ended, .. } = self;
        *ended |= runtime.block_on(async {
            tokio::select! {
                biased;
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                () = drain.wait() => true,
                // Waits, so that signals are looked for.
                () = tokio::time::sleep(Duration::from_millis(1)) => false,
            }
        });
        *ended
    }

    /// Those who ordered what has been carried out meanwhile, for somebody else.
    fn others_who_ask(&mut self) -> Vec<oneshot::Sender<Answer>> {
        self.upgrades.close();
        std::iter::from_fn(|| self.upgrades.try_recv().ok()).map(|placed| placed.answer).collect()
    }

    fn next(&mut self, drain: &Drain, rereads: &Orders<Reread>) -> Wish {
        let Self { runtime, terminate, interrupt, hangup, succession, upgrades, ended } = self;
        if *ended {
            return Wish::End;
        }
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return Wish::End,
                    _ = interrupt.recv() => return Wish::End,
                    () = drain.wait() => return Wish::End,
                    _ = succession.recv() => return Wish::Succession(None),
                    Some(Placed { answer, .. }) = upgrades.recv() => {
                        // Nobody learns what comes of an order that was given up while it waited.
                        if !answer.is_closed() {
                            return Wish::Succession(Some(answer));
                        }
                    }
                    _ = hangup.recv() => {
                        let rereads = rereads.clone();
                        tokio::spawn(async move {
                            match rereads.place(Reread).await {
                                Ok(text) => tracing::info!("SIGHUP: {text}"),
                                Err(text) => tracing::error!("SIGHUP: {text}"),
                            }
                        });
                    }
                }
            }
        })
    }
}
