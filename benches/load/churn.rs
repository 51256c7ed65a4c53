//! Clients that come and go: each connects, writes, reads its write back and leaves.
//!
//! They come on a schedule, `--rate` a second; `--clients` threads are ready for them, each for one at a time. A target
//! that falls behind is seen by the rate that is reached. Latency is the time from before connecting to the first reply.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Args;
use crate::driver::Outcome;
use crate::fault::Fault;
use crate::keyspace::Keyspace;
use crate::payload::Call;
use crate::stream::Dial;

/// Loads the target. What is counted is a client that was served.
///
/// # Errors
/// A wrong reply, a connection that failed, or `--resume` and most sessions were new ones.
pub(crate) fn run(args: &Args, keyspace: &mut Keyspace) -> Result<Outcome, Fault> {
    let rate = args.rate.ok_or_else(|| Fault::new("clients come on a schedule: give --rate"))?;
    let began = Instant::now();
    let measure = began + Duration::from_millis(args.warmup_ms);
    let plan = Plan {
        dial: Dial::target(args)?,
        keyspace,
        began,
        interval: Duration::from_secs(1) / rate,
        begun: AtomicU32::new(0),
        window: measure..measure + Duration::from_millis(args.measure_ms),
        outcome: Mutex::new(Outcome::new()),
    };
    let versions = thread::scope(|scope| {
        let plan = &plan;
        let clients: Vec<_> =
            (0..args.clients).map(|key| scope.spawn(move || plan.come_and_go(key))).collect();
        plan.watch(&args.pid)?;
        let ended = clients.into_iter().map(|client| client.join().expect("no client panics"));
        ended.collect::<Result<Vec<u32>, Fault>>()
    })?;
    let outcome = plan.outcome.into_inner().expect("no client panics");
    for (key, version) in (0..).zip(versions) {
        keyspace.set_version(key, version);
    }
    if args.resume && outcome.resumed * 2 < outcome.requests {
        return Err(Fault::new(format!("NOT RESUMED: {} of {}", outcome.resumed, outcome.requests)));
    }
    Ok(outcome)
}

struct Plan<'a> {
    dial: Dial,
    keyspace: &'a Keyspace,
    /// Client `n` is due `n * interval` after it.
    began: Instant,
    interval: Duration,
    begun: AtomicU32,
    /// Who connects in it is counted.
    window: Range<Instant>,
    outcome: Mutex<Outcome>,
}

impl Plan<'_> {
    /// One client after the other, all with the same key; the version that it has in the end.
    fn come_and_go(&self, key: u32) -> Result<u32, Fault> {
        let mut version = self.keyspace.version(key);
        loop {
            let due = self.began + self.interval * self.begun.fetch_add(1, Ordering::Relaxed);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if Instant::now().max(due) >= self.window.end {
                return Ok(version);
            }
            version += 1;
            self.serve(key, version).map_err(|fault| fault.of_client(key as usize))?;
        }
    }

    fn serve(&self, key: u32, version: u32) -> Result<(), Fault> {
        let came = Instant::now();
        let mut stream = self.dial.open()?;
        self.keyspace.ask(&mut stream, Call::Set { key, version })?;
        let latency = came.elapsed();
        self.keyspace.ask(&mut stream, Call::Get { key, version })?;
        let is_resumed = stream.is_resumed();
        stream.leave();
        let mut outcome = self.outcome.lock().expect("no client panics");
        outcome.verified += 2;
        if self.window.contains(&came) {
            outcome.requests += 1;
            outcome.resumed += u64::from(is_resumed);
            outcome.latency.record(latency);
        }
        Ok(())
    }

    /// Sleeps through the window, and reads what it cost.
    fn watch(&self, pids: &[u32]) -> Result<(), Fault> {
        let sleep_until = |then: Instant| thread::sleep(then.saturating_duration_since(Instant::now()));
        sleep_until(self.window.start);
        let (mut cost, began) = (Outcome::new(), Instant::now());
        cost.start_clocks(pids)?;
        sleep_until(self.window.end);
        cost.stop_clocks()?;
        let mut outcome = self.outcome.lock().expect("no client panics");
        (outcome.cpu, outcome.own, outcome.elapsed) = (cost.cpu, cost.own, began.elapsed());
        Ok(())
    }
}
