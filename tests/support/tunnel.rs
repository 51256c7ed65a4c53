//! TLS for clients that speak none: a way in that is plain on one side and TLS on the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::certificates::{Authority, Certificate};

/// How a client speaks TLS that trusts this authority, shows this certificate, and speaks these versions.
pub fn trusting(
    authority: &Authority,
    shown: Option<&Certificate>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM"))
        .expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that there are")
        .with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.cert.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a certificate and its key")
        }
    }
}

/// Whoever connects to it is connected to somebody who speaks TLS. Gone when dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// To the server at `to`, which is called by its address.
    pub fn open(to: SocketAddr, config: ClientConfig) -> Self {
        Self::with_header(to, config, b"")
    }

    /// As `open`, with this before everything else.
    pub fn with_header(to: SocketAddr, config: ClientConfig, header: &'static [u8]) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let (end, ended) = oneshot::channel();
        let way = Way { to, header, connector: TlsConnector::from(Arc::new(config)) };
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    done = serve(listener, way) => done.expect("it listens"),
                    _ = ended => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("tunnel".to_owned()).spawn(run).expect("a thread");
        Self { address, end: Some(end), thread: Some(thread) }
    }

    /// Its plain end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// How a connection is passed on.
#[derive(Clone)]
struct Way {
    to: SocketAddr,
    header: &'static [u8],
    connector: TlsConnector,
}

impl Way {
    async fn pass_on(self, plain: TcpStream) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        // Else the kernel takes as much for a client that does not read as it sees fit.
        socket.set_recv_buffer_size(64 << 10)?;
        let mut stream = socket.connect(self.to).await?;
        plain.set_nodelay(true)?;
        stream.set_nodelay(true)?;
        stream.write_all(self.header).await?;
        let encrypted = self.connector.connect(ServerName::from(self.to.ip()), stream).await?;
        let ((from_client, to_client), (from_server, to_server)) = (plain.into_split(), split(encrypted));
        // Each way by itself: a server that takes no more may have said why.
        let (sent, received) = tokio::join!(pass(from_client, to_server), pass(from_server, to_client));
        sent.and(received)
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn serve(listener: std::net::TcpListener, way: Way) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (plain, _) = listener.accept().await?;
        // However it ends, both sides are closed.
        tokio::spawn(way.clone().pass_on(plain));
    }
}
