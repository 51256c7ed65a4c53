//! PROXY PAUSE and RESUME, PROXY READONLY: requests wait or are refused at the proxy because an operator says so.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Load, Proxy, Server, Value, eventually};

const REFUSED: &str =
    "READONLY You can't write: Redhold refuses writes by order (PROXY READONLY ON); command was not executed";

fn refused() -> Value {
    Value::Error(REFUSED.to_owned())
}

#[track_caller]
fn post(proxy: &Proxy, path: &str) -> u16 {
    let (code, body) = proxy.http("POST", path).expect("the admin page answers");
    println!("{path}: {code} {body}");
    code
}

/// A user who may order, let in.
fn boss(server: &Server, proxy: &Proxy) -> Client {
    server.call("ACL SETUSER boss on >pw ~* &* +@all");
    let mut boss = proxy.client();
    assert_eq!(boss.call("AUTH boss pw"), Value::ok());
    boss
}

/// What the node was asked to do so far, its own looks left out.
fn executed(server: &Server, command: &str) -> u64 {
    let stats = server.call("INFO commandstats").text().expect("text");
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn while_paused_nothing_reaches_a_node_and_afterwards_everything_goes_on() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut boss = boss(&server, &proxy);
    let (mut plain, mut queueing) = (proxy.client(), proxy.client());
    assert_eq!(plain.call("SET k 1"), Value::ok());
    assert_eq!(queueing.call("MULTI"), Value::ok());
    let before = executed(&server, "incr");
    assert!(boss.call("PROXY PAUSE").text().is_some_and(|text| text.starts_with("paused: ")));
    plain.send_raw(b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    queueing.send(&["INCR", "k"]);
    let mut gone = proxy.client();
    gone.send(&["INCR", "k"]);
    let mut large = proxy.client();
    large.send(&["SETRANGE", "large", "0", &"x".repeat(3 << 20)]);
    eventually(LONG, "four clients wait", || proxy.metric("redhold_held_requests") == Some(4.0));
    drop(gone);
    let status = boss.call("PROXY STATUS").text().expect("text");
    assert!(status.lines().any(|line| line == "paused:1"), "{status}");
    assert_eq!(proxy.status()["paused"], true);
    assert_eq!(proxy.metric("redhold_paused"), Some(1.0));
    assert!(
        plain.is_silent_for(Duration::from_millis(200)) && queueing.is_silent_for(Duration::from_millis(1))
    );
    assert_eq!((executed(&server, "incr"), server.call("EXISTS large")), (before, Value::Int(0)));
    assert!(boss.call("PROXY PAUSE").error().is_some_and(|text| text.contains("paused already")));

    assert_eq!(boss.call("PROXY RESUME"), Value::bulk("resumed"));
    assert_eq!((plain.read(), plain.read()), (Value::Int(2), Value::bulk("2")));
    assert_eq!(queueing.read(), Value::Simple("QUEUED".to_owned()));
    assert_eq!(queueing.call("EXEC"), Value::Array(vec![Value::Int(3)]));
    assert_eq!(large.read(), Value::Int(3 << 20));
    eventually(LONG, "nobody waits", || proxy.metric("redhold_held_requests") == Some(0.0));
    assert_eq!(plain.call("GET k"), Value::bulk("3"), "who left meanwhile has nothing executed");
    assert!(boss.call("PROXY RESUME").error().is_some_and(|text| text.contains("not paused")));
}

#[test]
fn a_pause_waits_for_what_is_on_its_way_and_not_for_who_waits_at_the_node() {
    let server = Server::options().set("enable-debug-command", "yes").start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut parked, mut slow, mut own) = (proxy.client(), proxy.client(), proxy.client());
    parked.send(&["BLPOP", "list", "0"]);
    eventually(LONG, "it is parked", || server.info("blocked_clients").as_deref() == Some("1"));
    own.call("WATCH k");
    for client in [&mut slow, &mut own] {
        client.send(&["DEBUG", "SLEEP", "0.5"]);
    }
    eventually(LONG, "both are on their way", || {
        let list = proxy.client().call("PROXY CLIENTS").text().unwrap_or_default();
        list.lines().filter(|line| line.contains(" cmd=debug")).count() == 2
    });
    assert_eq!(post(&proxy, "/api/pause"), 200);
    for client in [&mut slow, &mut own] {
        assert!(!client.is_silent_for(Duration::from_millis(100)), "its reply came before the order's");
        assert_eq!(client.read(), Value::ok());
    }
    assert!(parked.is_silent_for(Duration::from_millis(1)));
    assert_eq!(post(&proxy, "/api/pause"), 409);
    assert_eq!(post(&proxy, "/api/resume"), 200);
    assert_eq!(slow.call("RPUSH list v"), Value::Int(1));
    assert_eq!(parked.read().items().len(), 2);
}

#[test]
fn a_load_does_not_notice_a_pause_but_for_the_time() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), 8, 8);
    load.wait_for(1_000);
    for _ in 0..20 {
        assert_eq!(post(&proxy, "/api/pause"), 200);
        let written = || executed(&group.nodes()[0], "set") + executed(&group.nodes()[0], "incr");
        let before = written();
        std::thread::yield_now();
        assert_eq!(written(), before, "nothing is on its way");
        assert_eq!(post(&proxy, "/api/resume"), 200);
        load.wait_for(200);
    }
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(outcome.missing_on(group.addresses()[0]), 0);
}

#[test]
fn a_pause_outlasts_the_death_of_the_primary() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.wait_in_sync(0);
    assert_eq!(post(&proxy, "/api/pause"), 200);
    client.send(&["INCR", "k"]);
    group.node(0).kill9();
    proxy.wait_replaced();
    assert!(client.is_silent_for(Duration::from_millis(100)));
    assert_eq!(post(&proxy, "/api/resume"), 200);
    assert_eq!(client.read(), Value::Int(2));
}

#[test]
fn writes_are_refused_by_order_and_reads_go_on() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut boss = boss(&server, &proxy);
    let (mut client, mut queued, mut watching) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(client.call("SET k 1"), Value::ok());
    assert_eq!(queued.pipeline(&["MULTI", "INCR k"])[1], Value::Simple("QUEUED".to_owned()));
    assert_eq!(boss.call("PROXY READONLY ON"), Value::bulk("writes are refused, reads go on"));
    for request in
        ["SET k 2", "DEL k", "BLPOP k 0", "EVAL return{} 0", "FLUSHALL", "unknown.command k", "GETDEL k"]
    {
        assert_eq!(client.call(request), refused(), "{request}");
    }
    assert_eq!(client.cmd(&["SET", "k", &"x".repeat(3 << 20)]), refused());
    let reads = client.pipeline(&["GET k", "SET k 3", "TTL k", "PUBLISH c m", "PING", "EVAL_RO return{1} 0"]);
    let pong = Value::Simple("PONG".to_owned());
    let expected =
        [Value::bulk("1"), refused(), Value::Int(-1), Value::Int(0), pong, Value::Array(vec![Value::Int(1)])];
    assert_eq!(reads, expected);
    // As with a server that became a replica meanwhile, but for what was queued before.
    let transaction = watching.pipeline(&["WATCH k", "MULTI", "GET k", "SET k 4", "EXEC"]);
    assert_eq!(transaction[3], refused());
    assert!(transaction[4].error().is_some_and(|text| text.starts_with("EXECABORT")), "{transaction:?}");
    assert_eq!(queued.call("EXEC"), Value::Array(vec![Value::Int(2)]));
    let status = boss.call("PROXY STATUS").text().expect("text");
    assert!(status.lines().any(|line| line == "read_only:1"), "{status}");
    assert_eq!((proxy.metric("redhold_read_only"), &proxy.status()["read_only"]), (Some(1.0), &true.into()));
    assert_eq!(
        proxy.http("GET", "/readyz"),
        Some((200, "ready, but writes are refused by order\n".to_owned()))
    );
    assert_eq!(boss.call("PROXY READONLY OFF"), Value::bulk("writes are taken"));
    assert_eq!(client.call("SET k 5"), Value::ok());
    assert_eq!(post(&proxy, "/api/readonly/on"), 200);
    assert_eq!(client.call("SET k 6"), refused());
    assert_eq!(post(&proxy, "/api/readonly/off"), 200);
    assert_eq!(client.call("SET k 7"), Value::ok());
}
