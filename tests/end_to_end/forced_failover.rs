//! A failover by order while the primary lives: what docs/failover.md promises of it, and that it promises no more.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Client, Group, LONG, Load, Proxy, ProxyOptions, Value, encode, eventually};

const CONNECTIONS: usize = 8;
const DEPTH: usize = 4;

/// What a client of the old primary itself saw until it lost its connection.
struct Direct {
    acknowledged: i64,
    /// Of those, asked for after the order had been answered.
    late: i64,
}

/// So many late ones prove enough.
const LATE_MAX: i64 = 1_000;

/// Writes at the node itself, one after the other, until the node closes the connection or refuses.
fn write_past_the_proxy(mut client: Client, answered: &AtomicBool) -> Direct {
    let mut seen = Direct { acknowledged: 0, late: 0 };
    while seen.late < LATE_MAX {
        let late = answered.load(Ordering::SeqCst);
        let Ok(Value::Int(count)) = client.try_cmd(&["INCR", "direct"]) else { break };
        seen.acknowledged = count;
        seen.late += i64::from(late);
    }
    seen
}

#[test]
fn a_live_primary_that_is_given_up_writes_for_nobody_any_more() {
    let group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    let answered = AtomicBool::new(false);
    let past = group.nodes()[0].client();
    let direct = std::thread::scope(|scope| {
        let direct = scope.spawn(|| write_past_the_proxy(past, &answered));
        load.strike(|| {
            proxy.order("/api/failover?force=true");
            answered.store(true, Ordering::SeqCst);
        });
        load.wait_for(2_000);
        direct.join().expect("it returns what it saw")
    });
    let outcome = load.finish();
    assert_eq!(direct.late, 0, "the old primary acknowledges nothing once the order is answered");
    eventually(LONG, "one node leads", || group.primaries().len() == 1);
    let leader = group.primary();
    assert_ne!(leader, 0);
    group.wait_in_sync(leader);

    let told = proxy.status();
    assert_eq!(told["epoch"], 2);
    let episode = told["episodes"].as_array().and_then(|all| all.last()).expect("a timeline");
    assert_eq!(episode["kind"], "ordered", "{episode:#}");
    assert_eq!((&episode["epoch_before"], &episode["epoch_after"]), (&1.into(), &2.into()));
    assert_eq!(episode["primary_after"], group.addresses()[leader].to_string());
    assert!(episode["notes"].as_array().is_some_and(|notes| notes[0]["text"] == "failover ordered"));

    // Through the proxy: what was on its way at that moment may be ambiguous or lost, and nothing else.
    let most = (CONNECTIONS * DEPTH) as u64;
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert!(outcome.ambiguous() <= most, "{} ambiguous", outcome.ambiguous());
    let [kept, given_up] = [leader, 0].map(|node| outcome.missing_on(group.addresses()[node]));
    assert!(kept <= most, "{kept} acknowledged writes are missing");
    assert_eq!(given_up, kept, "the old primary has what the new one has");

    // Past the proxy the end of what was acknowledged may be lost too.
    assert!(direct.acknowledged > 0);
    let Value::Bulk(count) = group.nodes()[leader].call("GET direct") else { panic!("a counter") };
    let count: i64 = String::from_utf8_lossy(&count).parse().expect("a number");
    println!("{} written past the proxy, {count} kept, {kept} of the load lost", direct.acknowledged);
    assert!(count <= direct.acknowledged + 1, "at most one more than it was told of");
}

/// The order is for those who accept this, and the log says how much it was.
#[test]
fn a_write_that_no_replica_received_is_lost_by_a_failover_on_order() {
    let group = Group::plain(1);
    let options = ProxyOptions::new(&group.addresses()).looking_once_a_minute();
    let proxy = options.set("failover.tune_nodes", "false").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k received"), Value::ok());
    proxy.wait_well();
    group.wait_in_sync(0);
    let [old, new] = [0, 1].map(|index| &group.nodes()[index]);
    assert_eq!(new.call("REPLICAOF 127.0.0.1 0"), Value::ok());
    assert_eq!(client.call("SET k acknowledged"), Value::ok());
    proxy.force_failover(new.address());
    assert_eq!(client.call("GET k"), Value::bulk("received"));
    group.wait_following(0, 1);
    assert_eq!(old.call("GET k"), Value::bulk("received"));
    let told = "1 command (39 bytes) of its history was never replicated; kept in ";
    eventually(LONG, "the log says how much was lost", || proxy.log().contains(told));
}

/// A client is told AMBIGUOUS where once more could do harm; the old primary executes neither of them any more.
#[test]
fn what_a_live_primary_owes_when_it_is_given_up_is_ambiguous_or_sent_again() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").start();
    let (mut once, mut again) = (proxy.client(), proxy.client());
    assert_eq!(once.call("SET n 0"), Value::ok());
    group.wait_in_sync(0);
    assert_eq!(group.nodes()[0].call("CLIENT PAUSE 60000 WRITE"), Value::ok());
    let sent = || proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}");
    let (before, requests) = (sent(), [encode(&["INCR", "n"]), encode(&["SET", "k", "v"])]);
    once.send_raw(&requests[0]);
    again.send_raw(&requests[1]);
    let both = requests.concat().len() as f64;
    eventually(LONG, "they are on their way", || sent() >= before.map(|bytes| bytes + both));
    proxy.force_failover(group.addresses()[1]);
    // Of its two epochs the second is missing when the worker sees the end of the connection before the new table.
    let reply = once.read();
    assert!(reply.error().is_some_and(|text| text.starts_with("AMBIGUOUS write may have been")), "{reply:?}");
    assert_eq!(again.read(), Value::ok());
    group.wait_following(0, 1);
    for node in group.nodes() {
        assert_eq!((node.call("GET n"), node.call("GET k")), (Value::bulk("0"), Value::bulk("v")));
    }
}
