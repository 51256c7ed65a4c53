//! Connections that wait for the next client who needs one of his own.

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Server, Value, eventually, eventually_some};

/// The ids of the node's connections that last executed `command`.
fn ids(server: &Server, command: &str) -> Vec<String> {
    let list = server.call("CLIENT LIST").text().unwrap_or_default();
    let those = list.lines().filter(|line| line.contains(&format!("cmd={command} ")));
    those.filter_map(|line| Some(line.split_whitespace().next()?.strip_prefix("id=")?.to_owned())).collect()
}

/// Leaves one idle connection behind and has the node close what is idle for a second; the proxy keeps its shared
/// connections busy itself.
#[track_caller]
fn leave_a_dead_one(server: &Server, proxy: &Proxy) {
    assert_eq!(proxy.client().pipeline(&["MULTI", "EXEC"])[1], Value::Array(vec![]));
    assert_eq!(ids(server, "exec").len(), 1);
    assert_eq!(server.call("CONFIG SET timeout 1"), Value::ok());
    eventually(LONG, "the node closes it", || ids(server, "exec").is_empty());
    assert_eq!(server.call("CONFIG SET timeout 0"), Value::ok());
}

#[test]
fn a_dead_connection_is_not_lent() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("proxy.workers", "1").start();
    let value = "x".repeat(1 << 20);
    leave_a_dead_one(&server, &proxy);
    assert_eq!(proxy.client().cmd(&["SET", "k", &value]), Value::ok());
    leave_a_dead_one(&server, &proxy);
    let reply = proxy.client().call("NOSUCH x");
    assert!(reply.error().is_some_and(|text| text.starts_with("ERR unknown command")), "{reply:?}");
    leave_a_dead_one(&server, &proxy);
    let mut client = proxy.client();
    assert_eq!(client.pipeline(&["MULTI", "INCR n", "EXEC"])[2], Value::Array(vec![Value::Int(1)]));
}

#[test]
fn wait_is_not_asked_on_a_dead_connection() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").start();
    leave_a_dead_one(&group.nodes()[0], &proxy);
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(client.call("WAIT 1 10000"), Value::Int(1));
}

#[test]
fn what_a_node_says_unasked_is_nobodys_reply() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("proxy.workers", "1").start();
    let mut direct = server.client();
    let mut first = Client::connect_resp3(proxy.address());
    first.pipeline(&["MULTI", "EXEC"]);
    let id = eventually_some(LONG, "its connection is idle", || ids(&server, "exec").pop());
    assert_eq!(direct.call(&format!("CLIENT TRACKING ON REDIRECT {id} BCAST PREFIX told")), Value::ok());
    server.client().call("SET told v");
    let list = || server.client().call("CLIENT LIST").text().unwrap_or_default();
    eventually(LONG, "the node has written", || {
        list().lines().any(|line| line.starts_with(&format!("id={id} ")) && line.contains(" oll=0 "))
    });
    let mut second = Client::connect_resp3(proxy.address());
    for reply in second.pipeline(&["MULTI", "GET none", "EXEC"]) {
        assert!(!matches!(reply, Value::Push(_)), "{reply:?}");
    }
    eventually(LONG, "the connection is closed, not used again", || !ids(&server, "exec").contains(&id));
}
