//! Questions to one server, asked directly and not through the proxy.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;

use crate::resp::{Value, decode, encode};

/// A server on loopback that has not answered by then is not well.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest answer that is read: a page of read-back values, or INFO with some 6 kB.
const LONGEST: usize = 16 << 20;

/// A connection that waits for each reply.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// What connecting said.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream, buffer: BytesMut::new() };
        wire.patience(PATIENCE)?;
        Ok(wire)
    }

    /// How long a reply may take.
    ///
    /// # Errors
    /// What the socket said.
    pub(crate) fn patience(&mut self, patience: Duration) -> Result<(), Error> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))
    }

    /// Sends requests that were encoded already.
    ///
    /// # Errors
    /// What the socket said.
    pub(crate) fn send(&mut self, requests: &[u8]) -> Result<(), Error> {
        self.stream.write_all(requests)
    }

    /// The next reply.
    ///
    /// # Errors
    /// The end of the connection, silence, or bytes that are no reply.
    pub(crate) fn receive(&mut self) -> Result<Value, Error> {
        loop {
            match decode(&self.buffer)
                .map_err(|fault| Error::new(ErrorKind::InvalidData, fault.to_string()))?
            {
                Some((value, end)) => {
                    drop(self.buffer.split_to(end));
                    return Ok(value);
                }
                None if self.buffer.len() > LONGEST => return Err(ErrorKind::FileTooLarge.into()),
                None => {}
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                length => self.buffer.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// As `send` and `receive`.
    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Result<Value, Error> {
        let mut request = BytesMut::new();
        encode::command(&mut request, words);
        self.send(&request)?;
        self.receive()
    }
}

/// One question to the server on a port of 127.0.0.1, answered as text.
///
/// # Errors
/// As above; an error reply is an error here.
pub(crate) fn ask(port: u16, words: &[&str]) -> Result<String, Error> {
    let mut wire = Wire::open(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    match wire.ask(&words)? {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Error(text) => Err(Error::other(text)),
        value => value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("{value:?}"))),
    }
}
