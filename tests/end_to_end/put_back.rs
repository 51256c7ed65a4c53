//! Settings that a node has otherwise for a time: what they were before is put back, also by the next life of the proxy.

use crate::support::{
    Group, LONG, Proxy, ProxyOptions, Server, ServerOptions, Value, applies, chosen, eventually,
};

const MIN_REPLICAS: &str = "min-replicas-to-write";
const IGNORE_DISK: &str = "replica-ignore-disk-write-errors";

fn setting(server: &Server, name: &str) -> String {
    server.client().cmd(&["CONFIG", "GET", name]).items()[1].text().expect("a value")
}

/// A primary that was left alone, and takes writes alone.
fn alone(proxy: &Proxy, group: &mut Group) {
    group.node(0).kill9();
    eventually(LONG, "the last node takes writes", || proxy.client().call("SET k v") == Value::ok());
    assert_eq!(setting(&group.nodes()[1], MIN_REPLICAS), "0");
    let record = proxy.state_dir().join("group.record");
    let kept = || std::fs::read_to_string(&record).is_ok_and(|text| text.contains(MIN_REPLICAS));
    eventually(LONG, "what is to be put back is recorded", kept);
}

#[test]
fn the_next_life_of_the_proxy_puts_back_what_the_last_one_lowered() {
    let options = ServerOptions::default().set(MIN_REPLICAS, "1").set("repl-diskless-sync-delay", "0");
    let mut group = Group::plain_with(1, &options);
    let mut proxy = Proxy::start(&group.addresses());
    alone(&proxy, &mut group);
    proxy.kill9();
    proxy.start_again();
    eventually(LONG, "it goes on", || proxy.client().call("SET k w") == Value::ok());
    let shown = || proxy.status()["settings_changed"].to_string().contains(MIN_REPLICAS);
    eventually(LONG, "it tells what is not as configured", shown);
    assert_eq!(setting(&group.nodes()[1], MIN_REPLICAS), "0", "it is still alone");
    group.node(0).restart();
    eventually(LONG, "it is put back", || setting(&group.nodes()[1], MIN_REPLICAS) == "1");
    eventually(LONG, "and told no more", || !shown());
    group.wait_following(0, 1);
}

#[test]
fn what_the_node_refuses_to_take_back_is_tried_again() {
    let options = ServerOptions::default().set(MIN_REPLICAS, "1").set("repl-diskless-sync-delay", "0");
    let mut group = Group::plain_with(1, &options);
    let proxy = Proxy::start(&group.addresses());
    alone(&proxy, &mut group);
    assert_eq!(group.nodes()[1].call("ACL SETUSER default -config +config|get"), Value::ok());
    group.node(0).restart();
    eventually(LONG, "it is told", || proxy.log().contains("are not put back yet: NOPERM"));
    assert_eq!(setting(&group.nodes()[1], MIN_REPLICAS), "0");
    assert_eq!(group.nodes()[1].call("ACL SETUSER default +config|set"), Value::ok());
    eventually(LONG, "it is put back", || setting(&group.nodes()[1], MIN_REPLICAS) == "1");
}

/// The user may not change settings: two nodes can do without the one that may end itself, unless writes wait for it.
#[test]
fn a_primary_that_cannot_be_spared_is_replaced_where_nobody_waits_for_it() {
    if !applies(chosen().release >= 70, "a replica whose disk fails ends itself") {
        return;
    }
    for (mode, leader) in [("async", 1), ("semi_sync", 0)] {
        let group = Group::plain(1);
        for node in group.nodes() {
            assert_eq!(node.client().cmd(&["CONFIG", "SET", "save", "1000 1000"]), Value::ok());
            assert_eq!(node.call("ACL SETUSER default -config +config|get"), Value::ok());
        }
        let proxy = ProxyOptions::new(&group.addresses())
            .set("durability.mode", &format!("\"{mode}\""))
            .set("durability.timeout", "\"20s\"")
            .start();
        let dir = group.nodes()[0].call("CONFIG GET dir").items()[1].text().expect("a folder");
        std::fs::remove_dir_all(&dir).expect("the server's own folder");
        assert!(group.nodes()[0].call("BGSAVE").error().is_none());
        eventually(LONG, "its save has failed", || {
            group.nodes()[0].info("rdb_last_bgsave_status").as_deref() == Some("err")
        });
        let said = ["may end itself as a replica", "would end itself as a replica, and writes wait for it"];
        eventually(LONG, "it is told", || proxy.log().contains(said[usize::from(mode == "semi_sync")]));
        eventually(LONG, "who leads takes part", || group.primaries() == [leader]);
        assert_eq!(setting(&group.nodes()[0], IGNORE_DISK), "no");
    }
}
