//! A client for the admin endpoint: one request a connection, everything bounded.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::admin::TokenFile;

use super::args::AdminUrl;

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer; longer than the endpoint itself gives an order.
const ANSWER_WITHIN: Duration = Duration::from_secs(75);

/// Largest answer, bytes.
const ANSWER_MAX: u64 = 8 << 20;

/// A status code and a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: String,
}

/// Asks an endpoint (`http://host:port`, `host:port`) for a path. The token goes with orders alone.
///
/// # Errors
/// A sentence that names the URL, or the file of the token.
pub(super) fn ask(admin: &AdminUrl, method: &str, path: &str, body: &str) -> Result<Answer, String> {
    let url = &admin.admin;
    let address = resolve(url)?;
    let token = admin.token_file.as_ref().filter(|_| method != "GET");
    let bearer = match token.map(|file| TokenFile::new(file.clone()).and_then(|file| file.read())) {
        Some(Ok(token)) => format!("Authorization: Bearer {}\r\n", *token),
        Some(Err(fault)) => return Err(format!("--token-file: {fault}")),
        None => String::new(),
    };
    exchange(address, method, path, &bearer, body).map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("nobody listens at {url}: is the proxy running?"),
        _ => format!("no answer from {url}: {error}"),
    })
}

fn resolve(url: &str) -> Result<SocketAddr, String> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{url}: only http is spoken here, not {scheme}")),
        None => url,
    };
    let host = rest.trim_end_matches('/');
    let mut found =
        host.to_socket_addrs().map_err(|error| format!("{url}: not http://host:port: {error}"))?;
    found.next().ok_or_else(|| format!("{url}: no such host"))
}

fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    bearer: &str,
    body: &str,
) -> std::io::Result<Answer> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_WITHIN)?;
    // The resolved address as Host: orders are refused under any other name than localhost.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Redhold: 1\r\n{bearer}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
    );
    stream.set_write_timeout(Some(CONNECT_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
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
        for url in ["http://127.0.0.1:9380", "http://127.0.0.1:9380/", "127.0.0.1:9380"] {
            assert_eq!(resolve(url), Ok(SocketAddr::from(([127, 0, 0, 1], 9380))), "{url}");
        }
        assert_eq!(resolve("[::1]:9").map(|address| address.to_string()), Ok("[::1]:9".to_owned()));
        assert!(resolve("https://127.0.0.1:9380").unwrap_err().contains("not https"));
        assert!(resolve("127.0.0.1").unwrap_err().contains("not http://host:port"));
    }

    #[test]
    fn a_query_value_is_percent_encoded() {
        assert_eq!(encode("[::1]:6379"), "%5B%3A%3A1%5D%3A6379");
        assert_eq!(encode("redis-0.a_b~c"), "redis-0.a_b~c");
    }
}
