//! How reads are spread: over equal replicas, around a slow one, and onto the primary when no replica is usable.

use std::time::Duration;

use crate::reads::{forget, served, wait_readable};
use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Value, eventually};

fn options(nodes: &str) -> ProxyOptions {
    ProxyOptions::new(&[])
        .set("backend.nodes", nodes)
        .set("proxy.workers", "1")
        .set("reads.policy", "\"prefer_replica\"")
        .set("reads.read_your_writes", "\"off\"")
        .set("reads.max_staleness", "\"60s\"")
}

fn listed(group: &Group) -> String {
    let nodes: Vec<String> = group.addresses().iter().map(|node| format!("\"{node}\"")).collect();
    format!("[{}]", nodes.join(", "))
}

fn with_data(replicas: usize) -> Group {
    let group = Group::plain(replicas);
    assert_eq!(group.nodes()[0].call("SET k v"), Value::ok());
    group.wait_in_sync(0);
    group
}

/// GETs that each replica answered of 200 in a row.
fn shares(group: &Group, client: &mut Client) -> Vec<u64> {
    forget(group.nodes());
    for _ in 0..200 {
        assert_eq!(client.call("GET k"), Value::bulk("v"));
    }
    let counts = served(group.nodes());
    assert_eq!(counts[0], 0, "the primary is not asked");
    counts[1..].to_vec()
}

#[test]
fn equal_replicas_take_turns() {
    let group = with_data(2);
    let proxy = options(&listed(&group)).start();
    wait_readable(&proxy, 1, true);
    wait_readable(&proxy, 2, true);
    let mut client = proxy.client();
    // A machine that is busy otherwise may make one of them look slow for a moment.
    eventually(LONG, "each gets its share", || shares(&group, &mut client).iter().all(|count| *count >= 80));
}

#[test]
fn a_connection_takes_a_replica_in_its_turn_and_stays_there() {
    let group = with_data(2);
    let proxy = options(&listed(&group)).set("reads.read_your_writes", "\"session\"").start();
    wait_readable(&proxy, 1, true);
    wait_readable(&proxy, 2, true);
    eventually(LONG, "of two connections each has its own", || {
        let (mut one, mut other) = (proxy.client(), proxy.client());
        forget(group.nodes());
        let counted = || proxy.metric("redhold_commands_total{command=\"get\",node_role=\"replica\"}");
        let before = counted().unwrap_or_default();
        for _ in 0..50 {
            assert_eq!(
                [&mut one, &mut other].map(|client| client.call("GET k")),
                [Value::bulk("v"), Value::bulk("v")]
            );
        }
        served(group.nodes()) == [0, 50, 50] && counted() == Some(before + 100.0)
    });
}

#[test]
fn a_slow_replica_gets_clearly_fewer_reads() {
    let group = with_data(2);
    let [primary, near, far] = group.addresses()[..] else { panic!("three nodes") };
    let line = Relay::to(far);
    line.delay(Duration::from_millis(30));
    let nodes =
        format!(r#"["{primary}", "{near}", {{ address = "{}", peer_address = "{far}" }}]"#, line.address());
    let proxy = options(&nodes)
        .set("failover.tune_nodes", "false")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start();
    wait_readable(&proxy, 1, true);
    wait_readable(&proxy, 2, true);
    let mut client = proxy.client();
    let counts = shares(&group, &mut client);
    assert!(counts[1] <= 10, "{counts:?}");
    line.delay(Duration::ZERO);
    eventually(LONG, "it gets its share when it is fast again", || {
        shares(&group, &mut client).iter().all(|count| *count >= 80)
    });
}

/// So many clients, each of which asked for the key.
fn crowd(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["GET", "k"]));
    clients
}

/// A primary whose replica is gone. Nobody thinks the worse of it when it stops to answer for a while.
fn lone_primary(spill: &str) -> (Group, Proxy) {
    let mut group = with_data(1);
    let proxy = options(&listed(&group))
        .set("reads.spill", spill)
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .set("failover.hold", "\"60s\"")
        .start();
    wait_readable(&proxy, 1, true);
    assert_eq!(proxy.client().call("GET k"), Value::bulk("v"));
    assert_eq!(proxy.metric("redhold_spilled_reads_total"), Some(0.0));
    group.node(1).kill9();
    wait_readable(&proxy, 1, false);
    (group, proxy)
}

#[track_caller]
fn wait_metric(proxy: &Proxy, series: &str, value: f64) {
    eventually(LONG, &format!("{series} is {value}"), || proxy.metric(series) == Some(value));
}

#[test]
fn without_replicas_so_many_reads_go_to_the_primary_and_the_others_after_them() {
    let (group, proxy) = lone_primary("0.5");
    group.nodes()[0].sigstop();
    let mut clients = crowd(&proxy, 100);
    wait_metric(&proxy, "redhold_spilled_reads_total", 64.0);
    wait_metric(&proxy, "redhold_held_requests", 36.0);
    let mut writer = proxy.client();
    writer.send(&["SET", "k", "v"]);
    wait_metric(&proxy, "redhold_commands_total{command=\"set\",node_role=\"primary\"}", 1.0);
    group.nodes()[0].sigcont();
    assert_eq!(writer.read(), Value::ok(), "a write does not wait behind them");
    for client in &mut clients {
        assert_eq!(client.read(), Value::bulk("v"));
    }
    wait_metric(&proxy, "redhold_spilled_reads_total", 100.0);
    wait_metric(&proxy, "redhold_held_requests", 0.0);
}

#[test]
fn a_read_that_waits_is_sent_though_those_before_it_are_gone() {
    let (group, proxy) = lone_primary("0.5");
    group.nodes()[0].sigstop();
    let sent = crowd(&proxy, 64);
    wait_metric(&proxy, "redhold_spilled_reads_total", 64.0);
    // More of them than there are replies to come, each of which wakes one.
    let gone = crowd(&proxy, 70);
    wait_metric(&proxy, "redhold_held_requests", 70.0);
    let waiting = crowd(&proxy, 10);
    wait_metric(&proxy, "redhold_held_requests", 80.0);
    drop(gone);
    wait_metric(&proxy, "redhold_held_requests", 10.0);
    group.nodes()[0].sigcont();
    for mut client in sent.into_iter().chain(waiting) {
        assert_eq!(client.read(), Value::bulk("v"));
    }
}

#[test]
fn all_reads_may_spill() {
    let (group, proxy) = lone_primary("1.0");
    group.nodes()[0].sigstop();
    let mut clients = crowd(&proxy, 100);
    wait_metric(&proxy, "redhold_spilled_reads_total", 100.0);
    group.nodes()[0].sigcont();
    for client in &mut clients {
        assert_eq!(client.read(), Value::bulk("v"));
    }
}

#[test]
fn reads_that_may_not_spill_wait_for_a_replica() {
    let (mut group, proxy) = lone_primary("0.0");
    let mut client = proxy.client();
    client.send(&["GET", "k"]);
    wait_metric(&proxy, "redhold_held_requests", 1.0);
    group.node(1).restart();
    assert_eq!(client.read(), Value::bulk("v"));
    assert_eq!(proxy.metric("redhold_spilled_reads_total"), Some(0.0));
    assert!(served(&group.nodes()[1..])[0] >= 1);
}
