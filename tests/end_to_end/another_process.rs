//! A node's address leads to another process, empty and with the role of the old one, before the monitor has looked.

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, eventually, eventually_some, row_field,
};

/// A primary behind a relay, its replica, and the proxy.
struct Scene {
    group: Group,
    relay: Relay,
    proxy: Proxy,
    empty: Server,
}

impl Scene {
    #[track_caller]
    fn start() -> Self {
        let group = Group::plain(1);
        let relay = Relay::to(group.addresses()[0]);
        let proxy = ProxyOptions::new(&[relay.address(), group.addresses()[1]]).looking_once_a_minute();
        let proxy = proxy.set("failover.hold", "\"60s\"").set("proxy.workers", "1").start();
        Self { group, relay, proxy, empty: Server::start() }
    }

    /// From now on the primary's address leads to the empty server. Connections with clients' work end, and the worker knows
    /// it; the brain's stay, so that it notices at its next look at the earliest.
    #[track_caller]
    fn replace(&self) {
        self.group.wait_in_sync(0);
        self.relay.lead_to(self.empty.address());
        let mut admin = self.group.nodes()[0].client();
        let own = admin.call("CLIENT ID");
        let mut left = self.relay.ended();
        let list = admin.call("CLIENT LIST").text().expect("a text");
        let field = |row: &str, name| row_field(row, name).unwrap_or_default();
        for row in list.lines() {
            let (id, is_replica) = (field(row, "id"), field(row, "flags").contains('S'));
            let is_brains = field(row, "name").starts_with("redhold:");
            if own != Value::Int(id.parse().expect("a number")) && !is_replica && !is_brains {
                // The loss of one may have made the proxy close this one itself.
                admin.call(&format!("CLIENT KILL ID {id}"));
                left += 1;
            }
        }
        eventually(LONG, "the proxy's sockets know of the end", || self.relay.ended() >= left);
        // Answered by the worker without any node: what its sockets knew before this request it knows before the next.
        assert_eq!(self.proxy.client().call("QUIT"), Value::ok());
    }

    /// The brain loses the old process too.
    fn kill(&mut self) {
        self.group.node(0).kill9();
    }

    /// What the other process counts of commands. Asked again when the brain, which attaches that process to the new
    /// primary, ends the connection that asks.
    #[track_caller]
    fn executed_there(&self) -> String {
        let ask = || {
            Client::try_connect(self.empty.address()).ok()?.try_cmd(&["INFO", "commandstats"]).ok()?.text()
        };
        eventually_some(LONG, "the other process tells what it executed", ask)
    }

    #[track_caller]
    fn wait_dialled(&self, before: usize) {
        eventually(LONG, "the proxy has tried to connect", || self.relay.connections() > before);
    }

    fn publisher(&self) -> Client {
        self.proxy.client()
    }
}

#[test]
fn another_process_gets_no_request_before_it_was_looked_at() {
    let mut scene = Scene::start();
    let (mut shared, mut own) = (scene.proxy.client(), scene.proxy.client());
    assert_eq!(shared.call("SET k 1"), Value::ok());
    assert_eq!(own.pipeline(&["WATCH other", "INCR n"])[1], Value::Int(1));
    scene.replace();
    let before = scene.relay.connections();
    shared.send(&["GET", "k"]);
    shared.send(&["SET", "k", "2"]);
    own.send(&["INCR", "n"]);
    scene.wait_dialled(before);
    scene.kill();
    assert_eq!((shared.read(), shared.read()), (Value::bulk("1"), Value::ok()));
    assert_eq!(own.read(), Value::Int(2));
    let executed = scene.executed_there();
    for name in ["get", "set", "incr"] {
        assert!(
            !executed.contains(&format!("cmdstat_{name}:")),
            "{name} reached the other process: {executed}"
        );
    }
    let replica = &scene.group.nodes()[1];
    assert_eq!(replica.call("ROLE").items()[0], Value::bulk("master"));
    assert_eq!(replica.call("MGET k n"), Value::Array(vec![Value::bulk("2"), Value::bulk("2")]));
}

#[test]
fn a_subscriber_whose_node_was_started_again_is_carried_over() {
    let mut scene = Scene::start();
    let mut subscriber = scene.proxy.client();
    subscriber.call("SUBSCRIBE a");
    let before = scene.relay.connections();
    scene.replace();
    scene.wait_dialled(before);
    scene.kill();
    let mut publisher = scene.publisher();
    eventually(LONG, "it is subscribed at the new primary", || {
        publisher.call("PUBLISH a text") == Value::Int(1)
    });
    let message = ["message", "a", "text"].map(Value::bulk).to_vec();
    assert_eq!(subscriber.read(), Value::Array(message), "and was not closed");
}
