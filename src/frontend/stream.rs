//! A client's socket, TCP, TLS over it or unix, as a reading half for its task and a writing half for whoever has replies.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use super::tls::TlsStream;

/// The reading half.
#[derive(Debug)]
pub(super) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Tls(Rc<TlsStream>),
    Unix(unix::OwnedReadHalf),
}

/// The writing half.
#[derive(Debug)]
pub(super) enum Writer {
    Tcp(Half<tcp::OwnedWriteHalf>),
    Tls(Rc<TlsStream>),
    Unix(Half<unix::OwnedWriteHalf>),
}

/// Empty once the socket is another process's: dropped, it would end the connection.
#[derive(Debug)]
pub(super) struct Half<T>(RefCell<Option<T>>);

impl<T> Half<T> {
    fn new(half: T) -> Self {
        Self(RefCell::new(Some(half)))
    }

    fn with<R>(&self, then: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.0.borrow().as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), then)
    }
}

pub(super) fn split_tcp(stream: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Tcp(reader), Writer::Tcp(Half::new(writer)))
}

pub(super) fn split_tls(stream: Rc<TlsStream>) -> (Reader, Writer) {
    (Reader::Tls(stream.clone()), Writer::Tls(stream))
}

pub(super) fn split_unix(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Unix(reader), Writer::Unix(Half::new(writer)))
}

impl Reader {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
            Self::Unix(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl Writer {
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.with(|half| half.try_write(bytes)),
            Self::Tls(stream) => stream.try_write(bytes),
            Self::Unix(half) => half.with(|half| half.try_write(bytes)),
        }
    }

    /// Writes what was taken before and could not be written; false when the connection is broken.
    #[inline]
    pub(super) fn try_flush(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(stream) => stream.try_flush().is_ok(),
        }
    }

    /// Bytes that were taken and are not written yet: only TLS keeps what it encrypted.
    #[inline]
    pub(super) fn unwritten(&self) -> usize {
        match self {
            Self::Tcp(_) | Self::Unix(_) => 0,
            Self::Tls(stream) => stream.unwritten(),
        }
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = match self {
            Self::Tcp(half) => half.with(|half| Ok(half.as_ref().poll_write_ready(cx))),
            Self::Tls(stream) => Ok(stream.socket().poll_write_ready(cx)),
            Self::Unix(half) => half.with(|half| Ok(half.as_ref().poll_write_ready(cx))),
        };
        ready.unwrap_or_else(|error| Poll::Ready(Err(error)))
    }

    /// Ends the connection both ways, whoever else holds the socket.
    pub(super) fn shut(&self) {
        let _ = match self {
            Self::Tcp(half) => half.with(|half| SockRef::from(half.as_ref()).shutdown(Shutdown::Both)),
            Self::Tls(stream) => {
                stream.shut();
                Ok(())
            }
            Self::Unix(half) => half.with(|half| SockRef::from(half.as_ref()).shutdown(Shutdown::Both)),
        };
    }

    /// Nothing but the client's bytes goes over the socket.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Does this with the socket, if nothing but the client's bytes goes over it.
    pub(super) fn plain<R>(
        &self,
        then: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        match self {
            Self::Tcp(half) => Some(half.with(|half| then(half.as_ref().as_fd()))),
            Self::Tls(_) => None,
            Self::Unix(half) => Some(half.with(|half| then(half.as_ref().as_fd()))),
        }
    }

    /// The connection is another process's: nothing more is written here, and it goes on when this is dropped.
    pub(super) fn let_go(&self) {
        match self {
            Self::Tcp(half) => half.0.take().into_iter().for_each(tcp::OwnedWriteHalf::forget),
            Self::Tls(_) => {}
            Self::Unix(half) => half.0.take().into_iter().for_each(unix::OwnedWriteHalf::forget),
        }
    }

    /// Whether the peer has closed or half-closed, asked of the kernel: bytes that were not read yet do not hide
    /// it.
    pub(super) fn peer_closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let flags = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let is_closed = |socket: BorrowedFd<'_>| {
            let now = rustix::event::Timespec::default();
            Ok(poll(&mut [PollFd::from_borrowed_fd(socket, flags)], Some(&now)).is_ok_and(|ready| ready > 0))
        };
        let asked = match self {
            Self::Tls(stream) => is_closed(stream.socket().as_fd()),
            Self::Tcp(_) | Self::Unix(_) => self.plain(is_closed).unwrap_or(Ok(true)),
        };
        asked.unwrap_or(true)
    }
}
