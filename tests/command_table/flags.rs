//! Arity, and what a command does, against the servers' flags.

use redhold::command::{Effect, Lane, Spec, find};

use crate::live::{Live, commands, report};
use crate::support::{V6_2, V7_0, V8_2, VALKEY, Version, for_each_server};

/// Servers that accept fewer numbers of arguments than the row, which is the widest, with the reason.
const NARROWER: [(&[Version], &[&str], &str); 6] = [
    (&[V6_2], &["expire", "expireat", "pexpire", "pexpireat"], "conditions came with 7.0"),
    (&[V6_2], &["xsetid"], "ENTRIESADDED came with 7.0"),
    (&[V6_2, V7_0], &["zrank", "zrevrank"], "WITHSCORE came with 7.2"),
    (&[V7_0], &["command|getkeys", "command|getkeysandflags"], "names alone are accepted from 7.2"),
    (&[V7_0, V8_2], &["script|debug", "cluster|replicate"], "Valkey 9 has options"),
    (&[V7_0, V8_2, VALKEY], &["pfdebug"], "6.2 does not count"),
];

/// Rows called writes of commands that no server calls so.
const WRITES_OF_OURS: [(&str, &str); 12] = [
    ("debug", "POPULATE, RELOAD, FLUSHALL …"),
    ("eval", "runs a script that may write"),
    ("evalsha", "runs a script that may write"),
    ("exec", "runs commands that may write"),
    ("fcall", "runs a function that may write"),
    ("module|load", "brings commands that may write"),
    ("module|loadex", "brings commands that may write"),
    ("module|unload", "takes commands away"),
    ("publish", "publishes"),
    ("spublish", "publishes"),
    ("script|flush", "a change that every node has to have"),
    ("script|load", "a change that every node has to have"),
];

/// Commands that may replicate and are no writes.
const ONLY_MAY_REPLICATE: [(&str, &str); 1] =
    [("pfcount", "the estimate that it stores with the key is no change")];

/// Commands for administrators that go on a shared connection all the same: they only tell.
const SHARED_ADMIN: [&str; 12] = [
    "client",
    "cluster",
    "cluster|count-failure-reports",
    "cluster|replicas",
    "cluster|slaves",
    "commandlog|get",
    "commandlog|len",
    "config",
    "config|get",
    "slowlog",
    "slowlog|get",
    "slowlog|len",
];

/// Commands that a busy server answers and that wait on a shared connection all the same: they end no script.
const SHARED_WHILE_BUSY: [&str; 1] = ["client|getredir"];

/// Servers that do not say that a command blocks.
const UNSAID: [(Version, &str, &str); 1] = [(V7_0, "wait", "blocking by flag from 7.2")];

#[test]
fn arities() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for (name, live) in commands(client) {
            let Some(row) = find(name.as_bytes()) else { continue };
            let arity = i64::from(row.spec().arity);
            let fits = match is_narrower(version, &name) {
                true => arity < 0 && live.arity != arity && live.arity.abs() >= arity.abs(),
                false => live.arity == arity,
            };
            if !fits {
                faults.push(format!("{}: {name}: arity {}, the row says {arity}", version.name, live.arity));
            }
        }
    });
    report(&faults);
}

fn is_narrower(version: Version, name: &str) -> bool {
    NARROWER.iter().any(|(versions, names, _)| versions.contains(&version) && names.contains(&name))
}

#[test]
fn effects() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for (name, live) in commands(client) {
            let Some(row) = find(name.as_bytes()) else { continue };
            let live = effect(&live);
            if live != expected_effect(version, row.spec()) {
                faults.push(format!(
                    "{}: {name}: {live:?}, the row says {:?}",
                    version.name,
                    row.spec().effect
                ));
            }
        }
    });
    report(&faults);
}

fn effect(live: &Live) -> Effect {
    match (live.has("write"), live.has("readonly")) {
        (true, _) => Effect::Write,
        (false, true) => Effect::Read,
        (false, false) => Effect::Neutral,
    }
}

/// What the row has to say to a server's flags.
fn expected_effect(version: Version, row: &Spec) -> Effect {
    match row.name {
        // Before 7.0 the flags of all subcommands stood at their container.
        "xgroup" if version == V6_2 => Effect::Write,
        "memory" | "object" | "xinfo" if version == V6_2 => Effect::Read,
        name if WRITES_OF_OURS.iter().any(|it| it.0 == name) => Effect::Neutral,
        _ => row.effect,
    }
}

#[test]
fn lanes() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for (name, live) in commands(client) {
            let Some(row) = find(name.as_bytes()) else { continue };
            for fault in lane_faults(version, row.spec(), &live) {
                faults.push(format!("{}: {name}: {fault}, the row says {:?}", version.name, row.spec().lane));
            }
        }
    });
    report(&faults);
}

fn lane_faults(version: Version, row: &Spec, live: &Live) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let waits = matches!(row.lane, Lane::Blocking | Lane::Wait);
    // 6.2 has no such flag.
    let says = version != V6_2 && !UNSAID.iter().any(|it| (it.0, it.1) == (version, row.name));
    if says && live.has("blocking") != waits {
        faults.push("blocking or not");
    }
    let shared =
        matches!(row.lane, Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Script | Lane::ScriptCache);
    if shared && live.has("admin") && !SHARED_ADMIN.contains(&row.name) {
        faults.push("for administrators");
    }
    if shared && live.has("allow_busy") && !SHARED_WHILE_BUSY.contains(&row.name) {
        faults.push("has to get past a script that runs");
    }
    if shared && live.has("no_multi") {
        faults.push("not allowed in a transaction");
    }
    if live.has("may_replicate")
        && row.effect != Effect::Write
        && !ONLY_MAY_REPLICATE.iter().any(|it| it.0 == row.name)
        // Of its subcommands, which have rows of their own, LOAD and FLUSH replicate.
        && row.name != "script"
    {
        faults.push("may replicate");
    }
    let subscribes = live.has("pubsub") && row.effect == Effect::Neutral && !row.name.starts_with("pubsub");
    if subscribes != (row.lane == Lane::Subscribe) {
        faults.push("subscribes or not");
    }
    faults
}
