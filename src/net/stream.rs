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

    /// The address of its own end.
    ///
    /// # Errors
    /// There is none any more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
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
            // A record at a time, and none before the last one has gone: of more, those that were sent are not counted when the
            // connection breaks at a later one, and would be sent again.
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use rustls::{ServerConnection, StreamOwned};
    use tokio::io::AsyncWriteExt;

    use super::super::tls::testing::pair;
    use super::*;

    /// A node that agrees on keys at once and reads when it is told to: first what comes until nothing does, whose length it tells, and
    /// then to the end. Returns all that it read.
    fn node(
        listener: std::net::TcpListener,
        config: Arc<rustls::ServerConfig>,
    ) -> (mpsc::Sender<()>, mpsc::Receiver<usize>, std::thread::JoinHandle<Vec<u8>>) {
        let (reads, told) = mpsc::channel();
        let (tells, came) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut session =
                StreamOwned::new(ServerConnection::new(config).unwrap(), listener.accept().unwrap().0);
            while session.conn.is_handshaking() {
                session.conn.complete_io(&mut session.sock).unwrap();
            }
            told.recv().unwrap();
            let (mut all, mut chunk) = (Vec::new(), [0; RECORD_MAX]);
            session.sock.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            while let Ok(count) = session.read(&mut chunk) {
                all.extend_from_slice(&chunk[..count]);
            }
            tells.send(all.len()).unwrap();
            session.sock.set_read_timeout(None).unwrap();
            session.read_to_end(&mut all).unwrap();
            all
        });
        (reads, came, thread)
    }

    /// So that a write that fails has sent nothing whole that was not counted before, and little counts that was not sent.
    #[tokio::test]
    async fn a_write_takes_a_record_at_most_and_one_at_most_waits() {
        let (server, client) = pair("record", "localhost");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reads, came, thread) = node(listener, server.made());
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = Stream::agree(socket, client.made(), "localhost").await.unwrap();
        let bytes: Vec<u8> = (0..64 << 20).map(|at| (at % 251) as u8).collect();
        let mut taken = 0;
        while let Some(count) = poll_fn(|cx| match Pin::new(&mut stream).poll_write(cx, &bytes[taken..]) {
            Poll::Ready(count) => Poll::Ready(Some(count.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
        {
            assert!((1..=RECORD_MAX).contains(&count), "{count}");
            taken += count;
        }
        let Stream::Tls(session) = &stream else { panic!("it is plain") };
        assert!(session.get_ref().1.wants_write(), "something waits for room");
        reads.send(()).unwrap();
        let sent = came.recv().unwrap();
        assert!(taken - sent <= RECORD_MAX, "{sent} of {taken} bytes");
        stream.shutdown().await.unwrap();
        let read = thread.join().unwrap();
        assert!(read == bytes[..taken], "{} bytes of {taken}", read.len());
    }
}
