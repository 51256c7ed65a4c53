//! What the node itself sees of a client that has a connection of its own: its name, its library, its modes.

use crate::support::{
    Client, Group, LONG, NO_EVICT, Proxy, ProxyOptions, Server, Value, eventually, row_field, spend_spare,
};

/// The node's own lines of CLIENT LIST about connections that it was told this name for.
fn lines(node: &Server, name: &str) -> Vec<String> {
    let list = node.call("CLIENT LIST").text().expect("text");
    list.lines().filter(|line| row_field(line, "name").as_deref() == Some(name)).map(str::to_owned).collect()
}

#[track_caller]
fn wait_for(node: &Server, name: &str, check: impl Fn(&str) -> bool) {
    eventually(LONG, &format!("{name} is seen at the node"), || {
        let lines = lines(node, name);
        lines.len() == 1 && check(&lines[0])
    });
}

fn named(proxy: &Proxy, name: &str) -> Client {
    let mut client = Client::connect_resp3(proxy.address());
    assert_eq!(client.call(&format!("CLIENT SETNAME {name}")), Value::ok());
    client
}

#[test]
fn the_node_sees_a_clients_name_on_its_own_connection() {
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    let proxy = Proxy::start(&group.addresses());
    let mut subscriber = named(&proxy, "subscriber");
    subscriber.call("SUBSCRIBE c");
    wait_for(node, "subscriber", |line| row_field(line, "sub").as_deref() == Some("1"));
    let mut queueing = named(&proxy, "queueing");
    queueing.pipeline(&["MULTI", "SET k v"]);
    wait_for(node, "queueing", |line| row_field(line, "multi").as_deref() == Some("1"));
    let mut parked = named(&proxy, "parked");
    parked.send(&["BLPOP", "l", "0"]);
    wait_for(node, "parked", |line| row_field(line, "cmd").as_deref() == Some("blpop"));
    let mut tracking = named(&proxy, "tracking");
    assert_eq!(tracking.call("CLIENT TRACKING ON"), Value::ok());
    wait_for(node, "tracking", |line| row_field(line, "flags").is_some_and(|flags| flags.contains('t')));
    let mut watching = named(&proxy, "watching");
    assert_eq!(watching.call("MONITOR"), Value::ok());
    wait_for(node, "watching", |line| row_field(line, "flags").is_some_and(|flags| flags.contains('O')));
    // Said on the connection itself, it is known there, to the proxy and to whoever comes next.
    assert_eq!(tracking.call("CLIENT SETNAME renamed"), Value::ok());
    assert_eq!(tracking.call("CLIENT GETNAME"), Value::bulk("renamed"));
    wait_for(node, "renamed", |_| true);
    let list = proxy.client().call("CLIENT LIST").text().expect("text");
    assert!(list.contains(" name=renamed "), "{list}");
    assert_eq!(tracking.call("CLIENT TRACKING OFF"), Value::ok());
    assert_eq!(tracking.call("CLIENT GETNAME"), Value::bulk("renamed"));
}

#[test]
fn a_connection_that_serves_another_client_has_no_name_of_the_first() {
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    let options = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1");
    let proxy = options.set("backend.pinned_max", "100").start();
    let (mut named, mut nameless) = (proxy.client(), proxy.client());
    assert_eq!(named.call("CLIENT SETNAME first"), Value::ok());
    let ids = |name: &str| -> Vec<Option<String>> {
        lines(node, name).iter().map(|line| row_field(line, "id")).collect()
    };
    assert_eq!(named.pipeline(&["MULTI", "SET k v", "EXEC"])[2], Value::Array(vec![Value::ok()]));
    let left = ids("first");
    assert_eq!(left.len(), 1, "it waits for the next client");
    let _holder = spend_spare(&proxy, node);
    nameless.pipeline(&["MULTI", "SET k w"]);
    assert_eq!(ids("first"), Vec::new(), "nobody is called so any more");
    let list = node.call("CLIENT LIST").text().expect("text");
    let taken =
        list.lines().find(|line| row_field(line, "multi").as_deref() == Some("1")).expect("it queues");
    assert_eq!((row_field(taken, "id"), row_field(taken, "name").as_deref()), (left[0].clone(), Some("")));
    assert_eq!(nameless.call("EXEC"), Value::Array(vec![Value::ok()]));
    assert_eq!(named.pipeline(&["MULTI", "GET k", "EXEC"])[2], Value::Array(vec![Value::bulk("w")]));
    // On this connection or on one that was opened meanwhile.
    assert_eq!(ids("first").len(), 1, "and the first is served under its name again");
    let mut parked = proxy.client();
    parked.pipeline(&["CLIENT SETNAME parked"]);
    let id = parked.call("CLIENT ID").int().expect("a number");
    parked.send(&["BLPOP", "l", "0"]);
    wait_for(node, "parked", |_| true);
    eventually(LONG, "it is unblocked, its name notwithstanding", || {
        nameless.call(&format!("CLIENT UNBLOCK {id}")) == Value::Int(1)
    });
    assert_eq!(parked.read(), Value::Nil);
}

#[test]
fn all_that_stands_is_set_up_again_on_the_next_primary() {
    let no_evict = NO_EVICT.is_there();
    let is_lacking = |request: &str| request.contains("NO-EVICT") && !no_evict;
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = named(&proxy, "all");
    for request in [
        "CLIENT SETNAME all",
        "CLIENT TRACKING ON NOLOOP",
        "CLIENT NO-EVICT ON",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT TRACKING ON OPTIN NOLOOP",
    ] {
        let answer = client.call(request);
        let refused = request.ends_with("BCAST") || is_lacking(request);
        assert_eq!(answer.error().is_some(), refused, "{request}: {answer:?}");
    }
    let mut broadcast = named(&proxy, "broadcast");
    broadcast.call("CLIENT TRACKING ON BCAST PREFIX a:");
    assert_eq!(broadcast.call("CLIENT TRACKING ON BCAST PREFIX b:"), Value::ok());
    let mut silent = named(&proxy, "silent");
    silent.call("CLIENT NO-EVICT ON");
    silent.send(&["CLIENT", "REPLY", "OFF"]);
    let mut transacting = named(&proxy, "transacting");
    transacting.pipeline(&["CLIENT TRACKING ON", "MULTI", "SET k 1"]);
    let mut back = named(&proxy, "back");
    for request in ["TRACKING ON", "NO-EVICT ON", "TRACKING OFF", "NO-EVICT OFF"] {
        back.call(&format!("CLIENT {request}"));
    }

    group.node(0).kill9();
    eventually(LONG, "the next one leads", || proxy.client().call("SET up 1") == Value::ok());
    let node = &group.nodes()[1];
    let flags = |line: &str| row_field(line, "flags").unwrap_or_default();
    for name in ["all", "broadcast", "transacting"] {
        wait_for(node, name, |line| flags(line).contains('t'));
    }
    if no_evict {
        wait_for(node, "all", |line| flags(line).contains('e'));
        wait_for(node, "silent", |line| flags(line).contains('e'));
    }
    assert_eq!(lines(node, "back"), Vec::<String>::new(), "nothing of it stands");

    let invalidated = |keys: Value| Value::Push(vec![Value::bulk("invalidate"), keys]);
    assert_eq!(client.read(), invalidated(Value::Nil), "all may be stale");
    let info = client.call("CLIENT TRACKINGINFO");
    let flags =
        info.get("flags").map(|flags| flags.items().iter().filter_map(Value::text).collect::<Vec<_>>());
    let mut flags = flags.expect("flags");
    flags.sort();
    assert_eq!(flags, ["noloop", "on", "optin"]);
    assert_eq!(client.call("CLIENT GETREDIR"), Value::Int(0));
    client.pipeline(&["CLIENT CACHING YES", "GET k"]);
    assert_eq!(broadcast.read(), invalidated(Value::Nil));

    let mut writer = proxy.client();
    writer.pipeline(&["SET k other", "SET a:1 x", "SET b:1 x"]);
    assert_eq!(client.read(), invalidated(Value::Array(vec![Value::bulk("k")])));
    for key in ["a:1", "b:1"] {
        assert_eq!(broadcast.read(), invalidated(Value::Array(vec![Value::bulk(key)])));
    }
    silent.send(&["SET", "silent", "1"]);
    eventually(LONG, "the silent write arrives", || writer.call("GET silent") == Value::bulk("1"));
    assert_eq!(silent.call("CLIENT REPLY ON"), Value::ok(), "no reply of ours came before");
    assert_eq!(transacting.read(), invalidated(Value::Nil));
    assert_eq!(transacting.call("INCR k2"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(transacting.call("EXEC"), Value::Array(vec![Value::ok(), Value::Int(1)]));
    transacting.call("GET k");
    writer.call("SET k again");
    assert_eq!(transacting.read(), invalidated(Value::Array(vec![Value::bulk("k")])), "it tracks as before");
}

#[test]
fn what_was_too_much_to_be_kept_closes_its_client() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let (mut large, mut small) = (named(&proxy, "large"), named(&proxy, "small"));
    for number in 0..3 {
        let prefix = format!("{number}{}", "x".repeat(30_000));
        let reply = large.cmd(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &prefix]);
        assert_eq!(reply, Value::ok());
    }
    assert_eq!(small.call("CLIENT TRACKING ON"), Value::ok());
    group.node(0).kill9();
    assert_eq!(large.read_to_close(), b"");
    wait_for(&group.nodes()[1], "small", |_| true);
    assert!(matches!(small.read(), Value::Push(_)));
    assert_eq!(small.call("SET k v"), Value::ok());
}

#[test]
fn no_reply_mode_is_taken_where_replies_are_counted() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let is_refused = |reply: &Value| {
        reply.error().is_some_and(|text| text.starts_with("ERR CLIENT REPLY OFF and SKIP are refused"))
    };
    for setup in ["WATCH k", "SUBSCRIBE c"] {
        let mut client = Client::connect_resp3(proxy.address());
        assert!(client.call(setup).error().is_none());
        for mode in ["off", "SKIP"] {
            let answers = client.pipeline(&[&format!("CLIENT REPLY {mode}"), "ECHO x", "ECHO y"]);
            assert!(is_refused(&answers[0]), "{setup}, {mode}: {answers:?}");
            assert_eq!(answers[1..], [Value::bulk("x"), Value::bulk("y")], "{setup}, {mode}");
        }
        assert_eq!(client.call("CLIENT REPLY ON"), Value::ok());
        assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()), "{setup}");
    }
    // Redis would cut EXEC's reply off; Valkey refuses it too.
    let answers = proxy.client().pipeline(&["MULTI", "CLIENT REPLY OFF", "SET k v", "EXEC", "GET k"]);
    assert!(is_refused(&answers[1]), "{answers:?}");
    assert!(answers[3].error().is_some_and(|text| text.starts_with("EXECABORT")), "{answers:?}");
    assert_eq!(answers[4], Value::Nil);
    // Whoever is subscribed in RESP2 may not send it at all.
    let (mut ours, mut theirs) = (proxy.client(), server.client());
    for client in [&mut ours, &mut theirs] {
        client.call("SUBSCRIBE c");
    }
    assert_eq!(ours.call("CLIENT REPLY OFF"), theirs.call("CLIENT REPLY OFF"));
    assert!(ours.call("CLIENT REPLY OFF").error().is_some());
}

#[test]
fn connections_of_clients_that_take_one_together_again_and_again_are_kept() {
    const CLIENTS: usize = 100;
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let mut round = || {
        for client in &mut clients {
            assert_eq!(client.call("MULTI"), Value::ok());
        }
        for client in &mut clients {
            assert_eq!(client.call("EXEC"), Value::Array(Vec::new()));
        }
        node.info("total_connections_received")
            .and_then(|count| count.parse::<usize>().ok())
            .expect("a count")
    };
    let begin = round();
    let end = (0..5).map(|_| round()).last().expect("five rounds");
    // Each look at INFO is one, and so are the proxy's own and a spare.
    assert!(end - begin < CLIENTS, "{} connections for {} transactions", end - begin, 5 * CLIENTS);
}
