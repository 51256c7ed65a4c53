//! Input that no good client sends: bytes on the wire, the words of the refusal, and a second client unharmed.

use std::time::Duration;

use crate::support::{Client, Group, LONG, ProxyOptions, Value, eventually};
use crate::target::{Target, Way, both_ways};
use crate::witness::Witness;

both_ways!(
    malformed_frames_are_refused_in_redis_words,
    http_is_turned_away,
    a_broken_request_costs_the_good_ones_before_it_nothing,
    keys_over_a_large_keyspace,
    a_script_of_two_seconds,
    a_pause_that_a_client_ordered,
);

fn malformed_frames_are_refused_in_redis_words(way: Way) {
    let target = Target::new(way, 0);
    let witness = Witness::start(target.address(), 1);
    let long = "9".repeat(70_000);
    for (bytes, words) in [
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*abc\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\n$-7\r\n", "invalid bulk length"),
        ("*1\r\n$9999999999999\r\n", "invalid bulk length"),
        ("*1\r\n:5\r\n", "expected '$', got ':'"),
        ("SET k \"open\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
    ] {
        let mut client = target.client();
        // The refusal may come, and the close with it, before the last byte was sent.
        client.try_send_raw(bytes.as_bytes()).ok();
        let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
        assert_eq!(answer, format!("-ERR Protocol error: {words}\r\n"), "{:.40}", bytes);
    }
    witness.finish();
}

fn http_is_turned_away(way: Way) {
    let target = Target::new(way, 0);
    let witness = Witness::start(target.address(), 1);
    for (bytes, answer) in [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nSET k injected\r\n\r\n\r\n", ""),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k injected\r\n",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        ("*1\r\n$4\r\nPOST\r\n", ""),
        ("*2\r\n$5\r\nhost:\r\n$1\r\nx\r\n", ""),
    ] {
        let mut client = target.client();
        client.send_raw(bytes.as_bytes());
        // Redis may close before it has sent what the first line deserves.
        let got = client.read_to_close();
        assert!(answer.as_bytes().starts_with(&got), "{bytes:?}: {}", got.escape_ascii());
    }
    assert_eq!(target.client().call("EXISTS k"), Value::Int(0), "nothing behind it was executed");
    witness.finish();
}

fn a_broken_request_costs_the_good_ones_before_it_nothing(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k v\r\nGET k\r\n*1\r\n$3\r\nGETxx\r\n*x\r\nSET k later\r\n");
    let expected = "+OK\r\n$1\r\nv\r\n-ERR wrong number of arguments for 'get' command\r\n-ERR Protocol error: invalid multibulk length\r\n";
    assert_eq!(String::from_utf8_lossy(&client.read_to_close()), expected);
    assert_eq!(target.client().call("GET k"), Value::bulk("v"));
}

fn keys_over_a_large_keyspace(way: Way) {
    let target = Target::new(way, 1);
    let mut client = target.client();
    assert_eq!(client.call("DEBUG POPULATE 400000"), Value::ok());
    let before = target.proxy.as_ref().map(|proxy| proxy.rss());
    let witness = Witness::start(target.address(), 2);
    for _ in 0..3 {
        assert_eq!(client.call("KEYS *").items().len(), 400_000);
    }
    witness.finish();
    if let (Some(proxy), Some(before)) = (&target.proxy, before) {
        assert_eq!(proxy.status()["epoch"], 1);
        let grown = proxy.rss().saturating_sub(before);
        assert!(grown < 64 << 20, "a reply of 6 MB is passed on in pieces, yet memory grew by {grown} bytes");
    }
}

fn a_script_of_two_seconds(way: Way) {
    let target = Target::new(way, 1);
    let witness = Witness::start(target.address(), 2);
    let script = "local t = redis.call('TIME'); local e = t[1] * 1000000 + t[2] + 2000000; \
                  repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e; return 'done'";
    let mut client = target.client();
    assert_eq!(client.cmd(&["EVAL", script, "0"]), Value::bulk("done"));
    let slowest = witness.finish();
    assert!(slowest < Duration::from_secs(20), "as timely as from the server itself: {slowest:?}");
    if let Some(proxy) = &target.proxy {
        assert_eq!(proxy.status()["epoch"], 1, "a silence that a request explains is no failure");
    }
}

#[test]
fn clients_that_never_finish_a_request_cost_little() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).start();
    let witness = Witness::start(proxy.address(), 1);
    let before = proxy.rss();
    let part = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n".as_slice(), &[b'x'; 60_000]].concat();
    let small: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = proxy.client();
            client.send_raw(&part);
            client
        })
        .collect();
    let part = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n".as_slice(), &vec![b'x'; 2 << 20]].concat();
    let large: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = proxy.client();
            client.send_raw(&part);
            client
        })
        .collect();
    witness.wait_for(50);
    let grown = proxy.rss().saturating_sub(before);
    assert!(grown < 300 * 256 * 1024, "{} unfinished requests hold {grown} bytes", small.len() + large.len());
    drop((small, large));
    eventually(LONG, "their clients are gone", || proxy.metric("redhold_clients") == Some(1.0));
    witness.finish();
    assert_eq!(proxy.client().call("EXISTS k"), Value::Int(0));
}

#[test]
fn a_client_that_never_reads_is_closed_at_its_bound() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("limits.client_output", "\"8MiB\"").start();
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
    let witness = Witness::start(proxy.address(), 2);
    let before = proxy.rss();
    let mut greedy = proxy.client();
    let requests = b"GET big\r\n".repeat(2_000);
    greedy.try_send_raw(&requests).ok();
    eventually(LONG, "the client that does not read is closed", || {
        proxy.metric("redhold_errors_total{kind=\"client_output\"}").is_some_and(|count| count >= 1.0)
    });
    let grown = proxy.rss().saturating_sub(before);
    assert!(grown < 128 << 20, "memory grew by {grown} bytes");
    witness.wait_for(50);
    witness.finish();
    assert_eq!(client.call("STRLEN big"), Value::Int(1 << 20));
}

#[test]
fn idle_clients_cost_little_and_no_connection_of_the_node() {
    const CLIENTS: usize = 1_500;
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).start();
    let witness = Witness::start(proxy.address(), 1);
    let before = proxy.rss();
    let mut idle: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
    }
    eventually(LONG, "all are accepted", || proxy.metric("redhold_clients") == Some((CLIENTS + 1) as f64));
    let each = proxy.rss().saturating_sub(before) / CLIENTS as u64;
    assert!(each < 64 << 10, "an idle client costs {each} bytes");
    let connections =
        group.nodes()[0].info("connected_clients").and_then(|count| count.parse::<usize>().ok());
    assert!(connections.is_some_and(|count| count < 64), "{connections:?}");
    witness.finish();
}

#[test]
fn beyond_max_clients_a_client_is_told_so() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.max_clients", "8").start();
    let mut clients: Vec<Client> = Vec::new();
    eventually(LONG, "eight clients are in", || {
        let mut client = proxy.client();
        if client.try_cmd(&["PING"]).is_ok_and(|reply| reply.error().is_none()) {
            clients.push(client);
        }
        clients.len() == 8
    });
    let mut ninth = proxy.client();
    assert_eq!(ninth.read_to_close(), b"-ERR max number of clients reached\r\n");
    assert_eq!(clients[0].call("PING"), Value::Simple("PONG".to_owned()));
    clients.pop();
    eventually(LONG, "there is room again", || {
        proxy.client().try_cmd(&["PING"]).is_ok_and(|reply| reply.error().is_none())
    });
}

fn a_pause_that_a_client_ordered(way: Way) {
    let target = Target::new(way, 1);
    let mut client = target.client();
    assert_eq!(client.cmd(&["SET", "k", "before"]), Value::ok());
    assert_eq!(client.cmd(&["CLIENT", "PAUSE", "4000"]), Value::ok());
    assert_eq!(client.cmd(&["GET", "k"]), Value::bulk("before"));
    if let Some(proxy) = &target.proxy {
        assert_eq!(proxy.status()["epoch"], 1, "a silence that a client ordered is no failure");
    }
}
