//! A script that does not end: who comes later can end it through Redhold as they could at the server.

use crate::support::{
    Client, EVAL_RO, FUNCTIONS, Group, LONG, ProxyOptions, Server, ServerOptions, V7_0, VALKEY, Value,
    eventually,
};

const LIBRARY: &str =
    "#!lua name=endless\nredis.register_function('endless', function() while true do end end)";

/// Scripts count as slow after 50 ms, and whoever works for long is not taken for dead.
fn behind(options: &ServerOptions) -> (Server, crate::support::Proxy) {
    let server = options.clone().set("busy-reply-threshold", "50").start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("health.busy_timeout", "\"60s\"")
        .set("failover.hold", "\"60s\"")
        .start();
    (server, proxy)
}

#[test]
fn who_comes_while_a_script_runs_can_end_it() {
    for version in [V7_0, VALKEY] {
        if !version.is_there() {
            continue;
        }
        let (server, proxy) = behind(&version.options());
        assert_eq!(server.client().cmd(&["FUNCTION", "LOAD", LIBRARY]), Value::bulk("endless"));
        for (runs, ends) in [
            (&["EVAL", "while true do end", "0"][..], "SCRIPT KILL"),
            (&["FCALL", "endless", "0"][..], "FUNCTION KILL"),
        ] {
            // The connection that it needs begins in another database, which a busy node does not select.
            let (mut runner, mut other) = (proxy.client(), proxy.client());
            assert_eq!(other.call("SELECT 3"), Value::ok());
            runner.send(runs);
            eventually(LONG, "the server is busy", || {
                server.call("PING").error().is_some_and(|text| text.starts_with("BUSY"))
            });
            assert_eq!(other.call(ends), Value::ok(), "{}", version.name);
            assert!(runner.read().error().is_some(), "{}", version.name);
            assert_eq!(other.call("SET k v"), Value::ok(), "{}", version.name);
            assert_eq!(proxy.client().call("GET k"), Value::Nil, "{}: database 3", version.name);
            let mut again = proxy.client();
            again.call("SELECT 3");
            assert_eq!(again.call("DEL k"), Value::Int(1), "{}", version.name);
        }
    }
}

/// As the server itself would: the connection that the client needs cannot be opened, and that is not its business.
#[test]
fn who_comes_while_a_script_runs_is_told_so_at_once() {
    let (server, proxy) = behind(&ServerOptions::default());
    let (mut runner, mut other) = (proxy.client(), Client::connect_resp3(proxy.address()));
    let mut direct = server.client();
    direct.call("CLIENT KILL TYPE normal");
    eventually(LONG, "one connection is open again", || runner.call("GET k") == Value::Nil);
    runner.send(&["EVAL", "while true do end", "0"]);
    eventually(LONG, "the server is busy", || {
        direct.call("PING").error().is_some_and(|text| text.starts_with("BUSY"))
    });
    let busy = direct.call("SET k v");
    assert_eq!(other.pipeline(&["SET k v", "GET k"]), [busy.clone(), busy]);
    assert_eq!(direct.call("SCRIPT KILL"), Value::ok());
    assert!(runner.read().error().is_some());
    assert_eq!(other.pipeline(&["SET k v", "GET k"]), [Value::ok(), Value::bulk("v")]);
}

/// The server itself says so to who came a moment after the script; behind it on the same connection nobody would be heard.
#[test]
fn who_comes_right_behind_a_script_hears_that_it_runs() {
    let server = ServerOptions::default().set("busy-reply-threshold", "50").start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("health.busy_timeout", "\"60s\"")
        .set("proxy.workers", "1")
        .start();
    let mut direct = server.client();
    let digest = direct.cmd(&["SCRIPT", "LOAD", "while true do end"]).text().expect("a digest");
    direct.cmd(&["FUNCTION", "LOAD", LIBRARY]);
    let lacks =
        [("FCALL", FUNCTIONS), ("EVAL_RO", EVAL_RO)].map(|(name, it)| (!it.is_there()).then_some(name));
    let is_lacking = |request: &str| lacks.contains(&request.split(' ').next());
    let (mut runner, mut other) = (proxy.client(), proxy.client());
    assert_eq!(other.pipeline(&["SET k v", "GET k"]), [Value::ok(), Value::bulk("v")]);
    for endless in [
        &["EVAL", "while true do end", "0"][..],
        &["EVALSHA", &digest, "0"],
        &["EVAL_RO", "while true do end", "0"],
        &["FCALL", "endless", "0"],
    ] {
        if is_lacking(endless[0]) {
            continue;
        }
        runner.send(endless);
        let mut is_busy =
            |request: &str| other.call(request).error().is_some_and(|text| text.starts_with("BUSY"));
        eventually(LONG, "the script is heard of", || is_busy("GET k"));
        for request in
            ["SET k w", "EVAL return(1) 0", "FCALL endless 0", "BLPOP l 0", "WAIT 0 0", "SUBSCRIBE c"]
        {
            assert!(is_lacking(request) || is_busy(request), "{endless:?}, {request}");
        }
        let ends = if endless[0] == "FCALL" { "FUNCTION KILL" } else { "SCRIPT KILL" };
        assert_eq!(other.call(ends), Value::ok());
        assert!(runner.read().error().is_some());
        assert_eq!(other.pipeline(&["SET k v", "GET k"]), [Value::ok(), Value::bulk("v")]);
    }
}

/// What a client says behind its script goes the same way, in order and without waiting for it.
#[test]
fn what_follows_a_script_is_answered_after_it() {
    let (_server, proxy) = behind(&ServerOptions::default());
    let mut client = proxy.client();
    for _ in 0..100 {
        let replies = client.pipeline(&[
            "SET k 1",
            "EVAL return(redis.call('INCR',KEYS[1])) 1 k",
            "INCR k",
            "EVAL return(redis.call('INCR',KEYS[1])) 1 k",
            "GET k",
            "DEL k",
        ]);
        let [one, two, three] = [2, 3, 4].map(Value::Int);
        assert_eq!(replies, [Value::ok(), one, two, three, Value::bulk("4"), Value::Int(1)]);
    }
}

#[test]
fn where_nothing_runs_there_is_nothing_to_end() {
    let group = Group::plain(0);
    let proxy = crate::support::Proxy::start(&group.addresses());
    let reply = proxy.client().call("SCRIPT KILL");
    assert_eq!(reply, group.nodes()[0].call("SCRIPT KILL"));
    assert!(reply.error().is_some_and(|text| text.starts_with("NOTBUSY")), "{reply:?}");
}
