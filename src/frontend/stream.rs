//! A client's socket, TCP, TLS over it or unix, as a reading half for its task and a writing half for whoever has replies.

use std::io;
use std::net::Shutdown;
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
    Tcp(tcp::OwnedWriteHalf),
    Tls(Rc<TlsStream>),
    Unix(unix::OwnedWriteHalf),
}

pub(super) fn split_tcp(stream: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Tcp(reader), Writer::Tcp(writer))
}

pub(super) fn split_tls(stream: Rc<TlsStream>) -> (Reader, Writer) {
    (Reader::Tls(stream.clone()), Writer::Tls(stream))
}

pub(super) fn split_unix(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Unix(reader), Writer::Unix(writer))
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
            Self::Tcp(half) => half.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
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
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Tls(stream) => stream.socket().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
        }
    }

    /// Ends the connection both ways, whoever else holds the socket.
    pub(super) fn shut(&self) {
        let _ = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Both),
            Self::Tls(stream) => {
                stream.shut();
                Ok(())
            }
            Self::Unix(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Both),
        };
    }

    /// Whether the peer has closed or half-closed, asked of the kernel: bytes that were not read yet do not hide
    /// it.
    pub(super) fn peer_closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        let flags = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut set = [match self {
            Self::Tcp(half) => PollFd::new(half.as_ref(), flags),
            Self::Tls(stream) => PollFd::new(stream.socket(), flags),
            Self::Unix(half) => PollFd::new(half.as_ref(), flags),
        }];
        let now = rustix::event::Timespec::default();
        poll(&mut set, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}
