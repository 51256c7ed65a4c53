//! `[proxy]` and `[limits]` as used, and what of `[log]` is about requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::durability;
use crate::net::ServerFiles;
use crate::users::User;

use super::{Batching, Entrance};

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP; TLS over it, if there is a certificate.
    Tcp(SocketAddr),
    /// TCP without TLS, whatever certificate there is.
    Plain(SocketAddr),
    /// A unix socket; a stale file is replaced.
    Unix(PathBuf),
}

/// What a reload changes while clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `proxy.max_clients`
    pub max_clients: usize,
    /// Who else may not come in.
    pub entrance: Entrance,
    /// `proxy.idle_timeout`; zero: never.
    pub idle_timeout: Duration,
    /// `proxy.drain_delay`
    pub drain_delay: Duration,
    /// `proxy.drain_timeout`
    pub drain_timeout: Duration,
    /// `limits.memory`, resolved: bytes.
    pub memory: u64,
    /// `tracing.sample`: of a million requests so many are traced.
    pub traced_ppm: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            entrance: Entrance::default(),
            idle_timeout: Duration::ZERO,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            memory: u64::MAX,
            traced_ppm: 0,
        }
    }
}

/// Those in force; who goes by them looks each time.
pub type LimitsInForce = Arc<ArcSwap<Limits>>;

/// What clients meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `proxy.listen`
    pub listen: Vec<Listen>,
    /// `[proxy.tls]`; `None`: no TLS.
    pub tls: Option<ServerFiles>,
    /// `proxy.workers`, resolved: at least 1.
    pub workers: usize,
    /// `proxy.batching`
    pub batching: Batching,
    /// Those that it begins with.
    pub limits: Limits,
    /// `proxy.hide_topology`
    pub hide_topology: bool,
    /// `proxy.owned_commands = "pass"`
    pub pass_owned_commands: bool,
    /// `proxy.maint_notifications`
    pub maint_notifications: bool,
    /// `proxy.announce`: host:port; empty: nothing is announced.
    pub announce: String,
    /// `limits.request_size`, bytes.
    pub request_size: u64,
    /// `limits.client_output`, bytes.
    pub client_output: u64,
    /// `limits.in_flight_per_client`, bytes.
    pub in_flight_per_client: u64,
    /// `failover.hold`
    pub hold: Duration,
    /// `failover.in_flight`, resolved: may an idempotent write of unknown outcome be sent again?
    pub retry_idempotent: bool,
    /// `failover.in_flight = "retry_all"`
    pub retry_all: bool,
    /// `[durability]`
    pub durability: durability::Settings,
    /// `log.slowlog_len`
    pub slow_log_len: usize,
    /// `admin.users`, and who of `[[users]]` has `admin`.
    pub order_users: Vec<String>,
    /// `[[users]]`; empty: the nodes' own. One list for all workers.
    pub users: Arc<Vec<User>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 6380)))],
            tls: None,
            workers: 1,
            batching: Batching::Adaptive,
            limits: Limits::default(),
            hide_topology: false,
            pass_owned_commands: false,
            maint_notifications: true,
            announce: String::new(),
            request_size: 1 << 30,
            client_output: 1 << 30,
            in_flight_per_client: 256 << 10,
            hold: Duration::from_secs(5),
            retry_idempotent: true,
            retry_all: false,
            durability: durability::Settings::default(),
            slow_log_len: 128,
            order_users: Vec::new(),
            users: Arc::default(),
        }
    }
}
