//! A client for the admin endpoint: one request a connection, everything bounded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::admin::TokenFile;
use crate::net::{self, ClientFiles};
use crate::topology::Upgrade;

use super::args::AdminUrl;

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer; longer than the endpoint itself gives an order.
const ANSWER_WITHIN: Duration = Duration::from_secs(95);
const _: () = assert!(ANSWER_WITHIN.as_secs() > Upgrade::WITHIN.as_secs());

/// Largest answer, bytes.
const ANSWER_MAX: u64 = 8 << 20;

/// The first byte of the alert with which a TLS server answers what is none (RFC 8446, 5.1).
const TLS_ALERT: u8 = 21;

/// A status code and a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
}

/// The token in a file or a pipe, which is read once: a pipe has it only once.
///
/// # Errors
/// A sentence that names the file.
pub(super) fn token_in(path: &Path) -> Result<Zeroizing<String>, String> {
    TokenFile::read_at(path).map_err(|fault| format!("--token-file: {fault}"))
}

/// Asks an endpoint (`http://host:port`, `https://host:port`, `host:port`) for a path, with this token.
///
/// # Errors
/// A sentence that names the URL, or the file that can not be used.
pub(super) fn ask(
    admin: &AdminUrl,
    token: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Answer, String> {
    let url = &admin.admin;
    let endpoint = Endpoint::of(url)?;
    let bearer =
        token.map(|token| Zeroizing::new(format!("Authorization: Bearer {token}\r\n"))).unwrap_or_default();
    // The resolved address as Host: orders are refused under any other name than localhost.
    let request = Zeroizing::new(format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Redhold: 1\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        endpoint.address,
        *bearer,
        body.len(),
    ));
    let unanswered = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("nobody listens at {url}: is the proxy running?"),
        _ => format!("no answer from {url}: {error}"),
    };
    let connected = || {
        let socket = TcpStream::connect_timeout(&endpoint.address, CONNECT_WITHIN)?;
        socket.set_write_timeout(Some(CONNECT_WITHIN))?;
        Ok((socket.try_clone()?, socket))
    };
    let (socket, stream) = connected().map_err(unanswered)?;
    let answer = match endpoint.encrypted {
        false => exchange(&socket, stream, &request),
        true => exchange(&socket, net::over_tls(files(admin)?, endpoint.host, stream)?, &request),
    };
    answer.map_err(unanswered)
}

/// What is needed for TLS.
fn files(admin: &AdminUrl) -> Result<ClientFiles, String> {
    let Some(ca) = admin.ca.clone() else {
        return Err(format!("{}: needs --ca FILE, authorities that its certificate comes from", admin.admin));
    };
    let (cert, key) = (admin.cert.clone().unwrap_or_default(), admin.key.clone().unwrap_or_default());
    Ok(ClientFiles { ca, cert, key, server_name: String::new() })
}

/// Where an endpoint is.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint<'a> {
    encrypted: bool,
    host: &'a str,
    address: SocketAddr,
}

impl<'a> Endpoint<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let (encrypted, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(format!("{url}: only http and https are spoken here, not {scheme}"));
            }
            None => (false, url),
        };
        let place = rest.trim_end_matches('/');
        let mut found =
            place.to_socket_addrs().map_err(|error| format!("{url}: not http://host:port: {error}"))?;
        let address = found.next().ok_or_else(|| format!("{url}: no such host"))?;
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { encrypted, host, address })
    }
}

/// Over `stream`, whose socket is `socket`.
fn exchange(socket: &TcpStream, mut stream: impl Read + Write, request: &str) -> std::io::Result<Answer> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    socket.set_read_timeout(Some(CONNECT_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut chunk)? {
            0 => return parse(&bytes),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
        if bytes.len() as u64 > ANSWER_MAX {
            return Err(invalid("it is larger than any answer of the admin endpoint"));
        }
    }
}

fn parse(bytes: &[u8]) -> std::io::Result<Answer> {
    if bytes.first() == Some(&TLS_ALERT) {
        return Err(invalid("it speaks TLS: https://"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not text"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| invalid("it is not HTTP"))?;
    let mut lines = head.split("\r\n");
    let code = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
    let code = code.ok_or_else(|| invalid("it is not HTTP"))?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err(invalid("it is cut off"));
    }
    Ok(Answer { code, body: body.to_owned() })
}

fn invalid(reason: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
}

/// Text as the value in a query.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_refused() {
        let read = |text: &str| parse(text.as_bytes()).map_err(|error| error.to_string());
        let whole = Answer { code: 200, body: "ok\n".to_owned() };
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"), Ok(whole));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok\n"), Err("it is cut off".to_owned()));
        for other in ["", "-ERR unknown command\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
            assert_eq!(read(other), Err("it is not HTTP".to_owned()), "{other}");
        }
    }

    #[test]
    fn an_address_is_a_url_or_host_and_port() {
        let local = SocketAddr::from(([127, 0, 0, 1], 9380));
        for (url, encrypted) in [
            ("http://127.0.0.1:9380", false),
            ("http://127.0.0.1:9380/", false),
            ("127.0.0.1:9380", false),
            ("https://127.0.0.1:9380/", true),
        ] {
            let endpoint = Endpoint { encrypted, host: "127.0.0.1", address: local };
            assert_eq!(Endpoint::of(url), Ok(endpoint), "{url}");
        }
        let six = Endpoint::of("https://[::1]:9").unwrap();
        assert_eq!((six.host, six.address.to_string().as_str()), ("::1", "[::1]:9"));
        assert!(Endpoint::of("ftp://127.0.0.1:9380").unwrap_err().contains("not ftp"));
        assert!(Endpoint::of("127.0.0.1").unwrap_err().contains("not http://host:port"));
    }

    #[test]
    fn a_query_value_is_percent_encoded() {
        assert_eq!(encode("[::1]:6379"), "%5B%3A%3A1%5D%3A6379");
        assert_eq!(encode("redis-0.a_b~c"), "redis-0.a_b~c");
    }
}
