//! The parts of a request's way, one at a time, for `benches/instructions`, which counts them under callgrind.
//!
//! `parts NAME` runs one part in rounds and prints how many operations callgrind was told to count: what runs within
//! [`counted_part`] and nothing else, so neither the start of the process nor what prepares a round. Each part calls the
//! functions that the data path calls. What a client's session adds to them (`frontend/dispatch.rs`) cannot run without a
//! client's socket and is counted with the whole requests alone.

mod pipeline;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use redhold::command::{self, Lane, classify};
use redhold::resp::{Limits, RequestScanner, Scan};
use redhold::routing::{self, Choice, Gate, NodeRoute, RoutingTable};
use redhold::telemetry::{Direction, Metrics, Side};
use redhold::topology::{Address, NodeId, Remedy};

use pipeline::{Count, Stage};

/// Requests that one read of a socket brings.
const READ: usize = 64;

/// Before anything is counted: buffers grow to their size in these.
const ROUNDS_BEFORE: u32 = 4;
const ROUNDS: u32 = 32;

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n";
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$64\r\n\
    vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n";
const INLINE: &[u8] = b"get key:000000000042\r\n";
const VALUE: &[u8] = b"$64\r\nvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n";
const OK: &[u8] = b"+OK\r\n";

type Part = (&'static str, fn(&mut Meter));

/// `p16`: clients with 16 requests at a time, `p1`: with one. `alike`: the end of a request that begins as the one before it;
/// `run`: 16 of them handed over at once.
const PARTS: [Part; 19] = [
    ("scan-get", |meter| scan(meter, GET)),
    ("scan-set", |meter| scan(meter, SET)),
    ("scan-inline", |meter| scan(meter, INLINE)),
    ("alike-get", |meter| alike(meter, GET)),
    ("alike-set", |meter| alike(meter, SET)),
    ("classify-get", |meter| classified(meter, GET)),
    ("classify-set", |meter| classified(meter, SET)),
    ("route-primary", route_to_primary),
    ("route-replica", route_to_replica),
    ("enqueue-get-p1", |meter| Stage::new(1).serve(meter, Count::Enqueue, GET, VALUE)),
    ("enqueue-get-p16", |meter| Stage::new(16).serve(meter, Count::Enqueue, GET, VALUE)),
    ("enqueue-set-p16", |meter| Stage::new(16).serve(meter, Count::Enqueue, SET, OK)),
    ("enqueue-get-run", |meter| Stage::new(16).serve(meter, Count::EnqueueRun, GET, VALUE)),
    ("enqueue-set-run", |meter| Stage::new(16).serve(meter, Count::EnqueueRun, SET, OK)),
    ("match-get-p1", |meter| Stage::new(1).serve(meter, Count::Match, GET, VALUE)),
    ("match-get-p16", |meter| Stage::new(16).serve(meter, Count::Match, GET, VALUE)),
    ("match-set-p16", |meter| Stage::new(16).serve(meter, Count::Match, SET, OK)),
    ("metrics-p1", |meter| metrics(meter, 1)),
    ("metrics-p16", |meter| metrics(meter, 16)),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--list" {
        PARTS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    // Without a name, as cargo runs it, it shows that each part works.
    let all = argument.is_empty() || argument == "--bench";
    let chosen: Vec<_> = PARTS.iter().filter(|(name, _)| all || *name == argument).collect();
    if chosen.is_empty() {
        eprintln!("parts: no part is called {argument}; `parts --list` names them");
        return ExitCode::FAILURE;
    }
    for (name, run) in chosen {
        let mut meter = Meter::default();
        run(&mut meter);
        println!("{name} {}", meter.operations);
    }
    ExitCode::SUCCESS
}

/// Says which rounds are counted.
#[derive(Default)]
pub(crate) struct Meter {
    round: u32,
    operations: usize,
}

impl Meter {
    /// Begins a round, unless there were enough.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.round += 1;
        self.round <= ROUNDS_BEFORE + ROUNDS
    }

    /// Runs `part`, which does `operations` of what is to be counted.
    pub(crate) fn count<T>(&mut self, operations: usize, part: impl FnOnce() -> T) -> T {
        if self.round <= ROUNDS_BEFORE {
            return part();
        }
        self.operations += operations;
        counted_part(part)
    }
}

/// Callgrind is told to collect while a function of this name runs.
#[inline(never)]
fn counted_part<T>(part: impl FnOnce() -> T) -> T {
    black_box(part())
}

fn scan(meter: &mut Meter, request: &[u8]) {
    let bytes = request.repeat(READ);
    let limits = Limits::default();
    let mut scanner = RequestScanner::default();
    while meter.goes_on() {
        let found = meter.count(READ, || {
            let (mut rest, mut found) = (&bytes[..], 0);
            while let Ok(Scan::Complete { len }) = scanner.scan(black_box(rest), &limits) {
                black_box(scanner.request(rest));
                scanner.reset();
                rest = &rest[len..];
                found += 1;
            }
            found
        });
        assert_eq!(found, READ, "the scanner finds another number of requests");
    }
}

fn alike(meter: &mut Meter, request: &[u8]) {
    let bytes = request.repeat(READ);
    let limits = Limits::default();
    let scanner = RequestScanner::of_kept(request).expect("a request");
    let head = scanner.request(request).head().expect("a strict one");
    while meter.goes_on() {
        let found = meter.count(READ, || {
            let (mut rest, mut found) = (&bytes[..], 0);
            while let Some(len) = head.next(black_box(rest), &limits) {
                rest = &rest[len..];
                found += 1;
            }
            found
        });
        assert_eq!(found, READ, "another number of requests is alike");
    }
}

fn classified(meter: &mut Meter, bytes: &[u8]) {
    let scanner = RequestScanner::of_kept(bytes).expect("a request");
    let request = scanner.request(bytes);
    assert_eq!(classify(&request).lane, Lane::Shared);
    while meter.goes_on() {
        meter.count(READ, || {
            for _ in 0..READ {
                black_box(classify(black_box(&request)));
            }
        });
    }
}

/// The look at the routing table. The session remembers the connection that it led to.
fn route_to_primary(meter: &mut Meter) {
    let (_publisher, routes) = routing::publisher(table());
    let mut table = routes.cached();
    assert_eq!(table.load().for_primary(), Choice::Node(NodeId(0)));
    while meter.goes_on() {
        meter.count(READ, || {
            for _ in 0..READ {
                black_box(table.load().for_primary());
            }
        });
    }
}

/// The choice among two replicas by what they owe, and the search for the connection of the client's identity.
fn route_to_replica(meter: &mut Meter) {
    let stage = Stage::new(1);
    let (_publisher, routes) = routing::publisher(table());
    let mut table = routes.cached();
    let settings =
        routing::Settings { policy: routing::ReadPolicy::PreferReplica, ..routing::Settings::default() };
    let mut turn = 0;
    while meter.goes_on() {
        meter.count(READ, || {
            for _ in 0..READ {
                let cost = |node| stage.outstanding(node);
                let Choice::Node(node) = table.load().for_read(&settings, turn, cost, |_| true) else {
                    panic!("two replicas are readable");
                };
                turn = node.slot() + 1;
                black_box(stage.pipeline(node));
            }
        });
    }
}

/// What is counted of a request, with nothing around it: bytes on each side and way, the command, both durations; of `together`
/// requests that come and are answered in one go once. The others that a read of a socket brings share its bytes, which is left out.
fn metrics(meter: &mut Meter, together: u32) {
    let names = command::rows().iter().map(|row| row.name.to_owned()).collect();
    let metrics = Metrics::new(names, vec!["127.0.0.1:6379".to_owned()], 1, 1);
    let worker = metrics.worker(0);
    let row = command::find(b"get").expect("a row").0;
    let bytes = u64::from(together) * 32;
    while meter.goes_on() {
        meter.count(READ * together as usize, || {
            for turn in 0..READ as u64 {
                let (worker, n) = (black_box(&*worker), black_box(u64::from(together)));
                worker.bytes(Side::Client, Direction::In, bytes);
                worker.command(row, true, n);
                worker.bytes(Side::Backend, Direction::Out, bytes);
                worker.bytes(Side::Backend, Direction::In, bytes);
                worker.backend_duration(0, 80 + turn, n);
                worker.duration(row, 80 + turn, n);
                worker.bytes(Side::Client, Direction::Out, bytes);
            }
        });
    }
    let text = metrics.render().expect("it is shown");
    assert!(text.contains("redhold_command_duration_seconds_count{command=\"get\"}"), "nothing was counted");
}

/// A primary and two replicas that may be read from.
fn table() -> RoutingTable {
    let node = |id| NodeRoute {
        id: NodeId(id),
        address: Address { host: "127.0.0.1".into(), port: 6379 },
        zone: String::new(),
        readable: id > 0,
        generation: 0,
        run_id: None,
    };
    RoutingTable {
        epoch: 1,
        primary: Some(NodeId(0)),
        gate: Gate::Open,
        holds: 0,
        planned: false,
        degraded: false,
        remedy: Remedy::Unjudged,
        nodes: (0..pipeline::NODES).map(node).collect(),
    }
}

/// Callers hand their requests over at different moments. They lie ahead, since how long a reply took decides in which
/// bucket it is counted: under callgrind each takes no time.
pub(crate) fn moments(count: usize) -> Vec<Instant> {
    let first = Instant::now() + std::time::Duration::from_secs(3600);
    (0..count as u64).map(|micros| first + std::time::Duration::from_micros(micros)).collect()
}
