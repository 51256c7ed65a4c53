//! A promotion that could lose what was acknowledged is held, and goes on when it no longer could.

use crate::support::{Group, LONG, ProxyOptions, Value, eventually};

#[test]
fn whoever_may_lack_an_acknowledged_write_does_not_lead() {
    let mut group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("durability.mode", "\"semi_sync\"")
        .set("durability.timeout", "\"20s\"")
        .set("failover.hold", "\"120s\"")
        .start();
    let mut client = proxy.client();
    client.set_read_timeout(LONG * 4);
    assert_eq!(client.call("SET k before"), Value::ok());
    group.wait_in_sync(0);
    // From here on only the second replica acknowledges; the first is left alone with what it has.
    group.node(1).sigstop();
    assert_eq!(client.call("SET k acknowledged"), Value::ok());
    group.node(0).kill9();
    group.node(2).sigstop();
    group.node(1).sigcont();
    client.send(&["SET", "after", "1"]);
    let reason = || proxy.status()["held"]["reason"].as_str().unwrap_or_default().to_owned();
    let missing = format!("{} does not answer", group.addresses()[2]);
    eventually(LONG, "it is said who is missing", || {
        let reason = reason();
        reason.contains("to lose no acknowledged write 2 of 2 replicas are needed, and 1 can be relied on")
            && reason.contains(&missing)
    });
    assert_eq!(group.nodes()[1].call("ROLE").items()[0], Value::bulk("slave"));

    group.node(2).sigcont();
    assert_eq!(client.read(), Value::ok());
    let leader = group.primary();
    assert_eq!(group.nodes()[leader].call("GET k"), Value::bulk("acknowledged"));
    eventually(LONG, "the change is told", || proxy.primary_changes() == 1);
}
