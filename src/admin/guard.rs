//! Who may give orders over HTTP: no tokens yet, so this machine alone, and no web page on it.
//!
//! A page in a browser on this machine can send a POST to loopback, but not with a header of its own without asking
//! first (which is never granted); and a name that was rebound to loopback still stands in `Host`.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap};

/// Lets an order through, or says why not.
///
/// # Errors
/// One sentence for the one who ordered.
pub(super) fn allow(peer: SocketAddr, headers: &HeaderMap) -> Result<(), &'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err("orders are taken from this machine only: tokens are not yet supported");
    }
    if headers.get("x-redhold").is_none_or(|value| value != "1") {
        return Err("an order needs the header X-Redhold: 1");
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_local_name(host) => Ok(()),
        _ => Err("an order needs a Host that is an address or localhost"),
    }
}

fn is_local_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, rest)) => (v6, rest.strip_prefix(':').or(rest.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let port_fits = port.is_some_and(|port| port.parse::<u16>().is_ok());
    port_fits && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        allow(peer.parse().unwrap(), &map)
    }

    #[test]
    fn this_machine_with_the_header_and_a_plain_host_may() {
        for peer in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            for host in ["127.0.0.1:9380", "localhost", "LOCALHOST:9380", "[::1]:9380", "[::1]", "10.0.0.1"] {
                assert_eq!(asked(peer, &[("x-redhold", "1"), ("host", host)]), Ok(()), "{peer} {host}");
            }
        }
    }

    #[test]
    fn another_machine_may_not() {
        for peer in ["10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(
                asked(peer, &[("x-redhold", "1"), ("host", "localhost")])
                    .unwrap_err()
                    .contains("this machine")
            );
        }
    }

    #[test]
    fn a_web_page_may_not() {
        for header in ["0", "", "true", "1, 1"] {
            let refused = asked("127.0.0.1:1", &[("x-redhold", header), ("host", "localhost")]);
            assert!(refused.unwrap_err().contains("X-Redhold"), "{header}");
        }
        assert!(asked("127.0.0.1:1", &[("host", "localhost")]).unwrap_err().contains("X-Redhold"));
        for host in [
            "evil.example",
            "localhost.evil.example:9380",
            "127.0.0.1.evil.example",
            "",
            "localhost:",
            "[::1]x",
        ] {
            let refused = asked("127.0.0.1:1", &[("x-redhold", "1"), ("host", host)]);
            assert!(refused.unwrap_err().contains("Host"), "{host}");
        }
        assert!(asked("127.0.0.1:1", &[("x-redhold", "1")]).is_err(), "no Host at all");
        let twice = [("x-redhold", "1"), ("host", "localhost"), ("host", "evil.example")];
        assert!(asked("127.0.0.1:1", &twice).is_err());
    }
}
