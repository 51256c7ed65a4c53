//! TLS towards nodes: all that is said to them goes that way, and only to whom it is meant for.

use std::process::Command;

use crate::failover::killed_under_load;
use crate::support::{
    Authority, CertificateFolder, Client, Group, LONG, Proxy, ProxyOptions, Server, Value, applies,
    eventually, speaks_tls,
};

/// Whether the chosen server can be spoken to.
fn has_tls() -> bool {
    applies(speaks_tls(), "TLS, which whoever built the server left out")
}

/// A server that asks for a certificate, and a proxy in front that shows one.
fn one(folder: &CertificateFolder) -> (Server, ProxyOptions) {
    let server = Server::options().tls(folder).start();
    let options = folder.asks_nodes(ProxyOptions::new(&[server.public()]));
    (server, options)
}

fn group(folder: &CertificateFolder, replicas: usize) -> (Group, ProxyOptions) {
    let group = Group::plain_with(replicas, &Server::options().tls(folder));
    let options = folder.asks_nodes(ProxyOptions::new(&group.addresses()));
    (group, options)
}

/// What the proxy thinks of its one node.
#[track_caller]
fn told_of_node(proxy: &Proxy) -> String {
    proxy.status()["nodes"][0]["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn requests_and_replies_of_every_size_and_lane_come_through() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (server, options) = one(&folder);
    let proxy = options.start();
    let mut client = proxy.client();
    // A record holds 16 KiB.
    for size in [0, 1, 16_383, 16_384, 16_385, 70_000, 3 << 20] {
        let value: Vec<u8> = (0..size).map(|at| b'a' + (at % 23) as u8).collect();
        assert_eq!(client.cmd(&[b"SET".as_slice(), b"k", &value]), Value::ok());
        assert_eq!(client.call("GET k"), Value::Bulk(value.clone()), "{size}");
        client.call("MULTI");
        client.cmd(&[b"SET".as_slice(), b"own", &value]);
        client.call("GET own");
        assert_eq!(client.call("EXEC"), Value::Array(vec![Value::ok(), Value::Bulk(value)]), "{size}");
    }
    let many: Vec<String> = (0..5_000).map(|at| format!("ECHO {at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let replies = client.pipeline(&many);
    assert!((0..5_000).zip(replies).all(|(at, reply)| reply == Value::bulk(at.to_string())));
    let (mut waits, mut hears) = (proxy.client(), proxy.client());
    hears.call("SUBSCRIBE news");
    waits.send(&["BLPOP", "l", "0"]);
    eventually(LONG, "it waits", || server.info("blocked_clients").as_deref() == Some("1"));
    client.call("RPUSH l x");
    assert_eq!(waits.read(), Value::Array(vec![Value::bulk("l"), Value::bulk("x")]));
    client.call("PUBLISH news hello");
    assert_eq!(hears.read().items()[2], Value::bulk("hello"));
}

/// What a session with the node keeps back is written when its socket takes it, though nothing else happens.
#[test]
fn a_large_request_to_a_node_that_is_slow_to_read_arrives() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (server, options) = one(&folder);
    let proxy = options.start();
    let value = vec![b'x'; 24 << 20];
    let (mut shared, mut own) = (proxy.client(), proxy.client());
    own.pipeline(&["MULTI", "PING"]);
    for round in 0..4 {
        server.sigstop();
        let (mut shared_sends, mut own_sends) = (shared.sender(), own.sender());
        let parts: Vec<Vec<u8>> = value[..(900 << 10) + round].chunks(100_000).map(<[u8]>::to_vec).collect();
        let (requests, large) = (parts.clone(), value.clone());
        let one = std::thread::spawn(move || {
            requests.iter().for_each(|part| shared_sends.send(&[b"APPEND".as_slice(), b"shared", part]));
        });
        let other = std::thread::spawn(move || own_sends.send(&[b"SET".as_slice(), b"own", &large]));
        let sent = |proxy: &Proxy| proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}");
        let mut last = sent(&proxy);
        eventually(LONG, "nothing more goes out", || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::mem::replace(&mut last, sent(&proxy)) == sent(&proxy)
        });
        server.sigcont();
        one.join().expect("it sends");
        other.join().expect("it sends");
        parts.iter().for_each(|_| assert!(shared.read().int().is_some()));
        assert_eq!(own.read(), Value::Simple("QUEUED".to_owned()));
    }
    own.call("EXEC");
    assert_eq!(server.call("STRLEN own"), Value::Int(24 << 20));
}

#[test]
fn a_killed_primary_is_replaced_and_the_old_one_follows() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (group, options) = group(&folder, 2);
    let proxy = options.start();
    killed_under_load(group, &proxy);
}

#[test]
fn a_switchover_moves_everybody() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (group, options) = group(&folder, 1);
    let proxy = options.start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    proxy.switch_over_to(group.nodes()[1].public());
    assert_eq!(client.call("SET k w"), Value::ok());
    assert_eq!(group.primary(), 1);
    assert_eq!(group.nodes()[1].call("GET k"), Value::bulk("w"));
    group.wait_following(0, 1);
}

#[test]
fn a_node_that_is_not_whom_it_should_be_gets_nothing() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (server, options) = one(&folder);
    let others = CertificateFolder::new();
    let wary = others.asks_nodes(ProxyOptions::new(&[server.public()])).start_unready();
    let elsewhere = options.clone().set("backend.tls.server_name", "\"redis.test\"").start_unready();
    let to_plain = ProxyOptions::new(&[server.address()]).noticing_silence();
    let to_plain = folder.asks_nodes(to_plain).start_unready();
    let nameless = ProxyOptions::new(&[server.public()]);
    let nameless = nameless.set("backend.tls.ca", &format!("{:?}", folder.at("ca.crt"))).start_unready();
    let refused = [
        (&wary, "invalid peer certificate"),
        (&elsewhere, "not valid for name"),
        (&to_plain, "no TLS session"),
        (&nameless, "no TLS session: received fatal alert"),
    ];
    for (proxy, why) in refused {
        eventually(LONG, why, || told_of_node(proxy).contains(why));
    }
    let plain = ProxyOptions::new(&[server.public()]).start_unready();
    eventually(LONG, "it is not spoken to", || !told_of_node(&plain).is_empty());
    let clients = server.call("CLIENT LIST").text().expect("rows");
    assert!(!clients.contains("redhold"), "{clients}");
    assert_eq!(options.start().client().call("SET k v"), Value::ok());
}

#[test]
fn a_name_that_is_asked_for_is_enough() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    folder.write("named", &folder.authority.issue(&["redis.test"]));
    let server = Server::options().tls(&folder).tls_files(&folder, "named").start();
    let options = folder.asks_nodes(ProxyOptions::new(&[server.public()]));
    let proxy = options.set("backend.tls.server_name", "\"redis.test\"").start();
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
}

#[test]
fn authorities_that_change_are_used() {
    if !has_tls() {
        return;
    }
    let (folder, next) = (CertificateFolder::new(), Authority::new("successors"));
    let (mut server, options) = one(&folder);
    let proxy = options.start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    // Both are trusted while nodes change from one to the other.
    let both = format!("{}{}", folder.authority.pem(), next.pem());
    std::fs::write(folder.at("ca.crt"), both).expect("the folder is writable");
    folder.write("tls", &next.issue(&["127.0.0.1"]));
    eventually(LONG, "they are read", || proxy.log().contains("backend.tls: changed files are used"));
    server.restart();
    eventually(LONG, "the node is spoken to again", || {
        Client::connect(proxy.address()).call("SET k w") == Value::ok()
    });
    assert_eq!(client.call("SET k w"), Value::ok());
}

#[test]
fn check_speaks_tls_with_the_nodes_too() {
    if !has_tls() {
        return;
    }
    let folder = CertificateFolder::new();
    let (_group, options) = group(&folder, 1);
    let proxy = options.start();
    let mut check = Command::new(env!("CARGO_BIN_EXE_redhold"));
    check.args(["check", "--connect", "--config"]).arg(proxy.config_file());
    let output = check.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("0 errors"), "{said}");
}
