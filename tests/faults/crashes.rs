//! Requests that crash their node at once.

use std::process::Command;
use std::time::Duration;

use crate::support::{Bystander, Group, LONG, Memory, ProxyOptions, ServerOptions, Value, eventually};
use crate::timeline::{named, wait_steady};

/// Ten times what an idle machine needs for detection and promotion, twice in a row.
const GAP: Duration = Duration::from_secs(20);

#[test]
fn a_request_that_is_never_repeated_costs_one_failover_and_status_names_it() {
    let mut group = Group::plain_with(2, &ServerOptions::default().set("enable-debug-command", "yes"));
    let proxy = ProxyOptions::new(&group.addresses()).start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(b"*2\r\n$5\r\nDEBUG\r\n$8\r\nSEGFAULT\r\n");
    let error = client.read();
    let told =
        "AMBIGUOUS write may have been executed: connection to the primary lost (epoch 1), not retried";
    let later = told.replace("epoch 1", "epoch 1->2");
    assert!([told, &later].contains(&error.error().unwrap_or("no error")), "{error:?}");
    eventually(LONG, "another node leads", || proxy.status()["epoch"] == 2);
    wait_steady(&proxy);
    bystander.wait_for(200);
    assert_eq!(proxy.primary_changes(), 1);
    assert!(group.node(0).has_exited());
    assert!(!group.node(1).has_exited() && !group.node(2).has_exited(), "it was sent to nobody else");
    let named = named(&proxy, group.addresses()[0]);
    assert_eq!(named[0]["request"], "DEBUG", "{named:?}");
    let (seen, _) = bystander.finish();
    assert!(seen.refused.len() <= 4, "one AMBIGUOUS for each request in flight: {:?}", seen.refused);
    assert!(seen.worst < GAP, "{:?}", seen.worst);
    assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()), "the same connection goes on");
    memory.assert_grown_less(16 << 20, "ample for a handful of small requests");
}

/// Bytes of a value whose copy, made to answer a read, does not fit any more.
const BIG: usize = 128 << 20;
/// What a node may still take when the value is there.
const ROOM: u64 = 32 << 20;

/// From now on the server may not grow by more than `ROOM`: what needs more crashes it.
fn confine(pid: u32) {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server lives");
    let line = statm.lines().find(|line| line.starts_with("VmSize:")).expect("the kernel reports VmSize");
    let kibibytes: u64 =
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("VmSize is a number of kB");
    let limit = (kibibytes << 10) + ROOM;
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--as={limit}")]).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit (util-linux) limits the server");
}

#[test]
fn a_read_that_crashes_every_node_costs_two_failovers_and_is_not_sent_a_third_time() {
    // Without a report that takes a second to write the process is gone at once.
    let options = ServerOptions::default().set("crash-log-enabled", "no").set("crash-memcheck-enabled", "no");
    let mut group = Group::plain_with(2, &options);
    assert_eq!(group.nodes()[0].call(&format!("SETRANGE big {} x", BIG - 1)), Value::Int(BIG as i64));
    group.wait_in_sync(0);
    group.nodes().iter().for_each(|server| confine(server.pid()));
    // What waited for this long is suspected of being the cause and not even sent a second time.
    let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", "\"5s\"").start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    let error = client.read().error().unwrap_or("no error").to_owned();
    eventually(LONG, "two nodes are gone", || proxy.status()["epoch"] == 3);
    wait_steady(&proxy);
    bystander.wait_for(200);
    assert_eq!(proxy.primary_changes(), 2);
    let dead: Vec<usize> = (0..3).filter(|&index| group.node(index).has_exited()).collect();
    let alive = (0..3).find(|index| !dead.contains(index)).expect("one node never got it");
    let second = *dead.iter().find(|&&index| index != 0).expect("the first primary is among them");
    let addresses = group.addresses();
    let told = |node| {
        format!(
            "TRYAGAIN request was in flight when node {node} died; it changed nothing and was not sent again"
        )
    };
    assert_eq!(error, told(addresses[second]));
    assert_eq!((dead.len(), group.primary()), (2, alive));
    let first = named(&proxy, addresses[0]);
    assert!(first.iter().any(|one| one["request"] == "GET big" && one["sent_twice"] == false), "{first:?}");
    let again = named(&proxy, addresses[second]);
    assert!(again.iter().any(|one| one["request"] == "GET big" && one["sent_twice"] == true), "{again:?}");
    let (seen, _) = bystander.finish();
    assert!(seen.refused.len() <= 8, "one for each request in flight: {:?}", seen.refused);
    assert!(seen.worst < GAP, "{:?}", seen.worst);
    memory.assert_grown_less(16 << 20, "ample: no byte of the value ever came");
}
