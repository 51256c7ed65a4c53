//! What the runs of a fault showed, as a row of a table, and what of it is wrong on any machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::{Fault, Run};
use crate::load::Pressure;
use crate::rig::Keeper;

/// A slow machine may need so many times what an idle one does.
const PATIENCE: u32 = 10;

pub fn head(pressure: &Pressure, runs: u32) -> String {
    let rate = (pressure.connections * pressure.burst) as f64 / pressure.every.as_secs_f64();
    format!(
        "{runs} runs of each fault, {} connections, {rate:.0} writes a second in bursts of {}, open loop.\n\n\
         | keeper | fault | pause: median | 99 % | worst | connections lost | AMBIGUOUS (of which SET), of in flight at the stroke and due in the pause | other errors | acknowledged, of which lost | twice, disordered, phantom | changes of primary | full copies |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        pressure.connections, pressure.burst
    )
}

pub fn row(keeper: Keeper, fault: Fault, runs: &[Run]) -> String {
    let mut gaps: Vec<Duration> = runs.iter().map(|run| run.gap).collect();
    gaps.sort_unstable();
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    runs.iter().flat_map(|run| &run.refused).for_each(|text| *errors.entry(text.clone()).or_default() += 1);
    for (what, count) in [("no reply", sum(|run| run.dropped)), ("not sent", sum(|run| run.unsent))] {
        if count > 0 {
            errors.insert(what.to_owned(), count);
        }
    }
    let errors: Vec<String> = errors.iter().map(|(text, count)| format!("{count} × {text}")).collect();
    let lossy = runs.iter().filter(|run| run.faults.lost > 0).count();
    format!(
        "| {} | {} | {:.1} ms | {:.1} | {:.1} | {} | {} ({}), {} + {} | {} | {}, {} in {lossy} runs | {}, {}, {} | {} | {} |\n",
        keeper.name(),
        fault.says(),
        at(0.5),
        at(0.99),
        at(1.0),
        sum(|run| run.lost_connections),
        sum(|run| run.ambiguous),
        sum(|run| run.ambiguous_sets),
        sum(|run| run.in_flight),
        sum(|run| run.exposed),
        if errors.is_empty() { "0".to_owned() } else { errors.join("; ") },
        sum(|run| run.acknowledged),
        sum(|run| run.faults.lost),
        sum(|run| run.faults.duplicate),
        sum(|run| run.faults.disordered),
        sum(|run| run.faults.phantom),
        sum(|run| run.changes),
        sum(|run| run.full_copies),
    )
}

/// What must not be, however slow the machine.
pub fn wrong(keeper: Keeper, fault: Fault, run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{}, {}: {what}", keeper.name(), fault.says()));
        }
    };
    let f = run.faults;
    check(f.duplicate + f.disordered + f.phantom == 0, format!("{f:?}"));
    check(run.lost_connections == 0, format!("{} connections were lost", run.lost_connections));
    check(run.refused.is_empty(), format!("errors {:?}", run.refused));
    // Clients send on until the stroke is noticed; what they sent to a silent node by then is in flight too.
    let in_flight = run.in_flight + run.exposed;
    check(run.ambiguous <= in_flight, format!("{} of {in_flight} AMBIGUOUS", run.ambiguous));
    check(run.changes == u64::from(fault.changes_primary()), format!("{} changes of primary", run.changes));
    check(run.gap <= fault.goal().1 * PATIENCE, format!("a pause of {:?}", run.gap));
    match fault {
        // Asynchronous replication: what had reached no replica is gone with its primary.
        Fault::Kill | Fault::Stop if keeper != Keeper::SemiSync => {}
        _ => check(f.lost == 0, format!("{} writes lost", f.lost)),
    }
    if fault == Fault::Switch {
        check(run.full_copies == 0, format!("{} full copies", run.full_copies));
        check(run.ambiguous == 0, format!("{} AMBIGUOUS", run.ambiguous));
    }
    wrong
}
