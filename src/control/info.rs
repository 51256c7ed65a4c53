//! INFO text → facts. Pure. Every supported version prints `name:value` lines; what is missing keeps its default.

use crate::topology::{Address, Replication, Role};

/// The sections that [`facts`] reads. Each is asked for by its own command: several in one exist only from 7.0.
pub(super) const SECTIONS: [&str; 6] =
    ["server", "clients", "replication", "persistence", "keyspace", "stats"];

/// Reads what `INFO` said; `text` may be several sections one after the other. `None` when it is no INFO of a
/// redis-server: without `run_id` or `role` nobody can be told from anybody.
pub fn facts(text: &str) -> Option<Replication> {
    let mut facts = Replication::default();
    let mut role = None;
    let mut follows = (String::new(), None);
    let mut offsets = Offsets::default();
    let mut brand = None;
    for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
        match name {
            "run_id" => value.clone_into(&mut facts.run_id),
            "tcp_port" => facts.port = number(value),
            "redis_version" => value.clone_into(&mut facts.version),
            // Valkey prints `redis_version:7.2.4` for old clients beside its own.
            "valkey_version" => brand = Some(value.to_owned()),
            "role" if value == "master" => role = Some(Role::Primary),
            "role" if value == "slave" => role = Some(Role::Replica),
            "master_host" => value.clone_into(&mut follows.0),
            "master_port" => follows.1 = value.parse::<u16>().ok(),
            "master_link_status" => facts.link_up = value == "up",
            "master_last_io_seconds_ago" => facts.last_io_seconds = value.parse().ok(),
            "master_sync_in_progress" => facts.syncing = value == "1",
            "loading" | "async_loading" => facts.loading |= value == "1",
            "master_replid" => value.clone_into(&mut facts.replid),
            "master_replid2" => value.clone_into(&mut facts.replid2),
            "second_repl_offset" => facts.second_offset = value.parse().unwrap_or(-1),
            "master_repl_offset" => offsets.primary = number(value),
            "slave_repl_offset" => offsets.replica = number(value),
            "slave_read_repl_offset" => facts.read_offset = value.parse().ok(),
            "slave_priority" => facts.priority = number(value),
            "slave_read_only" => facts.read_only = value == "1",
            "min_slaves_good_slaves" => facts.good_replicas = value.parse().ok(),
            "shutdown_in_milliseconds" => facts.shutting_down = true,
            "sync_full" => facts.sync_full = number(value),
            "maxclients" => facts.max_clients = value.parse().ok(),
            _ => {
                if let Some(replica) = replica_line(name, value) {
                    facts.replicas.push(replica);
                } else if let Some(keys) = keyspace_line(name, value) {
                    facts.keys = facts.keys.saturating_add(keys);
                }
            }
        }
    }
    facts.version = brand.unwrap_or(facts.version);
    facts.role = role?;
    facts.offset = offsets.of(facts.role);
    if facts.role == Role::Replica {
        facts.sealed = follows.1 == Some(0);
        facts.primary = followed(follows);
    }
    (!facts.run_id.is_empty()).then_some(facts)
}

#[derive(Default)]
struct Offsets {
    primary: u64,
    replica: u64,
}

impl Offsets {
    /// A replica's `master_repl_offset` counts what it passed on to its own replicas, which is the same history;
    /// what it applied is `slave_repl_offset`, which exists only while it is a replica.
    fn of(&self, role: Role) -> u64 {
        match role {
            Role::Primary => self.primary,
            Role::Replica => self.replica,
        }
    }
}

fn followed((host, port): (String, Option<u16>)) -> Option<Address> {
    let port = port.filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| Address { host: host.into(), port })
}

/// `slave0:ip=127.0.0.1,port=7001,state=online,offset=14,lag=0`
fn replica_line(name: &str, value: &str) -> Option<(Address, bool)> {
    let digits = name.strip_prefix("slave")?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |wanted: &str| value.split(',').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
    let address = Address { host: part("ip")?.into(), port: part("port")?.parse().ok()? };
    Some((address, part("state") == Some("online")))
}

/// `db0:keys=12,expires=3,avg_ttl=0`
fn keyspace_line(name: &str, value: &str) -> Option<u64> {
    let digits = name.strip_prefix("db")?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.split(',').find_map(|pair| pair.strip_prefix("keys=")?.parse().ok())
}

fn number<T: std::str::FromStr + Default>(value: &str) -> T {
    value.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests;
