//! The server versions that Redhold supports and that tests can have.

use redhold::command::Servers;

use super::client::Client;
use super::server::{Server, ServerOptions, server_binary};

/// A server version that the tests run against. `tests/tools/servers.sh` puts them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its folder in `.tools/servers`.
    pub name: &'static str,
    /// Valkey, not Redis.
    pub valkey: bool,
    /// Ten times the major plus the minor.
    pub release: u16,
}

/// Redis 6.2.
pub const V6_2: Version = Version { name: "6.2.5", valkey: false, release: 62 };
/// Redis 7.0: Debian's own, which every machine that builds this project can have. Required.
pub const V7_0: Version = Version { name: "7.0.15", valkey: false, release: 70 };
/// Redis 8.2.
pub const V8_2: Version = Version { name: "8.2.3", valkey: false, release: 82 };
/// Valkey 9.1.
pub const VALKEY: Version = Version { name: "valkey-9.1.2", valkey: true, release: 91 };

/// All of them.
const ALL: [Version; 4] = [V6_2, V7_0, V8_2, VALKEY];

/// The version that `REDHOLD_SERVER` names for the servers of which a test names none, in the whole test program.
#[track_caller]
pub fn named() -> Option<Version> {
    let name = std::env::var("REDHOLD_SERVER").ok()?;
    let known = || ALL.map(|version| version.name).join(", ");
    let found = ALL.into_iter().find(|version| version.name == name);
    Some(
        found.unwrap_or_else(|| {
            panic!("REDHOLD_SERVER={name}: the tests know no such server, but {}", known())
        }),
    )
}

/// The version of the servers of which a test names none: what `REDHOLD_SERVER` says, else 7.0, the `redis-server` on PATH.
#[track_caller]
pub fn chosen() -> Version {
    named().unwrap_or(V7_0)
}

impl Version {
    /// One with DEBUG allowed.
    #[track_caller]
    pub fn start(self) -> Server {
        self.options().start()
    }

    /// Whether it is installed. Says so when it is not; panics then for 7.0, or, when `REDHOLD_ALL_SERVERS=1`, for any.
    #[track_caller]
    pub fn is_there(self) -> bool {
        if server_binary(Some(self)).is_some() {
            return true;
        }
        let all = std::env::var("REDHOLD_ALL_SERVERS").is_ok_and(|value| value == "1");
        assert!(
            !all && self != V7_0,
            "server {} is required and absent: run tests/tools/servers.sh",
            self.name
        );
        eprintln!("ABSENT: server {}; not tested with it; tests/tools/servers.sh brings it", self.name);
        false
    }

    /// The name under which it has a setting, `None` when it has none: what a newer server has to be allowed, it does anyway.
    pub fn setting(self, key: &str) -> Option<&str> {
        match key {
            "enable-debug-command"
            | "enable-module-command"
            | "enable-protected-configs"
            | "loading-process-events-interval-bytes"
                if self.release < 70 =>
            {
                None
            }
            "busy-reply-threshold" if self.release < 70 => Some("lua-time-limit"),
            key => Some(key),
        }
    }

    /// Whether a row says that this server has its command.
    pub fn has(self, servers: Servers) -> bool {
        if self.valkey { servers.valkey.has(self.release) } else { servers.redis.has(self.release) }
    }

    /// To start one or a group of them, with DEBUG allowed.
    pub fn options(self) -> ServerOptions {
        Server::options().version(self).set("enable-debug-command", "yes")
    }
}

/// Calls `check` with a client of each version that is installed.
#[track_caller]
pub fn for_each_server(mut check: impl FnMut(Version, &mut Client)) {
    for version in installed() {
        let server = version.start();
        check(version, &mut server.client());
    }
}

/// The versions that are installed, 7.0 among them.
#[track_caller]
pub fn installed() -> Vec<Version> {
    ALL.into_iter().filter(|version| version.is_there()).collect()
}

/// The versions that are installed beside the chosen one, which tests use that name none.
#[track_caller]
pub fn others() -> Vec<Version> {
    ALL.into_iter().filter(|version| *version != chosen() && version.is_there()).collect()
}
