//! WAIT speaks of the client's own writes, whoever it is and whichever server answers.

use crate::support::{Client, Group, Proxy, V7_0, Value, Version, installed};

/// May publish nowhere; may not wait; neither.
const USERS: [&str; 3] = [
    "ACL SETUSER quiet on nopass ~* +@all resetchannels",
    "ACL SETUSER hasty on nopass ~* &* +@all -wait -waitaof",
    "ACL SETUSER mute on nopass ~* +@all -wait -waitaof resetchannels",
];

struct Scene {
    group: Group,
    proxy: Proxy,
    version: Version,
}

impl Scene {
    fn new(version: Version) -> Self {
        let group = Group::plain_with(2, &version.options());
        for user in USERS {
            let known = if version.release >= 72 { user.to_owned() } else { user.replace(" -waitaof", "") };
            assert_eq!(group.nodes()[0].call(&known), Value::ok());
        }
        let proxy = Proxy::start(&group.addresses());
        Self { group, proxy, version }
    }

    fn client(&self, user: &str) -> Client {
        let mut client = self.proxy.client();
        if user != "default" {
            assert_eq!(client.cmd(&["AUTH", user, "x"]), Value::ok());
        }
        client
    }

    fn stop_replicas(&self, stop: bool) {
        for replica in &self.group.nodes()[1..] {
            if stop { replica.sigstop() } else { replica.sigcont() }
        }
    }
}

#[test]
fn wait_counts_the_replicas_that_have_the_clients_own_writes() {
    for version in installed() {
        let scene = Scene::new(version);
        for user in ["default", "quiet"] {
            let name = format!("{}, {user}", version.name);
            let mut client = scene.client(user);
            for round in 0..5 {
                assert_eq!(client.call(&format!("SET k {round}")), Value::ok());
                assert_eq!(client.call("WAIT 2 20000"), Value::Int(2), "{name}");
            }
            // What another connection of the pool, or a new one, would say of itself is not asked for.
            scene.stop_replicas(true);
            for round in 0..3 {
                assert_eq!(client.call(&format!("SET k stopped-{round}")), Value::ok());
                assert_eq!(client.call("WAIT 1 100"), Value::Int(0), "{name}");
                assert_eq!(client.pipeline(&["SET k v", "WAIT 1 100", "GET k"])[1], Value::Int(0), "{name}");
            }
            let mut fresh = scene.client(user);
            assert_eq!(fresh.pipeline(&["SET k w", "WAIT 1 100"])[1], Value::Int(0), "{name}");
            scene.stop_replicas(false);
            assert_eq!(client.call("WAIT 2 20000"), Value::Int(2), "{name}");
            let negative = client.call("WAIT 1 -1");
            assert_eq!(negative.error(), Some("ERR timeout is negative"), "{name}");
        }
    }
}

#[test]
fn wait_is_refused_in_the_servers_words() {
    for version in installed() {
        let scene = Scene::new(version);
        for user in ["default", "quiet", "hasty", "mute"] {
            let mut direct = scene.group.nodes()[0].client();
            direct.cmd(&["AUTH", user, "x"]);
            let mut client = scene.client(user);
            let long = format!("WAIT 1 {}", "9".repeat(300));
            for request in [
                "WAIT 0 100",
                "WAIT 1",
                "WAIT a b",
                "WAIT 0 -1",
                "WAITAOF 1 0 10",
                "WAITAOF 7 7",
                long.as_str(),
            ] {
                client.call("SET k v");
                let (ours, theirs) = (client.call(request), direct.call(request));
                let counted = ours.int().is_some() && theirs.int().is_some();
                assert!(
                    ours == theirs || counted,
                    "{}, {user}: {request}: {ours:?}, {theirs:?}",
                    version.name
                );
            }
            assert_eq!(client.call("WAIT 0 100").error().is_some(), ["hasty", "mute"].contains(&user));
        }
        if scene.version.release >= 72 {
            for user in ["default", "quiet"] {
                let answer = scene.client(user).pipeline(&["SET k v", "WAITAOF 0 0 100"])[1].clone();
                assert_eq!(
                    answer,
                    Value::Array(vec![Value::Int(0), Value::Int(0)]),
                    "{}, {user}",
                    version.name
                );
            }
        }
    }
}

#[test]
fn rights_may_change_between_two_waits() {
    for version in installed() {
        let scene = Scene::new(version);
        let node = &scene.group.nodes()[0];
        node.call("ACL SETUSER moody on nopass ~* &* +@all");
        let mut client = scene.client("moody");
        let waits = |client: &mut Client, expect: i64| {
            client.call("SET k v");
            assert_eq!(client.call("WAIT 2 20000"), Value::Int(expect), "{}", version.name);
        };
        waits(&mut client, 2);
        node.call("ACL SETUSER moody resetchannels");
        // Servers close subscribers whose rights are taken, nobody else.
        waits(&mut client, 2);
        scene.stop_replicas(true);
        assert_eq!(client.pipeline(&["SET k v", "WAIT 1 100"])[1], Value::Int(0), "{}", version.name);
        scene.stop_replicas(false);
        node.call("ACL SETUSER moody -wait");
        assert!(
            client.call("WAIT 0 0").error().is_some_and(|text| text.starts_with("NOPERM ")),
            "{}",
            version.name
        );
        node.call("ACL SETUSER moody +wait allchannels");
        waits(&mut client, 2);
    }
}

#[test]
fn a_client_that_keeps_its_connection_waits_for_its_writes_of_before() {
    for version in installed() {
        let scene = Scene::new(version);
        let mut client = Client::connect_resp3(scene.proxy.address());
        client.call("SET k v");
        scene.stop_replicas(true);
        client.call("SET k w");
        assert!(matches!(client.call("SUBSCRIBE news"), Value::Push(_)));
        assert_eq!(client.call("WAIT 1 100"), Value::Int(0), "{}", version.name);
        assert!(matches!(client.call("UNSUBSCRIBE"), Value::Push(_)));
        client.call("SET k x");
        assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
        assert_eq!(client.call("WAIT 1 100"), Value::Int(0), "{}", version.name);
        scene.stop_replicas(false);
        assert_eq!(client.call("WAIT 2 20000"), Value::Int(2), "{}", version.name);
    }
}

#[test]
fn nobody_hears_the_barrier() {
    for version in installed() {
        let scene = Scene::new(version);
        // Before 7.0 no message is hidden at the node itself; the proxy leaves it out of what it relays.
        let mut spies = vec![scene.proxy.client(), Client::connect_resp3(scene.proxy.address())];
        if version.release >= V7_0.release {
            spies.push(scene.group.nodes()[0].client());
        }
        for spy in &mut spies {
            spy.call("PSUBSCRIBE *");
        }
        let mut clients = [scene.client("default"), scene.client("quiet")];
        for round in 0..50 {
            for client in &mut clients {
                client.call(&format!("SET k {round}"));
                assert_eq!(client.call("WAIT 2 20000"), Value::Int(2), "{}", version.name);
            }
        }
        clients[0].call("PUBLISH plain end");
        for spy in &mut spies {
            let heard = spy.read();
            assert_eq!(heard.items().last(), Some(&Value::bulk("end")), "{}: {heard:?}", version.name);
        }
    }
}
