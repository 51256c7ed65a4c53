//! `check --connect` against real servers.

use super::support::{Group, Server, ServerOptions, Value};
use super::{Ended, File, redhold};

fn check(nodes: &[&Server], user: &str) -> Ended {
    let list: Vec<_> = nodes.iter().map(|node| format!("\"{}\"", node.address())).collect();
    let file = File::new(&format!("[backend]\nnodes = [{}]\n{user}", list.join(", ")));
    redhold(&["check", "--connect", "--config", file.path()])
}

#[test]
fn a_group_in_order_passes() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rows: Vec<Vec<_>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let (leads, follows) = (primary.address().to_string(), replica.address().to_string());
    let version = primary.info("redis_version").unwrap();
    assert_eq!(rows[1], [&leads, "primary", "-", version.trim(), "10000"]);
    assert_eq!(rows[2], [&follows, "replica", &leads, version.trim(), "10000"]);
    assert!(ended.out.ends_with("\nNothing speaks against a failover.\n"), "{ended:?}");
}

#[test]
fn what_only_somebody_should_know_is_no_failure() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    assert_eq!(replica.call("CONFIG SET maxmemory 104857600"), Value::ok());
    // A Sentinel names itself so on each connection that it watches through.
    let mut sentinel = primary.client();
    assert_eq!(sentinel.call("CLIENT SETNAME sentinel-0a1b2c3d-cmd"), Value::ok());
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let differs = format!(
        "warn  different maxmemory: `0` on {}; `104857600` on {}",
        primary.address(),
        replica.address()
    );
    let watched = format!("warn  {}: a Sentinel from 127.0.0.1 watches it", primary.address());
    for line in [differs, watched] {
        assert!(ended.out.lines().any(|told| told.starts_with(&line)), "no `{line}` in {ended:?}");
    }
}

#[test]
fn a_sentinel_is_heard_on_its_channel() {
    let server = Server::start();
    let address = server.address();
    let hello = "PUBLISH __sentinel__:hello 10.0.0.9,26379,0a1b,0,mymaster,10.0.0.1,6379,0";
    let mut client = server.client();
    let asking = std::thread::scope(|scope| {
        let asked = scope.spawn(|| check(&[&server], ""));
        // As a Sentinel does, but more often: until it was heard.
        while !asked.is_finished() {
            client.call(hello);
            std::thread::yield_now();
        }
        asked.join().unwrap()
    });
    let heard = format!("warn  {address}: a Sentinel at 10.0.0.9:26379 watches it");
    assert!(asking.out.contains(&heard), "{asking:?}");
    assert!(asking.out.contains("only one node is declared"), "{asking:?}");
}

#[test]
fn what_forbids_a_failover_is_a_failure() {
    let mut group = Group::plain(1);
    group.node(1).kill9();
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line = format!("FAIL  {}: cannot connect: Connection refused", replica.address());
    assert!(ended.out.contains(&line), "{ended:?}");
    assert!(ended.err.contains("not ready for a failover"), "{ended:?}");
}

#[test]
fn rights_of_the_proxys_user_are_looked_up_and_nothing_is_run() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    for node in [primary, replica] {
        let rules = "on >hunter2 ~* &* +@all -replicaof -client|kill";
        assert_eq!(node.call(&format!("ACL SETUSER keeper {rules}")), Value::ok());
    }
    let ended = check(&[primary, replica], "username = \"keeper\"\npassword = \"hunter2\"\n");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for node in [primary, replica] {
        for command in ["REPLICAOF NO ONE", "CLIENT KILL TYPE normal"] {
            let line = format!("FAIL  {}: the proxy's user may not run {command}\n", node.address());
            assert!(ended.out.contains(&line), "no `{line}` in {ended:?}");
        }
    }
    assert_eq!(ended.out.matches("FAIL").count(), 4, "{ended:?}");
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"));
    assert_eq!(replica.info("role").as_deref(), Some("slave"), "it still follows");
    let ended = check(&[primary, replica], "password = \"wrong\"\n");
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("refuses the proxy's user: "), "{ended:?}");
}

#[test]
fn replication_passwords_must_fit_in_both_directions() {
    let options = ServerOptions::default().set("requirepass", "hunter2");
    let (a, b) = (options.clone().start(), options.start());
    let mut client = b.client();
    assert_eq!(client.call("AUTH hunter2"), Value::ok());
    assert_eq!(client.call("CONFIG SET masterauth hunter2"), Value::ok());
    let ended = check(&[&a, &b], "password = \"hunter2\"\n");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line = format!("FAIL  {}: masterauth is empty, {} demands a password", a.address(), b.address());
    assert!(ended.out.contains(&line), "{ended:?}");
    assert!(!ended.out.contains("hunter2"), "{ended:?}");
}
