//! TLS sessions on both sides of the admin endpoint, which nobody measures.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::{ClientFiles, TlsClient, TlsServer, named};

/// Agrees on keys with whoever has connected.
///
/// # Errors
/// The other side speaks no TLS, or shows no certificate where one is asked for.
pub async fn accept(
    tls: &TlsServer,
    socket: tokio::net::TcpStream,
) -> io::Result<TlsStream<tokio::net::TcpStream>> {
    TlsAcceptor::from(tls.made()).accept(socket).await
}

/// A session over a socket that blocks, with who was dialled as `host`; keys are agreed on with the first write.
///
/// # Errors
/// Which file can not be used, or that no certificate can carry this name.
pub fn over_tls(
    files: ClientFiles,
    host: &str,
    socket: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let dialect = TlsClient::load(files)?.made();
    let name = named(host).map_err(|error| error.to_string())?;
    let session = ClientConnection::new(Arc::clone(&dialect.config), name);
    Ok(StreamOwned::new(session.map_err(|error| error.to_string())?, socket))
}
