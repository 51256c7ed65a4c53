//! The measured loop.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::Args;
use crate::connection::Connection;
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
    while run.is_under_way() {
        events.clear();
        let nap = Timespec { tv_sec: 0, tv_nsec: run.keep_schedule(keyspace)?.as_nanos() as i64 };
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
            return Err(format!(
                "STALLED: {} clients wait, no reply for {} ms",
                run.waiting(),
                args.stall_ms
            ));
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
    schedule: Option<Schedule>,
    outcome: Outcome,
}

/// An open loop: request `n` is due `n * interval` after `began` and belongs to client `n` modulo their number.
struct Schedule {
    began: Instant,
    interval: Duration,
    sent: u32,
}

/// How long the loop sleeps when nothing is due.
const NAP: Duration = Duration::from_millis(10);

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
        let began = Instant::now();
        let schedule =
            args.rate.map(|rate| Schedule { began, interval: Duration::from_secs(1) / rate, sent: 0 });
        let mut run =
            Self { args, epoll, connections, phase: Phase::Warming, phase_began: began, schedule, outcome };
        if args.requests.is_some() {
            run.begin_measuring(began)?;
        }
        if run.schedule.is_none() {
            for number in 0..run.connections.len() {
                run.send(number, args.pipeline, Instant::now(), keyspace)?;
            }
        } else {
            // The default slack of 50 us would be a part of every latency.
            rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).map_err(|error| error.to_string())?;
        }
        Ok(run)
    }

    fn waiting(&self) -> usize {
        self.connections.iter().filter(|connection| connection.owed() > 0).count()
    }

    fn is_under_way(&self) -> bool {
        self.phase != Phase::Draining || self.waiting() > 0
    }

    /// Sends what is due; returns how long until more is.
    fn keep_schedule(&mut self, keyspace: &mut Keyspace) -> Result<Duration, String> {
        if self.phase == Phase::Draining {
            return Ok(NAP);
        }
        loop {
            let Some(schedule) = &mut self.schedule else { return Ok(NAP) };
            let due = schedule.began + schedule.interval * schedule.sent;
            let now = Instant::now();
            if due > now {
                return Ok((due - now).min(NAP));
            }
            let number = schedule.sent as usize % self.connections.len();
            schedule.sent += 1;
            self.send(number, 1, due, keyspace)?;
        }
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
        let (latency, measuring) = (&mut self.outcome.latency, self.phase == Phase::Measuring);
        let mut count = 0;
        self.connections[number]
            .receive(keyspace, |took| {
                count += 1;
                if measuring {
                    latency.record(took);
                }
            })
            .map_err(named)?;
        self.outcome.verified += count;
        if measuring {
            self.outcome.requests += count;
            if self.args.requests.is_some_and(|wanted| self.outcome.requests >= wanted) {
                self.end_measuring(Instant::now())?;
            }
        }
        if self.phase != Phase::Draining && self.schedule.is_none() && self.connections[number].owed() == 0 {
            self.send(number, self.args.pipeline, Instant::now(), keyspace)?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        number: usize,
        count: u32,
        due: Instant,
        keyspace: &mut Keyspace,
    ) -> Result<(), String> {
        let connection = &mut self.connections[number];
        connection.ask(count, due, self.args.mix, keyspace);
        if !connection.flush().map_err(|fault| format!("client {number}: {fault}"))? {
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
