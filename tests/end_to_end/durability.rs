//! `durability.mode = "semi_sync"`: who is told that a write was executed knows that a replica has it.

use std::time::Duration;

use crate::support::{
    Client, Group, LONG, Load, Proxy, ProxyOptions, Server, Value, Version, eventually, installed,
};

const NOT_DURABLE: &str = "NOTDURABLE executed on the primary, acknowledged by 0 of 1 replicas within 200 ms";

struct Scene {
    group: Group,
    proxy: Proxy,
}

impl Scene {
    fn new(version: Version) -> Self {
        Self::with(Group::plain_with(2, &version.options()), |options| options)
    }

    fn with(group: Group, change: impl FnOnce(ProxyOptions) -> ProxyOptions) -> Self {
        Self { proxy: change(options(&group)).start(), group }
    }

    fn stop_replicas(&self) {
        self.group.nodes()[1..].iter().for_each(Server::sigstop);
    }

    fn continue_replicas(&self) {
        self.group.nodes()[1..].iter().for_each(Server::sigcont);
    }
}

/// Semi-synchronous, and replicas that are stopped are not missed for a while.
fn options(group: &Group) -> ProxyOptions {
    ProxyOptions::new(&group.addresses())
        .set("durability.mode", "\"semi_sync\"")
        .set("health.timeout", "\"30s\"")
        .set("health.busy_timeout", "\"30s\"")
}

/// Whether this is the reply to a write that was executed and that no replica has.
fn is_not_durable(reply: &Value) -> bool {
    reply.error() == Some(NOT_DURABLE)
}

#[test]
fn a_write_that_no_replica_has_is_told_so_and_was_executed() {
    for version in installed() {
        let scene = Scene::new(version);
        let mut client = scene.proxy.client();
        assert_eq!(client.call("SET k before"), Value::ok(), "{}", version.name);
        scene.stop_replicas();
        let reply = client.call("SET k after");
        assert!(is_not_durable(&reply), "{}: {reply:?}", version.name);
        assert_eq!(scene.group.nodes()[0].call("GET k"), Value::bulk("after"), "{}", version.name);
        assert_eq!(client.call("GET k"), Value::bulk("after"), "{}", version.name);
        let counted = scene.proxy.metric("redhold_errors_total{kind=\"not_durable\"}");
        assert_eq!(counted, Some(1.0), "{}", version.name);
        scene.continue_replicas();
        eventually(LONG, "a replica has the next write", || client.call("SET k again") == Value::ok());
    }
}

#[test]
fn every_kind_of_write_waits_on_every_kind_of_connection() {
    let scene = Scene::with(Group::plain(2), |options| options);
    let large = "x".repeat(2 << 20);
    let mut client = scene.proxy.client();
    scene.group.nodes()[0].client().cmd(&["SET", "large", &large]);
    for frozen in [false, true] {
        if frozen {
            scene.stop_replicas();
        }
        let waits = |reply: &Value, executed: &Value, what: &str| {
            let right = if frozen { is_not_durable(reply) } else { reply == executed };
            assert!(right, "{what}, frozen: {frozen}: {reply:?}");
        };
        let set = client.call("SET k v");
        waits(&set, &Value::ok(), "SET");
        client.call("DEL counter");
        let script = client.cmd(&["EVAL", "return redis.call('incr', KEYS[1])", "1", "counter"]);
        waits(&script, &Value::Int(1), "EVAL");
        let block = client.pipeline(&["MULTI", "SET k w", "GET k", "EXEC"]);
        assert_eq!(block[..3], [Value::ok(), queued(), queued()]);
        waits(&block[3], &Value::Array(vec![Value::ok(), Value::bulk("w")]), "EXEC");
        let block = client.pipeline(&["MULTI", "SET k w", "GET large", "EXEC"]);
        waits(&block[3], &Value::Array(vec![Value::ok(), Value::bulk(large.as_str())]), "EXEC at length");
        assert_eq!(client.pipeline(&["WATCH k", "UNWATCH", "GET k"])[2], Value::bulk("w"));
        scene.group.nodes()[0].call("RPUSH list a");
        let popped = client.call("BLPOP list 5");
        waits(&popped, &Value::Array(vec![Value::bulk("list"), Value::bulk("a")]), "BLPOP");
        assert_eq!(client.call("BLPOP list 0.01"), Value::Nil, "nothing was executed");
        let sent = client.cmd(&["SET", "sent", &large]);
        waits(&sent, &Value::ok(), "a large request");
        let got = client.cmd(&["GETDEL", "sent"]);
        waits(&got, &Value::bulk(large.as_str()), "a large reply");
        let wrong = client.call("INCR k");
        assert!(wrong.error().is_some_and(|text| text.starts_with("ERR value is not")), "{wrong:?}");
        let unknown = client.call("NOSUCH k");
        assert!(unknown.error().is_some_and(|text| text.starts_with("ERR unknown")), "{unknown:?}");
    }
}

fn queued() -> Value {
    Value::Simple("QUEUED".to_owned())
}

#[test]
fn a_transaction_that_was_not_executed_is_no_write() {
    let scene = Scene::with(Group::plain(2), |options| options);
    let mut client = scene.proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    scene.stop_replicas();
    client.call("WATCH k");
    scene.group.nodes()[0].call("SET k other");
    assert_eq!(client.pipeline(&["MULTI", "SET k mine", "EXEC"])[2], Value::Nil);
}

#[test]
fn replies_come_in_the_order_of_the_requests() {
    for version in installed() {
        let scene = Scene::new(version);
        let mut client = scene.proxy.client();
        for round in 0..200 {
            let (set, get) = (format!("SET k {round}"), Value::bulk(round.to_string()));
            let replies = client.pipeline(&["GET none", &set, "GET k", &set, "GET k", "PING"]);
            let pong = Value::Simple("PONG".to_owned());
            let expected = [Value::Nil, Value::ok(), get.clone(), Value::ok(), get, pong];
            assert_eq!(replies, expected, "{}", version.name);
        }
        scene.stop_replicas();
        let replies = client.pipeline(&["GET none", "SET k last", "GET k", "INCR k", "SET k end", "GET k"]);
        assert_eq!(replies[0], Value::Nil);
        assert!(is_not_durable(&replies[1]) && is_not_durable(&replies[4]), "{replies:?}");
        assert_eq!((&replies[2], &replies[5]), (&Value::bulk("last"), &Value::bulk("end")));
    }
}

/// They pass as one run of bytes.
#[test]
fn of_requests_that_are_alike_each_write_waits() {
    let scene = Scene::with(Group::plain(1), |options| options);
    let mut client = scene.proxy.client();
    let requests =
        ["GET none", "GET none", "SET a 1", "SET b 2", "SET c 3", "INCR n", "INCR n", "GET a", "GET b"];
    let replies = client.pipeline(&requests);
    assert_eq!(replies[2..7], [Value::ok(), Value::ok(), Value::ok(), Value::Int(1), Value::Int(2)]);
    scene.stop_replicas();
    let replies = client.pipeline(&requests);
    assert_eq!(replies[..2], [Value::Nil, Value::Nil]);
    assert!(replies[2..7].iter().all(is_not_durable), "{replies:?}");
    assert_eq!(replies[7..], [Value::bulk("1"), Value::bulk("2")]);
    assert_eq!(scene.group.nodes()[0].call("GET n"), Value::bulk("4"), "they were executed");
}

#[test]
fn nobody_else_waits() {
    let group = Group::plain(1);
    let scene =
        Scene::with(group, |options| options.set("durability.timeout", "\"20s\"").set("proxy.workers", "1"));
    let mut writer = scene.proxy.client();
    writer.call("SET k before");
    scene.stop_replicas();
    writer.send(&["SET", "k", "after"]);
    eventually(LONG, "the write is executed", || {
        scene.group.nodes()[0].call("GET k") == Value::bulk("after")
    });
    let mut reader = scene.proxy.client();
    for _ in 0..100 {
        assert_eq!(reader.call("GET k"), Value::bulk("after"));
    }
    assert!(writer.is_silent_for(Duration::from_millis(50)), "its reply waits");
    scene.continue_replicas();
    assert_eq!(writer.read(), Value::ok());
}

/// With 256 KiB of unwritten output a client's next requests wait, and replies of 4 MiB may be on their way before. Where requests
/// arrive one by one, no more than the former are executed: 254 replies of 1,033 bytes.
const CALLS_SURE: u64 = 250;
const REPLIES_MAX: u64 = 256 + 4096 + 64;

#[test]
fn what_waits_is_bounded_and_comes_in_the_end() {
    let scene = Scene::with(Group::plain(1), |options| options.set("durability.timeout", "\"20s\""));
    let node = &scene.group.nodes()[0];
    let value = "v".repeat(1 << 10);
    node.client().cmd(&["SET", "kilobyte", &value]);
    let mut client = scene.proxy.client();
    client.call("SET k before");
    scene.stop_replicas();
    node.call("CONFIG RESETSTAT");
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || {
        sender.send(&["SET", "k", "after"]);
        (0..20_000).for_each(|_| sender.send(&["GET", "kilobyte"]));
    });
    let calls = || {
        let stats = node.call("INFO commandstats").text().unwrap_or_default();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
        line.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    eventually(LONG, "requests reach the node", || calls() >= CALLS_SURE);
    assert!(client.is_silent_for(Duration::from_millis(300)), "all is behind the write");
    assert!(calls() <= REPLIES_MAX, "{} reads were answered behind a write that waits", calls());
    scene.continue_replicas();
    assert_eq!(client.read(), Value::ok());
    for reply in (0..20_000).map(|_| client.read()) {
        assert_eq!(reply, Value::bulk(value.as_str()));
    }
    sending.join().expect("everything is sent");
}

#[test]
fn who_says_goodbye_still_hears_of_his_writes() {
    let scene = Scene::with(Group::plain(1), |options| options.set("durability.timeout", "\"20s\""));
    for quits in [true, false] {
        let mut client = scene.proxy.client();
        client.call("SET k before");
        scene.stop_replicas();
        client.send(&["SET", "k", "after"]);
        if quits {
            client.send(&["QUIT"]);
        } else {
            client.finish_sending();
        }
        assert!(client.is_silent_for(Duration::from_millis(50)));
        scene.continue_replicas();
        let expected: &[u8] = if quits { b"+OK\r\n+OK\r\n" } else { b"+OK\r\n" };
        assert_eq!(client.read_to_close(), expected);
    }
}

#[test]
fn nobody_hears_the_barriers() {
    for version in installed() {
        let scene = Scene::new(version);
        let mut spies = [scene.proxy.client(), Client::connect_resp3(scene.proxy.address())];
        spies.iter_mut().for_each(|spy| {
            spy.call("PSUBSCRIBE *");
        });
        let mut client = scene.proxy.client();
        for round in 0..50 {
            assert_eq!(client.call(&format!("SET k {round}")), Value::ok(), "{}", version.name);
        }
        client.call("PUBLISH plain end");
        for spy in &mut spies {
            let heard = spy.read();
            assert_eq!(heard.items().last(), Some(&Value::bulk("end")), "{}: {heard:?}", version.name);
        }
    }
}

#[test]
fn a_barrier_whose_connection_is_lost_is_asked_again() {
    let scene = Scene::with(Group::plain(2), |options| options);
    let load = Load::start(scene.proxy.address(), 8, 4);
    for _ in 0..20 {
        load.wait_for(200);
        scene.group.nodes()[0].call("CLIENT KILL TYPE normal SKIPME yes");
    }
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(outcome.missing_on(scene.group.nodes()[0].address()), 0);
}

/// … also while a reply waits for it.
#[test]
fn a_reply_that_waits_outlives_the_connection_for_barriers() {
    let scene = Scene::with(Group::plain(1), |options| options.set("durability.timeout", "\"20s\""));
    let node = &scene.group.nodes()[0];
    let mut client = scene.proxy.client();
    client.call("SET k before");
    scene.stop_replicas();
    client.send(&["SET", "k", "after"]);
    eventually(LONG, "the write is executed", || node.call("GET k") == Value::bulk("after"));
    node.call("CLIENT KILL TYPE normal SKIPME yes");
    assert!(client.is_silent_for(Duration::from_millis(100)));
    scene.continue_replicas();
    assert_eq!(client.read(), Value::ok());
}

#[test]
fn without_the_right_to_barriers_nothing_is_written() {
    let group = Group::plain(1);
    for node in group.nodes() {
        node.call("ACL SETUSER proxy on >secret ~* +@all resetchannels");
    }
    let scene = Scene::with(group, |options| {
        options.set("backend.username", "\"proxy\"").set("backend.password", "\"secret\"")
    });
    let mut client = scene.proxy.client();
    let reply = client.call("SET k v");
    let text = reply.error().unwrap_or_default();
    assert!(text.starts_with("ERR durability.mode can not be kept (NOPERM "), "{reply:?}");
    assert!(text.ends_with("command was not executed"), "{reply:?}");
    assert_eq!(scene.proxy.errors("no_barrier"), 1.0);
    let block = client.pipeline(&["MULTI", "SET k v", "EXEC", "GET k"]);
    assert!(block[2].error().is_some_and(|text| text.starts_with("EXECABORT ")), "{block:?}");
    let large = client.cmd(&["SET", "k", &"x".repeat(2 << 20)]);
    assert!(large.error().is_some_and(|text| text.contains("NOPERM")), "{large:?}");
    assert_eq!(client.call("GET k"), Value::Nil);
    scene.group.nodes()[0].call("ACL SETUSER proxy allchannels");
    eventually(LONG, "the right is noticed", || client.call("SET k v") == Value::ok());
}

const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

#[test]
fn what_no_replica_could_have_is_not_executed() {
    let mut scene = Scene::with(Group::sealed(1), |options| options.set("health.timeout", "\"1s\""));
    let mut client = scene.proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    let replica = 1 - scene.group.primary();
    scene.group.node(replica).kill9();
    eventually(LONG, "its end is seen", || client.call("SET seen x").error() == Some(NO_REPLICAS));
    let counted = scene.proxy.errors("no_replicas");
    assert_eq!(client.call("SET k after").error(), Some(NO_REPLICAS));
    assert_eq!(scene.proxy.errors("no_replicas"), counted + 1.0);
    let block = client.pipeline(&["MULTI", "SET k after", "EXEC"]);
    assert_eq!(block[..2], [Value::ok(), queued()]);
    assert!(block[2].error().is_some_and(|text| text.starts_with("EXECABORT ")), "{block:?}");
    assert_eq!(client.call("GET k"), Value::bulk("before"));
    scene.group.node(replica).restart();
    eventually(LONG, "it follows again", || client.call("SET k after") == Value::ok());
}

/// Behind a change of primary nobody knows whether replicas will come; so it is waited for them, as long as a hold lasts.
#[test]
fn a_new_primary_has_time_to_find_its_replicas() {
    let mut scene = Scene::with(Group::sealed(1), |options| {
        options.set("health.timeout", "\"1s\"").set("failover.hold", "\"2s\"")
    });
    let mut client = scene.proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    let first = scene.group.primary();
    scene.group.node(first).kill9();
    client.send(&["SET", "k", "after"]);
    eventually(LONG, "the replica leads", || scene.group.primaries() == [1 - first]);
    assert!(client.is_silent_for(Duration::from_millis(500)), "it waits for a replica");
    assert_eq!(client.read().error(), Some(NO_REPLICAS));
    assert_eq!(
        client.call("SET k again").error(),
        Some(NO_REPLICAS),
        "once it has waited, nobody waits again"
    );
    assert_eq!(client.call("GET k"), Value::bulk("before"));
    scene.group.node(first).restart();
    eventually(LONG, "the old primary follows", || client.call("SET k after") == Value::ok());
}

/// A group of three sealed nodes whose primary is killed under load; every acknowledged write is on the new one.
#[test]
fn what_was_acknowledged_survives_the_death_of_the_primary() {
    let mut unknown = 0;
    for round in 0..3 {
        let mut scene = Scene::with(Group::sealed(2), |options| options.set("health.timeout", "\"1s\""));
        let load = Load::start(scene.proxy.address(), 20, [1, 4, 16][round]);
        let first = scene.group.primary();
        load.strike(|| scene.group.node(first).kill9());
        load.wait_for(500);
        let outcome = load.finish();
        assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
        let leads = scene.group.primary();
        assert_ne!(leads, first);
        assert_eq!(outcome.missing_on(scene.group.nodes()[leads].address()), 0);
        let counted = scene.proxy.metric("redhold_ambiguous_writes_total");
        assert_eq!(counted, Some(outcome.ambiguous() as f64), "each is counted");
        unknown += outcome.ambiguous();
    }
    assert!(unknown > 0, "some were in flight");
}

/// A primary that is stopped with writes that no replica has: their clients are told that nobody knows.
#[test]
fn a_reply_of_an_old_epoch_is_never_given() {
    let scene = Scene::with(Group::sealed(2), |options| {
        options.set("health.timeout", "\"1s\"").set("durability.timeout", "\"20s\"")
    });
    let first = scene.group.primary();
    let mut client = scene.proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    let mut pinned = scene.proxy.client();
    assert_eq!(pinned.pipeline(&["MULTI", "SET p before", "EXEC"])[2].error(), None);
    for node in 0..3 {
        if node != first {
            scene.group.nodes()[node].sigstop();
        }
    }
    client.send(&["INCR", "count"]);
    ["MULTI", "INCR pinned", "EXEC"].iter().for_each(|request| {
        pinned.send(&request.split(' ').collect::<Vec<_>>());
    });
    assert_eq!((pinned.read(), pinned.read()), (Value::ok(), queued()));
    let executed = |key: &str| scene.group.nodes()[first].call(&format!("GET {key}")) == Value::bulk("1");
    eventually(LONG, "both are executed", || executed("count") && executed("pinned"));
    scene.group.nodes()[first].sigstop();
    for node in 0..3 {
        if node != first {
            scene.group.nodes()[node].sigcont();
        }
    }
    for reply in [client.read(), pinned.read()] {
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with("AMBIGUOUS write may have been executed: "), "{reply:?}");
    }
    assert_eq!(scene.proxy.metric("redhold_ambiguous_writes_total"), Some(2.0));
    eventually(LONG, "the next primary takes writes", || client.call("SET k after") == Value::ok());
    scene.group.nodes()[first].sigcont();
}

/// Planned changes of primary wait for barriers as they do for writes in flight, and no longer.
#[test]
fn a_planned_change_waits_for_replies_that_are_withheld() {
    let scene = Scene::with(Group::sealed(2), |options| {
        options.set("durability.replicas", "2").set("durability.timeout", "\"20s\"")
    });
    let first = scene.group.primary();
    let replicas: Vec<usize> = (0..3).filter(|node| *node != first).collect();
    let mut client = scene.proxy.client();
    assert_eq!(client.call("SET k before"), Value::ok());
    scene.group.nodes()[replicas[0]].sigstop();
    client.send(&["SET", "k", "after"]);
    eventually(LONG, "the write is executed", || {
        scene.group.nodes()[first].call("GET k") == Value::bulk("after")
    });
    let to = scene.group.nodes()[replicas[1]].address();
    let switch = || scene.proxy.http("POST", &format!("/api/switchover?to={to}")).expect("it answers");
    let (status, body) = switch();
    assert!(status != 200 && body.contains("1 writes are still in flight"), "{status} {body}");
    scene.group.nodes()[replicas[0]].sigcont();
    assert_eq!(client.read(), Value::ok());
    eventually(LONG, "the switch is made", || switch().0 == 200);
    assert_eq!(scene.group.primary(), replicas[1]);
    eventually(LONG, "both follow", || client.call("SET k last") == Value::ok());
}

#[test]
fn a_switchover_costs_nobody_an_answer() {
    let scene = Scene::with(Group::sealed(2), |options| options.set("health.timeout", "\"1s\""));
    let load = Load::start(scene.proxy.address(), 20, 4);
    for _ in 0..5 {
        load.wait_for(500);
        let before = scene.group.primary();
        eventually(2 * LONG, "the switch is made", || {
            let (status, body) = scene.proxy.http("POST", "/api/switchover").expect("the admin page answers");
            assert!(status == 200 || status == 409, "{status}: {body}");
            status == 200
        });
        assert_ne!(scene.group.primary(), before);
    }
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(outcome.ambiguous(), 0);
    assert_eq!(outcome.missing_on(scene.group.nodes()[scene.group.primary()].address()), 0);
}
