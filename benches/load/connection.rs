//! One client: its socket, the batch it waits for, and the keys it owns.

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

/// What a readable socket brought.
pub(crate) enum Progress {
    /// Some replies of the batch are still missing.
    Waiting,
    /// The whole batch was answered, this long after it was sent.
    Answered(Duration),
}

/// A client that sends a batch and waits for all its replies.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    /// The keys of this client: its number, and every `stride`th after it.
    first_key: u32,
    own_keys: u32,
    stride: u32,
    dice: u64,
    batch: Vec<Call>,
    /// Replies of the batch that came.
    answered: usize,
    sent_at: Instant,
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
            batch: Vec::new(),
            answered: 0,
            sent_at: Instant::now(),
            output: Vec::new(),
            written: 0,
            input: vec![0; 16 << 10],
            filled: 0,
        })
    }

    /// Sends a new batch. True when the socket took all of it.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) fn send_batch(
        &mut self,
        pipeline: u32,
        mix: Mix,
        keyspace: &mut Keyspace,
    ) -> Result<bool, Fault> {
        self.batch.clear();
        self.output.clear();
        self.written = 0;
        self.answered = 0;
        for _ in 0..pipeline {
            let roll = self.roll();
            let key = self.first_key + roll as u32 % self.own_keys * self.stride;
            let write = mix == Mix::Set || mix == Mix::Mix20 && (roll >> 32).is_multiple_of(5);
            let call = if write {
                Call::Set { key, version: keyspace.next_version(key) }
            } else {
                Call::Get { key, version: keyspace.version(key) }
            };
            keyspace.payload().encode(call, &mut self.output);
            self.batch.push(call);
        }
        self.sent_at = Instant::now();
        self.flush()
    }

    /// Goes on with a batch that the socket did not take whole. True when it is out.
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

    /// Reads once and judges every complete reply.
    ///
    /// # Errors
    /// A wrong reply, one too many, or a lost connection.
    pub(crate) fn receive(&mut self, keyspace: &Keyspace) -> Result<Progress, Fault> {
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => return Err(Fault("the target closed the connection".to_owned())),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waiting),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while at < self.filled {
            let Some(call) = self.batch.get(self.answered) else {
                let extra = &self.input[at..self.filled.min(at + 120)];
                return Err(Fault(format!("WRONG REPLY: nothing was asked, got {}", extra.escape_ascii())));
            };
            let Some(length) = keyspace.payload().judge(*call, &self.input[at..self.filled])? else { break };
            at += length;
            self.answered += 1;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.answered == self.batch.len() {
            return Ok(Progress::Answered(self.sent_at.elapsed()));
        }
        Ok(Progress::Waiting)
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 20 ^ self.dice << 13
    }
}
