//! CLIENT TRACKING with REDIRECT, as clients that speak RESP2 only keep their caches true.

use crate::support::{Client, Group, LONG, Proxy, Value, eventually, row_field};

struct Scene {
    group: Group,
    proxy: Proxy,
    listener: Client,
    reader: Client,
    /// The listener's, at Redhold.
    id: i64,
}

fn scene(replicas: usize) -> Scene {
    let group = Group::plain(replicas);
    let proxy = Proxy::start(&group.addresses());
    let (mut listener, reader) = (proxy.client(), proxy.client());
    let id = listener.call("CLIENT ID").int().expect("a number");
    listener.call("SUBSCRIBE __redis__:invalidate");
    Scene { group, proxy, listener, reader, id }
}

impl Scene {
    fn track(&mut self) {
        assert_eq!(self.reader.call(&format!("CLIENT TRACKING ON REDIRECT {}", self.id)), Value::ok());
    }

    /// What the listener is told next.
    fn invalidated(&mut self) -> Value {
        self.listener.read().items()[2].clone()
    }
}

#[test]
fn invalidations_go_to_the_client_that_was_named() {
    let mut scene = scene(0);
    scene.track();
    scene.reader.call("GET k");
    scene.proxy.client().call("SET k v");
    assert_eq!(scene.invalidated(), Value::Array(vec![Value::bulk("k")]));
    // Asked for again in one transaction, for all keys of a prefix.
    let begin = format!("CLIENT TRACKING ON REDIRECT {} BCAST PREFIX p:", scene.id);
    let replies = scene.reader.pipeline(&["CLIENT TRACKING OFF", "MULTI", &begin, "EXEC"]);
    assert_eq!(replies[3], Value::Array(vec![Value::ok()]));
    scene.proxy.client().call("SET p:1 v");
    assert_eq!(scene.invalidated(), Value::Array(vec![Value::bulk("p:1")]));
}

#[test]
fn everything_that_tells_of_a_redirection_tells_the_id_that_clients_know() {
    let mut scene = scene(0);
    assert_eq!(scene.reader.call("CLIENT GETREDIR"), Value::Int(-1));
    assert_eq!(scene.reader.call("HELLO 3").get("proto"), Some(&Value::Int(3)));
    scene.track();
    assert_eq!(scene.reader.call("CLIENT GETREDIR"), Value::Int(scene.id));
    assert_eq!(scene.reader.call("CLIENT TRACKINGINFO").get("redirect"), Some(&Value::Int(scene.id)));
    let shown = scene.proxy.client().call("CLIENT LIST").text().expect("text");
    let redir = |line: &str| row_field(line, "redir");
    let id = scene.id.to_string();
    assert_eq!(shown.lines().filter_map(redir).filter(|redir| **redir == id).count(), 1, "{shown}");
    scene.reader.call("GET k");
    assert_eq!(scene.listener.call("QUIT"), Value::ok());
    let broken = Value::Push(vec![Value::bulk("tracking-redir-broken"), Value::Int(scene.id)]);
    let mut other = scene.proxy.client();
    eventually(LONG, "the node says that the redirection is broken", || {
        scene.reader.call("GET k");
        other.call("SET k v");
        scene.reader.call("PING") == broken
    });
}

#[test]
fn who_cannot_be_told_is_not_redirected_to() {
    let mut scene = scene(0);
    let missing = scene.reader.call("CLIENT TRACKING ON REDIRECT 1000000");
    assert_eq!(missing, scene.group.nodes()[0].call("CLIENT TRACKING ON REDIRECT 1000000"));
    assert_eq!(scene.reader.call("CLIENT GETREDIR"), Value::Int(-1));
}

/// It gets a connection of its own for that, and goes on with it.
#[test]
fn who_is_not_subscribed_yet_is_redirected_to_all_the_same() {
    let mut scene = scene(0);
    scene.listener = Client::connect_resp3(scene.proxy.address());
    scene.id = scene.listener.call("CLIENT ID").int().expect("a number");
    assert_eq!(scene.listener.call("SET before v"), Value::ok());
    scene.track();
    scene.reader.call("GET k");
    scene.proxy.client().call("SET k v");
    assert_eq!(scene.listener.read().items()[1], Value::Array(vec![Value::bulk("k")]));
    assert_eq!(scene.listener.pipeline(&["GET before", "GET k"]), [Value::bulk("v"), Value::bulk("v")]);
}

/// The server keeps the connection, whatever its client is subscribed to.
#[test]
fn the_named_client_keeps_its_connection_while_it_subscribes_to_nothing() {
    let mut scene = scene(0);
    scene.track();
    scene.reader.call("GET k");
    scene.listener.call("UNSUBSCRIBE __redis__:invalidate");
    assert_eq!(scene.listener.call("SET unrelated v"), Value::ok());
    scene.listener.call("SUBSCRIBE __redis__:invalidate");
    scene.proxy.client().call("SET k v");
    assert_eq!(scene.invalidated(), Value::Array(vec![Value::bulk("k")]));
}

/// A redirection cannot be carried over: both clients see their connections end, as with a server that dies, and set it up anew.
#[test]
fn a_change_of_primary_ends_both_and_it_can_be_set_up_again() {
    let mut scene = scene(1);
    scene.track();
    scene.proxy.switch_over();
    assert!(scene.reader.read_to_close().is_empty());
    assert!(scene.listener.read_to_close().is_empty());
    (scene.listener, scene.reader) = (scene.proxy.client(), scene.proxy.client());
    scene.id = scene.listener.call("CLIENT ID").int().expect("a number");
    scene.listener.call("SUBSCRIBE __redis__:invalidate");
    scene.track();
    scene.reader.call("GET k");
    scene.proxy.client().call("SET k v");
    assert_eq!(scene.invalidated(), Value::Array(vec![Value::bulk("k")]));
}
