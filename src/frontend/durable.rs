//! Whether a write may be sent now, when it has to be known to be safe before its client hears of it.

use std::time::Instant;

use crate::backend::Target;
use crate::command::{Class, Effect};
use crate::durability::{self, Level};
use crate::error::{Failure, Undurable};
use crate::routing::{Gate, RoutingTable};

use super::barrier_line::{BarrierLine, Shortage, State};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::worker::Worker;

/// A worker's connections for barriers.
pub(super) struct Durable {
    lines: Vec<BarrierLine>,
}

/// Why a write can not be sent now.
#[derive(Debug)]
enum Obstacle {
    /// It may go away; what is to be said when it has lasted for `failover.hold`, and since when it does.
    Passing(Failure, Instant),
    /// It will not.
    Lasting(Failure),
}

impl Durable {
    pub(super) fn new(settings: &durability::Settings) -> Self {
        let levels = Some(settings.mode).filter(|level| *level != Level::Async);
        Self { lines: levels.into_iter().map(|level| BarrierLine::new(level, settings.clone())).collect() }
    }

    /// The levels that any write may have.
    pub(super) fn levels(&self) -> impl Iterator<Item = Level> {
        self.lines.iter().map(BarrierLine::level)
    }

    /// The connection for barriers of a level that is configured.
    pub(super) fn line(&self, level: Level) -> &BarrierLine {
        self.lines.iter().find(|line| line.level() == level).expect("each level in use has a line")
    }

    /// The consequences of a new table.
    pub(super) fn table_changed(&self, worker: &Worker, old: &RoutingTable, new: &RoutingTable) {
        self.lines.iter().for_each(|line| line.table_changed(worker, old, new));
    }
}

impl Worker {
    /// Where a connection for barriers leads now, if one is wanted: not to a primary that nobody may write to, unless
    /// somebody still waits for what it has executed.
    pub(super) fn barrier_target(&self, awaited: bool) -> Option<Target> {
        let table = self.current();
        let route = &table.nodes[table.primary?.index()];
        let wanted = awaited || matches!(table.gate, Gate::Open);
        wanted.then(|| Target {
            node: route.id,
            address: route.address.clone(),
            run_id: route.run_id.clone(),
            epoch: table.epoch,
            identity: self.control.identity(),
        })
    }

    /// Nothing is sent before there is a connection on which it can be asked about, and replicas that could have it.
    fn obstacle(&self, level: Level) -> Option<Obstacle> {
        let hold = self.settings.hold;
        let line = self.durable.line(level);
        if let Some((state, since)) = line.state() {
            return Some(match state {
                State::Refused(said) => Obstacle::Lasting(Failure::Undurable(Undurable::Unasked { said })),
                State::Closed(said) => Obstacle::Passing(Failure::OutOfReach { hold, said }, since),
            });
        }
        let few = Failure::Undurable(Undurable::NoReplicas);
        Some(match line.shortage(self)? {
            Shortage::Known => Obstacle::Lasting(few),
            Shortage::Unproved(since) => Obstacle::Passing(few, since),
        })
    }
}

impl Connection {
    /// What the reply to this request waits for.
    pub(super) fn level_of(&self, class: &Class) -> Level {
        match class.effect {
            Effect::Write => self.worker.settings.durability.mode,
            Effect::Read | Effect::Neutral => Level::Async,
        }
    }

    /// Whether the request has to wait, or was answered, because nobody could say whether it is safe; `None`: it may be
    /// sent. What is only queued in a transaction goes on.
    #[cold]
    pub(super) fn hold_undurable(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let epoch = self.worker.epoch();
        // It may have been executed where it was sent first.
        let unknown = dispatched.resent && dispatched.class.effect == Effect::Write;
        let failure = self.undurable(&dispatched.class)?.map(|failure| match unknown {
            true => Failure::Ambiguous { from: epoch, to: epoch },
            false => failure,
        });
        Some(match failure {
            None => {
                self.worker.hold(&self.client);
                Step::Wait
            }
            Some(failure) => {
                self.worker.unhold(&self.client);
                match self.pinned {
                    Some(_) => self.refuse_pinned(dispatched, &failure),
                    None => self.answer_failure(&failure),
                }
            }
        })
    }

    /// Whether a request of this class can not be sent now, and what is to be said when it is time.
    pub(super) fn undurable(&self, class: &Class) -> Option<Option<Failure>> {
        let level = self.level_of(class);
        let queued = || {
            let queues = self.pinned.as_ref().is_some_and(|lane| lane.standing.transaction().is_queueing());
            queues && class.row.spec().name != "exec"
        };
        // While writes are held they wait for that, and afterwards they come here again.
        let held = || matches!(self.worker.current().gate, Gate::Hold { .. });
        if level == Level::Async || queued() || held() {
            return None;
        }
        Some(match self.worker.obstacle(level)? {
            Obstacle::Lasting(failure) => Some(failure),
            Obstacle::Passing(failure, since) => {
                let lasted = self.worker.now().saturating_duration_since(since);
                (lasted >= self.worker.settings.hold).then_some(failure)
            }
        })
    }
}
