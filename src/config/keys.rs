//! Every section and the keys of those that work: what each holds, its default, what it means, and where its
//! value goes. Data, and nothing else.

use crate::admin::{Grant, TokenFile};
use crate::control::NodeName;
use crate::durability::Rule;
use crate::failover::{EmptyPrimary, InFlight, Mode, OnNoQuorum, SlowPrimary};
use crate::routing::{DuringOutage, OwnWrites, ReadPolicy};
use crate::telemetry::Format;
use crate::topology::NODES_MAX;

use super::durability::{DURABILITY, DURABILITY_RULES};
use super::kind::{Declared, Form, GIB, Key, Kind, MIB, Section, TIB, absent, key, socket_address};
use super::later::{ARCHIVE, CACHE, COMPRESSION, COORDINATOR, MIRROR};
use super::memory;
use super::proxy::PROXY;
use super::read::Config;
use super::roles::ADMIN_ROLES;
use super::tls::{ADMIN_TLS, BACKEND_TLS, PROXY_TLS};
use super::traces::TRACING;
use super::users::{USERS, begin_user};

const fn table(name: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section { name, form: Form::Table, about, keys }
}

const fn optional(name: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section { name, form: Form::OptionalTable, about, keys }
}

const fn rows(
    name: &'static str,
    about: &'static str,
    keys: &'static [Key],
    begin: Option<fn(&mut Config)>,
) -> Section {
    Section { name, form: Form::Rows(begin), about, keys }
}

/// Every section, in the order of printing.
pub static SECTIONS: &[Section] = &[
    table("proxy", "Where clients connect and how they are served.", PROXY),
    table("proxy.tls", "TLS towards clients.", PROXY_TLS),
    table("backend", "The nodes behind the proxy.", BACKEND),
    table("backend.tls", "TLS towards nodes.", BACKEND_TLS),
    table("health", "When a node counts as gone.", HEALTH),
    table("failover", "What happens when the primary is gone.", FAILOVER),
    table("reads", "Who answers reads.", READS),
    table("durability", "When a write counts as safe.", DURABILITY),
    rows(
        "durability.rules",
        "Other durability for keys with a prefix; the longest that fits decides, and of several keys the strictest mode.",
        DURABILITY_RULES,
        Some(|c| c.frontend.durability.rules.push(Rule::default())),
    ),
    table("cache", "A near cache in the proxy.", CACHE),
    rows("compression", "Values compressed on their way to the nodes.", COMPRESSION, None),
    optional("mirror", "A share of the traffic copied to other nodes.", MIRROR),
    table("coordinator", "Agreement between several proxies.", COORDINATOR),
    table("admin", "Metrics, status and orders over HTTP.", ADMIN),
    table("admin.tls", "TLS of the admin endpoint.", ADMIN_TLS),
    rows(
        "admin.roles",
        "Tokens of their own for people and programs, each with a role; 16 at most. As soon as one is listed, orders need a token.",
        ADMIN_ROLES,
        Some(|c| c.admin.roles.push(Grant::default())),
    ),
    rows(
        "users",
        "Users of the proxy's own, and nobody else may come in; none: clients authenticate as the nodes' own users.",
        USERS,
        Some(begin_user),
    ),
    table("limits", "Bounds that keep one client from harming the others.", LIMITS),
    table("log", "Logs, and what is remembered of requests.", LOG),
    table(
        "tracing",
        "Traces of requests and of changes of primary, for an OpenTelemetry collector.",
        TRACING,
    ),
    optional("archive", "The continuous archive; absent: none.", ARCHIVE),
];

const BACKEND: &[Key] = &[
    key(
        "kind",
        Kind::Choice(&["group", "cluster"], None),
        r#""group""#,
        "group: one primary and its replicas; cluster: the nodes are seeds of a cluster.",
    ),
    key(
        "nodes",
        Kind::Nodes(Some(|c, v| match v.len() {
            0 => Err("is empty: name at least one node".to_owned()),
            1..=NODES_MAX => declare(c, v),
            many => Err(format!("names {many} nodes; {NODES_MAX} is the most")),
        })),
        r#"["127.0.0.1:6379"]"#,
        "Every node of the group: \"host:port\", \"dns:name:port\" for every address of a name, or { address, peer_address, zone, priority, expect }; roles are discovered.",
    ),
    absent(
        "username",
        Kind::Text(Some(|c, v| set(&mut c.control.credentials.username, v))),
        r#""redhold""#,
        "User of the proxy's own work on the nodes, never used for clients; absent: the default user.",
    ),
    absent(
        "password",
        Kind::Secret(Some(|c, v| set(&mut c.control.credentials.password, v))),
        r#""secret""#,
        "Its password; better in a file.",
    ),
    absent(
        "password_file",
        Kind::Text(Some(|c, v| set(&mut c.control.credentials.password, super::read::secret_file(&v)?))),
        r#""/run/secrets/redhold""#,
        "File that holds its password; a newline at the end is left out.",
    ),
    key(
        "pipelines_max",
        Kind::Count(1..=4096, Some(|c, v| set(&mut c.backend.pipelines_max, to_usize(v)))),
        "64",
        "Shared connections per node and worker; beyond it a client gets a connection of its own.",
    ),
    key(
        "pinned_max",
        Kind::Count(0..=1_000_000, Some(|c, v| set(&mut c.backend.pinned_max, to_usize(v)))),
        "0",
        "Connections to the primary lent to single clients, over all workers; 0: its maxclients less 200.",
    ),
];

const HEALTH: &[Key] = &[
    key(
        "interval",
        Kind::Duration(10, Some(|c, v| set(&mut c.control.failover.interval, v))),
        r#""100ms""#,
        "Time between two looks at a node.",
    ),
    key(
        "timeout",
        Kind::Duration(
            100,
            Some(|c, v| {
                c.backend.timeout = v;
                set(&mut c.control.failover.timeout, v)
            }),
        ),
        r#""1s""#,
        "Silence, over all connections, after which a node counts as hung.",
    ),
    key(
        "busy_timeout",
        Kind::Duration(100, Some(|c, v| set(&mut c.control.failover.busy_timeout, v))),
        r#""10s""#,
        "Used instead of timeout while a long request explains the silence; also how long a slow primary is borne.",
    ),
    key(
        "slow_primary",
        Kind::Choice(
            &["observe", "switchover", "off"],
            Some(|c, v| {
                let kinds = [
                    ("observe", SlowPrimary::Observe),
                    ("switchover", SlowPrimary::Switchover),
                    ("off", SlowPrimary::Off),
                ];
                set(&mut c.control.failover.slow_primary, pick(&kinds, v))
            }),
        ),
        r#""observe""#,
        "A primary ten times as slow as it used to be for busy_timeout: observe (told), switchover (planned) or off.",
    ),
];

const FAILOVER: &[Key] = &[
    key(
        "mode",
        Kind::Choice(
            &["auto", "manual", "off"],
            Some(|c, v| {
                let modes = [("auto", Mode::Auto), ("manual", Mode::Manual), ("off", Mode::Off)];
                set(&mut c.control.failover.mode, pick(&modes, v))
            }),
        ),
        r#""auto""#,
        "auto: promotes by itself; manual: detects and holds, acts on order; off: follows the roles it sees.",
    ),
    key(
        "hold",
        Kind::Duration(
            0,
            Some(|c, v| {
                c.frontend.hold = v;
                set(&mut c.control.failover.hold, v)
            }),
        ),
        r#""5s""#,
        "Age of an outage up to which requests wait; afterwards they are answered with TRYAGAIN.",
    ),
    key(
        "hold_memory",
        Kind::Size(MIB..=TIB, Some(|c, v| set(&mut c.backend.hold_memory, v))),
        r#""64MiB""#,
        "Memory for copies of requests that may have to be sent again; beyond it clients wait.",
    ),
    key(
        "in_flight",
        Kind::Choice(
            &["auto", "error", "retry_idempotent", "retry_all"],
            Some(|c, v| {
                let kinds = [
                    ("auto", InFlight::Auto),
                    ("error", InFlight::Error),
                    ("retry_idempotent", InFlight::RetryIdempotent),
                    ("retry_all", InFlight::RetryAll),
                ];
                c.frontend.retry_idempotent = v != "error";
                c.frontend.retry_all = v == "retry_all";
                set(&mut c.control.failover.in_flight, pick(&kinds, v))
            }),
        ),
        r#""auto""#,
        "Writes of unknown outcome: error, retry_idempotent or retry_all; auto: retry_idempotent unless semi_sync.",
    ),
    key(
        "on_no_quorum",
        Kind::Choice(
            &["hold", "proceed"],
            Some(|c, v| {
                let kinds = [("hold", OnNoQuorum::Hold), ("proceed", OnNoQuorum::Proceed)];
                set(&mut c.control.failover.on_no_quorum, pick(&kinds, v))
            }),
        ),
        r#""hold""#,
        "What happens when too few nodes can be asked: hold, or proceed and report possible loss.",
    ),
    key(
        "burst",
        Kind::Count(
            1..=100,
            Some(|c, v| set(&mut c.control.failover.burst, u32::try_from(v).unwrap_or(u32::MAX))),
        ),
        "2",
        "Failovers in quick succession; a further one waits for the refill.",
    ),
    key(
        "refill",
        Kind::Duration(1000, Some(|c, v| set(&mut c.control.failover.refill, v))),
        r#""60s""#,
        "Time after which one more failover is allowed.",
    ),
    key(
        "empty_primary",
        Kind::Choice(
            &["refuse", "accept"],
            Some(|c, v| {
                let kinds = [("refuse", EmptyPrimary::Refuse), ("accept", EmptyPrimary::Accept)];
                set(&mut c.control.failover.empty_primary, pick(&kinds, v))
            }),
        ),
        r#""refuse""#,
        "Whether a primary that came back empty is followed while another node holds the data: refuse or accept.",
    ),
    key(
        "tune_nodes",
        Kind::Flag(Some(|c, v| set(&mut c.control.failover.tune_nodes, v))),
        "true",
        "Whether settings of replication are set on the nodes at run time (repl-ping-replica-period, repl-timeout); listed in status.",
    ),
    key(
        "state_dir",
        Kind::Text(Some(|c, v| match v.as_str() {
            "" => set(&mut c.control.state_dir, None),
            path if path.starts_with('/') => set(&mut c.control.state_dir, Some(path.into())),
            path => Err(format!("`{path}` is not an absolute path")),
        })),
        r#""/var/lib/redhold""#,
        "Directory for the group's record; empty: nothing is kept over a restart of the proxy.",
    ),
    key(
        "quarantine_files",
        Kind::Count(0..=10_000, Some(|c, v| set(&mut c.control.quarantine_files, to_usize(v)))),
        "16",
        "Files of writes that only an old primary had, in state_dir; none is removed, and beyond these none is made.",
    ),
    key(
        "quarantine_size",
        Kind::Size(0..=TIB, Some(|c, v| set(&mut c.control.quarantine_size, v))),
        r#""256MiB""#,
        "Their size in total, as for quarantine_files.",
    ),
];

const READS: &[Key] = &[
    key(
        "policy",
        Kind::Choice(
            &["primary", "prefer_replica", "replica", "any"],
            Some(|c, v| {
                let kinds = [
                    ("primary", ReadPolicy::Primary),
                    ("prefer_replica", ReadPolicy::PreferReplica),
                    ("replica", ReadPolicy::Replica),
                    ("any", ReadPolicy::Any),
                ];
                set(&mut c.control.reads.policy, pick(&kinds, v))
            }),
        ),
        r#""primary""#,
        "Who answers reads: primary, prefer_replica, replica or any.",
    ),
    key(
        "read_your_writes",
        Kind::Choice(
            &["off", "session", "key", "global"],
            Some(|c, v| {
                let kinds = [
                    ("off", OwnWrites::Off),
                    ("session", OwnWrites::Session),
                    ("key", OwnWrites::Key),
                    ("global", OwnWrites::Global),
                ];
                set(&mut c.control.reads.own_writes, pick(&kinds, v))
            }),
        ),
        r#""session""#,
        "Writes that a read is sure to see, at the primary until a replica has them. session: the connection's own; key: everybody's of the same keys, through this proxy; global: everybody's; off: only those whose replies are owed.",
    ),
    key(
        "max_staleness",
        Kind::Duration(
            0,
            Some(|c, v| {
                c.control.failover.max_staleness = v;
                set(&mut c.control.reads.max_staleness, v)
            }),
        ),
        r#""1s""#,
        "Age of a replica's data beyond which it answers no reads; in an outage it counts from the last look at the primary.",
    ),
    key(
        "during_outage",
        Kind::Choice(
            &["hold", "replica"],
            Some(|c, v| {
                let kinds = [("hold", DuringOutage::Hold), ("replica", DuringOutage::Replica)];
                set(&mut c.control.reads.during_outage, pick(&kinds, v))
            }),
        ),
        r#""hold""#,
        "Reads while no primary is writable: hold, or replica.",
    ),
    key(
        "zone",
        Kind::Text(Some(|c, v| set(&mut c.control.reads.zone, v))),
        r#""""#,
        "Zone of this proxy; replicas of the same zone are preferred; empty: no preference.",
    ),
    key(
        "spill",
        Kind::Share(Some(|c, v| set(&mut c.control.reads.spill_permille, permille(v)))),
        "0.5",
        "prefer_replica without a usable replica: share of what is on its way to the primary that its reads may make up, beyond 64 a worker; the others wait. 0.0: all wait; 1.0: none.",
    ),
    key(
        "hedge",
        Kind::Text(None),
        r#""off""#,
        "Time after which a slow read is sent to a second node; off: never.",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "listen",
        Kind::Text(Some(|c, v| {
            let address = socket_address(&v)
                .map_err(|text| text.replace(", [v6]:port or unix:/path", " or [v6]:port"))?;
            set(&mut c.admin.listen, address)
        })),
        r#""127.0.0.1:9380""#,
        "Address of the admin endpoint. Anybody may look at the group; orders, and looks at what clients ask for, need the token of admin.token_file or one of admin.roles, or without any come from the proxy's own machine.",
    ),
    key(
        "users",
        Kind::Texts(Some(|c, v| set(&mut c.frontend.order_users, v))),
        "[]",
        "Users of the nodes, with passwords, that may give PROXY orders, and nobody else; empty: who may run FAILOVER.",
    ),
    absent(
        "token_file",
        Kind::Text(Some(|c, v| set(&mut c.admin.token, Some(TokenFile::new(v.into())?)))),
        r#""/run/secrets/admin""#,
        "File with the token that orders over HTTP must carry, 16 characters or more; read anew for each. It may do everything; admin.roles are further tokens, each with a role.",
    ),
];

const LIMITS: &[Key] = &[
    key(
        "request_size",
        Kind::Size(1 << 10..=TIB, Some(|c, v| set(&mut c.frontend.request_size, v))),
        r#""1GiB""#,
        "Most size of a whole request; a larger one is a protocol error. An argument: 512 MiB, which is Redis's default of proto-max-bulk-len.",
    ),
    key(
        "client_output",
        Kind::Size(64 << 10..=TIB, Some(|c, v| set(&mut c.frontend.client_output, v))),
        r#""1GiB""#,
        "Replies waiting for one client, beyond which that client is closed; those that wait for replicas are given up first.",
    ),
    key(
        "in_flight_per_client",
        Kind::Size(1 << 10..=GIB, Some(|c, v| set(&mut c.frontend.in_flight_per_client, v))),
        r#""256KiB""#,
        "Requests of one client on a shared connection at a time, so that clients take turns.",
    ),
    key(
        "memory",
        Kind::Text(Some(|c, v| set(&mut c.frontend.limits.memory, memory::limit(&v)?))),
        r#""50%""#,
        "Requests and replies of all clients together, a size or a share of the memory of the cgroup or machine; beyond it the client with most is closed. 0%: no bound.",
    ),
    key(
        "clients_per_address",
        Kind::Count(
            0..=1_000_000,
            Some(|c, v| set(&mut c.frontend.limits.entrance.per_address, to_usize(v))),
        ),
        "0",
        "Clients from one address, or one IPv6 network of 64 bits; a further one gets an error and is closed. 0: any number.",
    ),
    key(
        "connections_per_second",
        Kind::Count(
            0..=1_000_000,
            Some(|c, v| {
                set(&mut c.frontend.limits.entrance.per_second, u32::try_from(v).unwrap_or(u32::MAX))
            }),
        ),
        "0",
        "New clients a second, and as many at once after a quiet one; further ones wait in the kernel's queue. 0: any number.",
    ),
    key(
        "script_cache",
        Kind::Size(0..=GIB, Some(|c, v| set(&mut c.control.script_cache, v))),
        r#""16MiB""#,
        "Memory for scripts of clients, which every node is brought before it is asked for them; 0: none.",
    ),
];

const LOG: &[Key] = &[
    key(
        "level",
        Kind::Choice(
            &["error", "warn", "info", "debug", "trace"],
            Some(|c, v| set(&mut c.log.level, v.to_owned())),
        ),
        r#""info""#,
        "error, warn, info, debug or trace.",
    ),
    key(
        "format",
        Kind::Choice(
            &["auto", "text", "json"],
            Some(|c, v| {
                let kinds = [("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];
                set(&mut c.log.format, pick(&kinds, v))
            }),
        ),
        r#""auto""#,
        "text, json, or auto: text on a terminal, json elsewhere.",
    ),
    key(
        "slowlog",
        Kind::Duration(
            0,
            Some(|c, v| set(&mut c.backend.slow_micros, u64::try_from(v.as_micros()).unwrap_or(u64::MAX))),
        ),
        r#""10ms""#,
        "Time from which on a request is remembered for PROXY SLOWLOG; 0s: any.",
    ),
    key(
        "slowlog_len",
        Kind::Count(0..=10_000, Some(|c, v| set(&mut c.frontend.slow_log_len, to_usize(v)))),
        "128",
        "How many are remembered, 5 KiB each at most; 0: none.",
    ),
    key(
        "hotkeys_one_in",
        Kind::Count(
            0..=1_000_000,
            Some(|c, v| set(&mut c.backend.sample_one_in, u32::try_from(v).unwrap_or(u32::MAX))),
        ),
        "1000",
        "Of so many requests the keys of one are counted for PROXY HOTKEYS; 0: of none.",
    ),
    key(
        "bigkeys_min",
        Kind::Size(0..=TIB, Some(|c, v| set(&mut c.backend.big_bytes, if v == 0 { u64::MAX } else { v }))),
        r#""128KiB""#,
        "Size from which on requests and replies are remembered for PROXY BIGKEYS; 0: none are.",
    ),
];

fn declare(config: &mut Config, declared: Vec<Declared>) -> Result<(), String> {
    let name = |(position, one): (usize, &Declared)| {
        Some(NodeName::new(position, one.expect?, one.spec.address.clone()))
    };
    config.control.names = declared.iter().enumerate().filter_map(name).collect();
    set(&mut config.control.nodes, declared.into_iter().map(|one| one.spec).collect())
}

pub(super) fn set<T>(field: &mut T, value: T) -> Result<(), String> {
    *field = value;
    Ok(())
}

/// The value that belongs to `word`, which the kind of the key has found among `words`.
pub(super) fn pick<T: Copy>(words: &[(&str, T)], word: &str) -> T {
    words.iter().find(|(name, _)| *name == word).map_or(words[0].1, |(_, value)| *value)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
fn permille(share: f64) -> u16 {
    (share * 1000.0).round() as u16
}

pub(super) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
