//! How scripts write what the machine is told and asks for.

use std::time::{Duration, Instant};

use redhold::failover::{Borrowed, Captured, Intent, Record, Signal, Step};
use redhold::topology::Address;

/// Every node listens on the same port, which says nothing in a script.
pub(crate) fn plain(text: &str) -> String {
    text.replace(":6379", "")
}

pub(crate) fn address(name: &str) -> Address {
    Address { host: name.into(), port: 6379 }
}

pub(crate) fn record_words(record: &Record) -> String {
    let runs: Vec<&str> = record.run_ids.iter().map(|(_, run)| run.as_str()).collect();
    let intent = match &record.intent {
        None => String::new(),
        Some(Intent::Failover) => " intent failover".to_owned(),
        Some(Intent::Switch(to)) => format!(" intent switch to {}", plain(to)),
    };
    format!(
        "record epoch {} primary {} replid {} runs {}{}{}{intent}",
        record.epoch,
        plain(&record.primary),
        record.replid,
        runs.join(","),
        if record.empty { " empty" } else { "" },
        record.deposed.iter().map(|node| format!(" deposed {}", plain(node))).collect::<String>()
            + &record.borrowed.iter().map(borrowed_words).collect::<String>(),
    )
}

fn borrowed_words(kept: &Borrowed) -> String {
    format!(
        " borrowed {}",
        plain(&[&kept.node, &*kept.run_id, &kept.name, &kept.value, &kept.before].join(":"))
    )
}

pub(crate) fn step_words(step: &Step, node: &str) -> (String, String) {
    let (verb, detail) = match step {
        Step::Probe => ("probe", String::new()),
        Step::Seal => ("seal", String::new()),
        Step::Promote => ("promote", String::new()),
        Step::Verify => ("verify", String::new()),
        Step::Follow { primary, kick } => (
            "follow",
            format!(" -> {}{}", plain(&primary.to_string()), if *kick { ", kick clients" } else { "" }),
        ),
        Step::Pause(length) => ("pause", format!(" for {}ms", length.as_millis())),
        Step::Unpause => ("unpause", String::new()),
        Step::Tune(pairs) => ("tune", format!(" {}", assigned(pairs))),
        Step::Restore(pairs) => ("restore", format!(" {}", assigned(pairs))),
    };
    (format!("{verb} {node}"), detail)
}

pub(crate) fn assigned(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn captured(what: &str) -> Captured {
    let read = |commands, kept| Captured::Read { commands, bytes: 30 * commands, kept };
    match what {
        "kept" => read(2, Ok("FILE".to_owned())),
        "full" => read(1, Err("failover.quarantine_files is reached".to_owned())),
        "noise" => read(0, Err(String::new())),
        "unread" => Captured::Unread("its backlog does not reach back so far".to_owned()),
        other => panic!("captured {other}"),
    }
}

pub(crate) fn parse_signal(words: &[&str], now: Instant) -> Signal {
    match words {
        ["lost"] => Signal::Lost,
        ["alive"] => Signal::Alive { at: now },
        ["late"] => Signal::Late,
        ["refused", text @ ..] => Signal::Refused(text.join(" ")),
        ["long", "on"] => Signal::LongRequest(true),
        ["long", "off"] => Signal::LongRequest(false),
        ["paused", length] => Signal::Paused(duration(length)),
        other => panic!("signal {other:?}"),
    }
}

pub(crate) fn duration(text: &str) -> Duration {
    if let Some(number) = text.strip_suffix("ms") {
        return Duration::from_millis(number.parse().expect("milliseconds"));
    }
    let number = text.strip_suffix('s').expect("a duration ends in ms or s");
    Duration::from_secs(number.parse().expect("seconds"))
}
