//! Dialling a node. Names are resolved at each call, so that a node that moved is found.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::SocketOptions;

/// More addresses of one name than this are not tried.
const ADDRESSES_MAX: usize = 8;

/// Opens a TCP connection to `host` (a name or an address literal, IPv6 without brackets) within `timeout`,
/// resolution included, and applies `options`. Of several addresses each is tried in the resolver's order with an
/// equal share of the time that is left.
///
/// # Errors
/// `TimedOut` when `timeout` passed; `NotFound` when the name has no address; else the last address's own error
/// (`ConnectionRefused` when no process listens).
pub async fn connect(
    host: &str,
    port: u16,
    timeout: Duration,
    options: &SocketOptions,
) -> io::Result<TcpStream> {
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
                return Ok(stream);
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
    match timeout_at(deadline, lookup_host((host, port))).await {
        Ok(found) => Ok(found?.take(ADDRESSES_MAX).collect()),
        Err(_) => Err(timed_out(&format!("resolving {host}"))),
    }
}

fn timed_out(deed: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{deed} took too long"))
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
            let stream = connect(host, port, PATIENCE, &SocketOptions::default()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().port(), port);
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_apart_from_silence() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect("127.0.0.1", port, PATIENCE, &SocketOptions::default()).await.unwrap_err();
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
            match connect("127.0.0.1", address.port(), wait, &SocketOptions::default()).await {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
            assert!(queued.len() < 64, "a listener with backlog 0 took {} connections", queued.len());
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
