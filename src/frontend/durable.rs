//! What a reply waits for, and whether a request may be sent now whose reply does.

use std::time::Instant;

use crate::backend::Target;
use crate::command::{Args, Class, Effect, Lane, Reach, RowId, reach};
use crate::durability::{self, Demand, Level, shows_data};
use crate::error::{Failure, Undurable};
use crate::resp::Request;
use crate::routing::{Gate, RoutingTable};

use super::barrier_line::{BarrierLine, Shortage, State};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::tag::{is_spared, row_of};
use super::worker::Worker;

/// A worker's connections for barriers.
pub(super) struct Durable {
    lines: Vec<BarrierLine>,
}

/// Why a request can not be sent now.
#[derive(Debug)]
enum Obstacle {
    /// It may go away; what is to be said when it has lasted for `failover.hold`, and since when it does.
    Passing(Failure, Instant),
    /// It will not.
    Lasting(Failure),
}

impl Durable {
    pub(super) fn new(settings: &durability::Settings) -> Self {
        let levels = Some(settings.strictest()).filter(|level| *level != Level::Async);
        Self { lines: levels.into_iter().map(|level| BarrierLine::new(level, settings.clone())).collect() }
    }

    /// The levels that any request may have.
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
    /// What the reply to a request of this effect waits for at most: no key is looked at.
    pub(super) fn demand_at_most(&self, effect: Effect) -> Demand {
        let settings = &self.settings.durability;
        match effect {
            Effect::Write => Demand { level: settings.strictest(), reads: false },
            Effect::Read if settings.reads_wait => Demand { level: settings.strictest(), reads: true },
            Effect::Read | Effect::Neutral => Demand::NONE,
        }
    }

    /// What the reply to this request waits for.
    fn demand_of(&self, class: &Class, request: &Request<'_>) -> Demand {
        let most = self.demand_at_most(class.effect);
        // A subcommand that the table does not know may do anything.
        let unknown = class.effect == Effect::Write && class.row.spec().effect == Effect::Neutral;
        if self.settings.durability.rules.is_empty() || most.is_none() || unknown {
            return most;
        }
        Demand { level: self.level_by_keys(class.row, request), ..most }
    }

    fn level_by_keys<A: Args + ?Sized>(&self, row: RowId, request: &A) -> Level {
        let (settings, mut keys) = (&self.settings.durability, self.keys.borrow_mut());
        match reach(row, request, &mut keys) {
            // BY and GET show the values of other keys than it names.
            Reach::Keys if settings.reads_wait && row.spec().name == "sort" => settings.strictest(),
            Reach::Nothing => settings.mode,
            Reach::Keys => settings.level_of(keys.iter().map(|at| request.arg(usize::from(*at)))),
            Reach::Everything => settings.strictest(),
        }
    }

    /// What the reply to a request on a shared pipeline waits for.
    pub(super) fn demand_of_tag(&self, tag: u16) -> Demand {
        if is_spared(tag) { Demand::NONE } else { self.demand_at_most(row_of(tag).spec().effect) }
    }

    /// What an error waits for, in reply to a request of which `demand` is demanded. `resent`: the request may have been executed
    /// before.
    pub(super) fn demand_of_error(&self, demand: Demand, row: RowId, error: &[u8], resent: bool) -> Demand {
        let settings = &self.settings.durability;
        let runs = ["eval", "fcall", "migrate", "debug"].iter().any(|name| row.spec().name.starts_with(name));
        match () {
            () if !settings.reads_wait => Demand::NONE,
            // It may have written something before it failed, or when it was sent first; and a script chooses the words of its errors.
            () if runs || (resent && !demand.reads) || row == RowId::UNKNOWN => demand,
            () if !shows_data(error) => Demand::NONE,
            () => demand.unchanged(settings),
        }
    }

    /// Whether a planned change of primary waits for requests of this effect.
    #[inline]
    pub(super) fn is_waited_for(&self, effect: Effect) -> bool {
        effect == Effect::Write || (effect == Effect::Read && self.settings.durability.reads_wait)
    }

    /// Where a connection for barriers leads now, if one is wanted: not to a primary that nobody may write to, unless
    /// somebody still waits for what it has executed.
    pub(super) fn barrier_target(&self, awaited: bool) -> Option<Target> {
        let table = self.current();
        let route = table.node(table.primary?)?;
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
    /// What the reply to this request waits for. EXEC's waits for what that of any request in the transaction would; where reads
    /// wait, it also tells whether keys that were watched have changed, which may be any.
    pub(super) fn demand_of(&self, class: &Class, request: &Request<'_>) -> Demand {
        if class.lane == Lane::Transaction
            && class.row.spec().name == "exec"
            && let Some(lane) = &self.pinned
            && !self.worker.settings.durability.rules.is_empty()
        {
            let settings = &self.worker.settings.durability;
            let level = if settings.reads_wait { settings.strictest() } else { lane.block };
            return Demand { level, reads: false };
        }
        self.worker.demand_of(class, request)
    }

    /// Whether the request has to wait, or was answered, because nobody could say whether it is safe; `None`: it may be
    /// sent. What is only queued in a transaction goes on.
    #[cold]
    pub(super) fn hold_undurable(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let epoch = self.worker.epoch();
        // It may have been executed where it was sent first.
        let unknown = dispatched.resent && dispatched.class.effect == Effect::Write;
        let failure = self.undurable(&dispatched.class, dispatched.demand)?.map(|failure| match unknown {
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
    pub(super) fn undurable(&self, class: &Class, demand: Demand) -> Option<Option<Failure>> {
        let queued = || {
            let queues = self.pinned.as_ref().is_some_and(|lane| lane.standing.transaction().is_queueing());
            queues && class.row.spec().name != "exec"
        };
        // While writes are held they wait for that, and afterwards they come here again.
        let held = || matches!(self.worker.current().gate, Gate::Hold { .. });
        if demand.is_none() || queued() || held() {
            return None;
        }
        let failure = match self.worker.obstacle(demand.level)? {
            Obstacle::Lasting(failure) => Some(failure),
            Obstacle::Passing(failure, since) => {
                let lasted = self.worker.now().saturating_duration_since(since);
                (lasted >= self.worker.settings.hold).then_some(failure)
            }
        };
        Some(failure.map(|failure| match failure {
            // Its answer could not be vouched for, so that it is not asked.
            Failure::Undurable(Undurable::NoReplicas) if demand.reads => Failure::Uncommitted,
            other => other,
        }))
    }
}
