//! `[durability]` and `[[durability.rules]]`: their keys, and what contradicts what.

use crate::durability::{Level, RULES_MAX, Rule};
use crate::routing::{DuringOutage, ReadPolicy};

use super::fault::{Faults, Place};
use super::keys::{pick, set};
use super::kind::{Key, Kind, absent, key};
use super::read::{Config, Given};
use super::rows;
use super::value::Value;

const DURABILITY_MODES: &[&str] = &["async", "semi_sync", "aof_local", "aof_replicas"];

fn level(word: &str) -> Level {
    let levels = [
        ("async", Level::Async),
        ("semi_sync", Level::SemiSync),
        ("aof_local", Level::AofLocal),
        ("aof_replicas", Level::AofReplicas),
    ];
    pick(&levels, word)
}

pub(super) const DURABILITY: &[Key] = &[
    key(
        "mode",
        Kind::Choice(DURABILITY_MODES, Some(|c, v| set(&mut c.frontend.durability.mode, level(v)))),
        r#""async""#,
        "What a write waits for before it is answered: async (nothing), semi_sync (replicas have it), aof_local (it is on the primary's disk) or aof_replicas (on replicas' too).",
    ),
    key(
        "replicas",
        Kind::Count(
            1..=16,
            Some(|c, v| set(&mut c.frontend.durability.replicas, u32::try_from(v).unwrap_or(u32::MAX))),
        ),
        "1",
        "Replicas that must have acknowledged.",
    ),
    key(
        "timeout",
        Kind::Duration(1, Some(|c, v| set(&mut c.frontend.durability.timeout, v))),
        r#""200ms""#,
        "Wait after which a write is answered with NOTDURABLE, and a read that waits with TRYAGAIN.",
    ),
    key(
        "degrade_after",
        Kind::Duration(0, Some(|c, v| set(&mut c.control.failover.durability.degrade_after, v))),
        r#""0s""#,
        "Time without enough replicas after which writes wait for none until they are back, which status and redhold_durability_degraded tell; 0s: never.",
    ),
    key(
        "reads",
        Kind::Choice(
            &["uncommitted", "committed"],
            Some(|c, v| set(&mut c.frontend.durability.reads_wait, v == "committed")),
        ),
        r#""uncommitted""#,
        "Whether a reply may show writes that are not yet safe: uncommitted (it may) or committed (it waits for replicas as that to a write does, and reads are for the primary alone).",
    ),
];

pub(super) const DURABILITY_RULES: &[Key] = &[
    absent(
        "prefix",
        Kind::Text(Some(|c, v| match v.as_str() {
            "" => Err("is empty: what holds for all keys is durability.mode".to_owned()),
            _ if c.frontend.durability.rules.iter().any(|rule| rule.prefix == v.as_bytes()) => {
                Err(format!("`{v}` has a rule already"))
            }
            _ => set(&mut last_rule(c).prefix, v.into_bytes()),
        })),
        r#""order:""#,
        "Prefix of the keys; at most 64 rules.",
    ),
    absent(
        "mode",
        Kind::Choice(DURABILITY_MODES, Some(|c, v| set(&mut last_rule(c).level, level(v)))),
        r#""semi_sync""#,
        "Their mode: async, or the one other mode of the configuration.",
    ),
];

/// The rule whose keys are being read.
fn last_rule(config: &mut Config) -> &mut Rule {
    let rules = &mut config.frontend.durability.rules;
    if rules.is_empty() {
        rules.push(Rule::default());
    }
    let last = rules.len() - 1;
    &mut rules[last]
}

/// Adds a fault for each contradiction.
pub(super) fn check(given: &Given, config: &Config, faults: &mut Faults) {
    let place = |path: &str| given.get(path).map_or(Place::Nowhere, |item| item.place.clone());
    let (durability, nodes) = (&config.frontend.durability, config.control.nodes.len());
    let asks = durability.strictest().needs_replicas();
    // How many a name stands for is not known here.
    let names = config.control.names.len();
    if asks && names == 0 && durability.replicas as usize >= nodes {
        let text = format!(
            "{} replicas can not acknowledge where backend.nodes has {nodes}, one of which is the primary",
            durability.replicas
        );
        faults.add("durability.replicas", place("durability.replicas"), text);
    }
    if durability.rules.len() > RULES_MAX {
        let text = format!("{} rules, more than {}", durability.rules.len(), RULES_MAX);
        faults.add("durability.rules", place("durability.rules"), text);
    }
    one_mode(given, faults);
    if !durability.reads_wait {
        return;
    }
    let reads = &config.control.reads;
    let lacking = [
        (asks, "a durability.mode or a rule that asks replicas: semi_sync or aof_replicas"),
        (
            reads.policy == ReadPolicy::Primary,
            "reads.policy = \"primary\": a replica may show what is not known to be safe",
        ),
        (
            reads.during_outage == DuringOutage::Hold,
            "reads.during_outage = \"hold\": a replica may show what is not known to be safe",
        ),
    ];
    for (_, what) in lacking.iter().filter(|(has, _)| !has) {
        faults.add("durability.reads", place("durability.reads"), format!("`committed` needs {what}"));
    }
}

/// Only one mode beside async is kept by one process: of two that differ, neither need be the stricter one.
fn one_mode(given: &Given, faults: &mut Faults) {
    let first = given.get("durability.mode").map(|item| ("durability.mode".to_owned(), item));
    let of_rules = rows::fields(given, "durability.rules", "mode");
    let mut kept: Option<&str> = None;
    for (path, item) in first.into_iter().chain(of_rules) {
        let Value::Text(mode) = &item.value else { continue };
        match kept {
            _ if mode == "async" || !DURABILITY_MODES.contains(&mode.as_str()) => {}
            None => kept = Some(mode),
            Some(kept) if kept == mode => {}
            Some(kept) => {
                let text = format!("`{mode}` besides `{kept}`: only one mode can be kept besides async");
                faults.add(path, item.place.clone(), text);
            }
        }
    }
}
