//! A load generator that believes nothing: every reply of a run is compared with the bytes it must be.
//!
//! One thread, epoll; closed loop, or with `--rate` an open one. Each client owns a share of the keys and counts what
//! it wrote to them, so that a reply that is late, swapped, truncated or another client's is seen, not only an error
//! reply. Before the run all keys are written through the target and read back from the server behind it; after the run
//! all are read back both ways. Elements of lists and messages are numbered and have such values too. One JSON line on
//! standard output; exit code 1 and the bytes that came when a reply is wrong.

mod channels;
mod churn;
mod driver;
mod fault;
mod histogram;
mod idle;
mod keyed;
mod keyspace;
mod lists;
mod payload;
mod stream;
mod usage;
mod wires;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::driver::Outcome;
use crate::fault::Fault;
use crate::keyed::Keyed;
use crate::keyspace::Keyspace;
use crate::stream::Dial;

/// What the clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mix {
    /// Reads only.
    Get,
    /// Writes only.
    Set,
    /// Four reads to one write, on the same keys, in the same pipelines.
    Mix20,
    /// Transactions: MULTI, GET, SET of the same key, EXEC, sent at once, counted as one request.
    Multi,
    /// Elements handed on through lists: two clients block on a list, one more pushes.
    Blpop,
    /// Messages to subscribers: ten clients on a channel, one more publishes.
    Pubsub,
    /// Clients that come and go, `--rate` a second: each connects, writes, reads that back and leaves.
    Churn,
    /// Clients that stay and say nothing: how much memory they take.
    Idle,
}

/// Arguments of one run.
#[derive(Debug, Parser)]
struct Args {
    /// Where the load goes.
    #[arg(long)]
    target: SocketAddr,
    /// The server behind the target, asked directly before and after.
    #[arg(long)]
    origin: SocketAddr,
    /// TLS 1.3 towards the target: PEM, authorities of one of which its certificate must be.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Each connection takes its keys from an earlier one, if there is a ticket left.
    #[arg(long, requires = "tls")]
    resume: bool,
    #[arg(long, value_enum, default_value = "get")]
    mix: Mix,
    /// Clients that read and write, pop, or subscribe; those that push or publish come on top of them.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// Closed loop: requests that a client sends at once; it sends the next ones when all are answered. Elements pushed
    /// or messages published at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pipeline: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    size: u32,
    /// Keys; at least one a client.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// Load before the measurement begins.
    #[arg(long, default_value_t = 200)]
    warmup_ms: u64,
    /// Length of the measurement.
    #[arg(long, default_value_t = 600)]
    measure_ms: u64,
    /// Open loop: this many requests a second in all, one at a time, on schedule whether or not earlier ones were
    /// answered. Latency counts from when a request was due, so a target that stalls is not spared the requests
    /// that it kept from being sent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Instead of a time: this many requests without warm-up, for counting instructions.
    #[arg(long, conflicts_with = "rate")]
    requests: Option<u64>,
    /// A run without a reply for this long has failed.
    #[arg(long, default_value_t = 10_000)]
    stall_ms: u64,
    /// Processes whose CPU time is read at both ends of the measurement.
    #[arg(long)]
    pid: Vec<u32>,
    /// Cargo gives this to every bench target.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn patience(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }
}

fn main() -> ExitCode {
    // `cargo bench` without arguments reaches this program too; a run needs a target, which benches/run gives.
    if !std::env::args().any(|argument| argument == "--target" || argument == "--help") {
        eprintln!("load: started by benches/run, which gives it a target; nothing measured");
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    match run(&args) {
        Ok(outcome) => {
            println!("{}", report(&outcome));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("load: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Outcome, Fault> {
    match args.mix {
        Mix::Get | Mix::Set | Mix::Mix20 | Mix::Multi => {
            let keys = args.keys.max(args.clients);
            with_keys(args, keys, |keyspace| driver::drive(args, Keyed::new(args, keyspace)))
        }
        Mix::Churn => with_keys(args, args.clients, |keyspace| churn::run(args, keyspace)),
        Mix::Idle => with_keys(args, args.clients, |keyspace| idle::run(args, keyspace)),
        Mix::Blpop => lists::run(args),
        Mix::Pubsub => channels::run(args),
    }
}

/// A load between writing all keys and reading all of them, both ways.
fn with_keys(
    args: &Args,
    keys: u32,
    load: impl FnOnce(&mut Keyspace) -> Result<Outcome, Fault>,
) -> Result<Outcome, Fault> {
    let mut keyspace = Keyspace::new(keys, args.size);
    let (target, origin) = (Dial::target(args)?, Dial::origin(args));
    let named = |step: &'static str| move |fault: Fault| Fault::new(format!("{step}: {fault}"));
    keyspace.write_all(&target).map_err(named("before, written through target"))?;
    keyspace.verify_all(&origin).map_err(named("before, read at origin"))?;
    let mut outcome = load(&mut keyspace)?;
    keyspace.verify_all(&target).map_err(named("after, read through target"))?;
    keyspace.verify_all(&origin).map_err(named("after, read at origin"))?;
    outcome.verified += u64::from(keyspace.keys()) * 4;
    Ok(outcome)
}

fn report(outcome: &Outcome) -> String {
    let seconds = outcome.elapsed.as_secs_f64();
    let cpu: serde_json::Map<String, serde_json::Value> = outcome
        .cpu
        .iter()
        .map(|(pid, time)| (pid.to_string(), (time.as_secs_f64() * 1e6 / outcome.requests as f64).into()))
        .collect();
    let rss_kib: serde_json::Map<String, serde_json::Value> = outcome
        .rss_kib
        .iter()
        .map(|(pid, before, with)| (pid.to_string(), [*before, *with].into()))
        .collect();
    serde_json::json!({
        "requests": outcome.requests,
        "verified": outcome.verified,
        "seconds": seconds,
        "rps": outcome.requests as f64 / seconds,
        "p50_us": outcome.latency.quantile(0.50).as_secs_f64() * 1e6,
        "p99_us": outcome.latency.quantile(0.99).as_secs_f64() * 1e6,
        "p999_us": outcome.latency.quantile(0.999).as_secs_f64() * 1e6,
        "max_us": outcome.latency.max().as_secs_f64() * 1e6,
        "cpu_us_per_request": cpu,
        "own_us": outcome.own.as_secs_f64() * 1e6 / outcome.requests as f64,
        "resumed": outcome.resumed,
        "rss_kib_by_pid": rss_kib,
    })
    .to_string()
}
