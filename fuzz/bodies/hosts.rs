//! Arbitrary bytes as the Host of an order over HTTP: what is taken for this machine is an address or localhost, and no name that
//! somebody else may have pointed at it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use redhold::admin::is_local_name;

/// See the module's text.
pub fn body(data: &[u8]) {
    let Ok(host) = std::str::from_utf8(data) else { return };
    let named = |name: &str| name.eq_ignore_ascii_case("localhost");
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let bare = |host: &str| host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let v4 = host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4());
    let local = v4
        || named(host)
        || bare(host).is_some()
        || host.parse::<SocketAddr>().is_ok()
        || host.split_once(':').is_some_and(|(name, rest)| named(name) && port(rest));
    assert_eq!(is_local_name(host), local, "{host:?}");
}
