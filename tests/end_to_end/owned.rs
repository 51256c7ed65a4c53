//! Commands and settings that Redhold owns.

use crate::support::{Client, Group, Proxy, ProxyOptions, Value};

fn refused(client: &mut Client, request: &str) {
    let reply = client.call(request);
    assert!(reply.error().is_some_and(|text| text.contains("is managed by Redhold")), "{request}: {reply:?}");
}

#[test]
fn what_would_change_the_group_is_refused_everywhere() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let owned = [
        "REPLICAOF NO ONE",
        "SLAVEOF 127.0.0.1 1",
        "FAILOVER",
        "FAILOVER ABORT",
        "SHUTDOWN NOSAVE",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF ACK 0",
        "CONFIG REWRITE",
        "CONFIG SET min-replicas-to-write 3",
        "CONFIG SET repl-backlog-ttl 7",
        "CONFIG SET slave-read-only no",
        "CONFIG SET maxmemory 0 replica-priority 0",
    ];
    let mut plain = proxy.client();
    let mut tracking = Client::connect_resp3(proxy.address());
    assert_eq!(tracking.call("CLIENT TRACKING ON"), Value::ok());
    let mut watching = proxy.client();
    assert_eq!(watching.call("WATCH k"), Value::ok());
    for client in [&mut plain, &mut tracking, &mut watching] {
        owned.iter().for_each(|request| refused(client, request));
        assert_eq!(client.call("SET k v"), Value::ok());
    }
    let exact = plain.call("FAILOVER");
    assert_eq!(exact, Value::Error("ERR FAILOVER is managed by Redhold, see PROXY SWITCHOVER".to_owned()));
    let mut queueing = proxy.client();
    queueing.pipeline(&["MULTI", "SET k queued"]);
    refused(&mut queueing, "REPLICAOF 127.0.0.1 1");
    let reply = queueing.call("EXEC");
    assert!(reply.error().is_some_and(|text| text.starts_with("EXECABORT")), "{reply:?}");
    assert_eq!(plain.call("GET k"), Value::bulk("v"));
    assert_eq!(group.primary(), 0);
    let mut node = group.nodes()[0].client();
    assert_eq!(node.call("CONFIG GET repl-backlog-ttl").get("repl-backlog-ttl"), Some(&Value::bulk("3600")));
    assert_eq!(proxy.status()["epoch"], 1);
}

#[test]
fn a_setting_may_be_set_to_what_it_is_and_others_to_anything() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    for mut client in [proxy.client(), Client::connect_resp3(proxy.address())] {
        assert_eq!(client.call("CONFIG SET repl-backlog-ttl 3600"), Value::ok());
        refused(&mut client, "CONFIG SET repl-backlog-ttl 3601");
        assert_eq!(client.call("CONFIG SET slowlog-max-len 77"), Value::ok());
        assert_eq!(
            client.call("CONFIG GET slowlog-max-len").get("slowlog-max-len"),
            Some(&Value::bulk("77"))
        );
    }
}

#[test]
fn it_passes_where_the_configuration_says_so() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("proxy.owned_commands", "\"pass\"")
        .set("failover.tune_nodes", "false")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.call("CONFIG SET repl-timeout 61"), Value::ok());
    assert_eq!(client.call("REPLICAOF NO ONE"), Value::ok());
    let mut node = group.nodes()[0].client();
    assert_eq!(node.call("CONFIG GET repl-timeout").get("repl-timeout"), Some(&Value::bulk("61")));
    assert_eq!(client.call("FAILOVER"), node.call("FAILOVER"), "the server answers");
}
