//! The servers, and what each says of its commands.

use std::collections::BTreeMap;

use redhold::command::Servers;

use crate::support::{Client, Server, ServerOptions, Value, server_binary};

/// A server that the table is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    /// Its folder in `.tools/servers`.
    pub(crate) name: &'static str,
    valkey: bool,
    /// Ten times the major plus the minor.
    pub(crate) release: u16,
}

pub(crate) const V6_2: &str = "6.2.5";
pub(crate) const V7_0: &str = "7.0.15";
pub(crate) const V8_2: &str = "8.2.3";
pub(crate) const VALKEY: &str = "valkey-9.1.2";
/// Debian's own; what every machine that builds this project can have.
const REQUIRED: &str = V7_0;

const VERSIONS: [Version; 4] = [
    Version { name: V6_2, valkey: false, release: 62 },
    Version { name: V7_0, valkey: false, release: 70 },
    Version { name: V8_2, valkey: false, release: 82 },
    Version { name: VALKEY, valkey: true, release: 91 },
];

impl Version {
    /// Whether a row says that this server has its command.
    pub(crate) fn is_among(self, servers: Servers) -> bool {
        if self.valkey { servers.valkey.has(self.release) } else { servers.redis.has(self.release) }
    }

    /// One with DEBUG allowed.
    pub(crate) fn start(self) -> Server {
        self.options().start()
    }

    fn options(self) -> ServerOptions {
        let options = Server::options().version(self.name);
        if self.release >= 70 { options.set("enable-debug-command", "yes") } else { options }
    }

    /// One with cluster support, since CLUSTER refuses even HELP without it before 7.0.
    pub(crate) fn start_cluster(self) -> Server {
        self.options().set("cluster-enabled", "yes").start()
    }
}

/// Calls `check` with each server that is installed.
#[track_caller]
pub(crate) fn for_each_server(mut check: impl FnMut(Version, &mut Client)) {
    for version in installed() {
        let server = version.start();
        check(version, &mut server.client());
    }
}

/// The versions that are installed. Panics when one that is required is not.
#[track_caller]
pub(crate) fn installed() -> Vec<Version> {
    let all = std::env::var("REDHOLD_ALL_SERVERS").is_ok_and(|value| value == "1");
    VERSIONS
        .into_iter()
        .filter(|version| {
            if server_binary(Some(version.name)).is_some() {
                return true;
            }
            assert!(
                !all && version.name != REQUIRED,
                "server {} is required and absent: run tests/tools/servers.sh",
                version.name
            );
            eprintln!(
                "ABSENT: server {}, so the table was not compared with it; tests/tools/servers.sh brings it",
                version.name
            );
            false
        })
        .collect()
}

/// What a server says of one command.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) arity: i64,
    pub(crate) flags: Vec<String>,
    /// First, last, step.
    pub(crate) keys: (i64, i64, i64),
}

impl Live {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|it| it == flag)
    }
}

/// The answer of COMMAND: every command, and from 7.0 every subcommand, by name in lower case.
#[track_caller]
pub(crate) fn commands(client: &mut Client) -> BTreeMap<String, Live> {
    let mut commands = BTreeMap::new();
    for entry in client.call("COMMAND").items() {
        collect(entry, &mut commands);
    }
    assert!(commands.len() > 200, "COMMAND names only {} commands", commands.len());
    commands
}

fn collect(entry: &Value, commands: &mut BTreeMap<String, Live>) {
    let fields = entry.items();
    let number = |at: usize| fields[at].int().expect("a number");
    let name = fields[0].text().expect("a name").to_ascii_lowercase();
    let flags = fields[2].items().iter().filter_map(Value::text).collect();
    commands.insert(name, Live { arity: number(1), flags, keys: (number(3), number(4), number(5)) });
    if let Some(subcommands) = fields.get(9) {
        subcommands.items().iter().for_each(|entry| collect(entry, commands));
    }
}

/// Stops a test with everything that it found.
#[track_caller]
pub(crate) fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} rows are wrong:\n{}", faults.len(), faults.join("\n"));
}
