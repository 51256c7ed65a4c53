//! The measured loop.

use std::num::NonZeroU64;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::Args;
use crate::fault::Fault;
use crate::histogram::Histogram;
use crate::stream::Dial;
use crate::usage::{cpu_time, own_cpu_time};
use crate::wires::Wires;

/// A kind of load: what the clients ask for, what they must get, and when they ask again.
pub(crate) trait Load {
    /// How many connections it takes.
    fn connections(&self) -> usize;

    /// Sends what a closed loop begins with.
    ///
    /// # Errors
    /// A lost connection.
    fn begin(&mut self, wires: &mut Wires) -> Result<(), Fault>;

    /// Open loop: sends request `turn`, which was due at `due`.
    ///
    /// # Errors
    /// A lost connection, or a kind that keeps no schedule.
    fn one_more(&mut self, _wires: &mut Wires, _turn: usize, _due: Instant) -> Result<(), Fault> {
        Err(Fault::new("this kind of load has no schedule: leave out --rate"))
    }

    /// Judges what connection `number` has received, and sends what follows; while the meter drains, only what is
    /// needed for everything sent to get its reply.
    ///
    /// # Errors
    /// A wrong reply, one too many, or a lost connection.
    fn received(&mut self, wires: &mut Wires, number: usize, meter: &mut Meter) -> Result<(), Fault>;

    /// How many clients wait for something; when draining, 0 ends the run.
    fn waiting(&self) -> usize;
}

/// What a run measured.
pub(crate) struct Outcome {
    /// Requests answered during the measurement.
    pub(crate) requests: u64,
    /// Replies compared: warm-up and drain too, and all keys before and after.
    pub(crate) verified: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
    /// CPU time of the processes that were asked for, and of this one.
    pub(crate) cpu: Vec<(u32, Duration)>,
    pub(crate) own: Duration,
    /// Connections of those that were measured whose keys came from an earlier one.
    pub(crate) resumed: u64,
    /// Memory of the processes before there were clients and with them, where that is measured.
    pub(crate) rss_kib: Vec<(u32, u64, u64)>,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            verified: 0,
            elapsed: Duration::ZERO,
            latency: Histogram::new(),
            cpu: Vec::new(),
            own: Duration::ZERO,
            resumed: 0,
            rss_kib: Vec::new(),
        }
    }

    /// From now on CPU time counts.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub(crate) fn start_clocks(&mut self, pids: &[u32]) -> Result<(), Fault> {
        for pid in pids {
            self.cpu.push((*pid, cpu_time(*pid)?));
        }
        self.own = own_cpu_time();
        Ok(())
    }

    /// No longer.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub(crate) fn stop_clocks(&mut self) -> Result<(), Fault> {
        for (pid, time) in &mut self.cpu {
            *time = cpu_time(*pid)?.saturating_sub(*time);
        }
        self.own = own_cpu_time().saturating_sub(self.own);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    /// The last batches are answered, no new ones sent: so every write of the run has its reply.
    Draining,
}

/// Where a [`Load`] counts its replies.
pub(crate) struct Meter {
    phase: Phase,
    phase_began: Instant,
    /// The schedule's requests of this window are those whose latency counts, whenever they are answered: the slowest
    /// of a target that cannot keep up come after its end. Empty in a closed loop.
    window: Option<Range<Instant>>,
    /// Requests after which the measurement is over, when their number and not the time decides.
    wanted: u64,
    outcome: Outcome,
}

impl Meter {
    /// One more reply was right; it came `now` to a request that was due at `due`.
    pub(crate) fn count(&mut self, due: Instant, now: Instant) {
        self.outcome.verified += 1;
        let is_measuring = self.phase == Phase::Measuring;
        self.outcome.requests += u64::from(is_measuring);
        if self.window.as_ref().map_or(is_measuring, |window| window.contains(&due)) {
            self.outcome.latency.record(now.saturating_duration_since(due));
        }
    }

    /// Nothing new is to be asked.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase == Phase::Draining || self.has_enough()
    }

    fn has_enough(&self) -> bool {
        self.outcome.requests >= self.wanted
    }
}

/// Loads the target, returns when every request has its reply.
///
/// # Errors
/// A wrong reply, a lost connection, or a stall.
pub(crate) fn drive(args: &Args, load: impl Load) -> Result<Outcome, Fault> {
    let mut run = Run::start(args, load)?;
    let mut events = Vec::with_capacity(1024);
    let mut last_reply = Instant::now();
    while run.is_under_way() {
        events.clear();
        let nap = Timespec { tv_sec: 0, tv_nsec: run.keep_schedule()?.as_nanos() as i64 };
        match epoll::wait(&run.wires.epoll, spare_capacity(&mut events), Some(&nap)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = event.data.u64() as usize;
            run.serve(number, event.flags).map_err(|fault| fault.of_client(number))?;
        }
        let now = Instant::now();
        if !events.is_empty() {
            last_reply = now;
        } else if now.duration_since(last_reply) > Duration::from_millis(args.stall_ms) {
            let waiting = run.load.waiting();
            return Err(Fault::new(format!(
                "STALLED: {waiting} clients wait, no reply for {} ms",
                args.stall_ms
            )));
        }
        run.turn_phase(now)?;
    }
    Ok(run.meter.outcome)
}

struct Run<'a, L> {
    args: &'a Args,
    load: L,
    wires: Wires,
    meter: Meter,
    schedule: Option<Schedule>,
}

/// An open loop: request `n` is due `n * interval` after `began`, the last one before `end`.
struct Schedule {
    began: Instant,
    interval: Duration,
    sent: u32,
    end: Instant,
}

impl Schedule {
    /// When the next request is due; `None` when there is none any more.
    fn next(&self) -> Option<Instant> {
        let due = self.began + self.interval * self.sent;
        (due < self.end).then_some(due)
    }
}

/// How long the loop sleeps when nothing is due.
const NAP: Duration = Duration::from_millis(10);

impl<'a, L: Load> Run<'a, L> {
    fn start(args: &'a Args, load: L) -> Result<Self, Fault> {
        let wires = Wires::open(&Dial::target(args)?, load.connections())?;
        let began = Instant::now();
        let measure = began + Duration::from_millis(args.warmup_ms);
        let end = measure + Duration::from_millis(args.measure_ms);
        let schedule =
            args.rate.map(|rate| Schedule { began, interval: Duration::from_secs(1) / rate, sent: 0, end });
        let meter = Meter {
            phase: Phase::Warming,
            phase_began: began,
            window: schedule.as_ref().map(|_| measure..end),
            wanted: args.requests.unwrap_or(u64::MAX),
            outcome: Outcome::new(),
        };
        let mut run = Self { args, load, wires, meter, schedule };
        if args.requests.is_some() {
            run.begin_measuring(began)?;
        }
        if run.schedule.is_some() {
            // The default slack of 50 us would be a part of every latency.
            rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        }
        run.load.begin(&mut run.wires)?;
        Ok(run)
    }

    fn is_under_way(&self) -> bool {
        let is_due = self.schedule.as_ref().is_some_and(|schedule| schedule.next().is_some());
        self.meter.phase != Phase::Draining || is_due || self.load.waiting() > 0
    }

    /// Sends what is due; returns how long until more is. A generator that is behind its schedule sends one request a
    /// client and then looks for replies: it must not be what a target waits for.
    fn keep_schedule(&mut self) -> Result<Duration, Fault> {
        let Some(schedule) = &mut self.schedule else { return Ok(NAP) };
        for _ in 0..self.load.connections() {
            let Some(due) = schedule.next() else { return Ok(NAP) };
            let now = Instant::now();
            if due > now {
                return Ok((due - now).min(NAP));
            }
            let turn = schedule.sent as usize;
            schedule.sent += 1;
            self.load.one_more(&mut self.wires, turn, due)?;
        }
        Ok(Duration::ZERO)
    }

    fn serve(&mut self, number: usize, flags: epoll::EventFlags) -> Result<(), Fault> {
        if flags.contains(epoll::EventFlags::OUT) {
            self.wires.send(number)?;
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.wires.fill(number)?;
            self.load.received(&mut self.wires, number, &mut self.meter)?;
        }
        Ok(())
    }

    fn turn_phase(&mut self, now: Instant) -> Result<(), Fault> {
        let spent = now.duration_since(self.meter.phase_began);
        match self.meter.phase {
            Phase::Warming if spent >= Duration::from_millis(self.args.warmup_ms) => {
                self.begin_measuring(now)
            }
            Phase::Measuring if self.args.requests.is_some() && self.meter.has_enough() => {
                self.end_measuring(now)
            }
            Phase::Measuring
                if self.args.requests.is_none() && spent >= Duration::from_millis(self.args.measure_ms) =>
            {
                self.end_measuring(now)
            }
            Phase::Warming | Phase::Measuring | Phase::Draining => Ok(()),
        }
    }

    fn begin_measuring(&mut self, now: Instant) -> Result<(), Fault> {
        self.meter.phase = Phase::Measuring;
        self.meter.phase_began = now;
        self.meter.outcome.start_clocks(&self.args.pid)
    }

    fn end_measuring(&mut self, now: Instant) -> Result<(), Fault> {
        self.meter.phase = Phase::Draining;
        self.meter.outcome.elapsed = now.duration_since(self.meter.phase_began);
        self.meter.outcome.stop_clocks()
    }
}
