//! A replica that is frozen while clients work.

use std::time::{Duration, Instant};

use crate::support::{Bystander, Group, LONG, Load, Memory, ProxyOptions, Value, eventually};

#[test]
fn a_frozen_replica_is_felt_by_nobody_who_writes_or_reads_the_primary() {
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).noticing_silence().start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let load = Load::start(proxy.address(), 8, 4);
    let memory = Memory::watch(proxy.pid());
    load.strike(|| group.nodes()[2].sigstop());
    eventually(LONG, "its silence is seen", || proxy.status()["nodes"][2]["up"] == false);
    load.wait_for(2_000);
    group.nodes()[2].sigcont();
    eventually(LONG, "it is back", || proxy.status()["nodes"][2]["up"] == true);
    load.wait_for(500);
    let outcome = load.finish();
    let seen = bystander.finish_undisturbed();
    assert!(outcome.faults().is_empty() && outcome.ambiguous() == 0, "{:?}", outcome.faults());
    println!("longest gap of the load {:?}, of the second client {:?}", outcome.longest_gap(), seen.worst);
    assert!(outcome.longest_gap() < Duration::from_secs(2), "{:?}", outcome.longest_gap());
    assert_eq!(proxy.status()["epoch"], 1);
    assert_eq!(outcome.missing_on(group.nodes()[0].address()), 0);
    group.wait_following(2, 0);
    memory.assert_grown_less(32 << 20, "eight clients with four small requests each, and ample for buffers");
}

#[test]
fn reads_from_a_frozen_replica_wait_for_its_time_out_and_get_their_answer() {
    let group = Group::plain(2);
    let proxy =
        ProxyOptions::new(&group.addresses()).noticing_silence().set("reads.policy", "\"replica\"").start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let mut reader = proxy.client();
    assert_eq!(reader.call("SET k v"), Value::ok());
    group.wait_in_sync(0);
    let mut read = || {
        let asked = Instant::now();
        assert_eq!(reader.call("GET k"), Value::bulk("v"));
        asked.elapsed()
    };
    (0..200).for_each(|_| assert!(read() < LONG));
    group.nodes()[1].sigstop();
    let mut worst = Duration::ZERO;
    eventually(LONG, "its silence is seen", || {
        worst = worst.max(read());
        proxy.status()["nodes"][1]["up"] == false
    });
    (0..200).for_each(|_| worst = worst.max(read()));
    println!("the longest read took {worst:?}");
    assert!(worst < Duration::from_secs(10), "ten times health.timeout: {worst:?}");
    group.nodes()[1].sigcont();
    bystander.finish_undisturbed();
    assert_eq!(proxy.status()["epoch"], 1);
}
