//! All that stands on one connection of a client's own is followed over its loss, however it came to stand.

use std::time::Duration;

use crate::support::{
    Client, Group, LONG, NO_EVICT, Proxy, ProxyOptions, V6_2, Value, applies, chosen, eventually, row_field,
};

struct Scene {
    group: Group,
    proxy: Proxy,
}

impl Scene {
    #[track_caller]
    fn start() -> Self {
        Self::of(Group::plain(1))
    }

    /// With a proxy that is so patient that a frozen node can be killed before its silence counts.
    #[track_caller]
    fn of(group: Group) -> Self {
        let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", "\"5s\"").start();
        Self { group, proxy }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn resp3(&self) -> Client {
        Client::connect_resp3(self.proxy.address())
    }

    /// The primary dies with all that it has passed on, and the other leads.
    #[track_caller]
    fn fail_over(&mut self) {
        self.group.wait_in_sync(0);
        self.group.node(0).kill9();
        eventually(LONG, "the other leads", || self.proxy.status()["epoch"] == 2);
    }

    /// So many are subscribed to the channel at the new primary.
    #[track_caller]
    fn wait_for_subscribers(&self, channel: &str, count: i64) {
        let mut direct = self.group.nodes()[1].client();
        eventually(LONG, "they are subscribed again", || {
            direct.call(&format!("PUBSUB NUMSUB {channel}")).items()[1] == Value::Int(count)
        });
    }
}

fn queued() -> Value {
    Value::Simple("QUEUED".to_owned())
}

fn invalidation(of: Value) -> Value {
    Value::Push(vec![Value::bulk("invalidate"), of])
}

fn words(value: &Value) -> Vec<String> {
    value
        .items()
        .iter()
        .map(|item| item.text().or(item.int().map(|n| n.to_string())).unwrap_or_default())
        .collect()
}

#[test]
fn what_a_transaction_sets_stands_after_exec_and_on_the_next_primary() {
    if !NO_EVICT.is_there() {
        return;
    }
    let mut scene = Scene::start();
    let mut client = scene.resp3();
    let requests = [
        "MULTI",
        "CLIENT TRACKING ON",
        "CLIENT NO-EVICT ON",
        "CLIENT TRACKING ON BCAST",
        "CLIENT SETNAME inside",
        "SELECT 2",
        "EXEC",
    ];
    let executed = client.pipeline(&requests).pop().expect("a reply");
    assert!(executed.items()[2].error().is_some(), "{executed:?}");
    assert_eq!(client.call("CLIENT GETNAME"), Value::bulk("inside"));
    assert_eq!(client.call("GET k"), Value::Nil);
    let mut other = scene.client();
    assert_eq!(other.pipeline(&["SELECT 2", "SET k v"]), [Value::ok(), Value::ok()]);
    let stale = invalidation(Value::Array(vec![Value::bulk("k")]));
    assert_eq!(client.read(), stale, "it tracks");
    scene.fail_over();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(client.call("GET k"), Value::bulk("v"));
    assert_eq!(other.call("SET k w"), Value::ok());
    assert_eq!(client.read(), stale, "it tracks there too");
    let list = scene.group.nodes()[1].call("CLIENT LIST").text().expect("text");
    let row = list.lines().find(|row| row.contains(" name=inside ")).expect("its name is known");
    let flags = row_field(row, "flags").unwrap_or_default();
    assert!(flags.contains('e') && flags.contains('t'), "{row}");
    assert_eq!(
        client.pipeline(&["MULTI", "CLIENT TRACKING OFF", "CLIENT NO-EVICT OFF", "EXEC"])[3].items().len(),
        2
    );
    assert_eq!(client.pipeline(&["GET k", "CLIENT GETNAME"]), [Value::bulk("w"), Value::bulk("inside")]);
}

#[test]
fn what_a_transaction_sets_behind_a_large_reply_is_seen() {
    let mut scene = Scene::start();
    let mut client = scene.resp3();
    client.cmd(&["SET", "big", &"x".repeat(3 << 20)]);
    let executed =
        client.pipeline(&["MULTI", "GET big", "SELECT 2", "CLIENT TRACKING ON", "SELECT 99", "EXEC"]);
    assert_eq!(executed[5].items()[1..3], [Value::ok(), Value::ok()]);
    assert_eq!(client.call("SET k two"), Value::ok());
    scene.fail_over();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(client.call("GET k"), Value::bulk("two"));
}

fn silence_is_broken() -> bool {
    applies(chosen().release >= 70, "who subscribes after CLIENT REPLY OFF is told so")
}

#[test]
fn what_is_subscribed_without_replies_is_subscribed_again() {
    if !silence_is_broken() {
        return;
    }
    let mut scene = Scene::start();
    let (mut skipped, mut silent, mut loud) = (scene.client(), scene.resp3(), scene.resp3());
    for (client, mode) in [(&mut skipped, "SKIP"), (&mut silent, "OFF"), (&mut loud, "OFF")] {
        client.send(&["CLIENT", "REPLY", mode]);
        client.send(&["SUBSCRIBE", "gone", "c"]);
        client.send(&["UNSUBSCRIBE", "gone"]);
        let confirmed: Vec<_> = (0..3).map(|_| words(&client.read()).join(" ")).collect();
        assert_eq!(confirmed, ["subscribe gone 1", "subscribe c 2", "unsubscribe gone 1"]);
    }
    assert_eq!(loud.call("CLIENT REPLY ON"), Value::ok());
    scene.fail_over();
    scene.wait_for_subscribers("c", 3);
    assert_eq!(scene.group.nodes()[1].call("PUBSUB NUMSUB gone").items()[1], Value::Int(0));
    assert_eq!(scene.client().call("PUBLISH c text"), Value::Int(3));
    for client in [&mut skipped, &mut silent, &mut loud] {
        assert_eq!(words(&client.read()), ["message", "c", "text"]);
    }
    silent.send(&["ECHO", "unheard"]);
    assert_eq!(silent.call("CLIENT REPLY ON"), Value::ok());
    assert_eq!(loud.call("ECHO x"), Value::bulk("x"));
    assert_eq!(words(&skipped.call("SUBSCRIBE d")), ["subscribe", "d", "2"]);
}

/// Redis 6.2 confirms nothing then.
#[test]
fn what_is_subscribed_without_a_confirmation_is_subscribed_again() {
    if !V6_2.is_there() {
        return;
    }
    let mut scene = Scene::of(Group::plain_with(1, &V6_2.options()));
    let (mut two, mut three) = (scene.client(), scene.resp3());
    for (client, mode) in [(&mut two, "SKIP"), (&mut three, "OFF")] {
        client.send(&["CLIENT", "REPLY", mode]);
        client.send(&["SUBSCRIBE", "c"]);
    }
    assert_eq!(words(&two.call("SUBSCRIBE d")), ["subscribe", "d", "2"]);
    assert_eq!(three.call("CLIENT REPLY ON"), Value::ok());
    scene.fail_over();
    scene.wait_for_subscribers("c", 2);
    assert_eq!(scene.client().call("PUBLISH c text"), Value::Int(2));
    for client in [&mut two, &mut three] {
        assert_eq!(words(&client.read()), ["message", "c", "text"]);
    }
    assert_eq!(words(&two.call("PING")), ["pong", ""]);
}

/// It may not ask for silence once it is subscribed, and could not be told whether it is while it is silent.
#[test]
fn a_silent_subscriber_in_resp2_is_closed() {
    if !silence_is_broken() {
        return;
    }
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["SUBSCRIBE", "c"]);
    assert_eq!(words(&client.read()), ["subscribe", "c", "1"]);
    client.send(&["PING"]);
    client.send(&["CLIENT", "REPLY", "ON"]);
    assert!(client.is_silent_for(Duration::from_millis(50)), "it may not say that");
    scene.fail_over();
    assert_eq!(client.read_to_close(), b"");
}

#[test]
fn a_database_chosen_without_replies_is_chosen_again() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["SELECT", "5"]);
    client.send(&["SET", "k", "five"]);
    let mut direct = scene.group.nodes()[0].client();
    direct.call("SELECT 5");
    eventually(LONG, "it is executed", || direct.call("GET k") == Value::bulk("five"));
    scene.fail_over();
    assert_eq!(client.call("CLIENT REPLY ON"), Value::ok());
    assert_eq!(client.call("GET k"), Value::bulk("five"));
}

/// However slowly it is said, and with nothing else on the connection that would stand.
#[test]
fn who_proves_himself_without_a_reply_stays_who_he_is() {
    let server = crate::support::Server::start();
    assert_eq!(server.call("ACL SETUSER bob on >secret ~* +@all"), Value::ok());
    let proxy = crate::support::Proxy::start(&[server.address()]);
    for pause in (0..8).map(std::time::Duration::from_millis) {
        let mut client = proxy.client();
        for request in [&["CLIENT", "REPLY", "SKIP"][..], &["AUTH", "bob", "secret"]] {
            client.send(request);
            std::thread::sleep(pause);
        }
        assert_eq!(client.call("ACL WHOAMI"), Value::bulk("bob"), "{pause:?} apart");
        assert_eq!(client.call("ACL WHOAMI"), Value::bulk("bob"), "{pause:?} apart");
    }
}

/// Nobody is who he says without proof.
#[test]
fn who_proves_himself_without_a_reply_is_closed() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["AUTH", "default", "any"]);
    client.call("CLIENT NO-EVICT ON");
    scene.fail_over();
    assert_eq!(client.read_to_close(), b"");
    let log = scene.proxy.log();
    assert!(log.contains("client closed: what it has set on its connection is not known"), "{log}");
}

#[test]
fn what_a_transaction_without_replies_sets_is_set_again() {
    let mut scene = Scene::start();
    let mut client = scene.resp3();
    for request in [
        &["CLIENT", "REPLY", "OFF"][..],
        &["MULTI"],
        &["SELECT", "6"],
        &["CLIENT", "TRACKING", "ON"],
        &["EXEC"],
    ] {
        client.send(request);
    }
    // The server refuses it, and the transaction; Redis would say what of it was said before ON.
    for request in [&["MULTI"][..], &["SELECT", "7"], &["CLIENT", "REPLY", "ON"], &["EXEC"]] {
        client.send(request);
    }
    assert_eq!(client.call("CLIENT REPLY ON"), Value::ok());
    assert_eq!(client.call("SET k six"), Value::ok());
    scene.fail_over();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(client.call("GET k"), Value::bulk("six"));
    assert_eq!(scene.client().pipeline(&["SELECT 6", "GET k"])[1], Value::bulk("six"));
}

#[test]
fn a_transaction_beside_subscriptions_is_followed() {
    let mut scene = Scene::start();
    let subscribed = || {
        let mut client = scene.resp3();
        assert_eq!(words(&client.call("SUBSCRIBE c")), ["subscribe", "c", "1"]);
        client
    };
    let (mut moved, mut open, mut watching) = (subscribed(), subscribed(), subscribed());
    let replies = moved.pipeline(&["MULTI", "SELECT 3", "SET k three", "EXEC"]);
    assert_eq!(replies[3].items(), [Value::ok(), Value::ok()]);
    assert_eq!(open.pipeline(&["MULTI", "SELECT 4", "SET k four"])[2], queued());
    assert_eq!(watching.call("WATCH k"), Value::ok());
    scene.fail_over();
    assert_eq!(moved.call("GET k"), Value::bulk("three"));
    assert_eq!(open.call("SUBSCRIBE d"), queued());
    assert_eq!(open.call("EXEC").items()[..2], [Value::ok(), Value::ok()]);
    assert_eq!(open.call("GET k"), Value::bulk("four"));
    assert_eq!(watching.pipeline(&["MULTI", "SET k w", "EXEC", "GET k"])[2..], [Value::Nil, Value::Nil]);
    scene.wait_for_subscribers("c", 3);
    scene.wait_for_subscribers("d", 1);
    assert_eq!(scene.client().call("PUBLISH c text"), Value::Int(3));
    for client in [&mut moved, &mut open, &mut watching] {
        assert_eq!(words(&client.read()), ["message", "c", "text"]);
    }
}

#[test]
fn what_a_transaction_subscribes_to_is_heard_on_the_next_primary() {
    let mut scene = Scene::start();
    let (mut two, mut three) = (scene.client(), scene.resp3());
    for client in [&mut two, &mut three] {
        let executed = client.pipeline(&["MULTI", "SUBSCRIBE c", "EXEC"]).pop().expect("a reply");
        assert_eq!(words(&executed.items()[0]), ["subscribe", "c", "1"]);
    }
    scene.fail_over();
    scene.wait_for_subscribers("c", 2);
    assert_eq!(scene.client().call("PUBLISH c text"), Value::Int(2));
    for client in [&mut two, &mut three] {
        assert_eq!(words(&client.read()), ["message", "c", "text"]);
    }
    // Of several names, EXEC's reply would have more elements than it says.
    let replies = scene.client().pipeline(&["MULTI", "SUBSCRIBE a b", "EXEC", "GET k"]);
    assert!(replies[1].error().is_some_and(|text| text.starts_with("ERR SUBSCRIBE")), "{replies:?}");
    assert!(replies[2].error().is_some_and(|text| text.starts_with("EXECABORT")), "{replies:?}");
    assert_eq!(replies[3], Value::Nil);
}

#[test]
fn what_a_subscriber_is_owed_comes_in_the_order_in_which_it_asked() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.call("SUBSCRIBE a");
    scene.group.nodes()[0].sigstop();
    for request in
        [&["PING"][..], &["SUBSCRIBE", "b", "c"], &["PING", "x"], &["UNSUBSCRIBE", "a"], &["PING", "y"]]
    {
        client.send(request);
    }
    assert!(client.is_silent_for(Duration::from_millis(50)));
    scene.group.node(0).kill9();
    let expected = ["pong ", "subscribe b 2", "subscribe c 3", "pong x", "unsubscribe a 2", "pong y"];
    for expected in expected {
        assert_eq!(words(&client.read()).join(" "), expected);
    }
}
