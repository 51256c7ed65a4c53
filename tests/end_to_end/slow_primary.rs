//! A primary that answers and has become slow (`health.slow_primary`): ten times what it took before, for `health.busy_timeout`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Group, LONG, Load, Proxy, ProxyOptions, Relay, eventually};

/// In each direction: on loopback that is many times the rule, and more than the ten milliseconds that nobody minds.
const DELAY: Duration = Duration::from_millis(25);

struct Rig {
    group: Group,
    relays: Vec<Relay>,
    proxy: Proxy,
}

impl Rig {
    /// Two nodes behind relays, and what they take as a rule is known.
    fn new(slow_primary: &str) -> Self {
        let group = Group::plain(1);
        let relays: Vec<Relay> = group.addresses().into_iter().map(Relay::to).collect();
        let addresses: Vec<SocketAddr> = relays.iter().map(Relay::address).collect();
        let proxy = ProxyOptions::new(&addresses)
            .set("health.timeout", "\"2s\"")
            .set("health.busy_timeout", "\"2s\"")
            .set("health.interval", "\"20ms\"")
            .set("health.slow_primary", slow_primary)
            .start();
        let rig = Self { group, relays, proxy };
        eventually(LONG, "it is known what the nodes take", || [0, 1].map(|n| rig.slow(n)) == [Some(0.0); 2]);
        rig
    }

    fn slow(&self, node: usize) -> Option<f64> {
        let address = self.relays[node].address();
        self.proxy.metric(&format!("redhold_node_slow{{node=\"{address}\"}}"))
    }

    fn is_told(&self) -> bool {
        let told = self.proxy.status()["nodes"][0]["remark"].as_str().map(str::to_owned);
        told.is_some_and(|remark| remark.contains("slow"))
    }

    /// How often the first node's PING was answered.
    fn looks(&self) -> f64 {
        let address = self.relays[0].address();
        let count = format!("redhold_node_ping_seconds_count{{node=\"{address}\"}}");
        self.proxy.metric(&count).unwrap_or_default()
    }
}

#[test]
fn a_slow_primary_is_switched_away_from_without_an_error() {
    let rig = Rig::new("\"switchover\"");
    let load = Load::start(rig.proxy.address(), 4, 4);
    load.strike(|| rig.relays[0].delay(DELAY));
    eventually(LONG, "the other node leads", || rig.proxy.primary_changes() == 1);
    load.wait_for(1_000);
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!((rig.group.primary(), outcome.ambiguous()), (1, 0), "{}", rig.proxy.log());
    assert_eq!(outcome.missing_on(rig.group.nodes()[1].address()), 0);
    eventually(LONG, "the log says so", || rig.proxy.log().contains("is slow"));
    rig.group.wait_following(0, 1);
}

#[test]
fn a_slow_primary_that_is_only_observed_is_told_and_stays() {
    let rig = Rig::new("\"observe\"");
    rig.relays[0].delay(DELAY);
    eventually(LONG, "the metric and the status tell", || rig.slow(0) == Some(1.0) && rig.is_told());
    assert_eq!(rig.slow(1), Some(0.0));
    assert_eq!((rig.group.primaries(), rig.proxy.primary_changes()), (vec![0], 0));
    rig.relays[0].delay(Duration::ZERO);
    eventually(LONG, "that it is over is told too", || rig.slow(0) == Some(0.0) && !rig.is_told());
}

/// The way to both is slow, or the proxy's own machine.
#[test]
fn two_slow_nodes_are_no_reason_to_change_them() {
    let rig = Rig::new("\"switchover\"");
    rig.relays.iter().for_each(|relay| relay.delay(DELAY));
    let looks = rig.looks();
    // A look takes as long as the delay: twice as long as it takes to call one of them slow.
    eventually(LONG, "the nodes were looked at often", || rig.looks() > looks + 100.0);
    assert_eq!([0, 1].map(|node| rig.slow(node)), [Some(0.0); 2]);
    assert_eq!((rig.group.primaries(), rig.proxy.primary_changes()), (vec![0], 0));
}
