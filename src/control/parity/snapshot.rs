//! What one node has of that in which the nodes of a group have to agree.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::resp::Value;

use super::super::link::{Fault, Link};
use super::change::Name;

/// Settings in which nodes that may stand in for each other should agree.
pub(in crate::control) const SETTINGS: [&str; 15] = [
    "databases",
    "maxmemory",
    "maxmemory-policy",
    "notify-keyspace-events",
    "requirepass",
    "masterauth",
    "masteruser",
    "proto-max-bulk-len",
    "client-query-buffer-limit",
    "maxclients",
    "timeout",
    "appendonly",
    "save",
    "min-replicas-to-write",
    "tls-replication",
];

/// Everything that is compared.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::control) struct Snapshot {
    /// Of the server.
    pub(in crate::control) version: String,
    /// [`SETTINGS`] and what else was asked for.
    pub(in crate::control) settings: BTreeMap<String, String>,
    /// Settings, and ACL LIST, that it would not tell.
    pub(in crate::control) untold: Vec<String>,
    /// ACL LIST, the rules of each user by name; `None` where it would not tell.
    pub(in crate::control) users: Option<BTreeMap<String, Vec<String>>>,
    /// Names, sorted; `None` where it would not tell.
    pub(in crate::control) modules: Option<Vec<String>>,
    /// Names of libraries, sorted; `None` where it would not tell or has none before 7.0.
    pub(in crate::control) functions: Option<Vec<String>>,
}

impl Snapshot {
    /// Whether it says what became of `name`.
    pub(super) fn tells(&self, name: &Name) -> bool {
        match name {
            Name::Setting(name) => self.settings.contains_key(name),
            Name::User(_) => self.users.is_some(),
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Passwords and their hashes are among the settings and users.
        f.debug_struct("Snapshot").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Asks for all of it, and for these settings beside.
pub(in crate::control) async fn read(
    link: &mut Link,
    version: &str,
    more: impl Iterator<Item = &str>,
    deadline: Instant,
) -> Result<Snapshot, Fault> {
    let names: Vec<&str> = SETTINGS.into_iter().chain(more).collect();
    let wanted: Vec<[&str; 3]> = names.iter().map(|name| ["CONFIG", "GET", name]).collect();
    let mut requests: Vec<&[&str]> = wanted.iter().map(<[&str; 3]>::as_slice).collect();
    requests.extend([["ACL", "LIST"].as_slice(), &["MODULE", "LIST"], &["FUNCTION", "LIST"]]);
    let replies = link.call(&requests, deadline).await?;
    let mut snapshot = Snapshot { version: version.to_owned(), ..Snapshot::default() };
    for (name, reply) in names.iter().zip(&replies) {
        if reply.as_error().is_some() {
            snapshot.untold.push((*name).to_owned());
        } else if let Some(value) = reply.as_array().and_then(|pair| pair.get(1)).and_then(Value::as_str) {
            snapshot.settings.insert((*name).to_owned(), value.to_owned());
        }
    }
    let named = |reply: &Value, field: &str| {
        let mut names: Vec<String> =
            reply.as_array()?.iter().filter_map(|parts| name_of(parts, field)).collect();
        names.sort();
        Some(names)
    };
    if let [users, modules, functions] = &replies[names.len()..] {
        if users.as_error().is_some() {
            snapshot.untold.push("ACL LIST".to_owned());
        }
        snapshot.users =
            users.as_array().map(|lines| lines.iter().filter_map(Value::as_str).filter_map(user).collect());
        snapshot.modules = named(modules, "name");
        snapshot.functions = named(functions, "library_name");
    }
    Ok(snapshot)
}

/// `user NAME rule rule …`
fn user(line: &str) -> Option<(String, Vec<String>)> {
    let mut words = line.split(' ').skip(1).map(str::to_owned);
    Some((words.next()?, words.collect()))
}

/// Each is a list of names and values.
fn name_of(parts: &Value, field: &str) -> Option<String> {
    let parts = parts.as_array()?;
    let place = parts.iter().position(|part| part.as_str() == Some(field))?;
    parts.get(place + 1)?.as_str().map(str::to_owned)
}
