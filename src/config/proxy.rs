//! The keys of `[proxy]`. Data.

use std::time::Duration;

use crate::frontend::Batching;

use super::keys::{pick, set, to_usize};
use super::kind::{Key, Kind, key};
use super::read::Config;

pub(super) const PROXY: &[Key] = &[
    key(
        "listen",
        Kind::Listens(Some(|c, v| match v.as_slice() {
            [] => Err("is empty: clients would have nowhere to connect".to_owned()),
            _ => {
                c.frontend.listen = v;
                Ok(())
            }
        })),
        r#"["127.0.0.1:6380"]"#,
        "Where clients connect: host:port, [v6]:port or unix:/path; plain:host:port where TLS is not spoken although there is a certificate.",
    ),
    key(
        "workers",
        Kind::Count(
            0..=1024,
            Some(|c, v| {
                let cores = || std::thread::available_parallelism().map_or(1, usize::from);
                c.frontend.workers = if v == 0 { cores() } else { to_usize(v) };
                Ok(())
            }),
        ),
        "0",
        "Worker threads; 0: one per core.",
    ),
    key(
        "batching",
        Kind::Choice(
            &["adaptive", "none", "50us", "100us", "200us", "400us"],
            Some(|c, v| {
                let fixed = |micros| Batching::Fixed(Duration::from_micros(micros));
                let policies = [
                    ("adaptive", Batching::Adaptive),
                    ("none", fixed(0)),
                    ("50us", fixed(50)),
                    ("100us", fixed(100)),
                    ("200us", fixed(200)),
                    ("400us", fixed(400)),
                ];
                set(&mut c.frontend.batching, pick(&policies, v))
            }),
        ),
        r#""adaptive""#,
        "How long a worker that has passed all on lets requests and replies gather while 16 or more are on their way: what measures best, or always so long.",
    ),
    key(
        "max_clients",
        Kind::Count(1..=1_000_000, Some(|c, v| set(&mut c.frontend.limits.max_clients, to_usize(v)))),
        "10000",
        "Clients at a time; a further one gets Redis's own error and is closed.",
    ),
    key(
        "idle_timeout",
        Kind::Duration(0, Some(|c, v| set(&mut c.frontend.limits.idle_timeout, v))),
        r#""0s""#,
        "Time after which a client is closed that asks for nothing, ends no request or reads no reply; who is subscribed, blocked or owed a reply may wait. 0s: never.",
    ),
    key(
        "drain_delay",
        Kind::Duration(0, Some(|c, v| set(&mut c.frontend.limits.drain_delay, v))),
        r#""0s""#,
        "After SIGTERM, how long clients are still served while /readyz says 503, so that load balancers notice.",
    ),
    key(
        "drain_timeout",
        Kind::Duration(0, Some(|c, v| set(&mut c.frontend.limits.drain_timeout, v))),
        r#""10s""#,
        "How long a drain waits for replies still owed before it closes the clients.",
    ),
    key(
        "proxy_protocol",
        Kind::Flag(Some(|c, v| set(&mut c.frontend.limits.entrance.proxy_protocol, v))),
        "false",
        "Whether peers in proxy.trusted say in a PROXY header, v1 or v2, for whom they come; they have to, others can not.",
    ),
    key(
        "trusted",
        Kind::Networks(Some(|c, v| set(&mut c.frontend.limits.entrance.trusted, v))),
        "[]",
        "Networks of the load balancers that send PROXY headers.",
    ),
    key(
        "allow",
        Kind::Networks(Some(|c, v| set(&mut c.frontend.limits.entrance.allow, v))),
        "[]",
        "Networks that clients may come from; empty: all. Unix sockets are not asked.",
    ),
    key(
        "deny",
        Kind::Networks(Some(|c, v| set(&mut c.frontend.limits.entrance.deny, v))),
        "[]",
        "Networks that clients may not come from, even if allowed; such a client gets -DENIED and is closed.",
    ),
    key(
        "hide_topology",
        Kind::Flag(Some(|c, v| set(&mut c.frontend.hide_topology, v))),
        "false",
        "Whether INFO and ROLE show no addresses of replicas; both are then refused in MULTI. Scripts still tell, and PROXY STATUS, NODES, FAILOVERS and ROUTE those who may give orders.",
    ),
    key(
        "owned_commands",
        Kind::Choice(&["refuse", "pass"], Some(|c, v| set(&mut c.frontend.pass_owned_commands, v == "pass"))),
        r#""refuse""#,
        "What happens to commands that Redhold owns (REPLICAOF, FAILOVER, SHUTDOWN ...): refuse or pass.",
    ),
    key(
        "maint_notifications",
        Kind::Flag(Some(|c, v| set(&mut c.frontend.maint_notifications, v))),
        "true",
        "Whether RESP3 clients that say CLIENT MAINT_NOTIFICATIONS ON are told of holds and of the end of this proxy.",
    ),
    key(
        "announce",
        Kind::Text(Some(announce)),
        r#""""#,
        "Where clients are to go when this proxy drains, as host:port in MOVING pushes; empty: only clients that asked for no address are told.",
    ),
];

/// Clients divide it at its one colon.
fn announce(config: &mut Config, address: String) -> Result<(), String> {
    let parts: Vec<&str> = address.split(':').collect();
    let is_well = match parts[..] {
        [""] => true,
        [host, port] => !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => false,
    };
    if !is_well {
        return Err(format!(
            "`{address}` is not host:port; clients can not read an IPv6 address there, give it a name"
        ));
    }
    config.frontend.announce = address;
    Ok(())
}
