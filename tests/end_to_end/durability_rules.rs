//! `[[durability.rules]]`: what a write waits for depends on its keys.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Server, Value, eventually};

/// Orders wait for replicas, what is noted about them does not, and nothing else does.
const RAISED: &str =
    r#"[{ prefix = "order:", mode = "semi_sync" }, { prefix = "order:log:", mode = "async" }]"#;

struct Scene {
    group: Group,
    proxy: Proxy,
}

impl Scene {
    fn new(mode: &str, rules: &str) -> Self {
        Self::with(mode, rules, |options| options)
    }

    /// Replicas that are stopped are not missed for a while.
    fn with(mode: &str, rules: &str, change: impl FnOnce(ProxyOptions) -> ProxyOptions) -> Self {
        let group = Group::plain(2);
        let options = ProxyOptions::new(&group.addresses())
            .set("durability.mode", &format!("\"{mode}\""))
            .set("durability.rules", rules)
            .set("health.timeout", "\"30s\"")
            .set("health.busy_timeout", "\"30s\"");
        let proxy = change(options).start();
        // … and have been seen before.
        eventually(LONG, "writes go", || proxy.client().call("SET order:0 x") == Value::ok());
        Self { group, proxy }
    }

    fn freeze(&self) {
        self.group.nodes()[1..].iter().for_each(Server::sigstop);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.group.nodes()[1..].iter().for_each(Server::sigcont);
    }
}

fn waits(reply: &Value) -> bool {
    reply.error().is_some_and(|text| text.starts_with("NOTDURABLE executed on the primary, "))
}

#[test]
fn a_write_waits_when_one_of_its_keys_does() {
    let scene = Scene::new("async", RAISED);
    let mut client = scene.proxy.client();
    let mut other = scene.group.nodes()[0].client();
    scene.freeze();
    for request in
        ["SET a 1", "SET order 1", "SET order:log:1 x", "MSET a 1 order:log:2 1", "PUBLISH order:1 x"]
    {
        let reply = client.call(request);
        assert!(reply.error().is_none(), "{request}: {reply:?}");
    }
    for request in [
        "SET order:1 x",
        "MSET a 1 order:1 1",
        "DEL a order:log:1 order:1",
        "RENAME order:0 a",
        "RENAME a order:0",
    ] {
        let reply = client.call(request);
        assert!(waits(&reply), "{request}: {reply:?}");
    }
    other.call("RPUSH order:list a");
    other.call("RPUSH list a");
    assert!(
        waits(&client.call("BLPOP list order:list 1")),
        "on a connection of its own, and of whatever key"
    );
    assert!(client.call("BLPOP list 1").error().is_none());
}

#[test]
fn what_names_no_keys_takes_the_strictest_mode() {
    let scene = Scene::new("async", RAISED);
    let mut client = scene.proxy.client();
    scene.freeze();
    let large = "x".repeat(2 << 20);
    for request in [
        &["EVAL", "return redis.call('set', 'order:1', 'x')", "0"] as &[&str],
        &["EVAL", "return redis.call('set', KEYS[1], 'x')", "1", "a"],
        &["SWAPDB", "1", "2"],
        &["SET", "a", &large],
        &["FLUSHALL"],
    ] {
        let reply = client.cmd(request);
        assert!(waits(&reply), "{}: {reply:?}", request[0]);
    }
}

#[test]
fn replies_in_one_pipeline_wait_each_for_its_own() {
    let scene = Scene::new("async", RAISED);
    let mut client = scene.proxy.client();
    scene.freeze();
    let replies =
        client.pipeline(&["SET a 1", "SET order:1 x", "SET a 2", "SET order:2 x", "SET a 3", "GET a"]);
    for (at, reply) in replies.iter().enumerate() {
        let right = match at {
            1 | 3 => waits(reply),
            5 => *reply == Value::bulk("3"),
            _ => *reply == Value::ok(),
        };
        assert!(right, "{at}: {replies:?}");
    }
    let counted = scene.proxy.metric("redhold_errors_total{kind=\"not_durable\"}");
    assert_eq!(counted, Some(2.0));
    let counted =
        |name: &str, labels: &str| scene.proxy.metric(&format!("redhold_command{name}{{{labels}}}"));
    let timed = counted("_duration_seconds_count", "command=\"set\"");
    assert!(timed >= Some(5.0) && timed == counted("s_total", "command=\"set\",node_role=\"primary\""));
}

#[test]
fn a_transaction_waits_for_what_its_requests_would() {
    let scene = Scene::new("async", RAISED);
    let mut client = scene.proxy.client();
    scene.freeze();
    let mut exec = |requests: &[&str]| {
        let replies = client.pipeline(requests);
        let (last, others) = replies.split_last().expect("there are some");
        assert!(others.iter().all(|reply| reply.error().is_none()), "{replies:?}");
        last.clone()
    };
    assert_eq!(exec(&["MULTI", "SET a 1", "SET order:log:1 x", "EXEC"]).items().len(), 2);
    assert!(waits(&exec(&["MULTI", "SET a 1", "SET order:1 x", "EXEC"])));
    assert_eq!(exec(&["MULTI", "SET a 1", "EXEC"]).items().len(), 1, "what was queued before counts no more");
    assert_eq!(exec(&["MULTI", "SET order:1 x", "DISCARD"]), Value::ok());
    assert_eq!(exec(&["WATCH k", "SET a 1", "MULTI", "GET order:1", "EXEC"]).items().len(), 1);
    assert!(waits(&exec(&["WATCH k", "SET a 1", "MULTI", "FLUSHDB", "EXEC"])));
}

/// … also on a connection that is kept from one to the next.
#[test]
fn a_transaction_waits_for_no_earlier_one() {
    let scene = Scene::new("async", RAISED);
    let mut client = Client::connect_resp3(scene.proxy.address());
    client.call("SUBSCRIBE channel");
    scene.freeze();
    for _ in 0..2 {
        let replies = client.pipeline(&["MULTI", "SET order:1 x", "EXEC", "MULTI", "SET a 1", "EXEC"]);
        assert!(waits(&replies[2]), "{replies:?}");
        assert_eq!(replies[5], Value::Array(vec![Value::ok()]), "{replies:?}");
        let replies = client.pipeline(&["MULTI", "SET order:1 x", "DISCARD", "MULTI", "SET a 1", "EXEC"]);
        assert_eq!(replies[5], Value::Array(vec![Value::ok()]), "{replies:?}");
    }
}

#[test]
fn a_rule_may_lower_what_holds_for_all() {
    let scene = Scene::new("semi_sync", r#"[{ prefix = "cache:", mode = "async" }]"#);
    let mut client = scene.proxy.client();
    scene.freeze();
    assert_eq!(client.call("SET cache:1 x"), Value::ok());
    assert!(waits(&client.call("SET a x")));
    assert!(waits(&client.call("MSET cache:1 x a x")));
    assert!(waits(&client.call("PUBLISH cache:1 x")), "a channel is no key");
}

#[test]
fn only_what_waits_for_replicas_is_refused_without_them() {
    let mut scene = Scene::with("async", RAISED, |options| options.set("health.timeout", "\"1s\""));
    let mut client = scene.proxy.client();
    for replica in [1, 2] {
        scene.group.node(replica).kill9();
    }
    let refused = |reply: &Value| reply.error() == Some("NOREPLICAS Not enough good replicas to write.");
    eventually(LONG, "their end is seen", || refused(&client.call("SET order:1 x")));
    assert_eq!(client.call("SET a 1"), Value::ok());
    let block = client.pipeline(&["MULTI", "SET a 2", "EXEC", "MULTI", "SET order:1 y", "EXEC"]);
    assert_eq!(block[2].items().len(), 1);
    assert!(block[5].error().is_some_and(|text| text.starts_with("EXECABORT ")), "{block:?}");
    for replica in [1, 2] {
        scene.group.node(replica).restart();
    }
}

#[test]
fn a_read_of_keys_that_wait_for_nothing_does_neither() {
    let scene = Scene::with("async", RAISED, |options| {
        options.set("durability.reads", "\"committed\"").set("durability.timeout", "\"20s\"")
    });
    let mut client = scene.proxy.client();
    scene.freeze();
    assert_eq!(client.call("SET a 1"), Value::ok());
    assert_eq!(client.pipeline(&["GET a", "GET order:log:1", "MGET a b"])[0], Value::bulk("1"));
    let requests: [&[&str]; 5] = [
        &["GET", "order:0"],
        &["MGET", "a", "order:0"],
        &["KEYS", "*"],
        &["DBSIZE"],
        &["SORT", "list", "BY", "nosort", "GET", "order:*"],
    ];
    for request in requests {
        let mut client = scene.proxy.client();
        client.send(request);
        assert!(client.is_silent_for(Duration::from_millis(50)), "{request:?}");
    }
    assert_eq!(client.call("WATCH order:0"), Value::ok());
    scene.group.nodes()[0].call("SET order:0 changed");
    ["MULTI", "SET a 2", "EXEC"]
        .iter()
        .for_each(|request| client.send(&request.split(' ').collect::<Vec<_>>()));
    assert_eq!([client.read(), client.read()], [Value::ok(), Value::Simple("QUEUED".to_owned())]);
    assert!(client.is_silent_for(Duration::from_millis(50)), "that it was changed is shown too");
}
