//! Clients that subscribe or track keys, and go. `CLIENTS=100000` sends so many.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Group, Home, LONG, Proxy, ProxyOptions, Server, encode, eventually, number};

/// Before memory is looked at: enough that every buffer and table has the size that so many clients at once need.
const WARM_UP: usize = 10_000;
const CYCLES: usize = 15_000;
/// Threads, each of which has [`AT_ONCE`] clients.
const THREADS: usize = 4;
const AT_ONCE: usize = 16;
/// Each thread has an address of the proxy's to itself. One has 28,000 ports, and a port rests for a minute after its connection.
const HOSTS: [[u8; 4]; THREADS] = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4], [127, 0, 0, 5]];
/// What all of them together may leave behind, of a hundred thousand 42 bytes each: less than anything that the proxy keeps for a client or a subscription.
const GROWN_MAX: u64 = 4 << 20;
/// Connections that were given back are kept for a minute, and more of them may be there than before.
const SETTLED: Duration = Duration::from_secs(240);

/// What stands at a node because of clients.
const STANDING: [&str; 4] = ["connected_clients", "pubsub_channels", "pubsub_patterns", "tracking_clients"];

/// What one client says before it goes, `#` for its number, and how many replies and pushes that makes. Half of them give back what
/// they asked for.
const LIVES: [(&[&str], usize); 6] = [
    (&["SUBSCRIBE news:#", "UNSUBSCRIBE news:#"], 2),
    (&["SUBSCRIBE news:# all", "PSUBSCRIBE news:#:*"], 3),
    (&["PSUBSCRIBE news:#:*", "PUNSUBSCRIBE", "PING"], 3),
    (&["HELLO 3", "CLIENT TRACKING ON", "GET key:#", "SUBSCRIBE news:#"], 4),
    (&["HELLO 3", "CLIENT TRACKING ON BCAST PREFIX key:#", "CLIENT TRACKING OFF", "GET key:#"], 4),
    (&["HELLO 3", "SSUBSCRIBE news:#", "CLIENT TRACKING ON BCAST PREFIX key:#"], 3),
];

/// A client that has said its part.
#[track_caller]
fn begin(address: SocketAddr, number: usize) -> (Client, usize) {
    let mut client = Client::connect(address);
    let (words, replies) = LIVES[number % LIVES.len()];
    let mut bytes = Vec::new();
    for request in words {
        let request = request.replace('#', &number.to_string());
        bytes.extend(encode(&request.split(' ').collect::<Vec<_>>()));
    }
    client.send_raw(&bytes);
    (client, replies)
}

/// Lets these clients live, so many at once.
#[track_caller]
fn live(address: SocketAddr, numbers: Range<usize>) {
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let clients: Vec<_> = numbers.by_ref().take(AT_ONCE).map(|number| begin(address, number)).collect();
        for (mut client, replies) in clients {
            for _ in 0..replies {
                let reply = client.read();
                assert!(reply.error().is_none(), "{reply:?}");
            }
        }
    }
}

/// `count` clients, all of which are gone afterwards.
fn come_and_go(proxy: &Proxy, count: usize) {
    thread::scope(|scope| {
        for (thread, host) in HOSTS.into_iter().enumerate() {
            let address = SocketAddr::from((Ipv4Addr::from(host), proxy.address().port()));
            let each = count / THREADS;
            scope.spawn(move || live(address, thread * each..(thread + 1) * each));
        }
    });
    eventually(LONG, "the proxy knows of none any more", || proxy.metric("redhold_clients") == Some(0.0));
}

fn standing(node: &Server) -> Vec<u64> {
    let count = |field| node.info(field).and_then(|count| count.parse().ok()).expect("the node counts it");
    STANDING.map(count).to_vec()
}

#[test]
fn clients_that_subscribed_and_went_leave_nothing_behind() {
    let cycles = number("CLIENTS").map_or(CYCLES, |count| count as usize);
    let group = Group::plain(0);
    let everywhere = Home { namespace: None, ip: Ipv4Addr::UNSPECIFIED.into() };
    let proxy = ProxyOptions::new(&group.addresses()).at(everywhere).start();
    let node = &group.nodes()[0];
    come_and_go(&proxy, WARM_UP);
    let (descriptors, rss, before) = (proxy.descriptors(), proxy.rss(), standing(node));
    let start = Instant::now();
    come_and_go(&proxy, cycles);
    println!("{cycles} clients in {:?}", start.elapsed());
    eventually(SETTLED, "as many descriptors as before", || proxy.descriptors() <= descriptors);
    eventually(SETTLED, "nothing more than before at the node", || {
        standing(node).into_iter().zip(&before).all(|(now, before)| now <= *before)
    });
    let after = proxy.rss();
    println!("memory: {} KiB before, {} KiB after", rss >> 10, after >> 10);
    assert!(after <= rss + GROWN_MAX, "{} bytes more", after - rss);
}
