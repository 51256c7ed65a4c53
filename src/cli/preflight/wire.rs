//! A blocking connection to a node, for a few questions.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};

use crate::control::Credentials;
use crate::resp::{Value, decode, encode};
use crate::topology::Address;

/// Longest wait for a connection or an answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Largest answer, bytes: CLIENT LIST of 100,000 clients fits.
const ANSWER_MAX: usize = 64 << 20;

/// A connection, closed when dropped.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    inbound: BytesMut,
}

impl Wire {
    /// Connects and authenticates.
    pub(super) fn open(address: &Address, credentials: &Credentials) -> Result<Self, String> {
        let found = (address.host.as_str(), address.port).to_socket_addrs();
        let mut last = format!("{} has no address", address.host);
        for socket in found.map_err(|error| format!("does not resolve: {error}"))? {
            match TcpStream::connect_timeout(&socket, WITHIN) {
                Ok(stream) => return Self::greet(stream, credentials),
                Err(error) => last = format!("cannot connect: {error}"),
            }
        }
        Err(last)
    }

    fn greet(stream: TcpStream, credentials: &Credentials) -> Result<Self, String> {
        let mut wire = Self { stream, inbound: BytesMut::new() };
        let answer = match (credentials.username.as_str(), credentials.password.as_str()) {
            ("", "") => return Ok(wire),
            ("", password) => wire.ask(&["AUTH", password])?,
            (user, password) => wire.ask(&["AUTH", user, password])?,
        };
        answer.as_error().map_or(Ok(()), |error| Err(format!("refuses the proxy's user: {error}")))?;
        Ok(wire)
    }

    /// Asks and waits for the answer, which may be an error of the node's.
    pub(super) fn ask(&mut self, request: &[&str]) -> Result<Value, String> {
        let words: Vec<_> = request.iter().map(|word| word.as_bytes()).collect();
        let mut outbound = BytesMut::new();
        encode::command(&mut outbound, &words);
        let sent =
            self.stream.set_write_timeout(Some(WITHIN)).and_then(|()| self.stream.write_all(&outbound));
        sent.map_err(|error| format!("connection lost: {error}"))?;
        self.next(Instant::now() + WITHIN)?.ok_or_else(|| format!("did not answer {} in time", request[0]))
    }

    /// The next answer or message; `None` when `deadline` passed without one.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Value>, String> {
        let mut chunk = [0; 16 << 10];
        loop {
            let decoded = decode(&self.inbound).map_err(|bad| format!("does not speak RESP: {bad:?}"))?;
            if let Some((value, length)) = decoded {
                self.inbound.advance(length);
                return Ok(Some(value));
            }
            if self.inbound.len() > ANSWER_MAX {
                return Err("does not speak RESP: an answer without end".to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => return Err("closed the connection".to_owned()),
                Ok(n) => self.inbound.extend_from_slice(&chunk[..n]),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(format!("connection lost: {error}")),
            }
        }
    }
}
