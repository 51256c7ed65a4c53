//! `/api/status`: the snapshots of control, routing and telemetry as one value; its JSON is a contract.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::control::{self, NodeFacts};
use crate::failover::{Episode, Level};
use crate::topology::{Address, NodeId, Role};

use super::details::DetailsBody;
use super::history::HistoryBody;
use super::roles::{Asks, TokenRole};
use super::routes::Doors;
use super::time::{micros, millis, rfc3339};

/// The group and the proxy at one moment. Times are RFC 3339 in UTC, ages and durations whole milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBody {
    /// Of the proxy.
    pub version: String,
    /// When the snapshot was made.
    pub at: String,
    /// State of the failover machine, lower case.
    pub phase: String,
    /// Number of the routing decision in force; 0: none yet.
    pub epoch: u64,
    /// Address of the decided primary.
    pub primary: Option<String>,
    /// Whether writes go to it now.
    pub writable: bool,
    /// Since when writes are held, and why.
    pub held: Option<HeldBody>,
    /// Replicas have been away for `durability.degrade_after`: writes wait for none.
    #[serde(default)]
    pub degraded: bool,
    /// Requests wait by order.
    #[serde(default)]
    pub paused: bool,
    /// Writes are refused by order.
    #[serde(default)]
    pub read_only: bool,
    /// The proxy is about to end.
    pub draining: bool,
    /// Another process is about to take over from this one, or the one before serves clients yet; one sentence.
    #[serde(default)]
    pub upgrade: Option<String>,
    /// Clients connected.
    pub clients: i64,
    /// Requests that wait for a primary.
    pub held_requests: i64,
    /// Failovers that may follow at once.
    pub failovers_left: u32,
    /// Why the last record of decisions could not be written; it is tried again until it can.
    #[serde(default)]
    pub record_unwritten: Option<String>,
    /// Other brains heard; with one the proxy only observes.
    pub other_brains: Vec<String>,
    /// Every declared node.
    pub nodes: Vec<NodeBody>,
    /// What is unwise about the group, one sentence each.
    #[serde(default)]
    pub advice: Vec<String>,
    /// Settings changed on nodes and not yet put back.
    pub settings_changed: Vec<SettingBody>,
    /// Requests that nodes owed when connections to them were lost; only nodes of which any were.
    #[serde(default)]
    pub lost: Vec<LostBody>,
    /// The last failovers, switchovers and false alarms, oldest first.
    pub episodes: Vec<EpisodeBody>,
    /// How much was answered, and how fast, in the last minutes.
    #[serde(default)]
    pub history: HistoryBody,
    /// Whether an order of whoever asked would be taken, with `X-Redhold: 1` where there is no token.
    #[serde(default)]
    pub may_order: bool,
    /// Orders and details need a token, that of `admin.token_file` or one of `admin.roles`.
    #[serde(default)]
    pub token_needed: bool,
    /// What clients ask for; `None`: whoever asked may not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailsBody>,
    /// Why not, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_refused: Option<String>,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBody {
    /// When it began.
    pub since: String,
    /// Its age.
    pub for_ms: u64,
    /// One sentence.
    pub reason: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBody {
    /// Where the proxy reaches it.
    pub address: String,
    /// Where the other nodes reach it.
    pub peer_address: String,
    /// As declared; empty: none.
    pub zone: String,
    /// primary, replica or unknown, as it last said itself.
    pub role: String,
    /// The last look was answered.
    pub up: bool,
    /// Whom it says that it follows: a node's address, where it is one of these; `None`: nobody, or it is sealed.
    #[serde(default)]
    pub follows: Option<String>,
    /// Whether its connection there stands; `None`: it follows nobody.
    #[serde(default)]
    pub link_up: Option<bool>,
    /// May answer reads as a replica.
    pub readable: bool,
    /// Bytes behind the primary; `None`: unknown.
    pub lag_bytes: Option<u64>,
    /// How old its data may be; `None`: unknown.
    pub staleness_ms: Option<u64>,
    /// Time from PING to its answer at the last look, microseconds.
    pub ping_us: Option<u64>,
    /// Time since the last byte from it.
    pub silent_for_ms: u64,
    /// Of the server.
    pub version: Option<String>,
    /// Replication offset that it last told.
    pub offset: Option<u64>,
    /// Keys over all databases.
    pub keys: Option<u64>,
    /// Why it would not be promoted now.
    pub ineligible: Option<String>,
    /// What is wrong with it, or being done to it.
    pub remark: Option<String>,
    /// Whether it has the users, settings and scripts that every node has to have; `None`: unknown.
    #[serde(default)]
    pub parity: Option<bool>,
    /// What of them it lacks or has otherwise, one sentence each.
    #[serde(default)]
    pub out_of_parity: Vec<String>,
    /// The long request that it was sent and has not answered, by the name of its command, and for how long.
    #[serde(default)]
    pub works_on: Option<String>,
    /// Why the last look failed.
    pub error: Option<String>,
}

/// A setting changed on a node at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingBody {
    /// Address.
    pub node: String,
    /// Name of the setting.
    pub name: String,
    /// Value now.
    pub value: String,
    /// Value before.
    pub before: String,
}

/// What a node owed when connections to it were last lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostBody {
    /// Address.
    pub node: String,
    /// When.
    pub at: String,
    /// How many requests.
    pub count: u64,
    /// Those that are most likely to be the cause, the likeliest first.
    pub requests: Vec<LostRequestBody>,
}

/// A request that was sent and never answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRequestBody {
    /// Name of the command and its first key, nothing else of it.
    pub request: String,
    /// For how long its client had waited.
    pub waited_ms: u64,
    /// Another connection had been lost with it before; it is not sent again.
    pub sent_twice: bool,
}

/// A failover, a switchover or a false alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeBody {
    /// `start`: the first primary was found; `ordered`; `failover`: the primary changed, or there is trouble that
    /// goes on; `false_alarm`: it is over and the primary is the same.
    pub kind: String,
    /// When it began.
    pub began: String,
    /// When it was over; `None`: it goes on.
    pub ended: Option<String>,
    /// From its beginning to its end, or to now.
    pub duration_ms: u64,
    /// It began with an order.
    pub ordered: bool,
    /// Epoch at its beginning.
    pub epoch_before: u64,
    /// Epoch at its end.
    pub epoch_after: u64,
    /// Primary at its beginning.
    pub primary_before: Option<String>,
    /// Primary at its end.
    pub primary_after: Option<String>,
    /// For how long writes were held.
    pub held_ms: u64,
    /// What it cost clients.
    #[serde(default)]
    pub toll: TollBody,
    /// What happened, in order.
    pub notes: Vec<NoteBody>,
}

/// What an episode cost clients, as far as it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TollBody {
    /// Requests that were held, one a client at a time.
    pub held_requests: u64,
    /// The longest hold that has ended.
    pub longest_hold_ms: u64,
    /// Writes answered with AMBIGUOUS.
    pub ambiguous_writes: u64,
    /// Requests sent again after their connection was lost.
    pub reissued_requests: u64,
    /// Bytes of writes that only the old primary had, kept in a file.
    pub quarantined_bytes: u64,
    /// Those given up.
    pub given_up_bytes: u64,
}

/// A line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteBody {
    /// Since the episode's beginning.
    pub after_ms: u64,
    /// info, warn or error.
    pub level: String,
    /// State of the machine.
    pub phase: String,
    /// One sentence.
    pub text: String,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBody {
    /// It was carried out.
    pub ok: bool,
    /// One sentence.
    pub answer: String,
    /// Its timeline, when it became an episode.
    pub episode: Option<EpisodeBody>,
}

/// The present state behind the doors, for who may see everything, or for whom the guard refused that.
pub(super) fn status_of(doors: &Doors, allowed: Result<TokenRole, String>) -> StatusBody {
    let status = doors.status.load();
    let machine = &status.machine;
    let now = Instant::now();
    let name = |id: NodeId| status.address(id).map(ToString::to_string);
    let wall = |instant: Instant| status.wall(instant);
    let held = machine.held.as_ref().map(|(since, reason)| HeldBody {
        since: rfc3339(wall(*since)),
        for_ms: millis(now.saturating_duration_since(*since)),
        reason: reason.clone(),
    });
    let settings_changed = status.settings_changed.iter().map(|setting| SettingBody {
        node: name(setting.node).unwrap_or_default(),
        name: setting.name.clone(),
        value: setting.value.clone(),
        before: setting.before.clone(),
    });
    StatusBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: rfc3339(status.at_wall),
        phase: machine.phase.to_owned(),
        epoch: machine.epoch,
        primary: machine.primary.and_then(name),
        writable: doors.routes.load().writable().is_some(),
        held,
        degraded: machine.degraded,
        paused: doors.restraints.now().paused,
        read_only: doors.restraints.now().read_only,
        draining: doors.drain.begun(),
        upgrade: upgrade(machine.yielded, doors.predecessor.load(Ordering::Relaxed)),
        clients: doors.metrics.clients(),
        held_requests: doors.metrics.held(),
        failovers_left: machine.tokens,
        record_unwritten: doors.status.record_unwritten(),
        other_brains: status.other_brains.clone(),
        nodes: nodes(doors, &status),
        advice: status.parity.advice.iter().chain(&*status.moved).cloned().collect(),
        settings_changed: settings_changed.collect(),
        lost: lost(doors, &status, allowed.is_ok()),
        episodes: machine.episodes.iter().map(|episode| episode_body(episode, now, &wall, &name)).collect(),
        history: doors.history.body(now),
        may_order: allowed.as_ref().is_ok_and(|role| role.may(Asks::Order)),
        token_needed: !doors.tokens.is_empty(),
        details: allowed.is_ok().then(|| doors.traffic.look().into()),
        details_refused: allowed.err(),
    }
}

/// Whoever takes over has not said yet that it serves.
pub(super) const YIELDED: &str = "another process is about to take over, and nothing is decided here";

/// `before`: process id of the one that this one has taken over from, while it is there; 0: none.
fn upgrade(yielded: bool, before: u32) -> Option<String> {
    match (yielded, before) {
        (true, _) => Some(YIELDED.to_owned()),
        (false, 0) => None,
        (false, before) => {
            Some(format!("process {before}, which this one has taken over from, serves clients yet"))
        }
    }
}

/// Whose keys these are, only who may see the details is told.
fn lost(doors: &Doors, status: &control::Status, allowed: bool) -> Vec<LostBody> {
    let of = |node: &NodeFacts| {
        let lost = doors.marks.of(node.id).lost();
        let requests = lost.kept.into_iter().map(|one| LostRequestBody {
            request: if allowed { one.told.to_string() } else { one.told.command.clone() },
            waited_ms: millis(one.suspicion.waited),
            sent_twice: one.suspicion.twice,
        });
        Some(LostBody {
            node: node.address.to_string(),
            at: rfc3339(status.wall(lost.at?)),
            count: lost.count,
            requests: requests.collect(),
        })
    };
    status.nodes.iter().filter_map(of).collect()
}

fn nodes(doors: &Doors, status: &control::Status) -> Vec<NodeBody> {
    let now = Instant::now();
    let works_on = |id: NodeId| {
        let (command, ms) = doors.marks.long_request(id, now)?;
        Some(format!("works on {} for {ms} ms", command.replace('|', " ").to_uppercase()))
    };
    let both = || status.nodes.iter().zip(&status.machine.nodes);
    // Nodes name each other as they reach each other.
    let known = |followed: &Address| {
        let found = both().find(|(seen, judged)| [&seen.address, &judged.peer_address].contains(&followed));
        found.map_or(followed, |(seen, _)| &seen.address).to_string()
    };
    let follows = |seen: &NodeFacts| seen.facts.as_ref().and_then(|facts| facts.primary.as_ref().map(known));
    let body = both().map(|(seen, judged)| NodeBody {
        address: seen.address.to_string(),
        peer_address: judged.peer_address.to_string(),
        zone: seen.zone.clone(),
        role: role_name(judged.role).to_owned(),
        up: judged.up,
        follows: follows(seen),
        link_up: seen.facts.as_ref().and_then(|facts| facts.primary.as_ref().map(|_| facts.link_up)),
        readable: judged.readable,
        lag_bytes: judged.lag_bytes,
        staleness_ms: judged.staleness.map(millis),
        ping_us: seen.ping.map(micros),
        silent_for_ms: millis(judged.silent_for),
        version: seen.facts.as_ref().map(|facts| facts.version.clone()),
        offset: seen.facts.as_ref().map(|facts| facts.offset),
        keys: seen.facts.as_ref().map(|facts| facts.keys),
        ineligible: judged.ineligible.clone(),
        remark: judged.remark.clone(),
        parity: status.parity.of(seen.id).in_parity,
        out_of_parity: status.parity.of(seen.id).faults,
        works_on: works_on(seen.id),
        error: seen.error.clone(),
    });
    body.collect()
}

fn episode_body(
    episode: &Episode,
    now: Instant,
    wall: &dyn Fn(Instant) -> SystemTime,
    name: &dyn Fn(NodeId) -> Option<String>,
) -> EpisodeBody {
    let notes = episode.notes.iter().map(|note| NoteBody {
        after_ms: millis(note.since),
        level: level_name(note.level).to_owned(),
        phase: note.phase.to_owned(),
        text: note.text.clone(),
    });
    let same = episode.before.1 == episode.after.1;
    let kind = match (episode.before.1, episode.ordered) {
        (None, _) => "start",
        (Some(_), true) => "ordered",
        (Some(_), false) if same && episode.ended.is_some() => "false_alarm",
        (Some(_), false) => "failover",
    };
    EpisodeBody {
        kind: kind.to_owned(),
        began: rfc3339(wall(episode.began)),
        ended: episode.ended.map(|ended| rfc3339(wall(ended))),
        duration_ms: millis(episode.ended.unwrap_or(now).saturating_duration_since(episode.began)),
        ordered: episode.ordered,
        epoch_before: episode.before.0,
        epoch_after: episode.after.0,
        primary_before: episode.before.1.and_then(name),
        primary_after: episode.after.1.and_then(name),
        held_ms: millis(episode.held),
        toll: TollBody {
            held_requests: episode.toll.held,
            longest_hold_ms: millis(episode.toll.longest_hold),
            ambiguous_writes: episode.toll.ambiguous,
            reissued_requests: episode.toll.reissued,
            quarantined_bytes: episode.toll.quarantined_bytes,
            given_up_bytes: episode.toll.given_up_bytes,
        },
        notes: notes.collect(),
    }
}

/// The newest episode that an order given at `ordered_at` began and that is over; `None`: there is none yet.
pub(super) fn episode_since(doors: &Doors, ordered_at: Instant) -> Option<EpisodeBody> {
    let status = doors.status.load();
    let mut newest = status.machine.episodes.iter().rev();
    let episode = newest.find(|e| e.ordered && e.began >= ordered_at && e.ended.is_some())?;
    let name = |id: NodeId| status.address(id).map(ToString::to_string);
    Some(episode_body(episode, Instant::now(), &|instant| status.wall(instant), &name))
}

fn role_name(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Primary) => "primary",
        Some(Role::Replica) => "replica",
        None => "unknown",
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
