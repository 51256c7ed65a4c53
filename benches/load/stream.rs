//! A connection to the target or to the server behind it, over TLS where that is asked for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use crate::Args;
use crate::fault::Fault;

/// Where to connect, and how.
pub(crate) struct Dial {
    address: SocketAddr,
    /// For connecting, and for each read and write of a stream that blocks.
    patience: Duration,
    tls: Option<Arc<ClientConfig>>,
}

impl Dial {
    /// The target; its certificate has to be one for its address.
    ///
    /// # Errors
    /// The authorities' file holds none.
    pub(crate) fn target(args: &Args) -> Result<Self, Fault> {
        let tls = args.tls.as_deref().map(|ca| client(ca, args.resume)).transpose()?;
        Ok(Self { address: args.target, patience: args.patience(), tls })
    }

    /// The server behind the target.
    pub(crate) fn origin(args: &Args) -> Self {
        Self { address: args.origin, patience: args.patience(), tls: None }
    }

    /// A stream that blocks, and over which keys are agreed.
    ///
    /// # Errors
    /// No connection, or no certificate that counts.
    pub(crate) fn open(&self) -> Result<Stream, Fault> {
        let mut socket = TcpStream::connect_timeout(&self.address, self.patience)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(self.patience))?;
        socket.set_write_timeout(Some(self.patience))?;
        let Some(config) = &self.tls else { return Ok(Stream { socket, session: None }) };
        let name = ServerName::from(self.address.ip());
        let mut session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Stream { socket, session: Some(Box::new(session)) })
    }
}

/// TLS 1.3 only; without `resume` each session agrees on keys of its own.
fn client(ca: &Path, resume: bool) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(unusable)? {
        roots.add(certificate.map_err(unusable)?).map_err(unusable)?;
    }
    let builder = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn unusable(error: impl std::fmt::Display) -> Fault {
    Fault::new(format!("--tls: {error}"))
}

/// A connection; reads and writes as its socket does, blocking or not.
pub(crate) struct Stream {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Stream {
    /// What epoll watches.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether bytes wait that came with those that were read: epoll says nothing of them.
    pub(crate) fn holds_more(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.wants_read())
    }

    /// Whether the keys come from an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = self.session.as_ref().and_then(|session| session.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// Closes, over TLS with the alert for it.
    pub(crate) fn leave(mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            let _ = self.flush();
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.read(buffer) };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            session.read_tls(&mut self.socket)?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.write(bytes) };
        let taken = session.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        while session.wants_write() {
            session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
