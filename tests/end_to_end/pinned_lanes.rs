//! What becomes of a client when its own connection is lost, refused or can not be had.

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Value, eventually};

/// Follows the cursors of `SSCAN s` to their end and returns how many members came.
#[track_caller]
fn scan(client: &mut Client, count: usize, in_multi: bool) -> usize {
    let (mut seen, mut cursor, mut rounds) = (0, "0".to_owned(), 0);
    loop {
        let request = format!("SSCAN s {cursor} COUNT {count}");
        let reply = if in_multi {
            client.pipeline(&["MULTI", &request, "ECHO x", "EXEC"]).remove(3).items()[0].clone()
        } else {
            client.call(&request)
        };
        assert!(reply.error().is_none(), "round {rounds}: {reply:?}");
        cursor = reply.items()[0].text().expect("a cursor");
        seen += reply.items()[1].items().len();
        rounds += 1;
        if cursor == "0" {
            assert!(rounds > 1, "one reply would prove nothing");
            return seen;
        }
    }
}

#[test]
fn a_scan_on_a_connection_of_ones_own_comes_to_its_end_in_every_epoch() {
    const MEMBERS: usize = 600;
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let members: Vec<String> = (0..MEMBERS).map(|number| format!("{number:0>1000}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(members.iter().map(String::as_str));
    assert_eq!(group.nodes()[0].client().cmd(&words), Value::Int(MEMBERS as i64));
    group.wait_in_sync(0);
    group.node(0).kill9();
    eventually(LONG, "another epoch", || proxy.status()["epoch"] == 2);
    let mut client = proxy.client();
    client.pipeline(&["MULTI", "SELECT 3", "SSCAN s 0", "EXEC", "SET where three"]);
    assert_eq!(group.nodes()[1].client().pipeline(&["SELECT 3", "GET where"])[1], Value::bulk("three"));
    // The second number makes replies that are passed on in pieces.
    for count in [20, 250] {
        assert_eq!(scan(&mut proxy.client(), count, false), MEMBERS, "shared, {count}");
        assert_eq!(scan(&mut proxy.client(), count, true), MEMBERS, "in MULTI, {count}");
        for setup in ["CLIENT TRACKING ON NOLOOP OPTIN", "WATCH other", "CLIENT NO-EVICT ON", "SUBSCRIBE c"] {
            let mut client = Client::connect_resp3(proxy.address());
            client.call(setup);
            assert_eq!(scan(&mut client, count, false), MEMBERS, "{setup}, {count}");
            // Which waits until nothing is owed.
            assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()), "{setup}, {count}");
        }
    }
}

#[test]
fn a_large_message_is_no_reply_to_what_is_owed() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", "\"5s\"").start();
    let (mut subscriber, mut other) = (Client::connect_resp3(proxy.address()), proxy.client());
    subscriber.call("SUBSCRIBE c");
    subscriber.send(&["BLPOP", "q", "0"]);
    eventually(LONG, "it is parked", || group.nodes()[0].info("blocked_clients").as_deref() == Some("1"));
    assert_eq!(other.cmd(&["PUBLISH", "c", &"x".repeat(200 << 10)]), Value::Int(1));
    assert!(matches!(subscriber.read(), Value::Push(_)));
    group.node(0).kill9();
    assert_eq!(other.call("RPUSH q job"), Value::Int(1));
    assert_eq!(subscriber.read(), Value::Array(vec![Value::bulk("q"), Value::bulk("job")]));
}
