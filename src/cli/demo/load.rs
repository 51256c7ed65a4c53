//! The load: connections that write and read in pipelines, and remember what they were promised.

use std::collections::BTreeMap;
use std::io::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::cli::dev::Wire;
use crate::resp::{Value, encode};

/// Pairs of SET and GET in a batch, followed by one INCR.
const PAIRS: u64 = 8;
/// Requests that a connection sends at once.
pub(super) const BATCH: u64 = 2 * PAIRS + 1;
/// Between two batches, so that a small machine is not only busy with its own load.
const PACE: Duration = Duration::from_millis(1);
/// A reply that took longer counts as a lost connection: beyond hold and drain together.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(20);

/// What all connections count together, for the view and for the moment of the kill.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that were sent and not answered yet.
    pub(super) in_flight: AtomicU64,
    /// Replies that are no error.
    pub(super) answered: AtomicU64,
    /// Acknowledged writes.
    pub(super) acknowledged: AtomicU64,
    /// `-AMBIGUOUS` replies.
    pub(super) ambiguous: AtomicU64,
    /// Other errors.
    pub(super) errors: AtomicU64,
    /// Connections that ended without our doing.
    pub(super) dropped: AtomicU64,
    stop: AtomicBool,
}

/// What one connection remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Numbers of the acknowledged SETs.
    pub(super) acknowledged: Vec<u64>,
    /// Acknowledged INCRs, and those of unknown outcome.
    pub(super) increments: u64,
    pub(super) increments_unknown: u64,
    /// Replies that do not belong to their request: never, in a proxy that keeps order.
    pub(super) wrong: u64,
    /// Longest time between two replies, and when it began.
    pub(super) gap: Duration,
    pub(super) gap_from: Option<Instant>,
    /// How often each error was said.
    pub(super) errors: BTreeMap<String, u64>,
}

/// A running load.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) counts: Arc<Counts>,
    threads: Vec<JoinHandle<Memory>>,
}

impl Load {
    /// Starts this many connections to `endpoint`.
    pub(super) fn start(endpoint: SocketAddr, connections: u16) -> Self {
        let counts = Arc::new(Counts::default());
        let threads = (0..connections).map(|number| {
            let counts = counts.clone();
            std::thread::spawn(move || Connection::new(number, endpoint, counts).run())
        });
        Self { threads: threads.collect(), counts }
    }

    /// Lets every connection receive what it is owed, and returns what each remembers.
    pub(super) fn stop(self) -> Vec<Memory> {
        self.counts.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a connection does not panic")).collect()
    }
}

/// The key that a connection writes under a number.
pub(super) fn key(connection: u16, number: u64) -> String {
    format!("demo:{connection}:{number}")
}

/// The counter that a connection increments.
pub(super) fn counter(connection: u16) -> String {
    format!("demo:{connection}:counter")
}

struct Connection {
    number: u16,
    endpoint: SocketAddr,
    counts: Arc<Counts>,
    next: u64,
    last_reply: Instant,
    memory: Memory,
}

impl Connection {
    fn new(number: u16, endpoint: SocketAddr, counts: Arc<Counts>) -> Self {
        Self { number, endpoint, counts, next: 0, last_reply: Instant::now(), memory: Memory::default() }
    }

    fn run(mut self) -> Memory {
        let mut wire = None;
        while !self.counts.stop.load(Ordering::Relaxed) {
            let open = match wire.take() {
                Some(open) => Ok(open),
                None => self.open(),
            };
            match open.and_then(|open| self.batch(open)) {
                Ok(open) => {
                    wire = Some(open);
                    std::thread::sleep(PACE);
                }
                Err(error) => {
                    self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                    *self.memory.errors.entry(format!("connection: {error}")).or_default() += 1;
                    std::thread::sleep(RETRY);
                }
            }
        }
        self.memory
    }

    fn open(&self) -> Result<Wire, Error> {
        let mut wire = Wire::open(self.endpoint)?;
        wire.patience(PATIENCE)?;
        Ok(wire)
    }

    /// Sends a batch and takes its replies. What is still owed when the connection is lost was answered by nobody.
    fn batch(&mut self, mut wire: Wire) -> Result<Wire, Error> {
        let first = self.next;
        self.next += PAIRS;
        let mut requests = BytesMut::new();
        for number in first..self.next {
            let key = key(self.number, number);
            encode::command(&mut requests, &[b"SET", key.as_bytes(), number.to_string().as_bytes()]);
            encode::command(&mut requests, &[b"GET", key.as_bytes()]);
        }
        encode::command(&mut requests, &[b"INCR", counter(self.number).as_bytes()]);
        self.counts.in_flight.fetch_add(BATCH, Ordering::Relaxed);
        let mut owed = BATCH;
        let result = wire.send(&requests).and_then(|()| {
            for number in first..first + PAIRS {
                let set = self.reply(&mut wire, &mut owed)?;
                let stored = self.settle_set(number, &set);
                let got = self.reply(&mut wire, &mut owed)?;
                self.settle_get(number, stored, &got);
            }
            let increment = self.reply(&mut wire, &mut owed)?;
            self.settle_increment(&increment);
            Ok(())
        });
        self.counts.in_flight.fetch_sub(owed, Ordering::Relaxed);
        if owed > 0 {
            self.memory.increments_unknown += 1;
        }
        result.map(|()| wire)
    }

    fn reply(&mut self, wire: &mut Wire, owed: &mut u64) -> Result<Value, Error> {
        let value = wire.receive()?;
        *owed -= 1;
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        let gap = self.last_reply.elapsed();
        if gap > self.memory.gap {
            (self.memory.gap, self.memory.gap_from) = (gap, Some(self.last_reply));
        }
        self.last_reply = Instant::now();
        match value.as_error() {
            None => self.counts.answered.fetch_add(1, Ordering::Relaxed),
            Some(text) => {
                *self.memory.errors.entry(text.to_owned()).or_default() += 1;
                let ambiguous = value.error_code() == Some("AMBIGUOUS");
                let counter = if ambiguous { &self.counts.ambiguous } else { &self.counts.errors };
                counter.fetch_add(1, Ordering::Relaxed)
            }
        };
        Ok(value)
    }

    fn settle_set(&mut self, number: u64, reply: &Value) -> bool {
        if reply.is_ok() {
            self.memory.acknowledged.push(number);
            self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else if reply.as_error().is_none() {
            self.memory.wrong += 1;
        }
        reply.is_ok()
    }

    fn settle_get(&mut self, number: u64, stored: bool, reply: &Value) {
        let own = reply.as_int().and_then(|value| u64::try_from(value).ok()) == Some(number);
        let nothing = *reply == Value::Null && !stored;
        if reply.as_error().is_none() && !own && !nothing {
            self.memory.wrong += 1;
        }
    }

    fn settle_increment(&mut self, reply: &Value) {
        match reply {
            Value::Integer(_) => {
                self.memory.increments += 1;
                self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Value::Error(_) if reply.error_code() == Some("AMBIGUOUS") => self.memory.increments_unknown += 1,
            Value::Error(_) => {}
            _ => self.memory.wrong += 1,
        }
    }
}
