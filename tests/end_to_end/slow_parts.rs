//! PROXY SLOWLOG: which part of the time was the proxy's, which the node's own, and what is left for the way.

use std::time::Duration;

use crate::slow_log::{LONGER, THRESHOLD, call_stopped, entries, only, place};
use crate::support::{Client, Group, LONG, ProxyOptions, Server, Value, eventually, eventually_some};

/// A script that keeps any machine's node busy for longer than [`THRESHOLD`], and that in microseconds.
const BUSY: &str = "for at = 1, 1e8 do end return 1";
const BUSY_MICROS: i64 = 50_000;

/// That a stopped node stands still at least, in microseconds.
const STOPPED_MICROS: i64 = 100_000;

/// Microseconds in all, held before, and what the node tells.
fn parts(entry: &Value) -> (i64, i64, Option<i64>) {
    let [all, held] = [2, 7].map(|at| entry.items()[at].int().expect("a number"));
    (all, held, entry.items()[8].int())
}

fn is_told(client: &mut Client, begins: &str) -> (i64, i64, i64) {
    eventually_some(LONG, "the node has told", || {
        let (all, held, server) = parts(&only(&entries(client), begins));
        server.map(|server| (all, held, server))
    })
}

#[test]
fn a_script_that_runs_long_is_the_nodes_own_time() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["EVAL", BUSY, "0"]), Value::Int(1));
    let (all, held, server) = is_told(&mut client, "EVAL");
    assert!(server >= BUSY_MICROS && all >= server, "{all} {held} {server}");
    assert_eq!(held, 0, "{all} {server}");
    let stats = client.call("INFO commandstats").text().expect("text");
    assert!(
        stats.contains("cmdstat_eval:") && !stats.contains("slowlog"),
        "what Redhold asks shows: {stats}"
    );
}

#[test]
fn so_it_is_on_a_connection_of_ones_own_but_a_transaction_is_told_of_by_no_node() {
    let server = Server::options().set("enable-debug-command", "yes").start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
    let mut client = proxy.client();
    for request in ["MULTI", "DEBUG SLEEP 0.2"] {
        assert!(client.call(request).error().is_none(), "{request}");
    }
    assert_eq!(client.call("EXEC").items(), [Value::ok()]);
    // Whose answer covers all before.
    assert_eq!(client.call("DEBUG SLEEP 0.3"), Value::ok());
    let (all, held, server) = is_told(&mut client, "DEBUG SLEEP 0.3");
    assert!(server >= 300_000 && all >= server && held == 0, "{all} {held} {server}");
    let (all, _, server) = parts(&only(&entries(&mut client), "EXEC"));
    assert!(all >= 200_000 && server.is_none(), "{all} {server:?}");
}

#[test]
fn what_a_stopped_node_takes_is_neither_the_proxys_nor_the_nodes() {
    // This one remembers all; as it is otherwise, what was quick for it is not there.
    for (remembers, threshold) in [(true, "0"), (false, "10000")] {
        let server = Server::options().set("slowlog-log-slower-than", threshold).start();
        let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
        let mut client = proxy.client();
        assert_eq!(client.call("STRLEN k"), Value::Int(0));
        call_stopped(&server, &mut client, "GET k");
        let (all, held) = if remembers {
            let (all, held, server) = is_told(&mut client, "GET");
            assert!(server < STOPPED_MICROS / 2, "{all} {held} {server}");
            (all, held)
        } else {
            assert_eq!(client.cmd(&["EVAL", BUSY, "0"]), Value::Int(1));
            is_told(&mut client, "EVAL");
            let (all, held, server) = parts(&only(&entries(&mut client), "GET"));
            assert_eq!(server, None, "{all} {held}");
            (all, held)
        };
        assert!(all >= STOPPED_MICROS && held == 0, "{all} {held}");
    }
}

#[test]
fn what_was_held_is_the_proxys_time_also_of_what_takes_long_at_its_node() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
    let mut client = proxy.client();
    assert_eq!(proxy.http("POST", "/api/pause").map(|(code, _)| code), Some(200));
    client.send(&["EVAL", BUSY, "0"]);
    eventually(LONG, "it is held", || proxy.metric("redhold_held_requests") == Some(1.0));
    assert!(client.is_silent_for(LONGER));
    assert_eq!(proxy.http("POST", "/api/resume").map(|(code, _)| code), Some(200));
    assert_eq!(client.read(), Value::Int(1));
    let at = |node: &str, client: &mut Client| {
        let there: Vec<_> = entries(client).into_iter().filter(|entry| place(entry) == node).collect();
        parts(&only(&there, "EVAL"))
    };
    let node = server.address().to_string();
    let (all, held, server) = eventually_some(LONG, "the node has told", || {
        let (all, held, server) = at(&node, &mut client);
        server.map(|server| (all, held, server))
    });
    assert!(held >= 100_000 && server >= BUSY_MICROS && all >= server, "{all} {held} {server}");
    let (all, held, server) = at("proxy", &mut client);
    assert!(all >= 100_000 && held == all && server.is_none(), "{all} {held} {server:?}");
}

#[test]
fn what_waits_for_a_new_primary_is_the_proxys_time() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("log.slowlog", THRESHOLD).start();
    let mut client = proxy.client();
    assert_eq!(client.pipeline(&["SET k v", "WAIT 1 0"]), [Value::ok(), Value::Int(1)]);
    // Whoever is to lead next takes its time.
    group.nodes()[1].sigstop();
    group.node(0).kill9();
    client.send(&["GET", "k"]);
    eventually(LONG, "it is held", || proxy.metric("redhold_held_requests") == Some(1.0));
    assert!(client.is_silent_for(LONGER));
    group.nodes()[1].sigcont();
    assert_eq!(client.read(), Value::bulk("v"));
    let held: Vec<_> = entries(&mut client).into_iter().filter(|entry| place(entry) == "proxy").collect();
    let (all, held, server) = parts(&only(&held, "GET"));
    assert!(all >= 100_000 && held == all && server.is_none(), "{all} {held} {server:?}");
}

#[test]
fn a_user_that_may_not_ask_is_told_nothing_and_asks_once() {
    let server = Server::start();
    for order in ["ACL SETUSER proxy on >pw ~* &* +@all -slowlog", "CONFIG RESETSTAT"] {
        assert_eq!(server.call(order), Value::ok(), "{order}");
    }
    let proxy = ProxyOptions::new(&[server.address()])
        .set("backend.username", "\"proxy\"")
        .set("backend.password", "\"pw\"")
        .set("log.slowlog", THRESHOLD)
        .start();
    let mut client = proxy.client();
    let refused = || {
        let stats = server.call("INFO commandstats").text().expect("text");
        let line = stats.lines().find(|line| line.starts_with("cmdstat_slowlog")).map(str::to_owned);
        line.is_some_and(|line| line.trim_end().contains("calls=0,") && line.contains("rejected_calls=1,"))
    };
    assert_eq!(client.cmd(&["EVAL", BUSY, "0"]), Value::Int(1));
    eventually(LONG, "it is refused", refused);
    // Longer than the pause between two questions.
    for _ in 0..4 {
        assert_eq!(client.cmd(&["EVAL", BUSY, "0"]), Value::Int(1));
    }
    assert!(client.is_silent_for(Duration::from_millis(1_100)));
    assert!(refused(), "it was asked again: {:?}", server.call("INFO commandstats"));
    assert!(entries(&mut client).iter().all(|entry| parts(entry).2.is_none()));
}
