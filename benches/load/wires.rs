//! The connections to the target and the epoll that watches them.

use std::io::{ErrorKind, Read, Write};

use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::fault::Fault;
use crate::stream::{Dial, Stream};

/// Connections, named by numbers from 0 on.
pub(crate) struct Wires {
    pub(crate) epoll: OwnedFd,
    all: Vec<Wire>,
}

struct Wire {
    stream: Stream,
    output: Vec<u8>,
    written: usize,
    /// The socket took less than it was given: epoll tells when it takes more.
    is_full: bool,
    input: Vec<u8>,
    filled: usize,
}

impl Wires {
    /// Opens `count` connections, one after the other.
    ///
    /// # Errors
    /// One of them could not be opened.
    pub(crate) fn open(dial: &Dial, count: usize) -> Result<Self, Fault> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut all = Vec::with_capacity(count);
        for number in 0..count {
            let wire = Wire::open(dial).map_err(|fault| fault.of_client(number))?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, wire.stream.socket(), data, epoll::EventFlags::IN)?;
            all.push(wire);
        }
        Ok(Self { epoll, all })
    }

    /// Where requests of connection `number` are appended before [`Wires::send`].
    pub(crate) fn output(&mut self, number: usize) -> &mut Vec<u8> {
        let wire = &mut self.all[number];
        if wire.written == wire.output.len() {
            wire.output.clear();
            wire.written = 0;
        }
        &mut wire.output
    }

    /// Sends what was appended, at once as far as the socket takes it, the rest when it takes more.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) fn send(&mut self, number: usize) -> Result<(), Fault> {
        let wire = &mut self.all[number];
        let is_full = !wire.flush()?;
        if is_full != wire.is_full {
            wire.is_full = is_full;
            let flags = if is_full { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.epoll, wire.stream.socket(), data, flags | epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Reads once into the input of connection `number`, and what has come with that.
    ///
    /// # Errors
    /// The connection failed or was closed.
    pub(crate) fn fill(&mut self, number: usize) -> Result<(), Fault> {
        let wire = &mut self.all[number];
        loop {
            if wire.filled == wire.input.len() {
                wire.input.resize(wire.input.len() * 2, 0);
            }
            match wire.stream.read(&mut wire.input[wire.filled..]) {
                Ok(0) => return Err(Fault::new("the target closed the connection")),
                Ok(count) => wire.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if !wire.stream.holds_more() {
                return Ok(());
            }
        }
    }

    /// What connection `number` has received and nobody has consumed.
    pub(crate) fn input(&self, number: usize) -> &[u8] {
        let wire = &self.all[number];
        &wire.input[..wire.filled]
    }

    /// Drops the first `count` bytes of the input.
    pub(crate) fn consume(&mut self, number: usize, count: usize) {
        let wire = &mut self.all[number];
        // Part of a large reply is left where it is: moving it onto itself at each read would cost as much as reading.
        if count > 0 {
            wire.input.copy_within(count..wire.filled, 0);
            wire.filled -= count;
        }
    }
}

impl Wire {
    fn open(dial: &Dial) -> Result<Self, Fault> {
        let stream = dial.open()?;
        stream.socket().set_nonblocking(true)?;
        let input = vec![0; 16 << 10];
        Ok(Self { stream, output: Vec::new(), written: 0, is_full: false, input, filled: 0 })
    }

    /// True when the socket took everything.
    fn flush(&mut self) -> Result<bool, Fault> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            flushed => Ok(flushed.map(|()| true)?),
        }
    }
}
