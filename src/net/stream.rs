//! A connection to a node, TCP or TLS over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sockets::is_silent;
use super::tls::{Dialect, named};

/// Bytes that a record of TLS carries (RFC 8446, 5.1).
const RECORD_MAX: usize = 16 << 10;

/// Whether this is the other side's word that it will have no session, or a certificate that it can not have one with.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

/// See the module's text. What was written over TLS is on its way only once it was flushed.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Agrees on keys with the node that was dialled as `host`.
    ///
    /// # Errors
    /// `InvalidData`: the node speaks no TLS, is not whom it should be, or did not accept us. `Other`: the connection ended
    /// meanwhile, which says nothing of the process: a server that is full closes without a word.
    pub(super) async fn agree(stream: TcpStream, dialect: Dialect, host: &str) -> io::Result<Self> {
        let name = dialect.name.map_or_else(|| named(host), Ok)?;
        match TlsConnector::from(dialect.config).connect(name, stream).await {
            Ok(session) => Ok(Self::Tls(Box::new(session))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
            Err(error) => Err(io::Error::other(format!("no TLS session: {error}"))),
        }
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether the peer has neither written nor closed since the last read. The kernel is asked; nothing is taken.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let is_read = match self {
            Self::Plain(_) => true,
            Self::Tls(stream) => stream.get_ref().1.wants_read(),
        };
        is_read && is_silent(self.socket())
    }

    /// Whether keys were agreed on.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The node's end.
    ///
    /// # Errors
    /// There is none any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            // A node that ends without the alert for it has ended.
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer).map(|read| match read {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                read => read,
            }),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            // A record at a time, and only once the one before is written: else bytes that were sent are not counted when the
            // connection breaks in the middle, and would be sent again.
            Self::Tls(stream) => {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                Pin::new(stream).poll_write(cx, &bytes[..bytes.len().min(RECORD_MAX)])
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
