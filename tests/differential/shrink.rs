//! From a long script that shows a difference to a short one.

use std::time::{Duration, Instant};

use crate::play::{Difference, Played};
use crate::script::Step;

/// Time for it: a person waits.
const ENOUGH: Duration = Duration::from_secs(30);

/// The shortest script found that shows the same difference, or all of it when it does not show again. `replay` says steps to fresh sides.
pub(crate) fn shortest(
    steps: &[Step],
    difference: &Difference,
    mut replay: impl FnMut(&[Step]) -> Played,
) -> Vec<Step> {
    let begin = Instant::now();
    let shows = |played: &Played| {
        played.difference.as_ref().is_some_and(|other| {
            other.request == difference.request && other.answers[1] == difference.answers[1]
        })
    };
    let mut short = steps[..=difference.step].to_vec();
    if !shows(&replay(&short)) {
        return short;
    }
    let mut part = short.len().div_ceil(2);
    loop {
        let mut from = 0;
        // The last one is where it shows.
        while from + 1 < short.len() && begin.elapsed() < ENOUGH {
            let to = (from + part).min(short.len() - 1);
            let without: Vec<Step> = short[..from].iter().chain(&short[to..]).cloned().collect();
            if shows(&replay(&without)) {
                short = without;
            } else {
                from = to;
            }
        }
        if part == 1 || begin.elapsed() >= ENOUGH {
            return pruned(short, shows, replay, begin);
        }
        part = part.div_ceil(2);
    }
}

/// Without the requests of each step that it does not need.
fn pruned(
    mut steps: Vec<Step>,
    shows: impl Fn(&Played) -> bool,
    mut replay: impl FnMut(&[Step]) -> Played,
    begin: Instant,
) -> Vec<Step> {
    for at in 0..steps.len() {
        let mut from = 0;
        loop {
            let mut without = steps.clone();
            let Step::Say { requests, .. } = &mut without[at] else { break };
            if from >= requests.len() || begin.elapsed() >= ENOUGH {
                break;
            }
            requests.remove(from);
            if shows(&replay(&without)) {
                steps = without;
            } else {
                from += 1;
            }
        }
    }
    steps
}
