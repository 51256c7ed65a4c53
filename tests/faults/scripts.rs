//! Requests that keep a node busy: one that ends, and two that do not.

use std::time::Duration;

use crate::support::{Bystander, Group, LONG, Memory, ProxyOptions, ServerOptions, Value, eventually};
use crate::timeline::{named, wait_steady};

/// What a client is told whose request silenced its node, before and after another one leads.
const AMBIGUOUS: [&str; 2] = [
    "AMBIGUOUS write may have been executed: connection to the primary lost (epoch 1), not retried",
    "AMBIGUOUS write may have been executed: connection to the primary lost (epoch 1->2), not retried",
];
/// Busy for eight seconds, then done.
const BUSY: &str = "*3\r\n$4\r\nEVAL\r\n$159\r\nlocal t = redis.call('TIME'); local e = t[1] * 1000000 + t[2] + 8000000; \
                    repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] > e; return 'done after 8 s'\r\n$1\r\n0\r\n";
/// Busy for ever.
const ENDLESS: &str = "*4\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n1\r\n$5\r\ncart:\r\n";

#[test]
fn a_script_of_eight_seconds_is_waited_for() {
    // After five seconds a server would tell everybody that it is busy.
    let group = Group::plain_with(1, &ServerOptions::default().set("lua-time-limit", "60000"));
    let proxy = ProxyOptions::new(&group.addresses())
        .noticing_silence()
        .set("health.busy_timeout", "\"60s\"")
        .start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(BUSY.as_bytes());
    eventually(LONG, "status names what the node works on", || {
        let told = proxy.status()["nodes"][0]["works_on"].as_str().unwrap_or_default().to_owned();
        told.starts_with("works on EVAL for ") && told.ends_with(" ms")
    });
    assert_eq!(client.read_raw(21), b"$14\r\ndone after 8 s\r\n");
    bystander.wait_for(10);
    let seen = bystander.finish_undisturbed();
    assert!(seen.worst > Duration::from_secs(4), "the script was in the way of everybody: {:?}", seen.worst);
    assert_eq!(proxy.status()["epoch"], 1, "a silence that a request explains is no failure");
    eventually(LONG, "the status forgets it", || proxy.status()["nodes"][0]["works_on"].is_null());
    memory.assert_grown_less(16 << 20, "ample for a handful of small requests");
}

/// Ends the second client, which lost no more than what was in flight.
#[track_caller]
fn was_served_all_the_same(bystander: Bystander) {
    let (seen, _) = bystander.finish();
    assert!(
        seen.refused.len() <= 4,
        "one AMBIGUOUS or TRYAGAIN for each request in flight: {:?}",
        seen.refused
    );
    assert!(seen.worst < Duration::from_secs(30), "{:?}", seen.worst);
}

#[test]
fn an_endless_script_costs_one_failover_and_is_never_sent_again() {
    let group = Group::plain(2);
    let proxy =
        ProxyOptions::new(&group.addresses()).noticing_silence().set("health.busy_timeout", "\"2s\"").start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(ENDLESS.as_bytes());
    let error = client.read();
    assert!(AMBIGUOUS.contains(&error.error().unwrap_or("no error")), "{error:?}");
    wait_steady(&proxy);
    bystander.wait_for(200);
    assert_eq!(proxy.primary_changes(), 1);
    let leader = (1..3).find(|index| group.primaries().contains(index)).expect("a replica leads");
    for index in 1..3 {
        assert_eq!(group.nodes()[index].info("cmdstat_eval"), None, "it was not sent to node {index}");
    }
    let named = named(&proxy, group.addresses()[0]);
    assert_eq!(named[0]["request"], "EVAL cart:", "{named:?}");
    assert_eq!(named[0]["sent_twice"], false);
    assert!(named[0]["waited_ms"].as_u64().is_some_and(|waited| waited >= 1_900), "{named:?}");
    // No direct caller is left to compare with: the node that it asked is silent for good.
    eventually(LONG, "a person ends the script", || {
        group.nodes()[0].call("SCRIPT KILL")
            != Value::Error("NOTBUSY No scripts in execution right now.".into())
    });
    was_served_all_the_same(bystander);
    group.wait_following(0, leader);
    assert_eq!(proxy.primary_changes(), 1, "its return is no reason for another");
    memory.assert_grown_less(16 << 20, "ample for a handful of small requests");
}

#[test]
fn a_request_on_a_connection_of_its_own_that_silences_its_node_costs_one_failover_too() {
    let group = Group::plain_with(2, &ServerOptions::default().set("enable-debug-command", "yes"));
    let proxy =
        ProxyOptions::new(&group.addresses()).noticing_silence().set("health.busy_timeout", "\"2s\"").start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(b"*3\r\n$5\r\nDEBUG\r\n$5\r\nSLEEP\r\n$2\r\n20\r\n");
    let error = client.read();
    assert!(AMBIGUOUS.contains(&error.error().unwrap_or("no error")), "{error:?}");
    wait_steady(&proxy);
    bystander.wait_for(200);
    assert_eq!(proxy.primary_changes(), 1);
    for index in 1..3 {
        assert_eq!(group.nodes()[index].info("cmdstat_debug"), None, "it was not sent to node {index}");
    }
    let named = named(&proxy, group.addresses()[0]);
    assert_eq!(named[0]["request"], "DEBUG", "{named:?}");
    eventually(LONG, "the log names it too", || proxy.log().contains("request=\"DEBUG\""));
    was_served_all_the_same(bystander);
    memory.assert_grown_less(16 << 20, "ample for a handful of small requests");
}
