//! What a change of primary cost clients is told to the number.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Value, eventually, eventually_some};

/// The account of the last episode, once it is closed, and the line in its timeline.
fn account(proxy: &Proxy) -> (serde_json::Value, String) {
    eventually_some(LONG, "the account of the episode is closed", || {
        let status = proxy.status();
        let episode = status["episodes"].as_array()?.last()?;
        let mut texts = episode["notes"].as_array()?.iter().filter_map(|note| note["text"].as_str());
        let line = texts.find(|text| text.contains(" held") && text.contains("sent again"))?;
        Some((episode["toll"].clone(), line.to_owned()))
    })
}

fn clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    (0..count).map(|_| proxy.client()).collect()
}

#[track_caller]
fn wait_metric(proxy: &Proxy, series: &str, value: f64) {
    eventually(LONG, &format!("{series} is {value}"), || proxy.metric(series) == Some(value));
}

#[test]
fn a_failover_tells_how_many_requests_it_held_lost_and_sent_again() {
    let mut group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("failover.mode", "\"manual\"")
        .set("failover.hold", "\"120s\"")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start();
    let (mut counters, mut setters) = (clients(&proxy, 3), clients(&proxy, 2));
    let mut held = clients(&proxy, 7);
    for client in counters.iter_mut().chain(&mut setters).chain(&mut held) {
        assert_eq!(client.call("SET warm up"), Value::ok());
    }
    group.wait_in_sync(0);
    group.nodes()[0].sigstop();
    counters.iter_mut().for_each(|client| client.send(&["INCR", "n"]));
    setters.iter_mut().for_each(|client| client.send(&["SET", "k", "v"]));
    wait_metric(&proxy, "redhold_commands_total{command=\"incr\",node_role=\"primary\"}", 3.0);
    wait_metric(&proxy, "redhold_commands_total{command=\"set\",node_role=\"primary\"}", 14.0);
    group.node(0).kill9();
    for client in &mut counters {
        assert!(client.read().error().is_some_and(|text| text.starts_with("AMBIGUOUS ")));
    }
    assert_eq!(proxy.errors("ambiguous"), 3.0);
    eventually(LONG, "writes are held", || proxy.status()["writable"] == false);
    held.iter_mut().for_each(|client| client.send(&["SET", "h", "v"]));
    wait_metric(&proxy, "redhold_held_requests", 9.0);
    let open =
        proxy.status()["episodes"].as_array().and_then(|all| all.last().cloned()).expect("one goes on");
    eventually(LONG, "it is told while it goes on", || {
        proxy.status()["episodes"].as_array().and_then(|all| all.last().cloned()).is_some_and(|episode| {
            episode["toll"]["held_requests"] == 9 && episode["toll"]["longest_hold_ms"] == 0
        })
    });
    assert!(open["ended"].is_null(), "{open}");
    let waited = Duration::from_millis(200);
    std::thread::sleep(waited);
    proxy.force_failover(group.nodes()[1].address());
    for client in setters.iter_mut().chain(&mut held) {
        assert_eq!(client.read(), Value::ok());
    }
    let (toll, line) = account(&proxy);
    assert_eq!(toll["held_requests"], 9, "{toll}");
    assert_eq!(toll["ambiguous_writes"], 3, "{toll}");
    assert_eq!(toll["reissued_requests"], 2, "{toll}");
    let longest = toll["longest_hold_ms"].as_u64().expect("a number");
    assert!(u128::from(longest) >= waited.as_millis(), "{toll}");
    let told = format!(
        "9 requests held, the longest for {longest} ms; 3 writes answered AMBIGUOUS; 2 requests sent again"
    );
    assert_eq!(line, told);
    eventually(LONG, "the log has it", || proxy.log().contains(&told));
    assert_eq!(proxy.metric("redhold_ambiguous_writes_total"), Some(3.0));
    assert_eq!(proxy.metric("redhold_reissued_total"), Some(2.0));
    assert_eq!(proxy.metric("redhold_hold_duration_seconds_count"), Some(9.0));
}

#[test]
fn a_planned_switch_tells_that_nothing_was_lost_and_nothing_of_an_earlier_change() {
    let mut group = Group::sealed(2);
    let proxy = Proxy::start(&group.addresses());
    let first = group.primary();
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    group.wait_in_sync(first);
    let mut counter = proxy.client();
    group.nodes()[first].sigstop();
    counter.send(&["INCR", "n"]);
    wait_metric(&proxy, "redhold_commands_total{command=\"incr\",node_role=\"primary\"}", 1.0);
    group.node(first).kill9();
    eventually(LONG, "another leads", || proxy.primary_changes() == 1 && proxy.status()["writable"] == true);
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    assert_eq!(account(&proxy).0["ambiguous_writes"], 1);
    eventually(LONG, "a switch is carried out", || {
        proxy.http_with_body("POST", "/api/switchover", "").is_some_and(|(status, _)| status == 200)
    });
    let (toll, line) = account(&proxy);
    assert_eq!(line, "0 requests held; 0 writes answered AMBIGUOUS; 0 requests sent again", "{toll}");
    assert_eq!(proxy.primary_changes(), 2);
}
