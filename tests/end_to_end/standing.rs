//! What stands on a client's own connection outlasts what ends beside it, and is not cut short by who leaves early.

use crate::support::{Client, Group, LONG, NO_EVICT, Proxy, Value, eventually, eventually_some};
use crate::target::{Target, Way, both_ways};

both_ways!(a_client_that_wants_no_reply_and_leaves_has_sent_all_the_same);

/// A client that watches a key, over the death of the primary.
fn watched_over_a_failover(before: &[&str]) -> (Group, Proxy, Client) {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = proxy.client();
    for request in before.iter().chain(&["SET k v", "WATCH k"]) {
        assert_eq!(client.call(request), Value::ok(), "{request}");
    }
    group.wait_in_sync(0);
    group.node(0).kill9();
    eventually(LONG, "the other leads", || proxy.status()["epoch"] == 2);
    (group, proxy, client)
}

const NOT_EXECUTED: [&str; 5] = ["MULTI", "SET a 1", "EXEC", "GET k", "SET y 2"];

#[test]
fn what_follows_a_lost_transaction_is_executed_and_not_queued() {
    let (group, _proxy, mut client) = watched_over_a_failover(&[]);
    let queued = Value::Simple("QUEUED".to_owned());
    let expected = [Value::ok(), queued, Value::Nil, Value::bulk("v"), Value::ok()];
    assert_eq!(client.pipeline(&NOT_EXECUTED), expected);
    let mut node = group.nodes()[1].client();
    assert_eq!((node.call("GET a"), node.call("GET y")), (Value::Nil, Value::bulk("2")));
}

#[test]
fn a_mode_outlasts_a_lost_transaction_beside_it() {
    if !NO_EVICT.is_there() {
        return;
    }
    let (group, _proxy, mut client) =
        watched_over_a_failover(&["CLIENT SETNAME keeper", "CLIENT NO-EVICT ON"]);
    let replies = client.pipeline(&NOT_EXECUTED);
    assert_eq!(replies[2..], [Value::Nil, Value::bulk("v"), Value::ok()]);
    assert_eq!(client.call("GET y"), Value::bulk("2"));
    let flags = eventually_some(LONG, "the connection is known by its name", || {
        let list = group.nodes()[1].call("CLIENT LIST").text()?;
        let line = list.lines().find(|line| line.contains(" name=keeper "))?;
        line.split(' ').find_map(|field| field.strip_prefix("flags=").map(str::to_owned))
    });
    assert!(flags.contains('e') && !flags.contains('x'), "{flags}");
}

fn a_client_that_wants_no_reply_and_leaves_has_sent_all_the_same(way: Way) {
    let target = Target::new(way, 0);
    let value = "v".repeat(100_000);
    for round in 0..20 {
        let mut client = target.client();
        let last = format!("last{round}");
        let requests: [&[&str]; 3] =
            [&["CLIENT", "REPLY", "OFF"], &["SET", "k", &value], &["SET", &last, "1"]];
        client.send_raw(
            &requests.iter().flat_map(|request| crate::support::encode(request)).collect::<Vec<_>>(),
        );
        client.finish_sending();
        eventually(LONG, "the last write is executed", || {
            target.primary().call(&format!("GET {last}")) == Value::bulk("1")
        });
    }
}

/// Both nodes know another user beside the default one.
fn two_users() -> (Group, Proxy) {
    let group = Group::plain(1);
    for node in group.nodes() {
        assert_eq!(node.call("ACL SETUSER boss on >pw ~* &* +@all"), Value::ok());
    }
    let proxy = Proxy::start(&group.addresses());
    (group, proxy)
}

#[test]
fn who_proves_himself_on_a_connection_of_his_own_is_the_same_on_the_next() {
    if !NO_EVICT.is_there() {
        return;
    }
    let (mut group, proxy) = two_users();
    let (mut plain, mut greeting) = (proxy.client(), proxy.client());
    for client in [&mut plain, &mut greeting] {
        assert_eq!(client.call("CLIENT NO-EVICT ON"), Value::ok());
    }
    assert_eq!(plain.call("AUTH boss pw"), Value::ok());
    let id = greeting.call("CLIENT ID");
    let hello = greeting.call("HELLO 3 AUTH boss pw SETNAME greeting");
    assert_eq!(hello.get("id"), Some(&id), "its own id, and not the connection's");
    assert_eq!(greeting.call("HSET h f v"), Value::Int(1));
    group.wait_in_sync(0);
    group.node(0).kill9();
    eventually(LONG, "the other leads", || proxy.status()["epoch"] == 2);
    for client in [&mut plain, &mut greeting] {
        assert_eq!(client.call("ACL WHOAMI"), Value::bulk("boss"));
    }
    assert!(matches!(greeting.call("HGETALL h"), Value::Map(_)), "it speaks RESP3 there too");
    let shown = proxy.client().call("CLIENT LIST").text().expect("text");
    assert_eq!(shown.lines().filter(|line| line.contains(" user=boss ")).count(), 2, "{shown}");
    // A refusal changes nothing.
    assert!(plain.call("AUTH boss wrong").error().is_some_and(|text| text.starts_with("WRONGPASS")));
    assert_eq!(plain.call("ACL WHOAMI"), Value::bulk("boss"));
}

/// Nothing is kept of it, so that its second half would be executed alone.
#[test]
fn a_transaction_that_wants_no_reply_closes_its_client_when_it_is_lost() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = proxy.client();
    client.send(&["CLIENT", "REPLY", "OFF"]);
    for request in [&["MULTI"][..], &["SET", "a", "1"]] {
        client.send(request);
    }
    eventually(LONG, "the transaction is open", || {
        group.nodes()[0].call("CLIENT LIST").text().is_some_and(|list| list.contains(" multi=1 "))
    });
    group.node(0).kill9();
    eventually(LONG, "the other leads", || proxy.status()["epoch"] == 2);
    // It may be closed before it says more.
    for request in [&["SET", "b", "2"][..], &["EXEC"]] {
        client.try_send_raw(&crate::support::encode(request)).ok();
    }
    assert_eq!(client.read_to_close(), b"");
    let mut node = group.nodes()[1].client();
    assert_eq!((node.call("GET a"), node.call("GET b")), (Value::Nil, Value::Nil));
    // One that has ended is no reason.
    let mut other = proxy.client();
    for request in [
        &["CLIENT", "REPLY", "OFF"][..],
        &["MULTI"],
        &["SET", "a", "1"],
        &["EXEC"],
        &["CLIENT", "REPLY", "ON"],
    ] {
        other.send(request);
    }
    assert_eq!(other.read(), Value::ok());
    assert_eq!(other.call("GET a"), Value::bulk("1"));
}
