//! Cursors of the SCAN family carry the epoch that they belong to, whatever the size of the reply and whatever becomes of
//! the connection.

use std::collections::BTreeSet;

use crate::support::{Client, LONG, Proxy, ProxyOptions, Relay, Server, Value, eventually};

/// A lone server behind a relay, and a proxy that has come to epoch 2 by the server's restart.
fn second_epoch() -> (Server, Relay, Proxy) {
    let mut server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = ProxyOptions::new(&[relay.address()])
        .set("health.timeout", "\"10s\"")
        .set("health.busy_timeout", "\"20s\"")
        .set("proxy.workers", "1")
        .start();
    server.restart();
    eventually(LONG, "the epoch is 2", || {
        let status = proxy.status();
        status["epoch"] == 2 && status["writable"] == true
    });
    (server, relay, proxy)
}

fn fill(client: &mut Client, keys: usize) {
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'a key of some length ' .. i, i) end";
    assert_eq!(client.cmd(&["EVAL", script, "0", &keys.to_string()]), Value::Nil);
    let script = "for i = 1, ARGV[1] do redis.call('HSET', KEYS[1], 'a field of some length ' .. i, i) end";
    assert_eq!(client.cmd(&["EVAL", script, "1", "h", &keys.to_string()]), Value::Nil);
}

/// Goes over everything; each reply's cursor is what the next call is given.
#[track_caller]
fn walk(client: &mut Client, words: &[&str], count: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for _ in 0..100_000 {
        let reply = client.cmd(&[words, &[&cursor, "COUNT", count]].concat());
        assert_eq!(reply.error(), None, "{words:?} {cursor}");
        seen.extend(reply.items()[1].items().iter().filter_map(Value::text));
        cursor = reply.items()[0].text().expect("a cursor");
        if cursor == "0" {
            return seen;
        }
    }
    panic!("{words:?} has no end");
}

#[test]
fn the_cursor_of_a_large_reply_is_as_good_as_any() {
    let (server, _relay, proxy) = second_epoch();
    fill(&mut server.client(), 20_000);
    let mut client = proxy.client();
    assert_eq!(walk(&mut client, &["SCAN"], "5000").len(), 20_001);
    assert_eq!(walk(&mut client, &["HSCAN", "h"], "5000").len(), 40_000);
    assert_eq!(client.call("GET none"), Value::Nil, "replies are still in step");
}

#[test]
fn a_lost_scan_is_sent_again_with_the_cursor_that_the_client_gave() {
    let (server, relay, proxy) = second_epoch();
    fill(&mut server.client(), 1_000);
    let mut client = proxy.client();
    let first = client.call("SCAN 0 COUNT 10");
    let cursor = first.items()[0].text().expect("a cursor");
    assert_ne!(cursor, "0");
    let expected = client.cmd(&["SCAN", &cursor, "COUNT", "10"]);
    relay.cut_at("SCAN", 1);
    assert_eq!(client.cmd(&["SCAN", &cursor, "COUNT", "10"]), expected);
    assert_eq!(relay.met(), 1);
    assert_eq!(proxy.status()["epoch"], 2);
}

#[test]
fn a_scan_that_ends_its_connection_twice_is_not_sent_a_third_time() {
    let (_server, relay, proxy) = second_epoch();
    let mut client = proxy.client();
    relay.cut_at("HSCAN", usize::MAX);
    let reply = client.call("HSCAN h 0");
    let text = reply.error().expect("an error");
    assert!(text.starts_with("TRYAGAIN request was in flight when node"), "{text}");
    assert_eq!(relay.met(), 2);
    assert_eq!(proxy.errors("in_flight_at_death"), 1.0);
}

#[test]
fn a_cursor_of_another_epoch_is_refused_in_the_first_epoch_too() {
    let server = Server::start();
    fill(&mut server.client(), 1_000);
    let proxy = Proxy::start(&[server.address()]);
    assert_eq!(proxy.status()["epoch"], 1);
    let mut client = proxy.client();
    // Given out in epoch 42, before the record of epochs was lost.
    let cursor = (7_u64 ^ (41 << 44)).to_string();
    let text = "ERR cursor belongs to epoch 42 (now 1): start again from 0";
    for words in [&["SCAN"][..], &["HSCAN", "h"]] {
        let reply = client.cmd(&[words, &[&cursor]].concat());
        assert_eq!(reply, Value::Error(text.to_owned()));
    }
    assert_eq!(proxy.errors("cursor"), 2.0);
    let replies = client.pipeline(&["MULTI", &format!("SCAN {cursor}"), "EXEC"]);
    let refused = replies[2].items()[0].error().expect("an error");
    assert_eq!(refused, text);
    assert_eq!(walk(&mut client, &["SCAN"], "100").len(), 1_001);
}

#[test]
fn a_scan_that_finds_no_shared_connection_goes_on_with_the_cursor_that_it_was_given() {
    let (server, relay, proxy) = second_epoch();
    fill(&mut server.client(), 1_000);
    let mut client = proxy.client();
    // From here on nothing is sent on shared connections.
    assert_eq!(client.call("CLIENT PAUSE 600000 WRITE"), Value::ok());
    assert_eq!(walk(&mut client, &["SCAN"], "50").len(), 1_001);
    let first = client.call("SCAN 0 COUNT 10");
    let cursor = first.items()[0].text().expect("a cursor");
    let expected = client.cmd(&["SCAN", &cursor, "COUNT", "10"]);
    relay.cut_at("SCAN", 1);
    assert_eq!(client.cmd(&["SCAN", &cursor, "COUNT", "10"]), expected, "and when it is lost");
    assert_eq!((relay.met(), &proxy.status()["epoch"]), (1, &serde_json::json!(2)));
}

#[test]
fn a_scan_that_is_lost_before_it_is_queued_is_queued_with_the_cursor_that_the_client_gave() {
    let (server, relay, proxy) = second_epoch();
    fill(&mut server.client(), 1_000);
    let mut client = proxy.client();
    let first = client.call("SCAN 0 COUNT 10");
    let cursor = first.items()[0].text().expect("a cursor");
    let expected = client.cmd(&["SCAN", &cursor, "COUNT", "10"]);
    let stale = (7_u64 ^ (41 << 44)).to_string();
    let refused = Value::Error("ERR cursor belongs to epoch 42 (now 2): start again from 0".to_owned());
    for (given, expected) in [(cursor, expected), (stale, refused)] {
        assert_eq!(client.call("MULTI"), Value::ok());
        let met = relay.met();
        relay.cut_at("SCAN", 1);
        assert_eq!(client.cmd(&["SCAN", &given, "COUNT", "10"]), Value::Simple("QUEUED".to_owned()));
        assert_eq!(relay.met(), met + 1);
        assert_eq!(client.call("EXEC"), Value::Array(vec![expected]));
    }
    assert_eq!(proxy.status()["epoch"], 2);
}
