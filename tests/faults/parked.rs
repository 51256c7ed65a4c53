//! Five thousand clients in BLPOP at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::idle::raise_descriptor_limit;
use crate::support::{Client, Group, LONG, Proxy, Server, Value, eventually};

const CLIENTS: usize = 5_000;

fn parked_at(server: &Server) -> usize {
    server.info("blocked_clients").and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn wait_parked(server: &Server) {
    eventually(4 * LONG, "all are parked", || parked_at(server) == CLIENTS);
}

/// How long an order for another primary took, from a group in which every node could lead.
#[track_caller]
fn switched_over(proxy: &Proxy) -> Duration {
    proxy.wait_well();
    let start = Instant::now();
    proxy.switch_over();
    start.elapsed()
}

/// How long a server by itself takes to become a replica while so many are parked: it has to let all of them go first.
fn demoted_alone(parked: usize) -> Duration {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..parked).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("queue:{number}"), "0"]);
    }
    eventually(4 * LONG, "all are parked", || parked_at(&server) == parked);
    let mut order = server.client();
    let start = Instant::now();
    assert_eq!(order.call("REPLICAOF 127.0.0.1 1"), Value::ok());
    start.elapsed()
}

/// A client that writes all the time, and how many of its writes were answered.
struct Writer {
    ends: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    writes: JoinHandle<Duration>,
}

impl Writer {
    fn start(proxy: &Proxy) -> Self {
        let mut client = proxy.client();
        client.set_read_timeout(4 * LONG);
        let (ends, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (end, counted) = (ends.clone(), count.clone());
        let writes = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !end.load(Ordering::Relaxed) {
                let start = Instant::now();
                assert_eq!(client.call("SET beside them"), Value::ok());
                longest = longest.max(start.elapsed());
                counted.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        Self { ends, count, writes }
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// The longest that one of them took.
    fn end(self) -> Duration {
        self.ends.store(true, Ordering::Relaxed);
        self.writes.join().expect("no write fails")
    }
}

/// Pops that may have taken something out for nobody.
fn lost_pops(proxy: &Proxy) -> Option<f64> {
    proxy.metric("redhold_lost_pops_total")
}

#[test]
fn five_thousand_parked_clients_delay_no_switchover_and_each_gets_its_own() {
    raise_descriptor_limit();
    let (demoted, freed) = (demoted_alone(0), demoted_alone(CLIENTS));
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let alone = switched_over(&proxy);
    let mut parked: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for (number, client) in parked.iter_mut().enumerate() {
        client.set_read_timeout(4 * LONG);
        client.send(&["BLPOP", &format!("queue:{number}"), "0"]);
    }
    wait_parked(&group.nodes()[1]);
    let writer = Writer::start(&proxy);
    let crowded = switched_over(&proxy);
    println!("a switchover took {alone:?} with nobody parked and {crowded:?} with {CLIENTS}");
    println!("of which a server by itself takes {demoted:?} and {freed:?}");
    assert!(crowded < 10 * alone.max(Duration::from_secs(1)), "{crowded:?}, {alone:?} with nobody parked");
    let before = writer.count();
    eventually(4 * LONG, "half are parked", || parked_at(&group.nodes()[0]) >= CLIENTS / 2);
    let beside = writer.count() - before;
    wait_parked(&group.nodes()[0]);
    let longest = writer.end();
    println!(
        "until half were parked again another client wrote {beside} times; its longest write took {longest:?}"
    );
    assert!(
        beside >= 5,
        "they stand before everybody else: {beside} writes of another client beside half of them"
    );
    assert_eq!(lost_pops(&proxy), Some(0.0), "the old primary has told each that it executed nothing");
    let mut other = proxy.client();
    for number in 0..CLIENTS {
        assert_eq!(other.call(&format!("RPUSH queue:{number} {number}")), Value::Int(1));
    }
    for (number, client) in parked.iter_mut().enumerate() {
        let own = Value::Array(vec![Value::bulk(format!("queue:{number}")), Value::bulk(number.to_string())]);
        assert_eq!(client.read(), own);
    }
}
