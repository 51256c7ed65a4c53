//! What a test talks to: a server itself, or the proxy in front of one. A test that holds for both says what "byte
//! for byte what Redis answers" means, and is checked against Redis each time it runs.

use std::net::SocketAddr;

use crate::support::{Client, Group, Proxy, ProxyOptions, Server, ServerOptions};

/// Whom the clients of a test connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The primary itself.
    Direct,
    /// The proxy in front of the group.
    Proxied,
}

/// A group, and the proxy in front of it if the way leads through one.
pub struct Target {
    pub group: Group,
    pub proxy: Option<Proxy>,
}

impl Target {
    /// One primary and `replicas` replicas.
    #[track_caller]
    pub fn new(way: Way, replicas: usize) -> Self {
        Self::with(way, replicas, &ServerOptions::default())
    }

    /// With settings of the servers.
    #[track_caller]
    pub fn with(way: Way, replicas: usize, options: &ServerOptions) -> Self {
        let options = options.clone().set("enable-debug-command", "yes");
        let group = Group::plain_with(replicas, &options);
        let proxy = (way == Way::Proxied).then(|| ProxyOptions::new(&group.addresses()).start());
        Self { group, proxy }
    }

    /// With a proxy that is hasty about silent nodes.
    #[track_caller]
    pub fn noticing_silence(way: Way, replicas: usize) -> Self {
        let group = Group::plain(replicas);
        let options = ProxyOptions::new(&group.addresses()).noticing_silence();
        let proxy = (way == Way::Proxied).then(|| options.start());
        Self { group, proxy }
    }

    /// One node that wants a password, known to the proxy for its own work.
    #[track_caller]
    pub fn with_password(way: Way, options: &ServerOptions, password: &str) -> Self {
        let group = Group::plain_with(0, options);
        let quoted = format!("\"{password}\"");
        let proxy = (way == Way::Proxied)
            .then(|| ProxyOptions::new(&group.addresses()).set("backend.password", &quoted).start_unready());
        Self { group, proxy }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.proxy.as_ref().map_or_else(|| self.primary().address(), Proxy::address)
    }

    /// A new client connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A new client connection that speaks RESP3.
    #[track_caller]
    pub fn client_resp3(&self) -> Client {
        Client::connect_resp3(self.address())
    }

    /// The node that leads at the start.
    pub fn primary(&self) -> &Server {
        &self.group.nodes()[0]
    }
}

/// Runs each named function of the enclosing module as two tests: against a server, and through the proxy.
macro_rules! both_ways {
    ($($name:ident),+ $(,)?) => {
        mod direct {
            $(#[test] fn $name() { super::$name($crate::target::Way::Direct); })+
        }
        mod proxied {
            $(#[test] fn $name() { super::$name($crate::target::Way::Proxied); })+
        }
    };
}
pub(crate) use both_ways;

/// Runs each named function of the enclosing module against a server alone: what Redis does, and the proxy not yet.
macro_rules! direct_only {
    ($($name:ident),+ $(,)?) => {
        mod redis_itself {
            $(#[test] fn $name() { super::$name($crate::target::Way::Direct); })+
        }
    };
}
pub(crate) use direct_only;
