//! An open-loop load: requests leave when they are due, whether earlier ones were answered or not, and their latency counts from when
//! they were due. So a pause of the server shows in every request that fell into it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::{Counts, LONG, encode};

/// So many connections send at once, so that enough is in flight at some moments for a fault to count; the others in turn, so that no
/// pause between two acknowledgements is the load's own.
const AT_ONCE: usize = 4;

/// Between two attempts to connect again.
const RECONNECT: Duration = Duration::from_millis(5);

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    pub connections: usize,
    /// Requests that leave together.
    pub burst: usize,
    /// Between two bursts of a connection.
    pub every: Duration,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Acknowledged,
    /// `-AMBIGUOUS`: executed or not.
    Ambiguous,
    /// The connection ended before the reply: executed or not.
    Dropped,
    /// `-NOTDURABLE`: executed, and not known to be anywhere else.
    Undurable,
    /// Never sent, since there was no connection.
    Unsent,
    /// Any other error.
    Refused(String),
}

/// One request: even numbers are `SET <run>:set:<connection>:<n> <n>`, odd ones `RPUSH <run>:list:<connection> <n>`.
#[derive(Clone, Debug)]
pub struct Request {
    pub due: Instant,
    pub done: Instant,
    pub verdict: Verdict,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<(Vec<Request>, u64)>>,
}

/// A finished one, by connection.
#[derive(Debug)]
pub struct Outcome {
    pub requests: Vec<Vec<Request>>,
    /// Connections that ended without our doing.
    pub lost_connections: u64,
}

impl Load {
    pub fn start(address: SocketAddr, run: u32, pressure: Pressure) -> Self {
        let counts = Arc::new(Counts::default());
        let start = Instant::now() + Duration::from_millis(20);
        let threads = (0..pressure.connections).map(|number| {
            let counts = counts.clone();
            let turns = pressure.connections.saturating_sub(AT_ONCE).max(1);
            let phase = pressure.every / turns as u32 * number.saturating_sub(AT_ONCE) as u32;
            std::thread::spawn(move || {
                let mut sender = Sender::new(address, run, number, counts);
                sender.run(start + phase, pressure);
                (sender.requests, sender.lost)
            })
        });
        Self { threads: threads.collect(), counts }
    }

    /// Does `fault` while enough is in flight, and returns how much was.
    #[track_caller]
    pub fn strike(&self, fault: impl FnOnce()) -> u64 {
        self.counts.strike(fault)
    }

    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged()
    }

    /// Ends the load after the replies that are owed.
    pub fn finish(self) -> Outcome {
        self.counts.stop();
        let done = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("a sender reports, it does not panic"));
        let (requests, lost): (Vec<_>, Vec<_>) = done.unzip();
        Outcome { requests, lost_connections: lost.into_iter().sum() }
    }
}

/// One connection, and another one after it when it ends.
struct Sender {
    address: SocketAddr,
    run: u32,
    number: usize,
    counts: Arc<Counts>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    requests: Vec<Request>,
    /// The oldest request that is owed a reply.
    answered: usize,
    lost: u64,
}

impl Sender {
    fn new(address: SocketAddr, run: u32, number: usize, counts: Arc<Counts>) -> Self {
        let (requests, buffer) = (Vec::new(), Vec::new());
        Self { address, run, number, counts, stream: None, buffer, requests, answered: 0, lost: 0 }
    }

    fn run(&mut self, start: Instant, pressure: Pressure) {
        let mut due = start;
        while !self.counts.is_stopped() {
            self.read_until(due);
            self.send(due, pressure.burst);
            due += pressure.every;
        }
        let end = Instant::now() + LONG;
        while self.answered < self.requests.len() && Instant::now() < end && self.stream.is_some() {
            self.read_until(Instant::now() + Duration::from_millis(5));
        }
        self.drop_owed();
    }

    fn connect(&mut self) {
        if self.stream.is_none()
            && let Ok(stream) = TcpStream::connect_timeout(&self.address, Duration::from_millis(100))
            && stream.set_nodelay(true).is_ok()
        {
            self.stream = Some(stream);
            self.buffer.clear();
        }
    }

    fn send(&mut self, due: Instant, burst: usize) {
        self.connect();
        let first = self.requests.len();
        let connected = self.stream.is_some();
        let verdict = if connected { Verdict::Dropped } else { Verdict::Unsent };
        self.requests.resize(first + burst, Request { due, done: due, verdict });
        let Some(stream) = &mut self.stream else {
            self.answered = self.requests.len();
            return;
        };
        let bytes: Vec<u8> =
            (first..first + burst).flat_map(|n| encode_request(self.run, self.number, n)).collect();
        self.counts.sent(burst);
        if stream.write_all(&bytes).is_err() {
            self.end();
        }
    }

    /// Takes replies until `moment`.
    fn read_until(&mut self, moment: Instant) {
        let mut chunk = [0; 4096];
        loop {
            let wait = moment.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            let Some(stream) = &mut self.stream else {
                std::thread::sleep(wait.min(RECONNECT));
                self.connect();
                continue;
            };
            if !is_readable_within(stream, wait) {
                continue;
            }
            match stream.read(&mut chunk) {
                Ok(0) => self.end(),
                Ok(length) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    self.take_replies();
                }
                Err(_) => self.end(),
            }
        }
    }

    /// Every reply of SET and RPUSH is one line.
    fn take_replies(&mut self) {
        let now = Instant::now();
        while let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&line[1..end]).into_owned();
            let verdict = match line[0] {
                b'+' | b':' => Verdict::Acknowledged,
                _ if text.starts_with("AMBIGUOUS") => Verdict::Ambiguous,
                _ if text.starts_with("NOTDURABLE") => Verdict::Undurable,
                _ => Verdict::Refused(text),
            };
            self.counts.answered(verdict == Verdict::Acknowledged);
            let request = self.requests.get_mut(self.answered).expect("a reply too many");
            (request.done, request.verdict) = (now, verdict);
            self.answered += 1;
        }
    }

    /// The connection ended: what is owed is lost.
    fn end(&mut self) {
        self.stream = None;
        self.lost += 1;
        self.drop_owed();
    }

    fn drop_owed(&mut self) {
        let owed = self.requests.len() - self.answered;
        self.counts.given_up(owed);
        self.answered = self.requests.len();
    }
}

/// The time-outs of sockets count in ticks of the kernel, of 4 ms and more, which would show as pauses.
fn is_readable_within(stream: &TcpStream, wait: Duration) -> bool {
    let wait =
        Timespec { tv_sec: wait.as_secs().try_into().expect("short"), tv_nsec: wait.subsec_nanos().into() };
    poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&wait)).is_ok_and(|ready| ready > 0)
}

pub fn encode_request(run: u32, connection: usize, number: usize) -> Vec<u8> {
    let text = number.to_string();
    if number.is_multiple_of(2) {
        encode(&["SET", &format!("{run}:set:{connection}:{number}"), &text])
    } else {
        encode(&["RPUSH", &format!("{run}:list:{connection}"), &text])
    }
}
