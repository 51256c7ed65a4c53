//! A burst through many clients, who stay: what it needed is given back.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Test;
use crate::counted::Counted;
use crate::streams::read_through;
use crate::support::{Client, Group, LONG, ProxyOptions, encode, eventually};

pub const TESTS: &[Test] = &[("buffers_shrink_again_after_a_burst", shrinks)];

const CLIENTS: usize = 24;
/// Requests of each client at once.
const DEEP: usize = 3_000;
const SMALL: usize = 1_000;
/// A reply of some hundred KiB, and how many of them each client asks for at once.
const LARGE: usize = 300 << 10;
const LARGE_COUNT: usize = 30;
/// A request that is not large enough to be streamed.
const REQUEST: usize = 900 << 10;

/// So much is in use at the height of the burst, or it was none.
const HEIGHT: u64 = 8 << 20;
/// What a client that was part of it may cost more than before: the connection for its transaction waits for the next client.
const EACH: u64 = 256;
/// … and what all have in common: the queues of a few connections, and what metrics and clocks keep.
const COMMON: u64 = 64 << 10;

/// All requests of one client, and how many bytes answer them.
fn burst() -> (Vec<u8>, usize) {
    let bulk = |len: usize| format!("${len}\r\n").len() + len + 2;
    let (small, request) = ("s".repeat(SMALL), "r".repeat(REQUEST));
    let transaction = [encode(&["MULTI"]), encode(&["SET", "t", &small]).repeat(50), encode(&["EXEC"])];
    let bytes = [
        encode(&["GET", "large"]).repeat(LARGE_COUNT),
        [encode(&["SET", "s", &small]), encode(&["GET", "s"])].concat().repeat(DEEP / 2),
        encode(&["SET", "r", &request]),
        transaction.concat(),
        encode(&["GET", "s"]),
    ];
    let replies =
        [(5 + bulk(SMALL)) * (DEEP / 2), bulk(LARGE) * LARGE_COUNT, 5, 5 + 9 * 50 + 5 + 5 * 50, bulk(SMALL)];
    (bytes.concat(), replies.iter().sum())
}

/// A client that has been served.
fn connect(counted: &Counted) -> TcpStream {
    let mut stream = TcpStream::connect(counted.proxy.address()).expect("the proxy listens");
    stream.set_read_timeout(Some(2 * LONG)).expect("a timeout above zero is accepted");
    stream.set_write_timeout(Some(3 * LONG)).expect("a timeout above zero is accepted");
    stream.write_all(&encode(&["SET", "s", "x"])).expect("the proxy reads");
    read_through(&stream, b"", 5);
    stream
}

fn shrinks() {
    let group = Group::plain(0);
    let mut node: Client = group.nodes()[0].client();
    node.cmd(&["SET", "large", &"l".repeat(LARGE)]);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").looking_once_a_minute();
    let mut counted = Counted::start(options);
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&counted)).collect();
    // What is opened for the first of such requests stays for a while.
    let mut own = counted.proxy.client();
    own.pipeline(&["MULTI", "EXEC"]);
    let (before, rss) = (counted.counts().in_use, counted.proxy.rss());
    let (bytes, replies) = burst();
    let height = std::thread::scope(|scope| {
        for client in &clients {
            let (mut client, bytes) = (client, &bytes);
            scope.spawn(move || client.write_all(bytes).expect("the proxy reads"));
        }
        let mut height = 0;
        eventually(2 * LONG, "replies pile up", || {
            height = counted.counts().in_use.saturating_sub(before);
            height >= HEIGHT
        });
        clients.iter().for_each(|client| drop(scope.spawn(move || read_through(client, b"", replies))));
        height
    });
    let at_end = counted.proxy.rss();
    let peak = counted.counts().peak - before;
    let (allowed, mut left) = (before + COMMON + EACH * CLIENTS as u64, 0);
    let deadline = Instant::now() + 2 * LONG;
    while Instant::now() < deadline {
        left = counted.counts().in_use;
        if left <= allowed {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "    in use beside {before} bytes: {height} waiting, {peak} at most, {} in the end; resident beside {} KiB: {} KiB at the end \
         of the burst, {} KiB now",
        left as i64 - before as i64,
        rss >> 10,
        (at_end as i64 - rss as i64) >> 10,
        (counted.proxy.rss() as i64 - rss as i64) >> 10
    );
    assert!(left <= allowed, "{left} bytes in use where {allowed} are allowed");
    // They are all served as before.
    clients.iter().for_each(|mut client| {
        client.write_all(&encode(&["GET", "none"])).expect("the proxy reads");
        read_through(client, b"", 5);
    });
}
