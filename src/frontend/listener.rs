//! One thread accepts for all listening sockets and gives each client to the worker with the fewest.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::net::{Inherited, SocketOptions};

use super::Listen;
use super::doorway::Doorway;
use super::entrance::Refusal;
use super::shared::Ending;

/// Pause after the system refused to accept (no descriptor left): the condition does not end by asking again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a client's socket behaves when its host falls silent. It is asked after five minutes, as Redis does by default,
/// and given up after ten: whether nothing comes, or what it is sent is not acknowledged.
const CLIENT_SOCKET: SocketOptions = SocketOptions {
    user_timeout: Duration::from_secs(600),
    keepalive: Duration::from_secs(300),
    probe_interval: Duration::from_secs(100),
};

/// Connections waiting in the kernel for `accept`.
const BACKLOG: i32 = 1024;

/// A client that was just accepted; not yet bound to a runtime.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr),
    /// TCP, over which TLS is to be spoken.
    Tls(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Where it comes from; over a unix socket from nowhere.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) | Self::Tls(_, peer) => Some(peer.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Says why before it closes; a fresh socket's buffer always has room for a line. Who expects TLS could not read it, and
    /// keys are not agreed on for that: as with Redis it is closed without a word.
    pub(super) fn refuse(self, refusal: Refusal) {
        let line = refusal.line().as_bytes();
        let _ = match self {
            Self::Tcp(mut stream, _) => stream.write(line),
            Self::Tls(..) => Ok(0),
            Self::Unix(mut stream) => stream.write(line),
        };
    }
}

/// A listening socket, bound and not yet served.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// TCP, over which TLS is spoken.
    Tls(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// Its address, when it is TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Binds `listen`, unless a socket that listens there was inherited, so that a bad address fails before anything else starts. `tls`:
/// there is a certificate.
///
/// # Errors
/// The system's own, with the address in front.
pub fn bind(listen: &Listen, tls: bool, inherited: &mut Inherited) -> io::Result<Bound> {
    match listen {
        Listen::Tcp(address) | Listen::Plain(address) => {
            let listener = inherited.tcp(*address).map_or_else(|| bind_tcp(*address), Ok)?;
            let speaks_tls = tls && matches!(listen, Listen::Tcp(_));
            Ok(if speaks_tls { Bound::Tls(listener) } else { Bound::Tcp(listener) })
        }
        Listen::Unix(path) => {
            if let Some(listener) = inherited.unix(path) {
                return Ok(Bound::Unix(listener));
            }
            // A socket file that nobody listens on is what a process left behind. One to which we may not connect is another's.
            let left = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            let stale = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
                && std::os::unix::net::UnixStream::connect(path).is_err_and(left);
            if stale {
                std::fs::remove_file(path)?;
            }
            let bound = std::os::unix::net::UnixListener::bind(path);
            let listener = bound.map_err(|error| named(&path.display().to_string(), &error))?;
            listener.set_nonblocking(true)?;
            Ok(Bound::Unix(listener))
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).map_err(|error| named(&address.to_string(), &error))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn named(place: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"))
}

/// Accepts until the end begins.
pub(super) async fn accept(
    bound: Bound,
    doorway: Rc<Doorway>,
    mut ends: watch::Receiver<Ending>,
) -> io::Result<()> {
    enum Listener {
        Tcp(tokio::net::TcpListener),
        Tls(tokio::net::TcpListener),
        Unix(tokio::net::UnixListener),
    }
    let listener = match bound {
        Bound::Tcp(listener) => Listener::Tcp(tokio::net::TcpListener::from_std(listener)?),
        Bound::Tls(listener) => Listener::Tls(tokio::net::TcpListener::from_std(listener)?),
        Bound::Unix(listener) => Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
    };
    loop {
        let next = async {
            doorway.rest().await;
            match &listener {
                Listener::Tcp(listener) => {
                    let (stream, peer) = accept_tcp(listener).await?;
                    Ok(Accepted::Tcp(stream, peer))
                }
                Listener::Tls(listener) => {
                    let (stream, peer) = accept_tcp(listener).await?;
                    Ok(Accepted::Tls(stream, peer))
                }
                Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
            }
        };
        // Whoever waits when the end comes is left to a next process that may have the socket.
        let accepted: io::Result<Accepted> = tokio::select! {
            biased;
            _ = ends.wait_for(|ending| *ending >= Ending::Shut) => return Ok(()),
            accepted = next => accepted,
        };
        match accepted {
            Ok(client) => doorway.take(client),
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept clients");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_tcp(listener: &tokio::net::TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    CLIENT_SOCKET.apply(&stream)?;
    Ok((stream.into_std()?, peer))
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::doorway::{Admitted, door};
    use crate::frontend::shared::Shared;
    use crate::frontend::slow_log::SlowLog;
    use crate::routing::OwnWrites;
    use crate::telemetry::Metrics;
    use crate::topology::Marks;
    use socket2::SockRef;
    use std::sync::Arc;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_socket_file_that_was_left_is_replaced_and_one_in_use_is_not() {
        let path = std::env::temp_dir().join(format!("redhold-listener-{}", std::process::id()));
        let bind = || bind(&Listen::Unix(path.clone()), false, &mut Inherited::default());
        let first = bind().unwrap();
        let refused = bind().unwrap_err().to_string();
        assert!(refused.contains(&path.display().to_string()) && refused.contains("in use"), "{refused}");
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "whose it is goes on");
        drop(first);
        assert!(path.exists(), "nobody took it away");
        drop(bind().unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "no socket").unwrap();
        assert!(bind().is_err() && path.exists(), "nor is it anybody's but a socket's");
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_clients_socket_does_not_stay_half_open() {
        let bound =
            bind(&Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), false, &mut Inherited::default())
                .unwrap();
        let address = bound.address().unwrap();
        let (door, mut clients) = door();
        let shared = Arc::new(Shared::new(
            Arc::new(Marks::new(Instant::now())),
            OwnWrites::Off,
            SlowLog::new(Duration::ZERO, 0),
            Arc::default(),
        ));
        let (_ending, ends) = watch::channel(Ending::NotYet);
        let metrics = Metrics::new(vec![], vec![], 0, 0).acceptor();
        let doorway = Doorway::new(vec![door], shared, metrics);
        let local = tokio::task::LocalSet::new();
        let _entered = local.enter();
        tokio::task::spawn_local(accept(bound, Rc::new(doorway), ends));
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let accepted = local.run_until(tokio::time::timeout(PATIENCE, clients.recv())).await.unwrap();
        let Some(Admitted { id: 1, socket: Accepted::Tcp(stream, _), .. }) = accepted else {
            panic!("{accepted:?}")
        };
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), CLIENT_SOCKET.keepalive);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), CLIENT_SOCKET.probe_interval);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(CLIENT_SOCKET.user_timeout));
    }
}
