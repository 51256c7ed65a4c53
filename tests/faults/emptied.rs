//! A primary that comes back empty, with the plain configuration that most servers have.

use crate::support::{Bystander, Group, LONG, Memory, ProxyOptions, Value, eventually};
use crate::timeline::wait_steady;

const KEYS: usize = 1_000;

#[test]
fn a_plain_primary_that_comes_back_empty_gets_its_data_from_the_replica() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.empty_primary", "\"refuse\"").start();
    let mut client = proxy.client();
    for number in 0..KEYS {
        client.send_raw(
            format!("*3\r\n$3\r\nSET\r\n$8\r\nkey:{number:04}\r\n$4\r\n{number:04}\r\n").as_bytes(),
        );
        assert_eq!(client.read_raw(5), b"+OK\r\n");
    }
    group.wait_in_sync(0);
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    group.node(0).restart();
    let read = |client: &mut crate::support::Client| {
        for number in 0..KEYS {
            assert_eq!(client.call(&format!("GET key:{number:04}")), Value::bulk(format!("{number:04}")));
        }
    };
    read(&mut client);
    bystander.wait_for(200);
    wait_steady(&proxy);
    eventually(LONG, "the replica leads", || group.primaries() == [1]);
    assert_eq!(proxy.primary_changes(), 1);
    group.wait_following(0, 1);
    read(&mut group.nodes()[0].client());
    let (seen, _) = bystander.finish();
    assert!(seen.refused.len() <= 4, "one AMBIGUOUS for each request in flight: {:?}", seen.refused);
    memory.assert_grown_less(16 << 20, "ample for a handful of small requests");
    let log = proxy.log();
    assert!(
        log.contains("restarted: replacing it") || log.contains("refuses connections"),
        "a person can see why"
    );
}
