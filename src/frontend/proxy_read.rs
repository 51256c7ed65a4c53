//! What `PROXY STATUS`, `NODES`, `FAILOVERS` and `ROUTE` say, as lines for people and for `grep`. Pure, but for the time.

use std::fmt::Write;
use std::time::Instant;

use crate::command::{Class, Effect, Lane};
use crate::control::Status;
use crate::routing::{Choice, RoutingTable, Settings};
use crate::topology::{LostRequest, Marks, NodeId, Restraint, Role};

/// `PROXY HELP`.
pub(super) const HELP: &[&str] = &[
    "PROXY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "STATUS",
    "    Who leads, since which epoch, whether writes are held, and what nodes owed when they were lost.",
    "NODES",
    "    One line for each node.",
    "FAILOVERS",
    "    The last failovers and switchovers with their timelines, oldest first.",
    "CLIENTS",
    "    As CLIENT LIST.",
    "ROUTE <command> [<arg> ...]",
    "    Where this request would go now, and why. It is not executed.",
    "SLOWLOG GET [<count>]",
    "    Requests that took log.slowlog or longer, newest first (default: 10, -1 means all). Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port, client name,",
    "    the node where the time passed, or 'proxy' for a request that was held, for how long it was held before it was",
    "    sent, and what it took by the node's own SLOWLOG, or nil.",
    "SLOWLOG LEN",
    "    How many of them are remembered.",
    "SLOWLOG RESET",
    "    Forget them.",
    "HOTKEYS [<count>]",
    "    Keys that were asked for most in the last one to two minutes, by a sample (default: 10, -1 means all).",
    "    Entries are made of: key, database, how often it was sampled at least and at most.",
    "BIGKEYS [<count>]",
    "    Keys with the largest requests and those with the largest replies of the last one to two hours, from",
    "    log.bigkeys_min on (default: 10 of each, -1 means all). Entries are made of: key, how many keys the request named,",
    "    database, command, bytes of the largest, how often one was big, timestamp of the largest, its node, client IP and",
    "    port, client name, user.",
    "BIGKEYS RESET",
    "    Forget them.",
    "SWITCHOVER [<host:port>]",
    "    Change the primary without losing a write, to this node or to the best.",
    "FAILOVER FORCE [<host:port>]",
    "    Change the primary at once. Writes of the last moments may be lost.",
    "ADOPT <host:port>",
    "    Make this node the primary of the group, whatever was recorded.",
    "PAUSE",
    "    Send no more requests to nodes, and wait until all that were sent are answered. Requests wait without limit.",
    "RESUME",
    "    Let them go on.",
    "READONLY <ON|OFF>",
    "    Refuse writes at the proxy, or take them again. Reads go on.",
    "DRAIN",
    "    Let clients go and end the proxy.",
    "RELOAD",
    "    Read the configuration file again, and name the keys that only another process takes.",
    "UPGRADE",
    "    Start the program anew, by its configuration file as it is now, and have that process take over. Nobody is dropped.",
    "HELP",
    "    Print this help.",
];

/// `PROXY STATUS`, as INFO writes.
pub(super) fn status(
    status: &Status,
    table: &RoutingTable,
    marks: &Marks,
    (clients, draining, succeeded, restraint): (usize, bool, bool, Restraint),
) -> String {
    let now = Instant::now();
    let machine = &status.machine;
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}:{value}\r\n");
    };
    line("redhold_version", &env!("CARGO_PKG_VERSION"));
    line("phase", &machine.phase);
    line("epoch", &machine.epoch);
    line("primary", &machine.primary.map_or_else(|| "none".to_owned(), |id| name_of(status, id)));
    line("writable", &u8::from(table.writable().is_some()));
    if let Some((since, reason)) = &machine.held {
        line("held_ms", &now.saturating_duration_since(*since).as_millis());
        line("held_reason", reason);
    }
    line("paused", &u8::from(restraint.paused));
    line("read_only", &u8::from(restraint.read_only));
    line("draining", &u8::from(draining));
    if succeeded {
        line("upgrade", &"another process has taken over; this one serves who holds something here");
    }
    line("clients", &clients);
    line("nodes", &status.nodes.len());
    line("nodes_up", &machine.nodes.iter().filter(|node| node.up).count());
    line("failovers_left", &machine.tokens);
    line("failovers_shown", &machine.episodes.len());
    status.other_brains.iter().for_each(|brain| line("other_brain", brain));
    for node in &status.nodes {
        let lost = marks.of(node.id).lost();
        let Some(at) = lost.at else { continue };
        let ago = now.saturating_duration_since(at).as_millis();
        let likeliest: Vec<String> = lost.kept.iter().map(command_alone).collect();
        let (count, likeliest) = (lost.count, likeliest.join("; "));
        line("lost", &format_args!("{} {ago} ms ago, {count} in all: {likeliest}", node.address));
    }
    text
}

/// Without its key: any client that is let in may ask, also one that may not read that key.
fn command_alone(lost: &LostRequest) -> String {
    let twice = if lost.suspicion.twice { ", sent twice" } else { "" };
    format!("{} (after {} ms{twice})", lost.told.command, lost.suspicion.waited.as_millis())
}

/// `PROXY NODES`, a line for each as CLIENT LIST writes.
pub(super) fn nodes(status: &Status, marks: &Marks) -> String {
    let (now, mut text) = (Instant::now(), String::new());
    for (seen, judged) in status.nodes.iter().zip(&status.machine.nodes) {
        let role = match judged.role {
            Some(Role::Primary) => "primary",
            Some(Role::Replica) => "replica",
            None => "unknown",
        };
        let leads = status.machine.primary == Some(seen.id);
        let facts = seen.facts.as_ref();
        let works_on = marks.long_request(seen.id, now);
        let _ = writeln!(
            text,
            "addr={} role={role} leads={} up={} readable={} offset={} lag-bytes={} staleness-ms={} version={} zone={} \
             parity={} works-on={} works-on-ms={} remark={}",
            seen.address,
            u8::from(leads),
            u8::from(judged.up),
            u8::from(judged.readable),
            optional(facts.map(|facts| facts.offset)),
            optional(judged.lag_bytes),
            optional(judged.staleness.map(|age| age.as_millis())),
            facts.map_or("", |facts| facts.version.as_str()),
            seen.zone,
            optional(status.parity.of(seen.id).in_parity.map(u8::from)),
            works_on.map_or("", |(command, _)| command),
            optional(works_on.map(|(_, ms)| ms)),
            judged.remark.as_deref().or(judged.ineligible.as_deref()).or(seen.error.as_deref()).unwrap_or(""),
        );
    }
    text
}

fn optional(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// `PROXY FAILOVERS`: a line for each episode, and its notes indented below.
pub(super) fn failovers(status: &Status) -> String {
    let now = Instant::now();
    let mut text = String::new();
    let name = |id: Option<NodeId>| id.map_or_else(|| "none".to_owned(), |id| name_of(status, id));
    for episode in &status.machine.episodes {
        let _ = writeln!(
            text,
            "{} {}: epoch {} to {}, primary {} to {}, took {} ms, writes held {} ms, {} s ago",
            if episode.ordered { "ordered" } else { "unplanned" },
            if episode.ended.is_some() { "and over" } else { "and going on" },
            episode.before.0,
            episode.after.0,
            name(episode.before.1),
            name(episode.after.1),
            episode.ended.unwrap_or(now).saturating_duration_since(episode.began).as_millis(),
            episode.held.as_millis(),
            now.saturating_duration_since(episode.began).as_secs(),
        );
        for note in &episode.notes {
            let _ = writeln!(text, "  +{} ms {}: {}", note.since.as_millis(), note.phase, note.text);
        }
    }
    text
}

/// `PROXY ROUTE`: which node, over which kind of connection, and why; then its row as docs/commands.md has it, and what the
/// arguments make of it.
pub(super) fn route(class: &Class, table: &RoutingTable, reads: &Settings, pass_owned: bool) -> String {
    let spec = class.row.spec();
    format!(
        "{}\nrow: {} | {} | {}\ngoes: {}\nlost connection: {}",
        way(class, table, reads, pass_owned),
        spec.name.replace('|', " "),
        spec.lane.words(),
        spec.retry_words(),
        class.lane.words(),
        class.retry.words(),
    )
}

fn way(class: &Class, table: &RoutingTable, reads: &Settings, pass_owned: bool) -> String {
    let name = class.row.spec().name;
    let shared =
        matches!(class.lane, Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Script | Lane::ScriptCache);
    let lane = match class.lane {
        Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::ScriptCache => "a shared connection",
        Lane::Script => "a shared connection for scripts",
        Lane::Session => return format!("the session: {name} speaks of the client's own connection"),
        Lane::Clients => return format!("the proxy: {name} speaks of its own client table"),
        Lane::Proxy => return format!("the proxy: {name} is its own"),
        Lane::Owned if !pass_owned => return format!("nowhere: {name} is managed by Redhold"),
        Lane::Transaction
        | Lane::Blocking
        | Lane::Wait
        | Lane::Subscribe
        | Lane::Monitor
        | Lane::Tracking
        | Lane::ReplyMode
        | Lane::Owned
        | Lane::Threaded
        | Lane::Own => "a connection of its own",
    };
    let spread = shared && class.effect == Effect::Read && !class.row.spec().primary_only;
    let choice = if spread { table.for_read(reads, 0, |_| 0, |_| true) } else { table.for_primary() };
    let why = match (class.effect, spread) {
        (_, true) => format!("a read that any eligible node may answer, reads.policy = {:?}", reads.policy),
        (Effect::Write, _) => "it may write".to_owned(),
        (Effect::Read, _) => "a read that only the primary answers".to_owned(),
        (Effect::Neutral, _) => "only the primary answers it".to_owned(),
    };
    match choice {
        Choice::Node(node) => {
            let address = table.node(node).map(|node| node.address.to_string()).unwrap_or_default();
            let role = if Some(node) == table.primary { "primary" } else { "replica" };
            format!("{role} {} over {lane}, epoch {}: {why}", address, table.epoch)
        }
        Choice::Hold => format!("held: no node may take it now: {why}"),
    }
}

fn name_of(status: &Status, id: NodeId) -> String {
    status.address(id).map_or_else(String::new, ToString::to_string)
}
