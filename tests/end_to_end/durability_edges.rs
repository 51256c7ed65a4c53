//! `durability.mode = "semi_sync"` where what is known and what is so differ for a moment.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Value, eventually};

fn start(group: &Group, timeout: &str) -> Proxy {
    let options = ProxyOptions::new(&group.addresses()).set("durability.mode", "\"semi_sync\"");
    options.set("health.timeout", timeout).start()
}

#[test]
fn a_primary_that_stalls_has_its_replicas_all_the_same() {
    let group = Group::plain(2);
    let proxy = start(&group, "\"4s\"");
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    eventually(LONG, "both replicas were seen", || {
        proxy.status()["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["up"] == true))
    });
    group.nodes()[0].sigstop();
    eventually(LONG, "its silence was noticed", || proxy.status()["nodes"][0]["up"] == false);
    client.send(&["SET", "k", "2"]);
    assert!(client.is_silent_for(Duration::from_millis(100)), "it waits as any request does");
    group.nodes()[0].sigcont();
    assert_eq!(client.read(), Value::ok());
}

/// A primary that wakes up ends its WAITs first, whatever its replicas have told it in the meantime.
#[test]
fn a_primary_that_stalls_while_it_waits_is_asked_once_more() {
    let group = Group::plain(1);
    let [primary, replica] = group.addresses()[..] else { panic!("two nodes") };
    let line = Relay::to(primary);
    assert_eq!(group.nodes()[1].call(&format!("REPLICAOF 127.0.0.1 {}", line.address().port())), Value::ok());
    let nodes = format!(r#"[{{ address = "{primary}", peer_address = "{}" }}, "{replica}"]"#, line.address());
    let proxy = ProxyOptions::new(&[])
        .set("backend.nodes", &nodes)
        .set("durability.mode", "\"semi_sync\"")
        .set("durability.timeout", "\"2s\"")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    line.stall();
    client.send(&["SET", "k", "2"]);
    eventually(LONG, "it waits for its replica", || {
        group.nodes()[0].info("blocked_clients").is_some_and(|count| count == "1")
    });
    group.nodes()[0].sigstop();
    line.resume();
    assert!(client.is_silent_for(Duration::from_secs(5)), "longer than any answer takes");
    group.nodes()[0].sigcont();
    assert_eq!(client.read(), Value::ok());
}

/// All of it goes the way of its first piece.
#[test]
fn a_large_error_waits_as_a_whole_or_not_at_all() {
    let group = Group::plain(1);
    let relay = Relay::to(group.nodes()[0].address());
    let error = format!("ERR {}", "x".repeat(500 << 10));
    for reads in ["uncommitted", "committed"] {
        relay.answer_none();
        let proxy = ProxyOptions::new(&[relay.address(), group.nodes()[1].address()])
            .set("durability.mode", "\"semi_sync\"")
            .set("durability.reads", &format!("\"{reads}\""))
            .set("health.timeout", "\"60s\"")
            .set("health.busy_timeout", "\"60s\"")
            .start();
        let mut client = proxy.client();
        assert_eq!(client.call("WATCH other"), Value::ok());
        assert_eq!(client.call("SET k 1"), Value::ok());
        relay.answer_at("large", &format!("-{error}\r\n"));
        group.nodes()[1].sigstop();
        let reply = client.call("SET large 2");
        let text = reply.error().expect("an error");
        match reads {
            "uncommitted" => assert!(text == error, "{:.300}", text),
            _ => assert!(text.starts_with("TRYAGAIN what was read is not known to be held"), "{text:.300}"),
        }
        assert_eq!(client.call("ECHO next"), Value::bulk("next"), "{reads}");
        group.nodes()[1].sigcont();
    }
}

#[test]
fn what_follows_a_multi_that_was_refused_waits_for_replicas() {
    let group = Group::plain(2);
    let proxy = start(&group, "\"10s\"");
    let mut client: Client = proxy.client();
    assert_eq!(client.call("ACL SETUSER plain on nopass ~* +@all -multi"), Value::ok());
    assert_eq!(client.call("AUTH plain x"), Value::ok());
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.nodes()[1..].iter().for_each(crate::support::Server::sigstop);
    let replies = client.pipeline(&["MULTI", "SET k 2", "EXEC"]);
    assert!(replies[0].error().is_some_and(|text| text.starts_with("NOPERM ")), "{replies:?}");
    assert!(replies[1].error().is_some_and(|text| text.starts_with("NOTDURABLE ")), "{replies:?}");
    assert!(replies[2].error().is_some(), "{replies:?}");
    group.nodes()[1..].iter().for_each(crate::support::Server::sigcont);
}

/// In the first seconds of a life a replica that is alive may be attached in a moment: where one has left, which may have been the
/// old primary, the others are waited for.
#[test]
fn a_replica_that_is_not_attached_yet_is_waited_for() {
    let group = Group::plain(1);
    let options = ProxyOptions::new(&group.addresses()).set("durability.mode", "\"semi_sync\"");
    let proxy = options.set("durability.timeout", "\"60s\"").set("failover.hold", "\"60s\"").start();
    assert_eq!(proxy.client().call("SET k before"), Value::ok());
    let [primary, replica] = [0, 1].map(|node| &group.nodes()[node]);
    // It can not come back while it gives a password that the primary does not have.
    replica.call("CONFIG SET masterauth wrong");
    primary.call("CLIENT KILL TYPE replica");
    let mut waiting = Vec::new();
    eventually(LONG, "a write waits in the proxy", || {
        let mut client = proxy.client();
        client.send(&["SET", "k", "after"]);
        waiting.push(client);
        proxy.metric("redhold_held_requests") >= Some(1.0)
    });
    replica.client().cmd(&["CONFIG", "SET", "masterauth", ""]);
    for client in &mut waiting {
        assert_eq!(client.read(), Value::ok());
    }
}

/// Sent again to a primary that finds no replicas: whether it was executed where it went first, nobody knows.
#[test]
fn a_write_that_was_sent_before_is_not_called_unexecuted() {
    let mut group = Group::sealed(1);
    let options = ProxyOptions::new(&group.addresses()).set("durability.mode", "\"semi_sync\"");
    let options = options.set("failover.in_flight", "\"retry_idempotent\"").set("failover.hold", "\"2s\"");
    let proxy = options.start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    let first = group.primary();
    let written = || proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}").unwrap_or(0.0);
    group.node(first).sigstop();
    let (before, long) = (written(), "x".repeat(10 << 10));
    client.send(&["SET", "k", &long]);
    eventually(LONG, "it is on its way", || written() >= before + long.len() as f64);
    group.node(first).kill9();
    let reply = client.read();
    let text = reply.error().unwrap_or_default();
    assert!(text.starts_with("AMBIGUOUS write may have been executed: "), "{reply:?}");
    assert_eq!(proxy.metric("redhold_reissued_total"), Some(1.0), "it was to be sent again");
    assert_eq!(group.nodes()[1 - first].call("GET k"), Value::bulk("before"), "and was not");
    let new = client.call("SET k new");
    assert!(new.error().is_some_and(|text| text.starts_with("NOREPLICAS ")), "a new one was not: {new:?}");
}
