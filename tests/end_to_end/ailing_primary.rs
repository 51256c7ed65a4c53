//! A primary that refuses writes for its disk or for want of replicas: what it refuses waits while something is done about it,
//! and is for the client where nothing can be.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Group, LONG, Load, Proxy, ProxyOptions, Relay, Server, ServerOptions, V7_0, VALKEY, Value,
    Version, applies, chosen, encode, eventually,
};

const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

/// Nobody waits for so long by mistake: a tenth of it is a failure.
const HOLD: &str = "\"60s\"";
const AT_ONCE: Duration = Duration::from_secs(6);

/// Its folder is gone: what it saves fails, and it takes no write from then on.
#[track_caller]
fn fail_disk(server: &Server) {
    let folder = server.call("CONFIG GET dir").items()[1].text().expect("a folder");
    std::fs::remove_dir_all(&folder).expect("the server's own folder");
    assert_eq!(server.client().cmd(&["CONFIG", "SET", "save", "1 1"]), Value::ok());
    server.call("BGSAVE");
    let status = || server.info("rdb_last_bgsave_status").as_deref() == Some("err");
    eventually(LONG, "its save has failed", status);
}

fn is_misconf(reply: &Value) -> bool {
    reply.error().is_some_and(|text| text.starts_with("MISCONF "))
}

/// Only the data path tells what happens to nodes.
fn unlooked(group: &Group) -> Proxy {
    ProxyOptions::new(&group.addresses()).looking_once_a_minute().set("failover.hold", HOLD).start()
}

#[test]
fn a_disk_that_fails_under_load_costs_no_error_and_no_write() {
    let group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), 8, 4);
    load.strike(|| fail_disk(&group.nodes()[0]));
    eventually(LONG, "another node leads", || proxy.primary_changes() == 1);
    load.wait_for(2_000);
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    let leader = group.primary();
    assert_ne!(leader, 0);
    assert_eq!((outcome.missing_on(group.nodes()[leader].address()), outcome.ambiguous()), (0, 0));
    group.wait_following(0, leader);
}

/// The refusal itself is the first sign.
#[test]
fn what_a_failing_disk_refuses_is_executed_by_the_node_that_relieves_it() {
    for version in [V7_0, VALKEY] {
        if !version.is_there() {
            continue;
        }
        let group = Group::plain_with(1, &version.options());
        let proxy = unlooked(&group);
        let mut client = proxy.client();
        let mut blocked = proxy.client();
        assert_eq!(client.call("RPUSH list a"), Value::Int(1));
        fail_disk(&group.nodes()[0]);
        client.send_raw(
            &[encode(&["RPUSH", "list", "b"]), encode(&["PING"]), encode(&["LLEN", "list"])].concat(),
        );
        let replies = [client.read(), client.read(), client.read()];
        // LLEN was executed there: what came before it must not be executed after it.
        assert!(is_misconf(&replies[0]) && is_misconf(&replies[1]), "{}: {replies:?}", version.name);
        assert_eq!(replies[2], Value::Int(1), "{}", version.name);
        assert_eq!(client.call("RPUSH list c"), Value::Int(2), "{}", version.name);
        blocked.send(&["BLPOP", "list", "0"]);
        let popped = Value::Array(vec![Value::bulk("list"), Value::bulk("a")]);
        assert_eq!(blocked.read(), popped, "{}", version.name);
        assert_eq!(group.nodes()[1].call("LRANGE list 0 -1").items(), [Value::bulk("c")]);
        eventually(LONG, "the change is told", || proxy.primary_changes() == 1);
    }
}

#[test]
fn a_blocking_command_that_a_failing_disk_refuses_waits_elsewhere() {
    let group = Group::plain(1);
    let proxy = unlooked(&group);
    let mut client = proxy.client();
    assert_eq!(client.call("RPUSH list a"), Value::Int(1));
    fail_disk(&group.nodes()[0]);
    client.send(&["BLPOP", "list", "0"]);
    assert_eq!(client.read(), Value::Array(vec![Value::bulk("list"), Value::bulk("a")]));
    eventually(LONG, "the change is told", || proxy.primary_changes() == 1);
}

#[test]
fn where_nobody_can_relieve_it_its_words_are_for_the_client() {
    if !applies(chosen().release >= 70, "a replica whose disk fails says so") {
        return;
    }
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", HOLD).start();
    fail_disk(&group.nodes()[1]);
    eventually(LONG, "the replica's disk is known to fail", || {
        let status = proxy.status();
        status["nodes"][1]["ineligible"].as_str().is_some_and(|why| why.contains("MISCONF"))
    });
    fail_disk(&group.nodes()[0]);
    let start = Instant::now();
    let mut client = proxy.client();
    let replies = client.pipeline(&["SET k v"; 20]);
    assert!(replies.iter().all(is_misconf), "{replies:?}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!((client.call("GET k"), group.primaries()), (Value::Nil, vec![0]));
    assert_eq!(proxy.client().call("GET k"), Value::Nil, "the replica goes on answering reads");
    assert_eq!(proxy.primary_changes(), 0);
}

#[test]
fn with_manual_failover_a_failing_disk_is_told_and_nothing_else() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("failover.hold", HOLD)
        .set("failover.mode", "\"manual\"")
        .start();
    fail_disk(&group.nodes()[0]);
    let start = Instant::now();
    let reply = proxy.client().call("SET k v");
    assert!(is_misconf(&reply), "{reply:?}");
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    eventually(LONG, "the status tells", || {
        proxy.status()["nodes"][0]["remark"].as_str().is_some_and(|remark| remark.contains("MISCONF"))
    });
    assert_eq!(group.primaries(), [0]);
}

fn wanting(replicas: usize) -> Group {
    let group = Group::plain_with(replicas, &ServerOptions::default().set("repl-diskless-sync-delay", "0"));
    assert_eq!(group.nodes()[0].call("CONFIG SET min-replicas-to-write 1"), Value::ok());
    group
}

/// A replica that follows nobody is told to follow again, and the write that was refused is executed.
#[test]
fn a_write_that_lacks_a_replica_waits_until_it_is_attached_again() {
    let group = wanting(1);
    let proxy = unlooked(&group);
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    assert_eq!(group.nodes()[1].call("REPLICAOF 127.0.0.1 0"), Value::ok());
    let refused = || group.nodes()[0].call("DEL none") == Value::Error(NOREPLICAS.to_owned());
    eventually(LONG, "the primary refuses writes", refused);
    let replies = client.pipeline(&["INCR k", "INCR k", "INCR k"]);
    assert_eq!(replies, [Value::Int(2), Value::Int(3), Value::Int(4)], "{}", proxy.log());
    group.wait_following(1, 0);
    assert_eq!((group.nodes()[1].call("GET k"), proxy.primary_changes()), (Value::bulk("4"), 0));
}

#[test]
fn without_any_replica_to_attach_the_words_are_for_the_client() {
    let mut group = wanting(1);
    let relay = Relay::to(group.nodes()[0].address());
    let proxy =
        ProxyOptions::new(&[relay.address(), group.nodes()[1].address()]).set("failover.hold", HOLD).start();
    group.node(1).kill9();
    let refused = || group.nodes()[0].call("DEL none") == Value::Error(NOREPLICAS.to_owned());
    eventually(LONG, "the primary refuses writes", refused);
    let (start, mut client) = (Instant::now(), proxy.client());
    assert_eq!(client.pipeline(&["INCR k"; 20]), vec![Value::Error(NOREPLICAS.to_owned()); 20]);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    // It is known now: nothing is tried again.
    relay.answer_at("INCR", &format!("-{NOREPLICAS}\r\n"));
    for count in 1..=20 {
        assert_eq!(client.call("INCR k"), Value::Error(NOREPLICAS.to_owned()));
        assert_eq!(relay.met(), count);
    }
}

/// Once it has waited for as long as anything waits.
#[test]
fn what_is_not_cured_in_time_is_handed_on() {
    let group = wanting(1);
    // It can not reach its primary, and tries on.
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"3s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    assert_eq!(group.nodes()[1].call("CONFIG SET masterauth wrong"), Value::ok());
    assert_eq!(group.nodes()[0].call("CONFIG SET requirepass secret"), Value::ok());
    let mut direct = group.nodes()[0].client();
    assert_eq!(direct.call("AUTH secret"), Value::ok());
    assert_eq!(direct.call("CLIENT KILL TYPE replica").int(), Some(1));
    let start = Instant::now();
    // The proxy's connections were made before there was a password.
    assert_eq!(client.call("INCR k"), Value::Error(NOREPLICAS.to_owned()));
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    let stats = direct.call("INFO commandstats").text().expect("a text");
    let incr = stats.lines().find(|line| line.starts_with("cmdstat_incr:")).expect("it came to the server");
    assert!(!incr.contains("rejected_calls=1,"), "it was tried again: {incr}");
    assert_eq!(direct.call("GET k"), Value::bulk("1"));
}

/// No node sends a client to another node: it is a sign that this one leads no more.
#[test]
fn a_redirection_is_kept_back_and_never_shown() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = ProxyOptions::new(&[relay.address()]).set("failover.hold", "\"500ms\"").start();
    let mut client = proxy.client();
    relay.answer_at("moved", "-REDIRECT 127.0.0.1:1\r\n");
    let readonly = Value::Error("READONLY You can't write against a read only replica.".to_owned());
    assert_eq!(client.call("INCR moved"), readonly, "after the hold");
    assert!(relay.met() > 1, "it was tried again");
    client.send(&["INCR", "moved"]);
    let met = relay.met();
    eventually(LONG, "it was refused once more", || relay.met() > met);
    relay.answer_none();
    assert_eq!(client.read(), Value::Int(1));
}

/// The servers' own handover, ordered behind the proxy's back: clients are parked, then refused, and never told to go elsewhere.
#[test]
fn a_handover_by_the_servers_own_failover_shows_nothing() {
    for version in [V7_0, VALKEY] {
        if version.is_there() {
            hand_over(version);
        }
    }
}

fn hand_over(version: Version) {
    let group = Group::plain_with(1, &version.options());
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), 8, 4);
    load.strike(|| assert_eq!(group.nodes()[0].call("FAILOVER"), Value::ok()));
    eventually(LONG, "the other node leads", || proxy.primary_changes() == 1);
    load.wait_for(2_000);
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{}: {:?}\n{}", version.name, outcome.faults(), proxy.log());
    assert_eq!(group.primary(), 1, "{}", version.name);
    assert_eq!(outcome.missing_on(group.nodes()[1].address()), 0, "{}", version.name);
    let mut client: Client = proxy.client();
    assert_eq!(client.call("SET after v"), Value::ok(), "{}", version.name);
}
