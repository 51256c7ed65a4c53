//! More clients that need a connection of their own than there are connections to lend.

use std::time::{Duration, Instant};

use crate::support::{Client, LONG, Proxy, ProxyOptions, Server, Value, eventually};

/// The proxy leaves 200 connections of a node alone, so that it may lend three.
const MAX_CLIENTS: &str = "203";

const REFUSAL: &str = "ERR proxy has no free backend connection (pinned_max 3), not executed";

fn popped(key: &str) -> Value {
    Value::Array(vec![Value::bulk(key), Value::bulk("x")])
}

/// A client in BLPOP.
fn waiting(proxy: &Proxy, key: &str) -> Client {
    let mut client = proxy.client();
    client.send(&["BLPOP", key, "0"]);
    client
}

fn wait_parked(server: &Server, count: usize) {
    eventually(LONG, &format!("{count} clients are parked at the node"), || {
        server.info("blocked_clients") == Some(count.to_string())
    });
}

#[test]
fn who_waits_gets_its_turn_in_the_order_of_coming() {
    let server = Server::options().set("maxclients", MAX_CLIENTS).start();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"60s\"").start();
    let mut parked: Vec<Client> = ["a", "b", "c"].map(|key| waiting(&proxy, key)).into();
    wait_parked(&server, 3);
    let mut other = proxy.client();
    let mut fourth = waiting(&proxy, "d");
    assert!(fourth.is_silent_for(Duration::from_millis(100)));
    let gone = waiting(&proxy, "gone");
    let mut fifth = proxy.client();
    fifth.send_raw(b"SET mark 1\r\nMULTI\r\nSET k v\r\nEXEC\r\n");
    assert_eq!(fifth.read(), Value::ok(), "what needs no connection of its own goes on");
    assert!(fifth.is_silent_for(Duration::from_millis(100)));
    wait_parked(&server, 3);
    drop(gone);

    other.call("RPUSH a x");
    assert_eq!(parked[0].read(), popped("a"));
    wait_parked(&server, 3);
    assert!(fifth.is_silent_for(Duration::from_millis(100)), "the fourth came before it");
    other.call("RPUSH d x");
    assert_eq!(fourth.read(), popped("d"));
    let queued = Value::Simple("QUEUED".to_owned());
    assert_eq!((fifth.read(), fifth.read()), (Value::ok(), queued));
    assert_eq!(fifth.read(), Value::Array(vec![Value::ok()]));
}

#[test]
fn who_waited_as_long_as_a_hold_is_told_so() {
    let server = Server::options().set("maxclients", MAX_CLIENTS).start();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"1s\"").start();
    let mut parked: Vec<Client> = ["a", "b", "c"].map(|key| waiting(&proxy, key)).into();
    wait_parked(&server, 3);
    let start = Instant::now();
    let mut fourth = waiting(&proxy, "a");
    assert_eq!(fourth.read(), Value::Error(REFUSAL.to_owned()));
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
    assert_eq!(fourth.call("SET k v"), Value::ok(), "and is served on");
    assert_eq!(proxy.client().call("RPUSH a x"), Value::Int(1));
    assert_eq!(parked[0].read(), popped("a"), "what was refused takes nothing");
    assert_eq!(proxy.metric("redhold_errors_total{kind=\"no_connection\"}"), Some(1.0));
}

#[test]
fn the_nodes_present_bound_and_a_number_of_ones_own_count() {
    let server = Server::options().set("maxclients", MAX_CLIENTS).start();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"300ms\"").start();
    let _parked: Vec<Client> = ["a", "b", "c"].map(|key| waiting(&proxy, key)).into();
    wait_parked(&server, 3);
    let mut fourth = proxy.client();
    assert_eq!(fourth.call("BLPOP d 0.01"), Value::Error(REFUSAL.to_owned()));
    server.call("CONFIG SET maxclients 204");
    eventually(LONG, "the proxy has heard of it", || fourth.call("BLPOP d 0.01") == Value::Nil);

    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]).set("backend.pinned_max", "1");
    let proxy = options.set("failover.hold", "\"300ms\"").start();
    let _parked = waiting(&proxy, "a");
    wait_parked(&server, 1);
    let refusal = REFUSAL.replace("pinned_max 3", "pinned_max 1");
    assert_eq!(proxy.client().call("BLPOP b 0"), Value::Error(refusal));
}

#[test]
fn who_is_served_on_a_shared_connection_after_all_makes_way() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()])
        .set("backend.pinned_max", "1")
        .set("backend.pipelines_max", "1")
        .set("failover.hold", "\"60s\"");
    let options = options.set("health.timeout", "\"60s\"").set("health.busy_timeout", "\"60s\"");
    let proxy = options.set("proxy.workers", "1").start();
    let bytes = |side: &str, direction: &str| {
        let series = format!("redhold_bytes_total{{side=\"{side}\",direction=\"{direction}\"}}");
        proxy.metric(&series).unwrap_or_default()
    };
    let mut parked = waiting(&proxy, "a");
    wait_parked(&server, 1);
    // Of another identity than the one whose requests the one pipeline carries.
    let mut other = Client::connect_resp3(proxy.address());
    let (mut busy, mut last) = (proxy.client(), proxy.client());
    assert_eq!(busy.call("SET k v"), Value::ok());
    server.sigstop();
    let written = bytes("backend", "out");
    busy.send(&["GET", "k"]);
    eventually(LONG, "the one pipeline is owed a reply", || bytes("backend", "out") > written);
    for (client, request) in [(&mut other, &["GET", "k"][..]), (&mut last, &["BLPOP", "last", "0"])] {
        let read = bytes("client", "in");
        client.send(request);
        eventually(LONG, "the request is read", || bytes("client", "in") > read);
    }
    server.sigcont();
    assert_eq!(busy.read(), Value::bulk("v"));
    assert_eq!(server.call("RPUSH a x"), Value::Int(1));
    assert_eq!(parked.read(), popped("a"));
    assert_eq!(other.read(), Value::bulk("v"));
    wait_parked(&server, 1);
    assert_eq!(server.call("RPUSH last x"), Value::Int(1));
    assert_eq!(last.read(), popped("last"));
}
