//! Five thousand clients in BLPOP at once.

use std::time::{Duration, Instant};

use crate::idle::raise_descriptor_limit;
use crate::support::{Client, Group, LONG, Proxy, Server, Value, eventually};

const CLIENTS: usize = 5_000;

fn wait_parked(server: &Server) {
    eventually(4 * LONG, "all are parked", || server.info("blocked_clients") == Some(CLIENTS.to_string()));
}

/// How long an order for another primary took, from a group in which every node could lead.
#[track_caller]
fn switched_over(proxy: &Proxy) -> Duration {
    proxy.wait_well();
    let start = Instant::now();
    proxy.switch_over();
    start.elapsed()
}

/// Pops that may have taken something out for nobody.
fn lost_pops(proxy: &Proxy) -> Option<f64> {
    proxy.metric("redhold_lost_pops_total")
}

#[test]
fn five_thousand_parked_clients_delay_no_switchover_and_each_gets_its_own() {
    raise_descriptor_limit();
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let alone = switched_over(&proxy);
    let mut parked: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for (number, client) in parked.iter_mut().enumerate() {
        client.set_read_timeout(4 * LONG);
        client.send(&["BLPOP", &format!("queue:{number}"), "0"]);
    }
    wait_parked(&group.nodes()[1]);
    let crowded = switched_over(&proxy);
    println!("a switchover took {alone:?} with nobody parked and {crowded:?} with {CLIENTS}");
    assert!(crowded < 10 * alone.max(Duration::from_secs(1)), "{crowded:?}, {alone:?} with nobody parked");
    wait_parked(&group.nodes()[0]);
    assert_eq!(lost_pops(&proxy), Some(0.0), "the old primary has told each that it executed nothing");
    let mut other = proxy.client();
    for number in 0..CLIENTS {
        assert_eq!(other.call(&format!("RPUSH queue:{number} {number}")), Value::Int(1));
    }
    for (number, client) in parked.iter_mut().enumerate() {
        let own = Value::Array(vec![Value::bulk(format!("queue:{number}")), Value::bulk(number.to_string())]);
        assert_eq!(client.read(), own);
    }
}
