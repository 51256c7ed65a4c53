//! What `redhold check --connect` finds out before anybody depends on it: what each node says, whether a failover
//! could be carried out, and whether the nodes could stand in for each other. Changes nothing on the nodes.

mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::net::{SocketOptions, TlsClient};
use crate::resp::Value;
use crate::topology::{Marks, NodeId, NodeSpec, Replication};

use super::brains::{Greeted, Identity, listen};
use super::dice::Dice;
use super::info;
use super::link::{Dial, Fault, Link, within};
use super::monitor::{Heard, facts_of};
use super::parity::{self, Snapshot};
use super::{Credentials, Settings};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be, or good to know.
    Info,
    /// Something will be worse than it could be, or a failover will surprise somebody.
    Warning,
    /// The proxy cannot do its work with this node.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Of whom; `None`: of the group.
    pub node: Option<NodeId>,
    /// What is so, one sentence.
    pub text: String,
    /// What to do about it, one sentence or a command; empty when nothing.
    pub cure: String,
}

/// For as long other brains are listened for: Sentinels and proxies greet every two seconds.
const LISTENING: Duration = Duration::from_millis(2500);

/// Longest wait for each exchange with a node.
const PATIENCE: Duration = Duration::from_secs(5);

/// Not the name of a deciding proxy's connections: one that starts meanwhile must not take us for a brain.
const CLIENT_NAME: &str = "redhold:check";

/// Settings that are read of each node beside those that are compared.
const SETTINGS: [&str; 3] = ["replica-read-only", "repl-backlog-size", "cluster-enabled"];

/// What the proxy's user must be allowed to run, with arguments as they will be.
const RIGHTS: [&[&str]; 16] = [
    &["PING"],
    &["INFO", "replication"],
    &["ROLE"],
    &["REPLICAOF", "NO", "ONE"],
    &["DEL", "__redhold:none"],
    &["CLIENT", "SETNAME", "redhold:control"],
    &["CLIENT", "LIST"],
    &["CLIENT", "KILL", "TYPE", "normal"],
    &["CLIENT", "PAUSE", "1000", "WRITE"],
    &["CLIENT", "UNPAUSE"],
    &["CONFIG", "GET", "repl-timeout"],
    &["CONFIG", "SET", "repl-timeout", "60"],
    &["SUBSCRIBE", "__redhold:hello"],
    &["SUBSCRIBE", "__sentinel__:hello"],
    &["PUBLISH", "__redhold:hello", "x"],
    &["SCRIPT", "LOAD", "return 1"],
];

/// What it must be allowed to run beside, so that the node has what every node has to have.
const PARITY_RIGHTS: [&[&str]; 6] = [
    &["ACL", "LIST"],
    &["ACL", "SETUSER", "app"],
    &["ACL", "DELUSER", "app"],
    &["ACL", "LOAD"],
    &["MODULE", "LIST"],
    &["SCRIPT", "FLUSH"],
];

/// Everything that one node told.
#[derive(Debug, Default)]
struct Report {
    /// Its INFO; else why there is none.
    facts: Option<Box<Replication>>,
    error: String,
    clients: u64,
    /// What it has of that in which nodes have to agree, and [`SETTINGS`].
    has: Snapshot,
    rights: Rights,
    /// The same of [`PARITY_RIGHTS`].
    parity_rights: Rights,
    /// It asks clients for a password.
    locked: bool,
    /// Nodes that it could not follow with its `masteruser` and `masterauth`, with their words.
    cannot_follow: Vec<(NodeId, String)>,
    /// Other brains among its clients.
    brains: Vec<String>,
}

/// What is known of the rights of the proxy's user.
#[derive(Debug, Default)]
enum Rights {
    /// The node would not tell; its words.
    Unproved(String),
    /// All that is needed is allowed.
    Enough,
    /// These are refused.
    Missing(Vec<String>),
    /// Nobody asked yet.
    #[default]
    Unknown,
}

/// Looks at every node and at the group. Takes some three seconds. Blocks.
///
/// # Errors
/// When the system gives no runtime; what is wrong with nodes is a finding.
pub fn preflight(settings: &Settings, tls: Option<&Arc<TlsClient>>) -> std::io::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(look(settings, tls)))
}

async fn look(settings: &Settings, tls: Option<&Arc<TlsClient>>) -> Vec<Finding> {
    let identity = Identity::new(&mut Dice::new());
    let marks = Arc::new(Marks::new(Instant::now()));
    let dial = |(position, spec): (u16, &NodeSpec)| Dial {
        node: NodeId(position),
        address: spec.address.clone(),
        credentials: settings.credentials.clone(),
        name: CLIENT_NAME.into(),
        options: SocketOptions::noticing_after(PATIENCE),
        tls: tls.cloned(),
        marks: marks.clone(),
    };
    let dials: Vec<Dial> = (0..).zip(&settings.nodes).map(dial).collect();
    let listening = tokio::spawn(brains_heard(dials.clone(), identity.clone()));
    let mut gathering = JoinSet::new();
    for dial in dials.clone() {
        let identity = identity.clone();
        gathering.spawn(async move { (dial.node, gather(&dial, &identity).await) });
    }
    let mut reports: BTreeMap<NodeId, Report> = BTreeMap::new();
    while let Some(Ok((node, report))) = gathering.join_next().await {
        reports.insert(node, report);
    }
    try_following(&dials, &mut reports).await;
    let heard = listening.await.unwrap_or_default();
    judge::findings(settings, &reports, &heard)
}

/// Who greets on any node while we listen.
async fn brains_heard(dials: Vec<Dial>, identity: Identity) -> Vec<String> {
    let (sink, mut heard) = mpsc::channel(16);
    let (_greets, greeted) = watch::channel(Greeted::default());
    let mut listeners = JoinSet::new();
    for dial in dials {
        listeners.spawn(listen(dial, identity.clone(), greeted.clone(), sink.clone()));
    }
    let mut brains = Vec::new();
    let until = tokio::time::Instant::now() + LISTENING;
    while let Ok(Some(Heard::OtherBrain(brain))) = tokio::time::timeout_at(until, heard.recv()).await {
        brains.push(brain);
    }
    brains.sort();
    brains.dedup();
    brains
}

async fn gather(dial: &Dial, identity: &Identity) -> Report {
    let mut report = Report::default();
    if let Err(fault) = fill(dial, identity, &mut report).await {
        report.error = fault.to_string();
    }
    report
}

async fn fill(dial: &Dial, identity: &Identity, report: &mut Report) -> Result<(), Fault> {
    let mut link = dial.open(within(PATIENCE)).await?;
    let sections = info::SECTIONS.map(|section| ["INFO", section]);
    let requests: Vec<&[&str]> = sections.iter().map(<[&str; 2]>::as_slice).collect();
    match facts_of(&link.call(&requests, within(PATIENCE)).await?) {
        Ok(facts) => report.facts = Some(facts),
        Err(text) => {
            report.error = text;
            return Ok(());
        }
    }
    let version = report.facts.as_ref().map_or("", |facts| facts.version.as_str());
    report.has = parity::read(&mut link, version, SETTINGS.into_iter(), within(PATIENCE)).await?;
    let requests: [&[&str]; 2] = [&["INFO", "clients"], &["CLIENT", "LIST"]];
    let replies = link.call(&requests, within(PATIENCE)).await?;
    let clients = replies[0].as_str().unwrap_or_default();
    let count = clients.lines().find_map(|line| line.trim_end().strip_prefix("connected_clients:"));
    report.clients = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    report.brains = identity.others_connected(replies[1].as_str().unwrap_or_default());
    report.rights = rights(&mut link, &RIGHTS).await?;
    report.parity_rights = rights(&mut link, &PARITY_RIGHTS).await?;
    let anonymous = Dial { credentials: Credentials::default(), ..dial.clone() };
    let answer = anonymous.ask(&[&["PING"]], within(PATIENCE)).await?;
    report.locked = answer[0].error_code() == Some("NOAUTH");
    Ok(())
}

/// Asks the server itself, by ACL DRYRUN (7.0); before that an all-powerful user is recognised, others are not judged.
async fn rights(link: &mut Link, commands: &[&[&str]]) -> Result<Rights, Fault> {
    let replies = link.call(&[&["ACL", "WHOAMI"]], within(PATIENCE)).await?;
    let Some(user) = replies[0].as_str() else {
        return Ok(Rights::Unproved(
            replies[0].as_error().unwrap_or("ACL WHOAMI answers nothing").to_owned(),
        ));
    };
    let mut missing = Vec::new();
    for command in commands {
        let mut request = vec!["ACL", "DRYRUN", user];
        request.extend(*command);
        let reply = link.call(&[&request], within(PATIENCE)).await?.swap_remove(0);
        match (reply.is_ok(), reply.as_error()) {
            (true, _) => {}
            (false, Some(text)) if text.starts_with("ERR Unknown subcommand") => {
                return old_rights(link, user).await;
            }
            (false, Some(text)) if text.starts_with("NOPERM") => {
                return Ok(Rights::Unproved(text.to_owned()));
            }
            // The dry run checks the number of arguments before the rights.
            (false, Some(_)) => {}
            (false, None) => missing.push(command.join(" ")),
        }
    }
    Ok(if missing.is_empty() { Rights::Enough } else { Rights::Missing(missing) })
}

async fn old_rights(link: &mut Link, user: &str) -> Result<Rights, Fault> {
    let reply = link.call(&[&["ACL", "GETUSER", user]], within(PATIENCE)).await?.swap_remove(0);
    let texts = reply.as_array().map(texts).unwrap_or_default();
    Ok(if texts.iter().any(|text| text == "+@all") {
        Rights::Enough
    } else {
        Rights::Unproved("before 7.0 the server has no ACL DRYRUN".to_owned())
    })
}

/// Tries each node's `masteruser` and `masterauth` on every node that asks for a password.
async fn try_following(dials: &[Dial], reports: &mut BTreeMap<NodeId, Report>) {
    let locked: Vec<NodeId> =
        reports.iter().filter(|(_, report)| report.locked).map(|(node, _)| *node).collect();
    for (follower, report) in reports.iter_mut().filter(|(_, report)| report.facts.is_some()) {
        let value = |name: &str| report.has.settings.get(name).cloned().unwrap_or_default();
        let credentials = Credentials { username: value("masteruser"), password: value("masterauth") };
        if report.has.untold.iter().any(|name| name == "masterauth") {
            continue;
        }
        for leader in locked.iter().filter(|leader| *leader != follower) {
            let dial = Dial { credentials: credentials.clone(), ..dials[leader.slot()].clone() };
            let words = match dial.ask(&[&["PING"]], within(PATIENCE)).await {
                Ok(replies) => replies[0].as_error().map(str::to_owned),
                Err(fault) => Some(fault.to_string()),
            };
            report.cannot_follow.extend(words.map(|words| (*leader, words)));
        }
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
