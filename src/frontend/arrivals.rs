//! Clients as they come to a worker: each gets a task, after a load balancer has said for whom it comes.

use std::future::Future;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use super::connection::Connection;
use super::doorway::{Admitted, Seat};
use super::entrance::Refusal;
use super::listener::Accepted;
use super::proxy_header::{Introduction, read_header};
use super::registry::{Ends, Place};
use super::stream;
use super::worker::Worker;

/// A header comes with the connection: who has none is not what it should be.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);

/// A client's task. Not an async block: that would have room for the connection twice, in each of ten thousand idle clients.
struct Served {
    connection: Connection,
    /// Dropped after the connection.
    _present: Present,
}

impl Future for Served {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

/// Keeps the numbers and lists of clients true, whatever way a client ends.
struct Present {
    id: u64,
    worker: Rc<Worker>,
    _seat: Seat,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.worker.leave(self.id);
        self.worker.shared.registry.remove(self.id);
    }
}

/// Serves all that come.
pub(super) async fn take_clients(worker: Rc<Worker>, mut clients: mpsc::Receiver<Admitted>) {
    while let Some(admitted) = clients.recv().await {
        let place = place_of(&admitted.socket);
        let address = admitted.socket.address();
        if address.is_some_and(|address| worker.settings.entrance.speaks_for_others(address)) {
            tokio::task::spawn_local(introduce(worker.clone(), admitted, place));
            continue;
        }
        let Admitted { id, socket, seat } = admitted;
        let split = match socket {
            Accepted::Tcp(stream, _) => tokio::net::TcpStream::from_std(stream).map(stream::split_tcp),
            Accepted::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(stream::split_unix),
        };
        if let Ok((reader, writer)) = split {
            serve(&worker, Connection::new(id, worker.clone(), reader, writer), place, seat);
        }
    }
    // The acceptor is gone; clients that are still here are served until the process ends.
    std::future::pending::<()>().await;
}

fn serve(worker: &Rc<Worker>, connection: Connection, place: Place, seat: Seat) {
    let id = connection.client.id;
    let present = Present { id, worker: worker.clone(), _seat: seat };
    worker.enter(&connection.client);
    let (said, live) = (connection.session.shown(), connection.client.live.clone());
    worker.shared.registry.enter(id, place, said, live);
    tokio::task::spawn_local(Served { connection, _present: present });
}

/// Serves a client once the balancer that it comes through has said who it is.
async fn introduce(worker: Rc<Worker>, admitted: Admitted, mut place: Place) {
    let Admitted { id, socket, mut seat } = admitted;
    let Accepted::Tcp(stream, balancer) = socket else { return };
    let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let introduced = match read_header(&mut stream, HEADER_PATIENCE).await {
        Ok(introduced) => {
            let client = introduced.ends.map_or(balancer, |(theirs, _)| theirs);
            seat.of(client.ip(), &worker.settings.entrance).map(|()| introduced)
        }
        Err(error) => {
            tracing::debug!(%balancer, %error, "no PROXY header");
            Err(Refusal::NoHeader)
        }
    };
    match introduced {
        Ok(Introduction { ends, rest }) => {
            if let Some((theirs, ours)) = ends {
                place.ends = Ends::Tcp(theirs, Some(ours));
            }
            let (reader, writer) = stream::split_tcp(stream);
            let mut connection = Connection::new(id, worker.clone(), reader, writer);
            connection.sent_before(rest);
            serve(&worker, connection, place, seat);
        }
        Err(refusal) => {
            worker.metrics.error(refusal.into());
            if let Ok(stream) = stream.into_std() {
                Accepted::Tcp(stream, balancer).refuse(refusal);
            }
        }
    }
}

/// The ends of a socket as Redis's client table names them.
fn place_of(accepted: &Accepted) -> Place {
    match accepted {
        Accepted::Tcp(stream, peer) => {
            Place { ends: Ends::Tcp(*peer, stream.local_addr().ok()), fd: stream.as_raw_fd() }
        }
        Accepted::Unix(stream) => {
            let address = stream.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            let path = path.unwrap_or_else(|| Path::new(""));
            Place { ends: Ends::Unix(path.into()), fd: stream.as_raw_fd() }
        }
    }
}
