//! `durability.mode = "semi_sync"` where what is known and what is so differ for a moment.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Value, eventually};

fn start(group: &Group, timeout: &str) -> Proxy {
    let options = ProxyOptions::new(&group.addresses()).set("durability.mode", "\"semi_sync\"");
    options.set("health.timeout", timeout).start()
}

#[test]
fn a_primary_that_stalls_has_its_replicas_all_the_same() {
    let group = Group::plain(2);
    let proxy = start(&group, "\"4s\"");
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    eventually(LONG, "both replicas were seen", || {
        proxy.status()["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["up"] == true))
    });
    group.nodes()[0].sigstop();
    eventually(LONG, "its silence was noticed", || proxy.status()["nodes"][0]["up"] == false);
    client.send(&["SET", "k", "2"]);
    assert!(client.is_silent_for(Duration::from_millis(100)), "it waits as any request does");
    group.nodes()[0].sigcont();
    assert_eq!(client.read(), Value::ok());
}

#[test]
fn what_follows_a_multi_that_was_refused_waits_for_replicas() {
    let group = Group::plain(2);
    let proxy = start(&group, "\"10s\"");
    let mut client: Client = proxy.client();
    assert_eq!(client.call("ACL SETUSER plain on nopass ~* +@all -multi"), Value::ok());
    assert_eq!(client.call("AUTH plain x"), Value::ok());
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.nodes()[1..].iter().for_each(crate::support::Server::sigstop);
    let replies = client.pipeline(&["MULTI", "SET k 2", "EXEC"]);
    assert!(replies[0].error().is_some_and(|text| text.starts_with("NOPERM ")), "{replies:?}");
    assert!(replies[1].error().is_some_and(|text| text.starts_with("NOTDURABLE ")), "{replies:?}");
    assert!(replies[2].error().is_some(), "{replies:?}");
    group.nodes()[1..].iter().for_each(crate::support::Server::sigcont);
}
