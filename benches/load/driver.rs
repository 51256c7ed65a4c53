//! The measured loop.

use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::Args;
use crate::connection::{Connection, Progress};
use crate::histogram::Histogram;
use crate::keyspace::Keyspace;
use crate::usage::cpu_time;

/// What a run measured.
pub(crate) struct Outcome {
    /// Requests answered during the measurement.
    pub(crate) requests: u64,
    /// Replies compared, warm-up and drain included.
    pub(crate) verified: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
    pub(crate) cpu: Vec<(u32, Duration)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    /// The last batches are answered, no new ones sent: so every write of the run has its reply.
    Draining,
}

/// Loads the target, returns when every request has its reply.
///
/// # Errors
/// A wrong reply, a lost connection, or a stall.
pub(crate) fn drive(args: &Args, keyspace: &mut Keyspace) -> Result<Outcome, String> {
    let mut run = Run::start(args, keyspace)?;
    let mut events = Vec::with_capacity(1024);
    let mut last_reply = Instant::now();
    while run.busy > 0 {
        events.clear();
        let nap = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        match epoll::wait(&run.epoll, spare_capacity(&mut events), Some(&nap)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("epoll_wait: {error}")),
        }
        for event in &events {
            run.serve(event.data.u64() as usize, event.flags, keyspace)?;
        }
        let now = Instant::now();
        if !events.is_empty() {
            last_reply = now;
        } else if now.duration_since(last_reply) > Duration::from_millis(args.stall_ms) {
            return Err(format!("STALLED: {} clients wait, no reply for {} ms", run.busy, args.stall_ms));
        }
        run.turn_phase(now)?;
    }
    Ok(run.outcome)
}

struct Run<'a> {
    args: &'a Args,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    phase: Phase,
    phase_began: Instant,
    /// Clients with a batch under way.
    busy: usize,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    fn start(args: &'a Args, keyspace: &mut Keyspace) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let mut connections = Vec::with_capacity(args.clients as usize);
        for number in 0..args.clients {
            let connection = Connection::open(args.target, number, args.clients, keyspace)
                .map_err(|fault| format!("client {number}: {fault}"))?;
            let data = epoll::EventData::new_u64(u64::from(number));
            epoll::add(&epoll, &connection.socket, data, epoll::EventFlags::IN)
                .map_err(|error| error.to_string())?;
            connections.push(connection);
        }
        let outcome = Outcome {
            requests: 0,
            verified: 0,
            elapsed: Duration::ZERO,
            latency: Histogram::new(),
            cpu: Vec::new(),
        };
        let busy = connections.len();
        let began = Instant::now();
        let mut run =
            Self { args, epoll, connections, phase: Phase::Warming, phase_began: began, busy, outcome };
        if args.requests.is_some() {
            run.begin_measuring(began)?;
        }
        for number in 0..run.connections.len() {
            run.send(number, keyspace)?;
        }
        Ok(run)
    }

    fn serve(
        &mut self,
        number: usize,
        flags: epoll::EventFlags,
        keyspace: &mut Keyspace,
    ) -> Result<(), String> {
        let named = |fault| format!("client {number}: {fault}");
        let connection = &mut self.connections[number];
        if flags.contains(epoll::EventFlags::OUT) && connection.flush().map_err(named)? {
            self.watch(number, epoll::EventFlags::IN)?;
        }
        if !flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            return Ok(());
        }
        let Progress::Answered(latency) = self.connections[number].receive(keyspace).map_err(named)? else {
            return Ok(());
        };
        let count = u64::from(self.args.pipeline);
        self.outcome.verified += count;
        if self.phase == Phase::Measuring {
            self.outcome.requests += count;
            self.outcome.latency.record(latency, count);
            if self.args.requests.is_some_and(|wanted| self.outcome.requests >= wanted) {
                self.end_measuring(Instant::now())?;
            }
        }
        if self.phase == Phase::Draining {
            self.busy -= 1;
            return Ok(());
        }
        self.send(number, keyspace)
    }

    fn send(&mut self, number: usize, keyspace: &mut Keyspace) -> Result<(), String> {
        let connection = &mut self.connections[number];
        let whole = connection
            .send_batch(self.args.pipeline, self.args.mix, keyspace)
            .map_err(|fault| format!("client {number}: {fault}"))?;
        if !whole {
            self.watch(number, epoll::EventFlags::IN | epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    fn watch(&self, number: usize, flags: epoll::EventFlags) -> Result<(), String> {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::modify(&self.epoll, &self.connections[number].socket, data, flags)
            .map_err(|error| error.to_string())
    }

    fn turn_phase(&mut self, now: Instant) -> Result<(), String> {
        let spent = now.duration_since(self.phase_began);
        match self.phase {
            Phase::Warming if spent >= Duration::from_millis(self.args.warmup_ms) => {
                self.begin_measuring(now)
            }
            Phase::Measuring
                if self.args.requests.is_none() && spent >= Duration::from_millis(self.args.measure_ms) =>
            {
                self.end_measuring(now)
            }
            Phase::Warming | Phase::Measuring | Phase::Draining => Ok(()),
        }
    }

    fn begin_measuring(&mut self, now: Instant) -> Result<(), String> {
        self.phase = Phase::Measuring;
        self.phase_began = now;
        for pid in &self.args.pid {
            self.outcome.cpu.push((*pid, cpu_time(*pid)?));
        }
        Ok(())
    }

    fn end_measuring(&mut self, now: Instant) -> Result<(), String> {
        self.phase = Phase::Draining;
        self.outcome.elapsed = now.duration_since(self.phase_began);
        for (pid, time) in &mut self.outcome.cpu {
            *time = cpu_time(*pid)?.saturating_sub(*time);
        }
        Ok(())
    }
}
