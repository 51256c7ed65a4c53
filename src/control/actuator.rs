//! Performs one step on one node, on a connection of its own, and says how it ended.

use std::time::{Duration, Instant};

use crate::failover::{Changes, Outcome, SettingChanged, Step};
use crate::resp::Value;

use super::info;
use super::link::{Dial, Fault, Link};
use super::monitor::facts_of;

/// How a step ended, with what it changed on the node beside its purpose.
#[derive(Debug)]
pub(super) struct Performed {
    /// For the machine.
    pub(super) outcome: Outcome,
    /// What became of the node's settings.
    pub(super) changes: Changes,
}

/// The write check: passes everything that a write passes, changes and replicates nothing.
const WRITE_CHECK: [&str; 2] = ["DEL", "__redhold:none"];

/// Performs `step` within `within`.
pub(super) async fn perform(dial: Dial, step: Step, within: Duration) -> Performed {
    let deadline = Instant::now() + within;
    let mut changes = Changes::default();
    let mut ended = attempt(&dial, step.clone(), &mut changes, deadline).await;
    if matches!(ended, Err(Fault::Lost(_))) && is_harmless(&step) {
        ended = attempt(&dial, step, &mut changes, deadline).await;
    }
    Performed { outcome: ended.unwrap_or_else(outcome_of), changes }
}

/// Steps that change no role may begin again at once: what cut them off is often our own kick of a node's clients.
fn is_harmless(step: &Step) -> bool {
    match step {
        Step::Probe | Step::Tune(_) | Step::Restore(_) => true,
        Step::Seal | Step::Promote | Step::Verify | Step::Follow { .. } | Step::Pause(_) | Step::Unpause => {
            false
        }
    }
}

async fn attempt(
    dial: &Dial,
    step: Step,
    changes: &mut Changes,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    let mut link = dial.open(deadline).await?;
    carry_out(&mut link, dial, step, changes, deadline).await
}

async fn carry_out(
    link: &mut Link,
    dial: &Dial,
    step: Step,
    changes: &mut Changes,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    match step {
        Step::Tune(pairs) => tune(link, dial, pairs, &mut changes.tuned, deadline).await,
        Step::Restore(pairs) => restore(link, pairs, &mut changes.restored, deadline).await,
        Step::Probe => plain(link, &[&["PING"]], Demand::Nothing, deadline).await,
        Step::Verify => plain(link, &[&["ROLE"], &WRITE_CHECK], Demand::Leads, deadline).await,
        Step::Seal => order(link, &[&["REPLICAOF", "127.0.0.1", "0"]], deadline).await,
        Step::Promote => order(link, &[&["REPLICAOF", "NO", "ONE"]], deadline).await,
        Step::Unpause => order(link, &[&["CLIENT", "UNPAUSE"]], deadline).await,
        Step::Pause(length) => {
            let milliseconds = length.as_millis().to_string();
            order(link, &[&["CLIENT", "PAUSE", &milliseconds, "WRITE"]], deadline).await
        }
        Step::Follow { primary, kick } => {
            let port = primary.port.to_string();
            let follow: [&[&str]; 2] =
                [&["REPLICAOF", &primary.host, &port], &["CLIENT", "KILL", "TYPE", "normal"]];
            // It tells every parked client that it is no primary any more, and writes to connections in the opposite order of that in
            // which it began to owe them something: one that is still owed a greeting would hear of its order after thousands of them.
            link.greeted(deadline).await?;
            order(link, &follow[..1 + usize::from(kick)], deadline).await
        }
    }
}

/// What the replies to a step's commands must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Anything: INFO decides.
    Nothing,
    /// No error.
    Success,
    /// ROLE says master, and the write check passes.
    Leads,
}

async fn order(link: &mut Link, commands: &[&[&str]], deadline: Instant) -> Result<Outcome, Fault> {
    plain(link, commands, Demand::Success, deadline).await
}

/// Commands, then INFO, in one go.
async fn plain(
    link: &mut Link,
    commands: &[&[&str]],
    demand: Demand,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    let sections = info::SECTIONS.map(|section| ["INFO", section]);
    let mut requests = commands.to_vec();
    requests.extend(sections.iter().map(<[&str; 2]>::as_slice));
    let replies = link.call(&requests, deadline).await?;
    let (replies, sections) = replies.split_at(commands.len());
    let outcome = match (objection(replies, demand), facts_of(sections)) {
        (Some(text), _) => Outcome::Failed(text),
        (None, Ok(mut facts)) => {
            let of_disk = |reply: &Value| reply.as_error().is_some_and(|text| text.starts_with("MISCONF"));
            facts.cannot_persist = replies.iter().any(of_disk);
            Outcome::Done(Some(facts))
        }
        // The order itself went through: a node that will not tell how it is has still obeyed.
        (None, Err(_)) if demand == Demand::Success => Outcome::Done(None),
        (None, Err(text)) => Outcome::Failed(text),
    };
    Ok(outcome)
}

fn objection(replies: &[Value], demand: Demand) -> Option<String> {
    if demand == Demand::Nothing {
        return None;
    }
    let error = replies.iter().find_map(Value::as_error).map(str::to_owned);
    if error.is_some() || demand == Demand::Success {
        return error;
    }
    let role =
        replies.first().and_then(Value::as_array).and_then(|parts| parts.first()).and_then(Value::as_str);
    (role != Some("master")).then(|| format!("ERR ROLE says {}", role.unwrap_or("nothing")))
}

async fn tune(
    link: &mut Link,
    dial: &Dial,
    pairs: Vec<(String, String)>,
    tuned: &mut Vec<SettingChanged>,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    for (name, value) in pairs {
        let before = match setting(link, &name, deadline).await? {
            Ok(present) if present == value => continue,
            Ok(present) => present,
            Err(text) => return Ok(Outcome::Failed(text)),
        };
        // Noted before it is sent: a reply that gets lost must not hide the change.
        tuned.push(SettingChanged { node: dial.node, name: name.clone(), value: value.clone(), before });
        let reply = link.call(&[&["CONFIG", "SET", &name, &value]], deadline).await?;
        if let Some(text) = reply[0].as_error() {
            tuned.pop();
            return Ok(Outcome::Failed(text.to_owned()));
        }
    }
    read_facts(link, deadline).await
}

async fn restore(
    link: &mut Link,
    pairs: Vec<(String, String)>,
    restored: &mut Vec<String>,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    for (name, value) in pairs {
        let reply = link.call(&[&["CONFIG", "SET", &name, &value]], deadline).await?;
        if let Some(text) = reply[0].as_error() {
            return Ok(Outcome::Failed(text.to_owned()));
        }
        restored.push(name);
    }
    read_facts(link, deadline).await
}

/// The value of a setting; the node's words when it would not tell or has none of that name.
pub(super) async fn setting(
    link: &mut Link,
    name: &str,
    deadline: Instant,
) -> Result<Result<String, String>, Fault> {
    let mut replies = link.call(&[&["CONFIG", "GET", name]], deadline).await?;
    let reply = replies.swap_remove(0);
    if let Some(text) = reply.as_error() {
        return Ok(Err(text.to_owned()));
    }
    let value = reply.as_array().and_then(|parts| parts.get(1)).and_then(Value::as_str).map(str::to_owned);
    Ok(value.ok_or_else(|| format!("ERR the node has no setting `{name}`")))
}

async fn read_facts(link: &mut Link, deadline: Instant) -> Result<Outcome, Fault> {
    let sections = info::SECTIONS.map(|section| ["INFO", section]);
    let requests: Vec<&[&str]> = sections.iter().map(<[&str; 2]>::as_slice).collect();
    Ok(Outcome::Done(facts_of(&link.call(&requests, deadline).await?).ok()))
}

fn outcome_of(fault: Fault) -> Outcome {
    match fault {
        Fault::Down(text) => Outcome::Down(text),
        Fault::Denied(text) => Outcome::Failed(text),
        Fault::Garbage(_) => Outcome::Failed(format!("ERR the node {fault}")),
        Fault::Unreachable(_) | Fault::Silent | Fault::Lost(_) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests;
