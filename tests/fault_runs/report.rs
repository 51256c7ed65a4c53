//! What the runs of a fault showed, as a row of a table, and what of it is wrong on any machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::Fault;
use crate::load::Pressure;
use crate::play::Run;
use crate::probe::Pinned;
use crate::rig::Keeper;

/// A slow machine may need so many times what an idle one does.
const PATIENCE: u32 = 10;
/// A machine that does much else may do nothing of ours for so long.
const HICCUP: Duration = Duration::from_secs(1);

pub fn head(pressure: &Pressure, runs: u32) -> String {
    let rate = (pressure.connections * pressure.burst) as f64 / pressure.every.as_secs_f64();
    format!(
        "{runs} runs of each fault, {} connections, {rate:.0} writes a second in bursts of {}, open loop.\n\n\
         | keeper | fault | pause: median | 99 % | worst | connections lost | AMBIGUOUS (of which SET), of in flight at the stroke and due in the pause | other errors | acknowledged, of which lost | lost and not kept | twice, disordered, phantom | writes to the old primary itself: confirmed by a replica, of which after another led, lost | changes of primary | full copies |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        pressure.connections, pressure.burst
    )
}

pub fn row(keeper: Keeper, fault: Fault, runs: &[Run]) -> String {
    let mut gaps: Vec<Duration> = runs.iter().map(|run| run.gap).collect();
    gaps.sort_unstable();
    let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    let texts = runs.iter().flat_map(|run| &run.refused).map(|(text, _)| text);
    texts.for_each(|text| *errors.entry(text.clone()).or_default() += 1);
    for (what, count) in [
        ("NOTDURABLE", sum(|run| run.undurable)),
        ("no reply", sum(|run| run.dropped)),
        ("not sent", sum(|run| run.unsent)),
    ] {
        if count > 0 {
            errors.insert(what.to_owned(), count);
        }
    }
    let errors: Vec<String> = errors.iter().map(|(text, count)| format!("{count} × {text}")).collect();
    let lossy = runs.iter().filter(|run| run.faults.lost > 0).count();
    let pinned =
        |of: fn(&Pinned) -> u64| runs.iter().filter_map(|run| run.pinned.as_ref()).map(of).sum::<u64>();
    let tried = pinned(|pinned| pinned.written);
    let itself = match tried {
        0 => String::new(),
        _ => format!("{tried}: {}, {}, {}", pinned(|p| p.confirmed), pinned(|p| p.late), pinned(|p| p.lost)),
    };
    let unkept = if fault.brings_back() && keeper.is_ours() {
        sum(|run| run.unkept).to_string()
    } else {
        String::new()
    };
    format!(
        "| {} | {} | {:.1} ms | {:.1} | {:.1} | {} | {} ({}), {} + {} | {} | {}, {} in {lossy} runs | {unkept} | {}, {}, {} | {itself} | {} | {} |\n",
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

/// A fault that can not be done here.
pub fn not_run(keeper: Keeper, fault: Fault, why: &str) -> String {
    format!("| {} | {} | not run: {why} |{}\n", keeper.name(), fault.says(), " |".repeat(11))
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
    for (text, times) in unexpected(fault, run) {
        let (first, last) = (times.iter().min(), times.iter().max());
        check(false, format!("{} × {text}, from {first:?} to {last:?} after the stroke", times.len()));
    }
    // The replicas of a busy machine may need longer than `durability.timeout`, which is no promise of time.
    check(run.undurable == 0 || keeper == Keeper::SemiSync, format!("{} NOTDURABLE", run.undurable));
    // Clients send on until the stroke is noticed; what they sent to a silent node by then is in flight too.
    let in_flight = run.in_flight + run.exposed;
    check(
        run.ambiguous <= in_flight || fault == Fault::Flap,
        format!("{} of {in_flight} AMBIGUOUS", run.ambiguous),
    );
    check(run.changes == fault.changes(), format!("{} changes of primary", run.changes));
    check(run.gap <= (fault.goal().1 * PATIENCE).max(HICCUP), format!("a pause of {:?}", run.gap));
    check(run.felt * 50 >= run.acknowledged, format!("only {} requests felt it", run.felt));
    check(f.lost == 0 || fault.may_lose(keeper), format!("{} writes lost", f.lost));
    if fault.loses_what_was_in_flight() {
        check(f.lost <= run.in_flight, format!("{} writes lost, {} were in flight", f.lost, run.in_flight));
    }
    check(run.unkept == 0, format!("{} lost writes are in no file", run.unkept));
    if let Some(pinned) = run.pinned {
        check(pinned.late == 0, format!("two primaries: {pinned:?}"));
        check(pinned.lost == 0, format!("a replica had them, the leader has not: {pinned:?}"));
    }
    if fault == Fault::Flap {
        check(run.braked_after == Some(2), format!("{:?} changes before the brake held", run.braked_after));
    }
    if fault == Fault::Switch {
        check(run.full_copies == 0, format!("{} full copies", run.full_copies));
        check(run.ambiguous == 0, format!("{} AMBIGUOUS", run.ambiguous));
    }
    wrong
}

/// Errors that nobody should have got, and when each came.
fn unexpected(fault: Fault, run: &Run) -> BTreeMap<&str, Vec<Duration>> {
    let expected: &[&str] = match fault {
        // While the brake holds requests are told after a while that they were not executed.
        Fault::Flap => &["TRYAGAIN "],
        _ => &[],
    };
    let mut unexpected: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for (text, after) in &run.refused {
        if !expected.iter().any(|start| text.starts_with(start)) {
            unexpected.entry(text).or_default().push(*after);
        }
    }
    unexpected
}
