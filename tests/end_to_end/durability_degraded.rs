//! Replicas that are away for longer than writes may wait for them: `durability.degrade_after`.

use crate::support::{Group, LONG, ProxyOptions, Value, eventually};

/// Too few replicas, known before or only afterwards.
fn is_refused(reply: &Value) -> bool {
    reply.error().is_some_and(|text| text.starts_with("NOREPLICAS ") || text.starts_with("NOTDURABLE "))
}

#[test]
fn writes_wait_for_nobody_while_replicas_are_away_for_long_and_for_them_again_afterwards() {
    let mut group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("durability.mode", "\"semi_sync\"")
        .set("durability.degrade_after", "\"300ms\"")
        .start();
    let degraded = || proxy.metric("redhold_durability_degraded");
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    assert_eq!((degraded(), proxy.status()["degraded"].as_bool()), (Some(0.0), Some(false)));
    for replica in [1, 2] {
        group.node(replica).kill9();
    }
    eventually(LONG, "a write goes without replicas", || {
        let reply = client.call("SET k 2");
        assert!(reply == Value::ok() || is_refused(&reply), "{reply:?}");
        reply == Value::ok()
    });
    eventually(LONG, "it is told", || degraded() == Some(1.0));
    assert_eq!(proxy.status()["degraded"].as_bool(), Some(true));
    assert_eq!(client.call("INCR n"), Value::Int(1), "and the next as well");
    eventually(LONG, "the log says so", || proxy.log().contains("writes wait for none until they are back"));

    group.node(1).restart();
    eventually(LONG, "writes wait again", || degraded() == Some(0.0));
    group.node(1).sigstop();
    assert!(is_refused(&client.call("INCR n")));
    group.node(1).sigcont();
}
