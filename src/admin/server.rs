//! The socket and the thread. Everything that anybody can do here is bounded: connections, their life, headers, body.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::net::{self, Inherited};
use crate::topology::Upgrade;

use super::follow::follow;
use super::places::{Places, Work};
use super::routes::{Doors, answer};
use super::settings::Settings;

/// Longest time for a request's headers to arrive.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// Longest life of a connection, which carries one request; longer than the longest order, [`Upgrade::WITHIN`].
const LIFE_MAX: Duration = Duration::from_secs(90);
const _: () = assert!(LIFE_MAX.as_secs() > Upgrade::WITHIN.as_secs());

/// Largest head of a request, bytes.
const HEAD_MAX: usize = 16 << 10;

/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// How long the end waits for answers under way.
const LINGER: Duration = Duration::from_millis(200);

/// Pause after a failed accept (no descriptors left), so that the thread does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket that nobody serves yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// The running endpoint; it ends with [`Server::stop`] or when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

/// Takes the address.
///
/// # Errors
/// A sentence that names the address and the system's reason.
pub fn bind(settings: &Settings, inherited: &mut Inherited) -> Result<Bound, String> {
    let wanted = settings.listen;
    let listener = inherited.tcp(wanted).map_or_else(|| TcpListener::bind(wanted), Ok);
    let bound = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address })
    });
    bound.map_err(|error| format!("admin.listen: cannot listen on {wanted}: {error}"))
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Bound {
    /// The address in use, with the system's choice for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the thread `admin`, which also feeds the metrics of the group.
    ///
    /// # Errors
    /// The system's reason when no thread or no event queue is to be had.
    pub fn serve(self, doors: Doors) -> Result<Server, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("admin: {error}"))?;
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let listener = self.listener;
        let run = move || {
            runtime.block_on(async move {
                tokio::spawn(follow(doors.status.clone(), doors.metrics.clone(), doors.traces.clone()));
                tokio::spawn(doors.history.clone().keep(doors.metrics.clone()));
                if let Some(tls) = doors.certificates.admin.clone() {
                    tokio::spawn(net::keep_fresh("admin.tls", tls));
                }
                let places = Places::new();
                tokio::select! {
                    () = accept(listener, doors, places.clone()) => {}
                    () = stopped.notified() => {}
                }
                // Every place is free again once the answers under way have left, and those who linger are cut off.
                let _ = tokio::time::timeout(LINGER, places.all_free()).await;
            });
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run);
        let thread = thread.map_err(|error| format!("admin: {error}"))?;
        Ok(Server { address: self.address, stop, thread: Some(thread) })
    }
}

impl Server {
    /// The address in use.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was printed by its own hook.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, doors: Doors, places: Places) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin endpoint cannot listen"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without a place the stream is dropped, which closes it.
                if let Some(promised) = places.find() {
                    let (doors, work) = (doors.clone(), Work::default());
                    let (ours, its) = (places.clone(), work.clone());
                    let guest = tokio::spawn(async move {
                        let place = ours.take(promised).await;
                        enter(stream, peer, doors, its).await;
                        drop(place);
                    });
                    places.note(work, guest.abort_handle());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the admin endpoint could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Agrees on keys, where TLS is spoken.
async fn enter(stream: TcpStream, peer: SocketAddr, doors: Doors, work: Work) {
    let Some(tls) = doors.certificates.admin.clone() else {
        return converse(stream, peer, doors, work).await;
    };
    match tokio::time::timeout(HEADERS_WITHIN, net::accept(&tls, stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, doors, work).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS session with the admin endpoint"),
        Err(_) => tracing::debug!(%peer, "a TLS session with the admin endpoint took too long to begin"),
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, doors: Doors, work: Work) {
    let service = service_fn(|request| {
        let (doors, work) = (&doors, &work);
        async move {
            let answer = answer(doors, peer, request, work).await;
            work.set(false);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFE_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "an admin connection ended early"),
        Err(_) => tracing::debug!(%peer, "an admin connection outlived its time"),
    }
}
