//! `proxy.hide_topology`: clients learn nothing of replicas' addresses.

use crate::support::{Client, Group, Proxy, ProxyOptions, Relay, Server, ServerOptions, Value};

fn start(hide: bool) -> (Group, Proxy) {
    let group = Group::plain(2);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.hide_topology", &hide.to_string());
    let proxy = options.start();
    (group, proxy)
}

/// The text of a bulk or verbatim string.
fn text(value: &Value) -> String {
    match value {
        Value::Verbatim(_, text) => String::from_utf8_lossy(text.as_ref()).into_owned(),
        other => other.text().unwrap_or_else(|| panic!("no text: {other:?}")),
    }
}

/// Whether a reply names one of the replicas.
fn tells(group: &Group, reply: &Value) -> bool {
    // Its digits alone may stand in any number.
    let (shown, as_shown): (String, fn(u16) -> String) = match reply {
        Value::Verbatim(..) | Value::Bulk(_) => (text(reply), |port| format!("port={port},")),
        other => (format!("{other:?}"), |port| format!("{:?}", Value::bulk(port.to_string()))),
    };
    group.nodes()[1..].iter().any(|node| shown.contains(&as_shown(node.port())))
}

#[test]
fn info_and_role_name_no_replica_where_they_are_to_be_hidden() {
    for hide in [false, true] {
        let (group, proxy) = start(hide);
        for connect in [Client::connect, Client::connect_resp3] {
            let mut client = connect(proxy.address());
            for request in ["INFO", "INFO replication", "info everything", "ROLE"] {
                let reply = client.call(request);
                assert_eq!(tells(&group, &reply), !hide, "{request}: {reply:?}");
            }
            let info = text(&client.call("INFO replication"));
            assert!(info.contains("role:master\r\nconnected_slaves:2\r\n"), "{info}");
            assert!(info.contains("\r\nmaster_replid:"), "the rest is there: {info}");
            let role = client.call("ROLE");
            assert_eq!(role.items().len(), 3);
            assert_eq!(role.items()[0], Value::bulk("master"));
            let replies = client.pipeline(&["SET k 1", "INFO replication", "INCR k", "ROLE", "GET k"]);
            assert_eq!(
                (&replies[0], &replies[2], &replies[4]),
                (&Value::ok(), &Value::Int(2), &Value::bulk("2"))
            );
            assert!(
                client.call("INFO too many words").error().is_none() || client.call("PING").error().is_none()
            );
        }
    }
}

#[test]
fn what_is_hidden_is_told_to_who_may_order() {
    let group = Group::plain(1);
    for node in group.nodes() {
        node.call("ACL SETUSER clerk on >pw ~* &* +@all -failover");
        node.call("ACL SETUSER boss on >pw ~* &* +@all");
    }
    let replica = group.addresses()[1].to_string();
    for hide in [false, true] {
        let options = ProxyOptions::new(&group.addresses()).set("proxy.hide_topology", &hide.to_string());
        let proxy = options.start();
        let [mut anybody, mut clerk, mut boss] = [(); 3].map(|()| proxy.client());
        assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
        assert_eq!(boss.call("AUTH boss pw"), Value::ok());
        for request in ["STATUS", "NODES", "FAILOVERS", "ROUTE GET k"] {
            let request = format!("PROXY {request}");
            for client in [&mut anybody, &mut clerk] {
                let reply = client.call(&request);
                let refused = reply.error().is_some_and(|text| text.starts_with("NOPERM PROXY "));
                assert_eq!(refused, hide, "{request}: {reply:?}");
            }
            assert!(boss.call(&request).error().is_none(), "{request}");
        }
        assert!(text(&boss.call("PROXY NODES")).contains(&replica));
        let wrong = clerk.call("PROXY ADOPT nobody:1");
        assert_eq!(wrong.error().is_some_and(|text| !text.contains(&replica)), hide, "{wrong:?}");
    }
}

#[test]
fn connections_of_ones_own_hide_them_too() {
    let (group, proxy) = start(true);
    let mut client = Client::connect_resp3(proxy.address());
    assert!(matches!(client.call("SUBSCRIBE news"), Value::Push(_)));
    for request in ["INFO replication", "ROLE"] {
        assert!(!tells(&group, &client.call(request)), "{request} while subscribed");
    }
    let mut client = proxy.client();
    assert_eq!(client.call("WATCH k"), Value::ok());
    assert!(!tells(&group, &client.call("INFO replication")));
    assert_eq!(client.call("MULTI"), Value::ok());
    let refusal =
        "ERR ROLE is refused in a transaction: proxy.hide_topology keeps replicas' addresses to itself";
    assert_eq!(client.call("ROLE"), Value::Error(refusal.to_owned()));
    let aborted = client.call("EXEC");
    assert!(aborted.error().is_some_and(|text| text.starts_with("EXECABORT")), "{aborted:?}");
    assert!(!tells(&group, &client.call("ROLE")));
}

#[test]
fn what_is_lost_before_it_is_refused_in_a_transaction_is_refused_in_the_same_words() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = ProxyOptions::new(&[relay.address()]).set("proxy.hide_topology", "true").start();
    let mut client = proxy.client();
    assert_eq!(client.call("MULTI"), Value::ok());
    relay.cut_at("REPLICAOF", 1);
    let refusal =
        "ERR INFO is refused in a transaction: proxy.hide_topology keeps replicas' addresses to itself";
    assert_eq!(client.call("INFO"), Value::Error(refusal.to_owned()));
    assert_eq!(relay.met(), 1);
}

#[test]
fn an_info_of_any_length_hides_them() {
    let databases = 9_000;
    let group = Group::plain_with(1, &ServerOptions::default().set("databases", &databases.to_string()));
    // A line of INFO for each database that holds something.
    let mut node = group.nodes()[0].client();
    for database in 0..databases {
        node.pipeline(&[&format!("SELECT {database}"), "SET k v"]);
    }
    let options = ProxyOptions::new(&group.addresses()).set("proxy.hide_topology", "true");
    let proxy = options.clone().start();
    for connect in [Client::connect, Client::connect_resp3] {
        let mut plain = connect(proxy.address());
        let mut watching = connect(proxy.address());
        assert_eq!(watching.call("WATCH k"), Value::ok());
        for client in [&mut plain, &mut watching] {
            let replies = client.pipeline(&["INFO", "GET k"]);
            let info = text(&replies[0]);
            assert!(info.len() > 200_000, "{} bytes", info.len());
            assert!(!tells(&group, &replies[0]), "the replica is named");
            assert!(info.contains(&format!("\r\ndb{}:keys=1", databases - 1)), "it is whole");
            assert_eq!(replies[1], Value::bulk("v"));
        }
    }
    // What is longer than a client may be owed is not told in part either.
    let proxy = options.set("limits.client_output", "\"64KiB\"").start();
    let mut client = proxy.client();
    client.send(&["INFO"]);
    let told = client.read_to_close();
    assert_eq!(told.escape_ascii().to_string(), "");
}
