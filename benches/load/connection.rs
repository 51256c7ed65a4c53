//! One client: its socket, the replies it waits for, and the keys it owns.

use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Mix;
use crate::keyspace::Keyspace;
use crate::payload::Call;

/// Why a run is void.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn wrong(call: Call, offset: usize, input: &[u8]) -> Self {
        let shown = &input[..input.len().min(offset + 120)];
        Self(format!("WRONG REPLY to {call:?}, from byte {offset}: {}", shown.escape_ascii()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self("STALLED: no reply in time".to_owned()),
            _ => Self(format!("connection failed: {error}")),
        }
    }
}

/// A client. Its requests are answered in order, so what it waits for is a queue.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    /// The keys of this client: its number, and every `stride`th after it.
    first_key: u32,
    own_keys: u32,
    stride: u32,
    dice: u64,
    /// Requests without a reply, and when they were due: sent, or to be sent if the schedule had been kept.
    owed: VecDeque<(Call, Instant)>,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Connects client `number` of `clients`.
    ///
    /// # Errors
    /// No connection.
    pub(crate) fn open(
        target: SocketAddr,
        number: u32,
        clients: u32,
        keyspace: &Keyspace,
    ) -> Result<Self, Fault> {
        let socket = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            first_key: number,
            own_keys: (keyspace.keys() - number).div_ceil(clients),
            stride: clients,
            dice: u64::from(number) << 1 | 1,
            owed: VecDeque::new(),
            output: Vec::new(),
            written: 0,
            input: vec![0; 16 << 10],
            filled: 0,
        })
    }

    /// Replies that are still to come.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Adds `count` requests that were due at `due` to what is to be sent.
    pub(crate) fn ask(&mut self, count: u32, due: Instant, mix: Mix, keyspace: &mut Keyspace) {
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        for _ in 0..count {
            let roll = self.roll();
            let key = self.first_key + roll as u32 % self.own_keys * self.stride;
            let write = mix == Mix::Set || mix == Mix::Mix20 && (roll >> 32).is_multiple_of(5);
            let call = if write {
                Call::Set { key, version: keyspace.next_version(key) }
            } else {
                Call::Get { key, version: keyspace.version(key) }
            };
            keyspace.payload().encode(call, &mut self.output);
            self.owed.push_back((call, due));
        }
    }

    /// Sends what was asked. True when the socket took all of it.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) fn flush(&mut self) -> Result<bool, Fault> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Reads once and judges every complete reply; `answered` gets how long each one took.
    ///
    /// # Errors
    /// A wrong reply, one too many, or a lost connection.
    pub(crate) fn receive(
        &mut self,
        keyspace: &Keyspace,
        mut answered: impl FnMut(Duration),
    ) -> Result<(), Fault> {
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => return Err(Fault("the target closed the connection".to_owned())),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let mut at = 0;
        while at < self.filled {
            let Some((call, due)) = self.owed.front() else {
                let extra = &self.input[at..self.filled.min(at + 120)];
                return Err(Fault(format!("WRONG REPLY: nothing was asked, got {}", extra.escape_ascii())));
            };
            let Some(length) = keyspace.payload().judge(*call, &self.input[at..self.filled])? else { break };
            answered(now.saturating_duration_since(*due));
            at += length;
            self.owed.pop_front();
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 20 ^ self.dice << 13
    }
}
