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
    let options = ServerOptions::default().set("repl-backlog-size", "64mb");
    let group = Group::plain_with(1, &options);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with(&format!("info   {} is the primary\n", primary.address())), "{ended:?}");
    let follows = format!("replica of {}, link up", primary.address());
    assert!(ended.out.contains(&follows), "{ended:?}");
    assert!(ended.out.ends_with("\n0 errors, 0 warnings\n"), "{ended:?}");
}

#[test]
fn what_only_somebody_should_know_is_no_failure() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    assert_eq!(replica.call("CONFIG SET maxmemory 104857600"), Value::ok());
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let differs =
        format!("WARN   maxmemory differs: {} `0`, {} `104857600`", primary.address(), replica.address());
    let lines: Vec<_> = ended.out.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == differs)
        .unwrap_or_else(|| panic!("no `{differs}` in {ended:?}"));
    assert!(lines[at + 1].starts_with("       cure: set the same on every node"), "{ended:?}");
}

#[test]
fn a_sentinel_is_heard_on_its_channel() {
    let server = Server::start();
    let hello = "PUBLISH __sentinel__:hello 10.0.0.9,26379,0a1b2c3d4e5f60718293a4b5c6d7e8f901234567,0,mymaster,10.0.0.1,6379,0";
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
    assert!(asking.out.contains("another brain looks after these nodes: Sentinel"), "{asking:?}");
    assert!(asking.out.contains("one node only"), "{asking:?}");
}

#[test]
fn what_forbids_a_failover_is_a_failure() {
    let mut group = Group::plain(1);
    group.node(1).kill9();
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let ended = check(&[primary, replica], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line = format!("ERROR  {} gives no INFO: ", replica.address());
    assert!(ended.out.contains(&line) && ended.out.contains("\n1 errors, "), "{ended:?}");
    assert!(ended.err.contains("could not do its work"), "{ended:?}");
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
        let line = format!("ERROR  {}: the proxy's user may not run: ", node.address());
        let told =
            ended.out.lines().find(|told| told.starts_with(&line)).unwrap_or_else(|| panic!("{ended:?}"));
        assert!(told.contains("REPLICAOF NO ONE") && told.contains("CLIENT KILL"), "{told}");
        assert!(!told.contains("CLIENT PAUSE"), "{told}");
    }
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"), "{ended:?}");
    assert_eq!(replica.info("role").as_deref().map(str::trim), Some("slave"), "it still follows");
    let ended = check(&[primary, replica], "username = \"keeper\"\npassword = \"wrong\"\n");
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("gives no INFO"), "{ended:?}");
}
