//! The proxy dies in the middle of a change of primary and is started again: the change is brought to its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Group, LONG, Proxy, ProxyOptions, Value, eventually};

/// Moments at which the proxy dies, from the beginning of the change on: it takes some milliseconds.
const ROUNDS: u32 = 14;
const STEP: Duration = Duration::from_micros(400);

/// Waits for `moment` without giving the processor away: a sleep would be longer than all of the change.
fn spin(moment: Duration) {
    let start = Instant::now();
    while start.elapsed() < moment {
        std::hint::spin_loop();
    }
}

/// Before anything was recorded there is nothing to go on with.
#[track_caller]
fn wait_for_record(proxy: &Proxy) {
    eventually(LONG, "the first decision is recorded", || proxy.state_dir().join("group.record").exists());
}

/// A new life serves the value that was acknowledged, from one primary that all others follow.
#[track_caller]
fn lives_on(proxy: &mut Proxy, group: &Group, value: &str, epoch: u64) -> u64 {
    proxy.start_again();
    proxy.wait_ready();
    let mut client = proxy.client();
    assert_eq!(client.call("GET k"), Value::bulk(value));
    assert_eq!(client.call(&format!("SET after {value}")), Value::ok());
    eventually(LONG, "one leads and the others follow it", || {
        let primaries = group.primaries();
        primaries.len() == 1 && {
            let status = proxy.status();
            status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["up"] == true))
                && status["primary"] == group.addresses()[primaries[0]].to_string()
        }
    });
    let primary = group.primary();
    (0..group.nodes().len())
        .filter(|node| *node != primary)
        .for_each(|node| group.wait_following(node, primary));
    group.wait_in_sync(primary);
    for node in group.nodes() {
        assert_eq!(node.call("GET k"), Value::bulk(value));
        assert_eq!(node.call("GET after"), Value::bulk(value));
    }
    let now = proxy.status()["epoch"].as_u64().expect("a number");
    assert!(now >= epoch, "epoch {epoch} was followed by {now}");
    now
}

#[test]
fn a_switchover_outlives_the_proxy_at_any_moment() {
    let group = Group::sealed(2);
    let mut proxy = Proxy::start(&group.addresses());
    wait_for_record(&proxy);
    let mut epoch = 1;
    for round in 0..ROUNDS {
        let value = round.to_string();
        assert_eq!(proxy.client().call(&format!("SET k {value}")), Value::ok());
        eventually(LONG, "every replica could take over", || {
            let status = proxy.status();
            status["nodes"]
                .as_array()
                .is_some_and(|nodes| nodes.iter().all(|node| node["ineligible"].is_null()))
        });
        let mut order = TcpStream::connect(proxy.admin_address()).expect("the admin page listens");
        let request =
            "POST /api/switchover HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Redhold: 1\r\nContent-Length: 0\r\n\r\n";
        order.write_all(request.as_bytes()).expect("it reads");
        spin(STEP * round);
        if round + 1 == ROUNDS {
            // However slow the machine is, one is carried out.
            order.read_exact(&mut [0; 12]).expect("it is answered");
        }
        proxy.kill9();
        epoch = lives_on(&mut proxy, &group, &value, epoch);
    }
    assert!(epoch > 1, "no switch was ever begun");
}

#[test]
fn a_failover_outlives_the_proxy_at_any_moment() {
    let mut group = Group::sealed(2);
    let mut proxy = ProxyOptions::new(&group.addresses()).set("failover.burst", "100").start();
    wait_for_record(&proxy);
    let mut epoch = 1;
    for round in 0..ROUNDS {
        let value = round.to_string();
        assert_eq!(proxy.client().call(&format!("SET k {value}")), Value::ok());
        let primary = group.primary();
        group.wait_in_sync(primary);
        group.node(primary).kill9();
        spin(STEP * round);
        proxy.kill9();
        group.node(primary).restart();
        epoch = lives_on(&mut proxy, &group, &value, epoch);
    }
    assert!(epoch > u64::from(ROUNDS), "each death is an epoch: {epoch}");
}
