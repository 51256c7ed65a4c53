//! What one node says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::control::Credentials;
use crate::resp::Value;
use crate::topology::Address;

use super::wire::Wire;

/// Settings that are compared between nodes, and those that failover needs to know.
pub(super) const SETTINGS: [&str; 11] = [
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "databases",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "appendonly",
    "save",
    "requirepass",
    "masterauth",
    "masteruser",
];

/// What the proxy's user must be able to run for failover to work. The commands are not run.
const NEEDED: [&[&str]; 12] = [
    &["PING"],
    &["INFO"],
    &["ROLE"],
    &["REPLICAOF", "NO", "ONE"],
    &["CONFIG", "GET", "repl-timeout"],
    &["CONFIG", "SET", "repl-timeout", "60"],
    &["CLIENT", "LIST"],
    &["CLIENT", "PAUSE", "1", "WRITE"],
    &["CLIENT", "UNPAUSE"],
    &["CLIENT", "KILL", "TYPE", "normal"],
    &["DEL", "__redhold:none"],
    &["SUBSCRIBE", "__sentinel__:hello"],
];

/// How long other brains are listened for; Sentinels speak every 2 s.
const LISTEN: Duration = Duration::from_millis(2500);

/// Who a Sentinel and a Redhold announce themselves to.
const HELLOS: [&str; 2] = ["__sentinel__:hello", "__redhold:hello"];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) version: String,
    /// As INFO says: `master` or `slave`.
    pub(super) role: String,
    /// Whom a replica follows, host:port.
    pub(super) follows: Option<String>,
    pub(super) link_up: bool,
    /// Replicas that it knows, host:port.
    pub(super) replicas: Vec<String>,
    /// Those of [`SETTINGS`] that could be read. Secrets among them: never printed.
    pub(super) settings: BTreeMap<&'static str, String>,
    /// ACL rules by line, hashes of passwords included: never printed.
    pub(super) acl: Option<Vec<String>>,
    pub(super) modules: Vec<String>,
    /// Commands that the proxy's user may not run.
    pub(super) forbidden: Vec<String>,
    /// Why rights could not be looked up.
    pub(super) rights_unknown: Option<String>,
    /// Other brains heard.
    pub(super) brains: Vec<String>,
}

/// Asks everything of one node.
pub(super) fn look(address: &Address, credentials: &Credentials) -> Result<Facts, String> {
    let mut wire = Wire::open(address, credentials)?;
    let mut facts = Facts::default();
    let info = wire.ask(&["INFO"])?;
    match (info.as_error(), info.as_str()) {
        (Some(error), _) => return Err(format!("refuses INFO: {error}")),
        (None, Some(text)) => read_info(text, &mut facts),
        (None, None) => return Err("answers INFO with something else".to_owned()),
    }
    for name in SETTINGS {
        let answer = wire.ask(&["CONFIG", "GET", name])?;
        if let Some(value) = answer.as_array().and_then(|pair| pair.get(1)).and_then(Value::as_str) {
            facts.settings.insert(name, value.to_owned());
        }
    }
    facts.acl = texts(&wire.ask(&["ACL", "LIST"])?);
    let modules = wire.ask(&["MODULE", "LIST"])?;
    facts.modules = modules.as_array().unwrap_or_default().iter().filter_map(module_name).collect();
    facts.modules.sort();
    rights(&mut wire, &mut facts)?;
    let clients = wire.ask(&["CLIENT", "LIST"])?;
    facts.brains = clients.as_str().map(brains_among).unwrap_or_default();
    listen(&mut wire, &mut facts)?;
    Ok(facts)
}

/// A field of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

pub(super) fn read_info(info: &str, facts: &mut Facts) {
    let text = |name| field(info, name).unwrap_or_default().to_owned();
    facts.version =
        field(info, "valkey_version").map_or_else(|| text("redis_version"), |v| format!("valkey {v}"));
    facts.role = text("role");
    if facts.role == "slave" {
        facts.follows = Some(format!("{}:{}", text("master_host"), text("master_port")));
        facts.link_up = field(info, "master_link_status") == Some("up");
    }
    facts.replicas =
        (0..).map_while(|index| field(info, &format!("slave{index}"))).filter_map(replica).collect();
}

/// `ip=10.0.0.2,port=6379,state=online,...` as host:port.
fn replica(text: &str) -> Option<String> {
    let part = |name: &str| text.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    Some(format!("{}:{}", part("ip")?, part("port")?))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?;
    Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn module_name(module: &Value) -> Option<String> {
    let fields = module.as_array()?;
    let at = fields.iter().position(|field| field.as_str() == Some("name"))?;
    fields.get(at + 1)?.as_str().map(str::to_owned)
}

/// Looks up what the user may run: by ACL DRYRUN (7.0 and later), which runs nothing.
fn rights(wire: &mut Wire, facts: &mut Facts) -> Result<(), String> {
    let me = wire.ask(&["ACL", "WHOAMI"])?;
    let Some(me) = me.as_error().is_none().then(|| me.as_str()).flatten() else {
        facts.rights_unknown = Some("the user may not ask ACL WHOAMI".to_owned());
        return Ok(());
    };
    for needed in NEEDED {
        let request: Vec<_> = ["ACL", "DRYRUN", me].iter().chain(needed).copied().collect();
        let answer = wire.ask(&request)?;
        match (answer.as_error(), answer.is_ok()) {
            (Some(error), _) => {
                facts.rights_unknown = Some(error.to_owned());
                return Ok(());
            }
            (None, true) => {}
            (None, false) => facts.forbidden.push(needed.join(" ")),
        }
    }
    Ok(())
}

/// Sentinels and other proxies among the clients of a node, by the names they give themselves.
pub(super) fn brains_among(clients: &str) -> Vec<String> {
    let mut brains: Vec<String> = Vec::new();
    for line in clients.lines() {
        let field = |name: &str| line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let name = field("name").unwrap_or_default();
        let host = field("addr").and_then(|addr| addr.rsplit_once(':')).map_or("?", |(host, _)| host);
        let brain = if name.starts_with("sentinel-") {
            format!("a Sentinel from {host}")
        } else if name.starts_with("redhold:") {
            format!("a running Redhold from {host}")
        } else {
            continue;
        };
        if !brains.contains(&brain) {
            brains.push(brain);
        }
    }
    brains
}

fn listen(wire: &mut Wire, facts: &mut Facts) -> Result<(), String> {
    let request: Vec<_> = std::iter::once("SUBSCRIBE").chain(HELLOS).collect();
    if wire.ask(&request)?.as_error().is_some() {
        return Ok(());
    }
    let deadline = Instant::now() + LISTEN;
    while let Some(message) = wire.next(deadline)? {
        let part =
            |index: usize| message.as_array().and_then(|parts| parts.get(index)).and_then(Value::as_str);
        let (Some("message"), Some(channel), Some(text)) = (part(0), part(1), part(2)) else { continue };
        let brain = if channel == HELLOS[0] {
            let mut words = text.split(',');
            format!("a Sentinel at {}:{}", words.next().unwrap_or("?"), words.next().unwrap_or("?"))
        } else {
            format!("a running Redhold ({text})")
        };
        if !facts.brains.contains(&brain) {
            facts.brains.push(brain);
        }
    }
    Ok(())
}
