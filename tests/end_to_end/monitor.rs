//! MONITOR shows what clients do, and nothing that Redhold does by itself.

use crate::support::{Group, LONG, Proxy, ProxyOptions, Value, eventually};

#[test]
fn redholds_own_lines_are_left_out() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("health.interval", "\"100ms\"").start();
    let mut monitoring = proxy.client();
    assert_eq!(monitoring.call("MONITOR"), Value::ok());
    let mut client = proxy.client();
    let mut node = group.nodes()[0].client();
    let pings = |node: &mut crate::support::Client| {
        let stats = node.call("INFO commandstats").text().expect("text");
        let line =
            stats.lines().find(|line| line.starts_with("cmdstat_info:calls=")).expect("INFO was called");
        let calls =
            line.trim_start_matches("cmdstat_info:calls=").split(',').next().and_then(|n| n.parse().ok());
        calls.unwrap_or(0_u64)
    };
    let before = pings(&mut node);
    // The node has been asked by Redhold some times while it was watched.
    eventually(LONG, "Redhold looks at the node", || pings(&mut node) > before + 40);
    drop(node);
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(client.call("WAIT 0 1000"), Value::Int(0));
    assert_eq!(client.call("PUBLISH news hello"), Value::Int(0));
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains("\"PUBLISH\" \"news\"")) {
        seen.push(monitoring.read().text().expect("a line"));
    }
    assert!(seen.iter().any(|line| line.contains("\"SET\" \"k\" \"v\"")), "{seen:#?}");
    assert!(seen.iter().any(|line| line.contains("\"WAIT\" \"0\" \"1000\"")), "{seen:#?}");
    let alien: Vec<_> = seen
        .iter()
        .filter(|line| {
            line.contains("\"PING\"")
                || line.contains("\"INFO\" \"replication\"")
                || line.contains("__redhold:")
                || line.contains("SETNAME")
        })
        .collect();
    assert!(alien.is_empty(), "{alien:#?}");
    assert_eq!(proxy.status()["epoch"], 1);
}

#[test]
fn a_monitoring_client_may_still_ask_and_leave() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let mut monitoring = proxy.client();
    assert_eq!(monitoring.call("MONITOR"), Value::ok());
    monitoring.send(&["RESET"]);
    let mut last = monitoring.read();
    while last.text().is_some_and(|line| line.contains(" [")) {
        last = monitoring.read();
    }
    assert_eq!(last, Value::Simple("RESET".to_owned()));
    assert_eq!(monitoring.call("ECHO back"), Value::bulk("back"));
}
