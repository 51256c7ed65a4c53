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

impl Version {
    /// One with DEBUG allowed.
    #[track_caller]
    pub fn start(self) -> Server {
        self.options().start()
    }

    /// Whether it is installed. Says so when it is not; panics then for 7.0, or, when `REDHOLD_ALL_SERVERS=1`, for any.
    #[track_caller]
    pub fn is_there(self) -> bool {
        if server_binary(Some(self.name)).is_some() {
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

    /// Whether a row says that this server has its command.
    pub fn has(self, servers: Servers) -> bool {
        if self.valkey { servers.valkey.has(self.release) } else { servers.redis.has(self.release) }
    }

    /// To start one or a group of them, with DEBUG allowed.
    pub fn options(self) -> ServerOptions {
        let options = Server::options().version(self.name);
        if self.release >= 70 { options.set("enable-debug-command", "yes") } else { options }
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
    [V6_2, V7_0, V8_2, VALKEY].into_iter().filter(|version| version.is_there()).collect()
}

/// The versions that are installed beside the one on PATH, which tests use that name none.
#[track_caller]
pub fn others() -> Vec<Version> {
    [V6_2, V8_2, VALKEY].into_iter().filter(|version| version.is_there()).collect()
}
