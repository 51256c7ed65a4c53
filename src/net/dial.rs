//! Dialling a node. Names are resolved at each call, so that a node that moved is found.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::{SocketOptions, Stream, TlsClient};

/// More addresses of one name than this are not tried.
const ADDRESSES_MAX: usize = 8;

/// Opens a TCP connection to `host` (a name or an address literal, IPv6 without brackets) within `timeout`,
/// resolution included, applies `options`, and agrees on keys where TLS is spoken. Of several addresses each is tried in the resolver's order with an
/// equal share of the time that is left.
///
/// # Errors
/// `TimedOut` when `timeout` passed; `NotFound` when the name has no address; else the last address's own error
/// (`ConnectionRefused` when no process listens), or what TLS does not like.
pub async fn connect(
    host: &str,
    port: u16,
    timeout: Duration,
    options: &SocketOptions,
    tls: Option<&TlsClient>,
) -> io::Result<Stream> {
    let deadline = Instant::now() + timeout;
    let addresses = resolve(host, port, deadline).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    let count = addresses.len();
    for (tried, address) in addresses.into_iter().enumerate() {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(count - tried).unwrap_or(1);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                options.apply(&stream)?;
                let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
                let agreed = timeout_at(deadline, Stream::agree(stream, tls.made(), host)).await;
                // A server without TLS waits for the end of a line.
                let silent = || io::Error::other("no TLS session in time; does the node speak TLS there?");
                return agreed.unwrap_or_else(|_| Err(silent()));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = timed_out(&format!("connecting to {address}")),
        }
    }
    Err(last)
}

async fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(literal) = host.parse() {
        return Ok(vec![SocketAddr::new(literal, port)]);
    }
    #[cfg(test)]
    if let Some(address) = moving::address_of(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match timeout_at(deadline, lookup_host((host, port))).await {
        Ok(found) => Ok(found?.take(ADDRESSES_MAX).collect()),
        Err(_) => Err(timed_out(&format!("resolving {host}"))),
    }
}

fn timed_out(deed: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{deed} took too long"))
}

/// Names that a test gives an address, and then another. Each thread has its own.
#[cfg(test)]
pub(crate) mod moving {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    thread_local! {
        static ADDRESSES: RefCell<BTreeMap<String, IpAddr>> = RefCell::default();
    }

    /// From now on the name leads there.
    pub(crate) fn name_leads_to(name: &str, address: [u8; 4]) {
        ADDRESSES.with_borrow_mut(|known| known.insert(name.to_owned(), IpAddr::from(address)));
    }

    pub(super) fn address_of(name: &str) -> Option<IpAddr> {
        ADDRESSES.with_borrow(|known| known.get(name).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_literal_and_a_name_reach_the_listener() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let stream = connect(host, port, PATIENCE, &SocketOptions::default(), None).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().port(), port);
            assert!(stream.socket().nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_name_that_moves_is_followed() {
        let old = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = old.local_addr().unwrap().port();
        let new = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let reached = async || {
            let stream = connect("node.test", port, PATIENCE, &SocketOptions::default(), None).await;
            stream.unwrap().peer_addr().unwrap()
        };
        moving::name_leads_to("node.test", [127, 0, 0, 1]);
        assert_eq!(reached().await, old.local_addr().unwrap());
        drop(old);
        moving::name_leads_to("node.test", [127, 0, 0, 2]);
        assert_eq!(reached().await, new.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_is_told_apart_from_silence() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect("127.0.0.1", port, PATIENCE, &SocketOptions::default(), None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_full_accept_queue_ends_at_the_deadline() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        let error = loop {
            let wait = Duration::from_millis(100);
            match connect("127.0.0.1", address.port(), wait, &SocketOptions::default(), None).await {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
            assert!(queued.len() < 64, "a listener with backlog 0 took {} connections", queued.len());
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
