//! Who may give orders over HTTP, and see what clients ask for: who knows a token whose role may, or, where there is none, this
//! machine alone, and no web page on it.
//!
//! A page in a browser on this machine can send a POST to loopback, but not with a header of its own without asking
//! first (which is never granted), and it can not read an answer; and a name that was rebound to loopback still stands in `Host`.
//! A token no page knows.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{StatusCode, Uri};

use super::roles::{Asks, TokenRole, Tokens};

/// Why somebody is not let through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of the answer.
    pub(super) code: StatusCode,
    /// One sentence for who asked.
    pub(super) reason: &'static str,
    /// `WWW-Authenticate` of the answer (RFC 6750, 3).
    pub(super) challenge: Option<&'static str>,
    /// Whose token has too few rights, for the log alone.
    pub(super) by: Option<String>,
    /// What is wrong with the file of a token, for the log alone.
    pub(super) fault: Option<String>,
}

/// Who is let through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder<'a> {
    /// Whose token it is; `None`: none was needed.
    pub(super) by: Option<&'a str>,
    /// What it lets do.
    pub(super) role: TokenRole,
}

/// Lets somebody do what a route asks the right to, or says why not. To see what clients ask for takes no header: a page
/// elsewhere can send such a request, and not read the answer.
///
/// # Errors
/// The refusal.
pub(super) fn allow<'a>(
    tokens: &'a Tokens,
    asks: Asks,
    peer: SocketAddr,
    target: &Uri,
    headers: &HeaderMap,
) -> Result<Holder<'a>, Refusal> {
    let found = if names_a_host(target) {
        Err(Fault::Target)
    } else if tokens.is_empty() {
        allow_here(peer, headers)
            .and_then(|()| if asks.is_order() { allow_marked(headers) } else { Ok(()) })
            .map(|()| Holder { by: None, role: TokenRole::Admin })
    } else {
        allow_bearer(tokens, headers)
    };
    let allowed = found.and_then(|holder| match holder.role.may(asks) {
        true => Ok(holder),
        false => Err(Fault::Role(holder.by.unwrap_or_default().to_owned())),
    });
    allowed.map_err(|fault| fault.refusal(asks))
}

/// A name there counts instead of the one in `Host` (RFC 9112, 3.2.2), and only proxies are asked so.
fn names_a_host(target: &Uri) -> bool {
    target.authority().is_some()
}

/// What is missing.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// A path alone.
    Target,
    /// It comes from another machine.
    Elsewhere,
    /// `X-Redhold: 1`
    Header,
    /// A Host that is no name of somebody else's.
    Host,
    /// Any token.
    Token,
    /// The right one.
    OtherToken,
    /// A role with more rights: whose token it is.
    Role(String),
    /// A file can not be read now: why.
    Unknown(String),
}

impl Fault {
    fn refusal(self, asks: Asks) -> Refusal {
        let reason = match (asks, &self) {
            (Asks::Upgrade, Self::Role(_)) => {
                "the role of this token may not replace the process; that needs admin"
            }
            (Asks::Order | Asks::Upgrade, _) => self.of_order(),
            (Asks::Look | Asks::Details, _) => self.of_details(),
        };
        let (code, challenge) = (self.code(), self.challenge());
        let (by, fault) = match self {
            Self::Role(by) => (Some(by), None),
            Self::Unknown(fault) => (None, Some(fault)),
            _ => (None, None),
        };
        Refusal { code, reason, challenge, by, fault }
    }

    fn code(&self) -> StatusCode {
        match self {
            Self::Target => StatusCode::BAD_REQUEST,
            Self::Elsewhere | Self::Header | Self::Host | Self::Role(_) => StatusCode::FORBIDDEN,
            Self::Token | Self::OtherToken => StatusCode::UNAUTHORIZED,
            Self::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Token | Self::OtherToken => Some("Bearer"),
            Self::Role(_) => Some("Bearer error=\"insufficient_scope\""),
            Self::Target | Self::Elsewhere | Self::Header | Self::Host | Self::Unknown(_) => None,
        }
    }

    fn of_order(&self) -> &'static str {
        match self {
            Self::Elsewhere => {
                "without admin.token_file or admin.roles orders are taken from the proxy's own machine only"
            }
            Self::Target => "an order names its path alone, as in POST /api/drain",
            Self::Header => "an order needs the header X-Redhold: 1",
            Self::Host => "an order needs a Host that is an address or localhost",
            Self::Token => {
                "an order needs the token of admin.token_file, or one of admin.roles: Authorization: Bearer ..., once"
            }
            Self::OtherToken => "this is not the token of admin.token_file, and none of admin.roles",
            Self::Role(_) => "the role of this token may look only; an order needs operator or admin",
            Self::Unknown(_) => "the token can not be known now; the proxy's log says why",
        }
    }

    fn of_details(&self) -> &'static str {
        match self {
            Self::Elsewhere => {
                "without admin.token_file or admin.roles they are shown on the proxy's own machine only"
            }
            Self::Host => {
                "they are shown under an address or as localhost only, unless there is an admin.token_file or admin.roles"
            }
            Self::Token => "they are shown to who has the token of admin.token_file, or one of admin.roles",
            Self::Target => "they are shown to who names their path alone, as in GET /api/status",
            Self::Header | Self::OtherToken | Self::Role(_) | Self::Unknown(_) => self.of_order(),
        }
    }
}

const SCHEME: &[u8] = b"Bearer ";

fn allow_bearer<'a>(tokens: &'a Tokens, headers: &HeaderMap) -> Result<Holder<'a>, Fault> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let first = given.next().filter(|_| given.next().is_none()).map(|given| given.as_bytes());
    let parts = first.and_then(|first| first.split_at_checked(SCHEME.len()));
    let Some((_, bearer)) = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME)) else {
        return Err(Fault::Token);
    };
    match tokens.holder(bearer.trim_ascii()) {
        Ok(Some(grant)) => Ok(Holder { by: Some(&grant.name), role: grant.role }),
        Ok(None) => Err(Fault::OtherToken),
        Err(fault) => Err(Fault::Unknown(fault)),
    }
}

/// From this machine, and under no name that somebody else may have given it.
fn allow_here(peer: SocketAddr, headers: &HeaderMap) -> Result<(), Fault> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(Fault::Elsewhere);
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_local_name(host) => Ok(()),
        _ => Err(Fault::Host),
    }
}

/// With the header that no page elsewhere can send.
fn allow_marked(headers: &HeaderMap) -> Result<(), Fault> {
    let marked = headers.get("x-redhold").is_some_and(|value| value == "1");
    if marked { Ok(()) } else { Err(Fault::Header) }
}

pub fn is_local_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    if let Some(v6) = host.strip_prefix('[') {
        return v6.strip_suffix(']').is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    }
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (port_fits && name.eq_ignore_ascii_case("localhost")) || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::TokenFile;

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn asked(peer: &str, headers: &[(&'static str, &str)]) -> Result<(), String> {
        let target = Uri::from_static("/api/drain");
        let (tokens, peer) = (Tokens::default(), peer.parse().unwrap());
        let asked = allow(&tokens, Asks::Order, peer, &target, &map(headers));
        asked.map(|holder| assert_eq!(holder, Holder { by: None, role: TokenRole::Admin })).map_err(
            |refusal| {
                assert_eq!((refusal.code, refusal.fault), (StatusCode::FORBIDDEN, None));
                refusal.reason.to_owned()
            },
        )
    }

    fn looked(peer: &str, headers: &[(&'static str, &str)]) -> Result<(), String> {
        let target = Uri::from_static("/api/status");
        let (tokens, peer) = (Tokens::default(), peer.parse().unwrap());
        let looked = allow(&tokens, Asks::Details, peer, &target, &map(headers));
        looked.map(drop).map_err(|refusal| refusal.reason.to_owned())
    }

    #[test]
    fn an_upgrade_asks_for_as_much_as_an_order_at_least() {
        let target = Uri::from_static("/api/upgrade");
        let upgrade = |peer: &str, headers: &[(&'static str, &str)]| {
            let tokens = Tokens::default();
            let asked = allow(&tokens, Asks::Upgrade, peer.parse().unwrap(), &target, &map(headers));
            asked.map(drop).map_err(|refusal| refusal.reason)
        };
        let (mark, host) = (("x-redhold", "1"), ("host", "localhost"));
        assert_eq!(upgrade("127.0.0.1:1", &[mark, host]), Ok(()));
        assert!(upgrade("127.0.0.1:1", &[host]).unwrap_err().contains("X-Redhold"));
        assert!(upgrade("10.0.0.1:1", &[mark, host]).unwrap_err().contains("orders are taken from"));
    }

    #[test]
    fn who_names_a_host_in_the_target_may_not() {
        let headers = map(&[("x-redhold", "1"), ("host", "localhost")]);
        let target = Uri::from_static("http://evil.example/api/status");
        let peer = "127.0.0.1:1".parse().unwrap();
        for asks in [Asks::Order, Asks::Details] {
            let tokens = Tokens::default();
            let refused = allow(&tokens, asks, peer, &target, &headers).unwrap_err();
            assert!(refused.reason.contains("path alone"), "{refused:?}");
        }
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
                    .contains("own machine")
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
            "127.0.0.1:+80",
            "[127.0.0.1]",
        ] {
            let refused = asked("127.0.0.1:1", &[("x-redhold", "1"), ("host", host)]);
            assert!(refused.unwrap_err().contains("Host"), "{host}");
        }
        assert!(asked("127.0.0.1:1", &[("x-redhold", "1")]).is_err(), "no Host at all");
        let twice = [("x-redhold", "1"), ("host", "localhost"), ("host", "evil.example")];
        assert!(asked("127.0.0.1:1", &twice).is_err());
    }

    #[test]
    fn details_are_for_this_machine_under_a_plain_host_and_need_no_header() {
        assert_eq!(looked("127.0.0.1:1", &[("host", "127.0.0.1:9380")]), Ok(()));
        assert_eq!(looked("[::1]:1", &[("host", "localhost")]), Ok(()));
        let elsewhere = looked("10.0.0.1:1", &[("host", "localhost"), ("x-redhold", "1")]);
        assert!(elsewhere.unwrap_err().contains("own machine only"));
        for host in ["evil.example", "localhost.evil.example:9380", ""] {
            let rebound = looked("127.0.0.1:1", &[("host", host), ("x-redhold", "1")]);
            assert!(rebound.unwrap_err().contains("as localhost only"), "{host}");
        }
        assert!(looked("127.0.0.1:1", &[]).is_err());
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(looked("127.0.0.1:1", &twice).is_err());
    }

    #[test]
    fn who_knows_the_token_may_from_anywhere_and_nobody_else() {
        const TOKEN: &str = "0123456789abcdef";
        let path = std::env::temp_dir().join(format!("redhold-guard-{}", std::process::id()));
        std::fs::write(&path, TOKEN).unwrap();
        let tokens = Tokens::new(Some(TokenFile::new(path.clone()).unwrap()), Vec::new());
        let asked = |peer: &str, headers: &[(&'static str, &str)]| {
            let (peer, headers) = (peer.parse().unwrap(), map(headers));
            let target = Uri::from_static("/api/drain");
            let [asked, looked] =
                [Asks::Order, Asks::Details].map(|asks| allow(&tokens, asks, peer, &target, &headers));
            let fault =
                |of: &Result<Holder<'_>, Refusal>| of.as_ref().err().map(|refusal| refusal.fault.clone());
            assert_eq!(fault(&looked), fault(&asked));
            asked.map(drop).map_err(|refusal| (refusal.code.as_u16(), refusal.fault.is_some()))
        };
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(asked("10.0.0.1:1", &[("authorization", &bearer)]), Ok(()));
        assert_eq!(asked("10.0.0.1:1", &[("authorization", &format!("bearer  {TOKEN} "))]), Ok(()));
        for other in [
            "",
            TOKEN,
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdeF",
            "Bearer \u{e9}",
        ] {
            assert_eq!(asked("127.0.0.1:1", &[("authorization", other)]), Err((401, false)), "{other}");
        }
        let page = [("x-redhold", "1"), ("host", "localhost")];
        assert_eq!(asked("127.0.0.1:1", &page), Err((401, false)), "nor from this machine");
        let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
        assert_eq!(asked("127.0.0.1:1", &twice), Err((401, false)));
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            asked("127.0.0.1:1", &[("authorization", &bearer)]),
            Err((503, true)),
            "it can not be known any more"
        );
    }
}
