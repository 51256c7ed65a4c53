//! `[backend]` as used by the connections.

use std::time::Duration;

use crate::net::{ClientFiles, SocketOptions};

/// Below this the kernel would give up connections that a busy machine merely delays.
const MIN_USER_TIMEOUT: Duration = Duration::from_secs(1);

/// What connections to nodes need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `backend.pipelines_max`: shared connections per node and worker.
    pub pipelines_max: usize,
    /// `[backend.tls]`; `None`: no TLS.
    pub tls: Option<ClientFiles>,
    /// `backend.pinned_max`; 0: from the node's maxclients.
    pub pinned_max: usize,
    /// Longest wait for a TCP connection and its first reply.
    pub connect_timeout: Duration,
    /// `health.timeout`: doubles as TCP_USER_TIMEOUT.
    pub timeout: Duration,
    /// `failover.hold_memory`, bytes: requests kept until their reply came.
    pub hold_memory: u64,
    /// `log.slowlog`, microseconds: a reply that took so long is told to who waited for it.
    pub slow_micros: u64,
    /// `log.hotkeys_one_in`: of so many requests one is told, once it is answered, to who sent it; 0: none.
    pub sample_one_in: u32,
    /// `log.bigkeys_min`, bytes: a reply that is as long is told to who asked for it; `u64::MAX`: none is.
    pub big_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pipelines_max: 64,
            tls: None,
            pinned_max: 0,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            hold_memory: 64 << 20,
            slow_micros: 10_000,
            sample_one_in: 1_000,
            big_bytes: 128 << 10,
        }
    }
}

impl Settings {
    /// How a socket to a node behaves when the node falls silent.
    #[must_use]
    pub fn sockets(&self) -> SocketOptions {
        SocketOptions::noticing_after(self.timeout.max(MIN_USER_TIMEOUT))
    }
}
