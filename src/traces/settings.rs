//! Where a collector is, as `tracing.otlp` says it. Pure.

use std::fmt;
use std::sync::Arc;

/// What a collector's own path for traces adds to the base URL (OTLP/HTTP).
const TRACES: &str = "/v1/traces";

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is posted to, beginning with `/`.
    pub path: String,
}

impl Endpoint {
    /// From a base URL, `http://host:port` and perhaps a path.
    ///
    /// # Errors
    /// One sentence that names what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        // What stands before a `@` may be a password.
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, place)| format!("***@{place}"));
        let wrong = |what: &str| format!("`{shown}` {what}");
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(wrong(
                    "is over TLS, which is not spoken to collectors: name one on this machine or in this network, which passes traces on over TLS",
                ));
            }
            Some((scheme, _)) => {
                return Err(wrong(&format!("has the scheme {scheme}; write http://host:port")));
            }
            None => return Err(wrong("has no scheme; write http://host:port")),
        };
        if let Some(odd) = rest.chars().find(|c| c.is_control() || c.is_whitespace() || "@?#\\".contains(*c))
        {
            let odd = odd.escape_default();
            return Err(wrong(&format!("has a `{odd}`, and is to be http://host:port and perhaps a path")));
        }
        let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) =
            place.rsplit_once(':').ok_or_else(|| wrong("has no port; collectors listen at 4318"))?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            Some(_) => return Err(wrong("has no IPv6 address in its brackets")),
            None if host.contains([':', '[', ']']) => {
                return Err(wrong("has an IPv6 address without brackets"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("has no port from 1 to 65535"))?;
        let path = path.trim_end_matches('/');
        if path.ends_with(TRACES) {
            return Err(wrong("ends with /v1/traces, which is added to it: leave that out"));
        }
        if !path.is_ascii() {
            return Err(wrong("has a path that is not ASCII"));
        }
        Ok(Self { host: host.to_owned(), port, path: format!("{path}{TRACES}") })
    }

    /// As HTTP's Host.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

/// Where a node is, for the spans that lead there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlace {
    /// Name or address.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_becomes_what_is_posted_to() {
        for (url, posted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://[::1]:9/otlp/", "http://[::1]:9/otlp/v1/traces"),
        ] {
            assert_eq!(Endpoint::parse(url).map(|it| it.to_string()).as_deref(), Ok(posted));
        }
        let six = Endpoint::parse("http://[::1]:9/a/b").unwrap();
        assert_eq!((six.host.as_str(), six.port, six.path.as_str()), ("::1", 9, "/a/b/v1/traces"));
    }

    #[test]
    fn a_bad_url_is_refused_with_what_is_wrong() {
        for (url, what) in [
            ("collector:4318", "no scheme"),
            ("grpc://collector:4317", "the scheme grpc"),
            ("https://collector:4318", "over TLS"),
            ("http://collector", "no port"),
            ("http://collector:0", "no port from 1"),
            ("http://collector:70000", "no port from 1"),
            ("http://:4318", "no host"),
            ("http://::1:4318", "without brackets"),
            ("http://[collector]:4318", "no IPv6 address in its brackets"),
            ("http://me:sesame@collector:4318", "has a `@`"),
            ("https://me:sesame@collector:4318", "over TLS"),
            ("http://collector:4318/?x=1", "has a `?`"),
            ("http://collector:4318/a b", "has a ` `"),
            ("http://collector:4318/\r\nX: y", "has a `\\r`"),
            ("http://collector:4318/v1/traces/", "leave that out"),
            ("http://collector:4318/ä", "not ASCII"),
        ] {
            let said = Endpoint::parse(url).unwrap_err();
            assert!(said.contains(what), "{url}: {said}");
            assert!(!said.contains("sesame"), "{said}");
        }
    }
}
