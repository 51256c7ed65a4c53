//! One fault under load, from the stroke until the group is whole again.

use std::time::{Duration, Instant};

use crate::check::{Faults, Held};
use crate::faults::Fault;
use crate::kept;
use crate::load::{Load, Outcome, Pressure, Request, Verdict};
use crate::probe::{self, Pinned, Probe};
use crate::rig::Rig;
use crate::strokes::{Sight, Stroke};
use crate::support::{LONG, eventually};

/// How long the load goes on after a stroke that is over at once.
const AFTER: Duration = Duration::from_millis(700);

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
    /// Of which took as long as the fault makes them at least.
    pub felt: u64,
    pub ambiguous: u64,
    /// Of which could have been sent again without harm.
    pub ambiguous_sets: u64,
    /// Executed, and not known to be anywhere else.
    pub undurable: u64,
    pub dropped: u64,
    pub unsent: u64,
    /// Other errors, and how long after the stroke each came.
    pub refused: Vec<(String, Duration)>,
    pub lost_connections: u64,
    pub faults: Faults,
    /// Lost writes that Redhold kept no copy of, where it can.
    pub unkept: u64,
    /// Of a client of the old primary's own.
    pub pinned: Option<Pinned>,
    pub changes: u64,
    /// Of which before the brake held.
    pub braked_after: Option<u64>,
    pub full_copies: u64,
}

/// Plays `fault` once. `None`: the check did not see what was planted, so that it proves nothing.
pub fn play(rig: &mut Rig, fault: Fault, number: u32, pressure: Pressure, hogs: Duration) -> Option<Run> {
    rig.clear();
    let leader = rig.leader();
    let stroke = Stroke { fault, leader, epoch: rig.epoch(), hogs };
    let copies = rig.full_copies(None);
    stroke.prepare(rig);
    let load = Load::start(rig.address(), number, pressure);
    let pinned = matches!(fault, Fault::Cut(_)).then(|| Probe::start(rig.group.addresses()[leader], number));
    let mut struck = Instant::now();
    let in_flight = load.strike(|| {
        struck = Instant::now();
        stroke.strike(rig);
    });
    let sight = stroke.last(rig, struck);
    let resumed = load.acknowledged();
    eventually(LONG, "writes go again", || load.acknowledged() > resumed);
    std::thread::sleep(AFTER);
    let outcome = load.finish();
    let copied = rig.full_copies((fault == Fault::Vanish).then_some(leader)).saturating_sub(copies);
    stroke.repair(rig);
    rig.settle();
    let mut client = rig.group.nodes()[rig.leader()].client();
    let held = Held::read(&mut client, number, &outcome);
    let faults = held.judge(&outcome);
    let seen = match held.damaged() {
        Some(damaged) => faults.are_seen(&damaged.judge(&outcome)),
        None => faults.lost > 0,
    };
    if !seen {
        return None;
    }
    let mut run = Run { in_flight, faults, full_copies: copied, ..Run::nothing() };
    let served_again = sum_up(&outcome, struck, sight, fault.trace(), &mut run);
    run.changes = rig.epoch().saturating_sub(stroke.epoch);
    run.braked_after = sight.braked_after;
    if let Some(pinned) = pinned {
        run.pinned = Some(probe::judge(&pinned.finish(), served_again, &mut client, number)?);
    }
    if let Some(proxy) = rig.proxy().filter(|_| fault.brings_back()) {
        run.unkept = kept::missing(&held.lost(&outcome), number, &kept::take(&proxy.state_dir()))?;
    }
    Some(run)
}

impl Run {
    fn nothing() -> Self {
        Self {
            in_flight: 0,
            exposed: 0,
            gap: Duration::ZERO,
            latency: Duration::ZERO,
            acknowledged: 0,
            felt: 0,
            ambiguous: 0,
            ambiguous_sets: 0,
            undurable: 0,
            dropped: 0,
            unsent: 0,
            refused: Vec::new(),
            lost_connections: 0,
            faults: Faults::default(),
            unkept: 0,
            pinned: None,
            changes: 0,
            braked_after: None,
            full_copies: 0,
        }
    }
}

/// Returns when the longest pause was over.
fn sum_up(outcome: &Outcome, struck: Instant, sight: Sight, trace: Duration, run: &mut Run) -> Instant {
    let mut done = vec![struck];
    run.lost_connections = outcome.lost_connections;
    for requests in &outcome.requests {
        for (number, request) in requests.iter().enumerate() {
            match &request.verdict {
                Verdict::Acknowledged => {
                    run.acknowledged += 1;
                    let latency = request.done.saturating_duration_since(request.due);
                    run.latency = run.latency.max(latency);
                    run.felt += u64::from(latency >= trace);
                    done.push(request.done);
                }
                Verdict::Ambiguous => {
                    run.ambiguous += 1;
                    run.ambiguous_sets += u64::from(number.is_multiple_of(2));
                }
                Verdict::Undurable => run.undurable += 1,
                Verdict::Dropped => run.dropped += 1,
                Verdict::Unsent => run.unsent += 1,
                Verdict::Refused(text) => {
                    run.refused.push((text.clone(), request.done.saturating_duration_since(struck)))
                }
            }
        }
    }
    done.retain(|at| *at >= struck && sight.until.is_none_or(|until| *at <= until));
    done.sort_unstable();
    let longest =
        done.windows(2).max_by_key(|two| two[1] - two[0]).map_or((struck, struck), |two| (two[0], two[1]));
    run.gap = longest.1 - longest.0;
    let within = |request: &&Request| request.due >= struck && request.due <= longest.1;
    run.exposed = outcome.requests.iter().flatten().filter(within).count() as u64;
    longest.1
}
