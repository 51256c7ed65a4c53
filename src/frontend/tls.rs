//! TLS towards a client: a session between its socket and those who read requests from it and write replies.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Encrypted bytes that wait for room in the socket.
const UNWRITTEN_MAX: usize = 64 << 10;

/// An encrypted connection.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    session: RefCell<ServerConnection>,
    /// Bytes that wait in it for room in the socket, without what is around them.
    unwritten: Cell<usize>,
}

/// The socket as it is now, without waiting.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    /// Agrees with the client on keys, and waits so long for it; `sent` was read from it already.
    ///
    /// # Errors
    /// The client speaks no TLS or none that is allowed, shows no certificate that is asked for, or was too slow.
    pub(super) async fn accept(
        socket: TcpStream,
        sent: &[u8],
        config: Arc<ServerConfig>,
        patience: Duration,
    ) -> io::Result<Rc<Self>> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(UNWRITTEN_MAX));
        let stream = Rc::new(Self { socket, session: RefCell::new(session), unwritten: Cell::default() });
        timeout(patience, stream.shake_hands(sent))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(stream)
    }

    async fn shake_hands(&self, mut sent: &[u8]) -> io::Result<()> {
        loop {
            if !sent.is_empty() {
                self.take(&mut sent)?;
                continue;
            }
            if self.try_flush()? {
                if !self.session.borrow().is_handshaking() {
                    return Ok(());
                }
                self.socket.readable().await?;
                match self.take(&mut Now(&self.socket)) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            } else {
                self.socket.writable().await?;
            }
        }
    }

    /// Decrypts what the source has; how many bytes that was.
    fn take(&self, source: &mut dyn Read) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let count = session.read_tls(source)?;
        let processed = session.process_new_packets();
        if let Err(error) = processed {
            // The client is told why, if the socket takes it.
            let _ = session.write_tls(&mut Now(&self.socket));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }

    /// Reads what has come; nothing at the client's end. A connection that ends without the alert for it ends too: what it
    /// cut short is no request.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let read = self.session.borrow_mut().reader().read(buffer.initialize_unfilled());
            match read {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
            ready!(self.socket.poll_read_ready(cx))?;
            match self.take(&mut Now(&self.socket)) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
    }

    /// Encrypts as much as there is room for and writes what the socket takes; how much of `bytes` need not be given again.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.borrow_mut().writer().write(bytes)?;
        self.unwritten.set(self.unwritten.get() + taken);
        self.try_flush()?;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Writes what is encrypted and the socket takes; whether that was all.
    pub(super) fn try_flush(&self) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            match session.write_tls(&mut Now(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.unwritten.set(self.unwritten.get().saturating_sub(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.unwritten.set(0);
        Ok(true)
    }

    /// Bytes that wait for room in the socket, without what is around them; of what is none of the client's, that there are some.
    pub(super) fn unwritten(&self) -> usize {
        if self.session.borrow().wants_write() { self.unwritten.get().max(1) } else { 0 }
    }

    /// Ends the connection both ways, with the alert that tells the client that nothing was cut off, if the socket takes it.
    pub(super) fn shut(&self) {
        self.session.borrow_mut().send_close_notify();
        let _ = self.try_flush();
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }
}
