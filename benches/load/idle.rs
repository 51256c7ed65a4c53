//! Clients that stay and ask for nothing: what each of them costs in memory.

use std::thread;
use std::time::{Duration, Instant};

use crate::Args;
use crate::driver::Outcome;
use crate::fault::Fault;
use crate::keyspace::Keyspace;
use crate::payload::Call;
use crate::stream::Dial;
use crate::usage::rss_kib;

/// Opens all connections, one after the other, each with a write that is read back; then nobody says anything for as long as a
/// measurement takes, and memory is read. In the end each client reads its write once more. What is counted is a client
/// that was let in; latency is the time from before connecting to the first reply.
///
/// # Errors
/// A wrong reply, or a connection that failed.
pub(crate) fn run(args: &Args, keyspace: &mut Keyspace) -> Result<Outcome, Fault> {
    let (dial, mut outcome, mut clients) = (Dial::target(args)?, Outcome::new(), Vec::new());
    let before = args.pid.iter().map(|pid| rss_kib(*pid)).collect::<Result<Vec<_>, _>>()?;
    outcome.start_clocks(&args.pid)?;
    let began = Instant::now();
    for key in 0..args.clients {
        let (came, version) = (Instant::now(), keyspace.next_version(key));
        let named = |fault: Fault| fault.of_client(key as usize);
        let mut stream = dial.open().map_err(named)?;
        keyspace.ask(&mut stream, Call::Set { key, version }).map_err(named)?;
        outcome.latency.record(came.elapsed());
        keyspace.ask(&mut stream, Call::Get { key, version }).map_err(named)?;
        clients.push(stream);
    }
    outcome.elapsed = began.elapsed();
    outcome.stop_clocks()?;
    thread::sleep(Duration::from_millis(args.measure_ms));
    for (pid, before) in args.pid.iter().zip(before) {
        outcome.rss_kib.push((*pid, before, rss_kib(*pid)?));
    }
    for (key, stream) in (0..).zip(&mut clients) {
        let call = Call::Get { key, version: keyspace.version(key) };
        keyspace.ask(stream, call).map_err(|fault| fault.of_client(key as usize))?;
    }
    outcome.requests = clients.len() as u64;
    outcome.verified = 3 * outcome.requests;
    clients.into_iter().for_each(crate::stream::Stream::leave);
    Ok(outcome)
}
