//! One fault under load, from the stroke until the group is whole again.

use std::time::{Duration, Instant};

use crate::check::{Faults, Held};
use crate::load::{Load, Outcome, Pressure, Request, Verdict};
use crate::rig::Rig;

/// How long the load goes on after a stroke that is over at once.
const AFTER: Duration = Duration::from_millis(700);
/// How long a stopped process stays stopped: longer than any keeper waits.
const STOPPED: Duration = Duration::from_secs(4);
/// A stall that nobody may take for death.
const STALLED: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Term,
    Stop,
    Stall,
    Replica,
    Switch,
}

impl Fault {
    pub const ALL: [Self; 6] = [Self::Kill, Self::Term, Self::Stop, Self::Stall, Self::Replica, Self::Switch];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Term => "term",
            Self::Stop => "stop",
            Self::Stall => "stall",
            Self::Replica => "replica",
            Self::Switch => "switch",
        }
    }

    pub fn says(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 of the primary",
            Self::Term => "SIGTERM of the primary",
            Self::Stop => "SIGSTOP of the primary, SIGCONT after 4 s",
            Self::Stall => "the primary stalls for 0.7 s",
            Self::Replica => "kill -9 of a replica",
            Self::Switch => "planned change of primary",
        }
    }

    /// The primary is another one afterwards.
    pub fn changes_primary(self) -> bool {
        !matches!(self, Self::Stall | Self::Replica)
    }

    /// The longest pause that is asked for, median and worst.
    pub fn goal(self) -> (Duration, Duration) {
        let (median, worst) = match self {
            Self::Kill => (25, 100),
            Self::Term => (25, 150),
            Self::Stop => (1_200, 1_500),
            Self::Stall => (700, 750),
            Self::Replica => (20, 20),
            Self::Switch => (5, 20),
        };
        (Duration::from_millis(median), Duration::from_millis(worst))
    }
}

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Run {
    pub in_flight: u64,
    /// Writes that became due in the longest pause from the stroke on: in flight when it was noticed, at most.
    pub exposed: u64,
    /// The longest time in which no write of anybody was acknowledged.
    pub gap: Duration,
    /// The longest time from when a request was due until it was acknowledged.
    pub latency: Duration,
    pub acknowledged: u64,
    pub ambiguous: u64,
    /// Of which could have been sent again without harm.
    pub ambiguous_sets: u64,
    pub dropped: u64,
    pub unsent: u64,
    pub refused: Vec<String>,
    pub lost_connections: u64,
    pub faults: Faults,
    pub changes: u64,
    pub full_copies: u64,
}

/// Plays `fault` once. `None`: the check did not see what was planted, so that it proves nothing.
pub fn play(rig: &mut Rig, fault: Fault, number: u32, pressure: Pressure) -> Option<Run> {
    let (epoch, copies, leader) = (rig.epoch(), rig.full_copies(), rig.leader());
    let load = Load::start(rig.address(), number, pressure);
    let replica = (leader + 1) % rig.group.nodes().len();
    let mut struck = Instant::now();
    let in_flight = match fault {
        Fault::Kill => load.strike(|| {
            struck = Instant::now();
            rig.group.node(leader).kill9()
        }),
        Fault::Term => load.strike(|| {
            struck = Instant::now();
            rig.group.node(leader).sigterm()
        }),
        Fault::Stop | Fault::Stall => load.strike(|| {
            struck = Instant::now();
            rig.group.node(leader).sigstop()
        }),
        Fault::Replica => load.strike(|| {
            struck = Instant::now();
            rig.group.node(replica).kill9()
        }),
        Fault::Switch => load.strike(|| {
            struck = Instant::now();
            rig.switch()
        }),
    };
    match fault {
        Fault::Stop => std::thread::sleep(STOPPED.saturating_sub(struck.elapsed())),
        Fault::Stall => std::thread::sleep(STALLED.saturating_sub(struck.elapsed())),
        Fault::Kill | Fault::Term | Fault::Replica | Fault::Switch => {}
    }
    if matches!(fault, Fault::Stop | Fault::Stall) {
        rig.group.node(leader).sigcont();
    }
    let resumed = load.acknowledged();
    crate::support::eventually(crate::support::LONG, "writes go again", || load.acknowledged() > resumed);
    std::thread::sleep(AFTER);
    let outcome = load.finish();
    let copied = rig.full_copies().saturating_sub(copies);
    match fault {
        Fault::Kill | Fault::Term => rig.group.node(leader).restart(),
        Fault::Replica => rig.group.node(replica).restart(),
        Fault::Stop | Fault::Stall | Fault::Switch => {}
    }
    rig.settle();
    let held = Held::read(&mut rig.group.nodes()[rig.leader()].client(), number, &outcome);
    let faults = held.judge(&outcome);
    let seen = match held.damaged() {
        Some(damaged) => faults.are_seen(&damaged.judge(&outcome)),
        None => faults.lost > 0,
    };
    if !seen {
        return None;
    }
    let changes = rig.epoch().saturating_sub(epoch);
    Some(sum_up(&outcome, struck, Run { in_flight, faults, changes, full_copies: copied, ..Run::nothing() }))
}

impl Run {
    fn nothing() -> Self {
        Self {
            in_flight: 0,
            exposed: 0,
            gap: Duration::ZERO,
            latency: Duration::ZERO,
            acknowledged: 0,
            ambiguous: 0,
            ambiguous_sets: 0,
            dropped: 0,
            unsent: 0,
            refused: Vec::new(),
            lost_connections: 0,
            faults: Faults::default(),
            changes: 0,
            full_copies: 0,
        }
    }
}

fn sum_up(outcome: &Outcome, struck: Instant, mut run: Run) -> Run {
    let mut done = vec![struck];
    run.lost_connections = outcome.lost_connections;
    for requests in &outcome.requests {
        for (number, request) in requests.iter().enumerate() {
            match &request.verdict {
                Verdict::Acknowledged => {
                    run.acknowledged += 1;
                    run.latency = run.latency.max(request.done.saturating_duration_since(request.due));
                    done.push(request.done);
                }
                Verdict::Ambiguous => {
                    run.ambiguous += 1;
                    run.ambiguous_sets += u64::from(number.is_multiple_of(2));
                }
                Verdict::Dropped => run.dropped += 1,
                Verdict::Unsent => run.unsent += 1,
                Verdict::Refused(text) => run.refused.push(text.clone()),
            }
        }
    }
    done.retain(|at| *at >= struck);
    done.sort_unstable();
    let longest =
        done.windows(2).max_by_key(|two| two[1] - two[0]).map_or((struck, struck), |two| (two[0], two[1]));
    run.gap = longest.1 - longest.0;
    let within = |request: &&Request| request.due >= struck && request.due <= longest.1;
    run.exposed = outcome.requests.iter().flatten().filter(within).count() as u64;
    run
}
