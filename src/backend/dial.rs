//! Opens a connection to a node and brings it to an identity.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net;
use crate::resp::{Fed, ReplyScanner};
use crate::topology::Address;

use super::{Identity, Settings};

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The node answered the greeting with this error reply (with CRLF): nothing else was sent.
    Refused(Bytes),
    /// No connection, or it broke during the greeting.
    Io(io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Connects to `address`, performs the greeting of `identity`, and returns the stream at a reply boundary.
///
/// # Errors
/// See [`DialError`]; both within twice `settings.connect_timeout`.
pub async fn dial(
    address: &Address,
    identity: &Identity,
    settings: &Settings,
) -> Result<TcpStream, DialError> {
    let mut stream =
        net::connect(&address.host, address.port, settings.connect_timeout, &settings.sockets()).await?;
    let greeting = greet(&mut stream, identity);
    match timeout(settings.connect_timeout, greeting).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no reply to the greeting").into()),
    }
}

async fn greet(stream: &mut TcpStream, identity: &Identity) -> Result<(), DialError> {
    let (request, required) = identity.greeting();
    stream.write_all(&request).await?;
    let mut buffer = BytesMut::with_capacity(1024);
    for must in required {
        let reply = next_reply(stream, &mut buffer).await?;
        // LOADING is no judgement of the identity; the request itself will be told.
        if must && reply.first() == Some(&b'-') {
            return Err(DialError::Refused(reply));
        }
    }
    if buffer.is_empty() { Ok(()) } else { Err(garbage().into()) }
}

async fn next_reply(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut scanner = ReplyScanner::default();
    let mut scanned = 0;
    loop {
        match scanner.feed(&buffer[scanned..]).map_err(|_| garbage())? {
            Fed::Frame { end } => return Ok(buffer.split_to(scanned + end).freeze()),
            Fed::More => scanned = buffer.len(),
        }
        if buffer.len() > 64 << 10 {
            return Err(garbage());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the node does not speak RESP")
}
