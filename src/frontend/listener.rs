//! One thread accepts for all listening sockets and gives each client to the worker with the fewest.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::net::SocketOptions;

use super::Listen;
use super::shared::{Ending, Shared};

/// Clients on their way from the acceptor to one worker.
const HANDOVER_MAX: usize = 1024;

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
    Unix(std::os::unix::net::UnixStream),
}

/// A client and its id, given in the order of acceptance: ids of one listener only grow, as Redis's do.
pub(super) type Numbered = (u64, Accepted);

/// The acceptor's side of one worker.
#[derive(Debug)]
pub(super) struct WorkerDoor {
    pub(super) sender: mpsc::Sender<Numbered>,
    /// Clients that the worker has or is about to get.
    pub(super) clients: Arc<AtomicUsize>,
}

/// Both ends of the handover to one worker.
pub(super) fn door() -> (WorkerDoor, mpsc::Receiver<Numbered>, Arc<AtomicUsize>) {
    let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
    let clients = Arc::new(AtomicUsize::new(0));
    (WorkerDoor { sender, clients: clients.clone() }, receiver, clients)
}

/// A listening socket, bound and not yet served.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// Its address, when it is TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Binds `listen`, so that a bad address fails before anything else starts.
///
/// # Errors
/// The system's own, with the address in front.
pub fn bind(listen: &Listen) -> io::Result<Bound> {
    match listen {
        Listen::Tcp(address) => {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(*address), socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&(*address).into()).map_err(|error| named(&address.to_string(), &error))?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(Bound::Tcp(socket.into()))
        }
        Listen::Unix(path) => {
            // A socket file that nobody listens on is what a crash left behind.
            let stale = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
                && std::os::unix::net::UnixStream::connect(path).is_err();
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

fn named(place: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"))
}

/// Accepts until the end begins.
pub(super) async fn accept(
    bound: Bound,
    doors: Arc<Vec<WorkerDoor>>,
    shared: Arc<Shared>,
    max_clients: usize,
    mut ends: watch::Receiver<Ending>,
) -> io::Result<()> {
    enum Listener {
        Tcp(tokio::net::TcpListener),
        Unix(tokio::net::UnixListener),
    }
    let listener = match bound {
        Bound::Tcp(listener) => Listener::Tcp(tokio::net::TcpListener::from_std(listener)?),
        Bound::Unix(listener) => Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
    };
    loop {
        let next = async {
            match &listener {
                Listener::Tcp(listener) => {
                    let (stream, peer) = listener.accept().await?;
                    CLIENT_SOCKET.apply(&stream)?;
                    Ok(Accepted::Tcp(stream.into_std()?, peer))
                }
                Listener::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
            }
        };
        let accepted: io::Result<Accepted> = tokio::select! {
            accepted = next => accepted,
            _ = ends.wait_for(|ending| *ending > Ending::Announced) => return Ok(()),
        };
        match accepted {
            Ok(client) => give(client, &doors, &shared, max_clients),
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept clients");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}

fn give(client: Accepted, doors: &[WorkerDoor], shared: &Shared, max_clients: usize) {
    if shared.clients.load(Ordering::Relaxed) >= max_clients {
        return refuse(client, "-ERR max number of clients reached\r\n");
    }
    let Some(door) = doors.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else { return };
    shared.clients.fetch_add(1, Ordering::Relaxed);
    door.clients.fetch_add(1, Ordering::Relaxed);
    if let Err(refused) = door.sender.try_send((shared.next_client(), client)) {
        shared.clients.fetch_sub(1, Ordering::Relaxed);
        door.clients.fetch_sub(1, Ordering::Relaxed);
        let (mpsc::error::TrySendError::Full((_, client)) | mpsc::error::TrySendError::Closed((_, client))) =
            refused;
        refuse(client, "-ERR proxy is too busy to take new connections\r\n");
    }
}

/// Says why before it closes; a fresh socket's buffer always has room for a line.
fn refuse(client: Accepted, line: &str) {
    use std::io::Write;
    let _ = match client {
        Accepted::Tcp(mut stream, _) => stream.write(line.as_bytes()),
        Accepted::Unix(mut stream) => stream.write(line.as_bytes()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::slow_log::SlowLog;
    use crate::routing::OwnWrites;
    use crate::topology::Marks;
    use socket2::SockRef;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_clients_socket_does_not_stay_half_open() {
        let bound = bind(&Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let address = bound.address().unwrap();
        let (door, mut clients, _) = door();
        let shared = Arc::new(Shared::new(
            Arc::new(Marks::new(0, Instant::now())),
            OwnWrites::Off,
            SlowLog::new(Duration::ZERO, 0),
        ));
        let (_ending, ends) = watch::channel(Ending::NotYet);
        tokio::spawn(accept(bound, Arc::new(vec![door]), shared, 1, ends));
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let accepted = tokio::time::timeout(PATIENCE, clients.recv()).await.unwrap();
        let Some((1, Accepted::Tcp(stream, _))) = accepted else { panic!("{accepted:?}") };
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), CLIENT_SOCKET.keepalive);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), CLIENT_SOCKET.probe_interval);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(CLIENT_SOCKET.user_timeout));
    }
}
