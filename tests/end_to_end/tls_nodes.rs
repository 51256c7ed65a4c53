//! TLS towards nodes: all that is said to them goes that way, and only to whom it is meant for.

use std::process::Command;
use std::time::Duration;

use crate::failover::killed_under_load;
use crate::support::{
    Authority, CertificateFolder, Client, Group, LONG, Proxy, ProxyOptions, Server, Value, applies,
    eventually, speaks_tls,
};

/// Certificates for servers that can use them, where the chosen one can.
fn certificates() -> Option<CertificateFolder> {
    applies(speaks_tls(), "TLS, which whoever built the server left out").then(CertificateFolder::new)
}

/// A server that asks for a certificate, and a proxy in front that shows one.
fn one() -> Option<(CertificateFolder, Server, ProxyOptions)> {
    let folder = certificates()?;
    let server = Server::options().tls(&folder).start();
    let options = folder.asks_nodes(ProxyOptions::new(&[server.public()]));
    Some((folder, server, options))
}

/// The same with replicas.
fn group(replicas: usize) -> Option<(CertificateFolder, Group, ProxyOptions)> {
    let folder = certificates()?;
    let group = Group::plain_with(replicas, &Server::options().tls(&folder));
    let options = folder.asks_nodes(ProxyOptions::new(&group.addresses()));
    Some((folder, group, options))
}

/// What the proxy thinks of its one node.
#[track_caller]
fn told_of_node(proxy: &Proxy) -> String {
    proxy.status()["nodes"][0]["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn requests_and_replies_of_every_size_and_lane_come_through() {
    let Some((_folder, server, options)) = one() else { return };
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

#[test]
fn either_version_is_spoken() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let Some(folder) = certificates() else { return };
        let server = Server::options().tls(&folder).set("tls-protocols", version).start();
        let proxy = folder.asks_nodes(ProxyOptions::new(&[server.public()])).start();
        let mut client = proxy.client();
        assert_eq!(client.call("SET k v"), Value::ok(), "{version}");
        assert_eq!(client.pipeline(&["MULTI", "GET k", "EXEC"])[2], Value::Array(vec![Value::bulk("v")]));
    }
}

/// Bytes of a request that is not streamed.
const LARGE: usize = 512 << 10;

/// So many bytes in requests to a server that reads nothing until all have gone as far as they go; how far that was.
#[track_caller]
fn stuck(proxy: &Proxy, server: &Server, client: &mut Client, bytes: usize) -> usize {
    let series = "redhold_bytes_total{side=\"backend\",direction=\"out\"}";
    let sent = || proxy.metric(series).expect("a counter") as usize;
    let before = sent();
    server.sigstop();
    let mut sender = client.sender();
    let sizes: Vec<usize> = (0..bytes).step_by(LARGE).map(|at| LARGE.min(bytes - at)).collect();
    let requests = sizes.clone();
    let sends = std::thread::spawn(move || {
        requests.iter().for_each(|size| sender.send(&[b"SET".as_slice(), b"k", &vec![b'x'; *size]]));
    });
    let mut last = before;
    eventually(LONG, "nothing more goes out", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = sent();
        now > before && std::mem::replace(&mut last, now) == now
    });
    server.sigcont();
    sends.join().expect("all is sent");
    sizes.iter().for_each(|_| assert_eq!(client.read(), Value::ok()));
    last - before
}

/// What a session keeps back is written when its socket takes it, though nothing else happens: first it is found how much the way to
/// a node that does not read takes, and then a little less is sent, so that the end of it is left there.
#[test]
fn what_a_session_with_a_node_keeps_back_arrives() {
    let Some((_folder, server, options)) = one() else { return };
    let proxy = options
        .set("proxy.workers", "1")
        .set("failover.hold_memory", "\"256MiB\"")
        .set("limits.in_flight_per_client", "\"256MiB\"")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start();
    let (shares, mut has_its_own) = (proxy.client(), proxy.client());
    has_its_own.call("WATCH k");
    for mut client in [shares, has_its_own] {
        let mut room = 0;
        // The second time the kernel gives it as much as it will from then on.
        for _ in 0..2 {
            room = stuck(&proxy, &server, &mut client, 60 * LARGE);
        }
        for less in (8..72).step_by(8) {
            stuck(&proxy, &server, &mut client, room - (less << 10));
        }
    }
}

#[test]
fn a_killed_primary_is_replaced_and_the_old_one_follows() {
    let Some((_folder, group, options)) = group(2) else { return };
    let proxy = options.start();
    killed_under_load(group, &proxy);
}

#[test]
fn a_switchover_moves_everybody() {
    let Some((_folder, group, options)) = group(1) else { return };
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
    let Some((folder, server, options)) = one() else { return };
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
    let Some(folder) = certificates() else { return };
    folder.write("named", &folder.authority.issue(&["redis.test"]));
    let server = Server::options().tls(&folder).tls_files(&folder, "named").start();
    let options = folder.asks_nodes(ProxyOptions::new(&[server.public()]));
    let proxy = options.set("backend.tls.server_name", "\"redis.test\"").start();
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
}

#[test]
fn authorities_that_change_are_used() {
    let Some((folder, mut server, options)) = one() else { return };
    let next = Authority::new("successors");
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
    let Some((_folder, _group, options)) = group(1) else { return };
    let proxy = options.start();
    let mut check = Command::new(env!("CARGO_BIN_EXE_redhold"));
    check.args(["check", "--connect", "--config"]).arg(proxy.config_file());
    let output = check.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("0 errors"), "{said}");
}
