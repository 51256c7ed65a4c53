//! Clients as they come to a worker: each gets a task, after a load balancer has said for whom it comes and
//! keys are agreed on.

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::net;
use crate::telemetry::ErrorKind;

use super::connection::Connection;
use super::doorway::{Admitted, Seat};
use super::entrance::Refusal;
use super::handed::Belongings;
use super::listener::Accepted;
use super::proxy_header::{Introduction, read_header};
use super::registry::{Ends, Place};
use super::stream::{self, Reader, Writer};
use super::tls::TlsStream;
use super::worker::Worker;

/// A header comes with the connection: who has none is not what it should be.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);

/// Time in which a client has to agree on keys.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

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
pub(super) async fn take_clients(
    worker: Rc<Worker>,
    mut clients: mpsc::Receiver<Admitted>,
    tls: Option<Arc<net::TlsServer>>,
) {
    while let Some(admitted) = clients.recv().await {
        let mut place = place_of(&admitted.socket);
        let Admitted { id, socket, seat, for_another, belongings } = admitted;
        if let Some(belongings) = &belongings {
            place.ends = belongings.ends();
        }
        let newcomer = Newcomer { id, place, seat, for_another, belongings };
        match socket {
            Accepted::Tcp(stream, peer) if newcomer.for_another => {
                tokio::task::spawn_local(greet(worker.clone(), newcomer, stream, peer, None));
            }
            Accepted::Tls(stream, peer) => {
                let tls = tls.as_ref().map(|tls| tls.made());
                tokio::task::spawn_local(greet(worker.clone(), newcomer, stream, peer, tls));
            }
            Accepted::Tcp(stream, _) => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    newcomer.serve(&worker, stream::split_tcp(stream), BytesMut::new());
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    newcomer.serve(&worker, stream::split_unix(stream), BytesMut::new());
                }
            }
        }
    }
    // The acceptor is gone; clients that are still here are served until the process ends.
    std::future::pending::<()>().await;
}

/// A client before it is served.
struct Newcomer {
    id: u64,
    place: Place,
    seat: Seat,
    /// It says in a PROXY header for whom it comes.
    for_another: bool,
    belongings: Option<Box<Belongings>>,
}

impl Newcomer {
    /// `sent`: what was read from it already.
    fn serve(self, worker: &Rc<Worker>, socket: (Reader, Writer), sent: BytesMut) {
        let Self { id, place, seat, belongings, .. } = self;
        let now = Instant::now();
        let age = belongings.as_ref().map_or(Duration::ZERO, |it| it.age);
        let connected = now.checked_sub(age).unwrap_or(now);
        let mut connection = Connection::new(id, connected, worker.clone(), socket);
        if !sent.is_empty() {
            connection.sent_before(sent);
        }
        worker.enter(&connection.client, belongings.is_none());
        let present = Present { id, worker: worker.clone(), _seat: seat };
        if let Some(belongings) = belongings
            && !connection.take_up(*belongings)
        {
            connection.client.doom("its user is none any more");
        }
        let (said, live) = (connection.session.shown(), connection.client.live.clone());
        worker.shared.registry.enter(id, place, said, live);
        tokio::task::spawn_local(Served { connection, _present: present });
    }

    /// Learns from the balancer, if the client comes through one, who it is; what it sent already.
    async fn introduce(
        &mut self,
        worker: &Worker,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<BytesMut, Refusal> {
        let read = read_header(stream, HEADER_PATIENCE).await;
        let Introduction { ends, rest } = read.map_err(|error| {
            tracing::debug!(balancer = %peer, %error, "no PROXY header");
            Refusal::NoHeader
        })?;
        let client = ends.map_or(peer, |(theirs, _)| theirs);
        self.seat.of(client.ip(), &worker.shared.limits.load().entrance)?;
        if let Some((theirs, ours)) = ends {
            self.place.ends = Ends::Tcp(theirs, Some(ours));
        }
        Ok(rest)
    }
}

/// Serves a client once it is known who it is, and once keys are agreed on.
async fn greet(
    worker: Rc<Worker>,
    mut newcomer: Newcomer,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
) {
    let Ok(mut stream) = TcpStream::from_std(stream) else { return };
    let mut sent = BytesMut::new();
    if newcomer.for_another {
        match newcomer.introduce(&worker, &mut stream, peer).await {
            Ok(rest) => sent = rest,
            Err(refusal) => {
                worker.metrics.error(refusal.into());
                if let (None, Ok(stream)) = (tls, stream.into_std()) {
                    Accepted::Tcp(stream, peer).refuse(refusal);
                }
                return;
            }
        }
    }
    let Some(config) = tls else {
        return newcomer.serve(&worker, stream::split_tcp(stream), sent);
    };
    match Box::pin(TlsStream::accept(stream, &sent, config, HANDSHAKE_PATIENCE)).await {
        Ok(stream) => newcomer.serve(&worker, stream::split_tls(stream), BytesMut::new()),
        Err(error) => {
            tracing::debug!(client = newcomer.id, %peer, %error, "no TLS session");
            worker.metrics.error(ErrorKind::TlsHandshake);
        }
    }
}

/// The ends of a socket as Redis's client table names them.
fn place_of(accepted: &Accepted) -> Place {
    match accepted {
        Accepted::Tcp(stream, peer) | Accepted::Tls(stream, peer) => {
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
