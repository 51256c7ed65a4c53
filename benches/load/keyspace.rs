//! Which value every key must hold, and writing and reading all of them outside the measurement.

use std::collections::VecDeque;
use std::io::{Read, Write};

use crate::fault::Fault;
use crate::payload::{Call, Payload};
use crate::stream::{Dial, Stream};

/// Requests in flight while all keys are written or read: below the limits of every proxy.
const WINDOW: usize = 64;
/// The same in bytes of values; one request is always in flight.
const WINDOW_BYTES: usize = 4 << 20;

/// The keys `0..keys`, each with the version it was last set to.
pub(crate) struct Keyspace {
    payload: Payload,
    versions: Vec<u32>,
}

impl Keyspace {
    /// All keys at version 0, not yet written anywhere.
    pub(crate) fn new(keys: u32, size: u32) -> Self {
        Self { payload: Payload::new(size), versions: vec![0; keys as usize] }
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    pub(crate) fn keys(&self) -> u32 {
        self.versions.len() as u32
    }

    /// What `key` was last set to.
    pub(crate) fn version(&self, key: u32) -> u32 {
        self.versions[key as usize]
    }

    /// Counts one more SET of `key`.
    pub(crate) fn next_version(&mut self, key: u32) -> u32 {
        self.versions[key as usize] += 1;
        self.versions[key as usize]
    }

    /// Counts the SETs of `key` that somebody else has counted.
    pub(crate) fn set_version(&mut self, key: u32, version: u32) {
        self.versions[key as usize] = version;
    }

    /// Sets every key to its present version.
    ///
    /// # Errors
    /// A reply that is not `+OK`, or no connection.
    pub(crate) fn write_all(&self, dial: &Dial) -> Result<(), Fault> {
        self.exchange(dial, |key, version| Call::Set { key, version })
    }

    /// Reads every key and compares it with its present version.
    ///
    /// # Errors
    /// A value that differs, or no connection.
    pub(crate) fn verify_all(&self, dial: &Dial) -> Result<(), Fault> {
        self.exchange(dial, |key, version| Call::Get { key, version })
    }

    /// Sends one request; its reply must be all that comes.
    ///
    /// # Errors
    /// Another reply, more than one, or no connection.
    pub(crate) fn ask(&self, stream: &mut Stream, call: Call) -> Result<(), Fault> {
        let (mut output, mut input) = (Vec::new(), Vec::new());
        self.payload.encode(call, &mut output);
        stream.write_all(&output)?;
        self.collect(stream, &mut VecDeque::from([call]), &mut input)?;
        if input.is_empty() { Ok(()) } else { Err(Fault::unasked(&input)) }
    }

    fn exchange(&self, dial: &Dial, call_for: impl Fn(u32, u32) -> Call) -> Result<(), Fault> {
        let mut stream = dial.open()?;
        let window = (WINDOW_BYTES / self.payload.size()).clamp(1, WINDOW);
        let mut owed = VecDeque::with_capacity(window);
        let mut output = Vec::new();
        let mut input = Vec::new();
        let mut calls = (0_u32..).zip(&self.versions).map(|(key, version)| call_for(key, *version));
        loop {
            output.clear();
            for call in calls.by_ref().take(window) {
                self.payload.encode(call, &mut output);
                owed.push_back(call);
            }
            if owed.is_empty() {
                return Ok(());
            }
            stream.write_all(&output)?;
            self.collect(&mut stream, &mut owed, &mut input)?;
        }
    }

    /// Reads until nothing is owed.
    fn collect(
        &self,
        stream: &mut Stream,
        owed: &mut VecDeque<Call>,
        input: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        while let Some(call) = owed.front() {
            if let Some(length) = self.payload.judge(*call, input)? {
                input.drain(..length);
                owed.pop_front();
                continue;
            }
            read_more(stream, input)?;
        }
        Ok(())
    }
}

/// Sends the requests one at a time; each reply, a line, must be one of `may_be`.
///
/// # Errors
/// Another reply, or no connection.
pub(crate) fn ask_in_turn(
    dial: &Dial,
    requests: impl Iterator<Item = Vec<u8>>,
    may_be: &[&[u8]],
) -> Result<(), Fault> {
    let mut stream = dial.open()?;
    let mut input = Vec::new();
    for request in requests {
        stream.write_all(&request)?;
        input.clear();
        while !input.ends_with(b"\r\n") {
            read_more(&mut stream, &mut input)?;
        }
        if !may_be.contains(&&input[..]) {
            return Err(Fault::wrong(request.escape_ascii().to_string(), 0, &input));
        }
    }
    Ok(())
}

fn read_more(stream: &mut Stream, input: &mut Vec<u8>) -> Result<(), Fault> {
    let mut scratch = [0; 64 << 10];
    let count = stream.read(&mut scratch)?;
    if count == 0 {
        return Err(Fault::new("the target closed the connection"));
    }
    input.extend_from_slice(&scratch[..count]);
    Ok(())
}
