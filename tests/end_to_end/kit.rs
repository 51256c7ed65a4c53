//! The test kit does what it says: a kit that is wrong makes every other test worthless.

use std::time::Duration;

use crate::support::{
    Bystander, FakeNode, Group, LONG, Load, Memory, Relay, Script, Seen, Server, V7_0, Value, eventually,
    others,
};

#[test]
fn a_server_is_ours_and_comes_back_on_its_port() {
    let mut server = Server::start();
    let port = server.port();
    assert_eq!(server.info("process_id"), Some(server.pid().to_string()));
    assert_eq!(server.call("SET k v"), Value::ok());
    server.kill9();
    server.restart();
    assert_eq!((server.port(), server.call("GET k")), (port, Value::Nil));
    server.sigstop();
    let mut client = server.client();
    client.send(&["PING"]);
    assert!(client.is_silent_for(Duration::from_millis(50)));
    server.sigcont();
    assert_eq!(client.read(), Value::Simple("PONG".to_owned()));
}

#[test]
fn every_installed_version_starts() {
    for version in others() {
        let server = version.start();
        let found = server.info("valkey_version").or_else(|| server.info("redis_version"));
        assert_eq!(found.as_deref(), version.name.rsplit('-').next());
    }
}

#[test]
fn groups_replicate_and_sealed_nodes_boot_without_a_primary() {
    let plain = Group::plain(1);
    assert_eq!(plain.primary(), 0);
    assert_eq!(plain.nodes()[0].call("SET k v"), Value::ok());
    plain.wait_in_sync(0);
    assert_eq!(plain.nodes()[1].call("GET k"), Value::bulk("v"));

    let mut sealed = Group::sealed(1);
    assert_eq!(sealed.primary(), 0);
    sealed.node(0).kill9();
    sealed.node(0).restart();
    assert_eq!(sealed.primaries(), Vec::<usize>::new());
    let refusal = sealed.nodes()[0].call("SET k v");
    assert!(refusal.error().is_some_and(|text| text.starts_with("READONLY")), "{refusal:?}");
    assert_eq!(Group::sealed_fresh(1).primaries(), Vec::<usize>::new());
}

#[test]
fn values_of_both_protocols_are_read() {
    let server = Server::start();
    let mut client = server.client();
    client.call("HSET h f v");
    assert_eq!(client.call("HGETALL h"), Value::Array(vec![Value::bulk("f"), Value::bulk("v")]));
    assert_eq!(client.call("HELLO 3").get("proto"), Some(&Value::Int(3)));
    assert_eq!(client.call("HGETALL h"), Value::Map(vec![(Value::bulk("f"), Value::bulk("v"))]));
    // Servers differ in what they show.
    let debug = V7_0.start();
    let mut client = debug.client();
    client.call("HELLO 3");
    assert_eq!(client.call("DEBUG PROTOCOL true"), Value::Bool(true));
    assert_eq!(client.call("DEBUG PROTOCOL double"), Value::Double("3.141".to_owned()));
    assert!(matches!(client.call("DEBUG PROTOCOL attrib"), Value::Attribute(..)));
    assert!(matches!(client.call("DEBUG PROTOCOL verbatim"), Value::Verbatim(format, _) if format == "txt"));
    assert!(matches!(client.call("DEBUG PROTOCOL push"), Value::Push(_)));
}

#[test]
fn fake_nodes_follow_their_script() {
    let node = FakeNode::start(Script::CloseAfter(4));
    let mut client = crate::support::Client::connect(node.address());
    client.send_raw(b"abc");
    assert!(client.is_silent_for(Duration::from_millis(50)));
    client.send_raw(b"d");
    assert_eq!(client.read_to_close(), b"");
    eventually(LONG, "the bytes arrive", || node.received() == b"abcd");
    node.become_script(Script::Answers(vec![("ping".to_owned(), b"+PONG\r\n".to_vec())]));
    let mut client = crate::support::Client::connect(node.address());
    assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
    assert_eq!(node.accepted(), 2);
}

#[test]
fn a_relay_stalls_cuts_and_refuses() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let mut client = crate::support::Client::connect(relay.address());
    assert_eq!(client.call("SET k v"), Value::ok());
    relay.stall();
    client.send(&["GET", "k"]);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    relay.resume();
    assert_eq!(client.read(), Value::bulk("v"));
    relay.cut();
    assert_eq!(client.read_to_close(), b"");
    relay.refuse(true);
    assert!(crate::support::Client::connect(relay.address()).try_cmd(&["PING"]).is_err());
}

#[test]
fn a_load_accounts_for_every_reply_and_finds_what_is_missing() {
    let server = Server::start();
    let load = Load::start(server.address(), 4, 8);
    assert!(load.strike(|| ()) >= 10);
    let outcome = load.finish();
    assert!(outcome.acknowledged() >= 1_000);
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(outcome.missing_on(server.address()), 0);
    server.call("DEL load:set:0:0");
    server.call("LPOP load:list:1");
    assert_eq!(outcome.missing_on(server.address()), 2);
}

#[test]
#[should_panic(expected = "every reply through the proxy was the second client's own")]
fn a_bystander_notices_a_reply_that_is_not_its_own() {
    let server = Server::start();
    let node = FakeNode::start(Script::Reply(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n".to_vec()));
    Bystander::start(node.address(), server.address()).finish();
}

#[test]
fn a_bystander_measures_its_longest_wait() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let bystander = Bystander::start(relay.address(), server.address());
    relay.stall();
    std::thread::sleep(Duration::from_secs(2));
    relay.resume();
    // It calls every millisecond; half of the time is left for a machine with other work.
    let (through, _) = bystander.finish();
    assert!(through.worst > Duration::from_secs(1), "{:?}", through.worst);
}

fn whose_worst_was(worst: u64) -> Seen {
    Seen { worst: Duration::from_millis(worst), ..Seen::default() }
}

#[test]
fn a_bystander_may_wait_a_little_and_some_times_as_long_as_at_the_server() {
    whose_worst_was(2_000).assert_as_timely_as(&whose_worst_was(0));
    whose_worst_was(12_000).assert_as_timely_as(&whose_worst_was(1_000));
}

#[test]
#[should_panic(expected = "the second client waited 12.001s, at the server itself 1s")]
fn a_bystander_may_not_wait_far_longer_than_at_the_server() {
    whose_worst_was(12_001).assert_as_timely_as(&whose_worst_was(1_000));
}

#[test]
#[should_panic(expected = "the proxy closed nobody who did nothing")]
fn a_bystander_notices_that_its_connection_is_closed() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let bystander = Bystander::start(relay.address(), server.address());
    relay.cut();
    bystander.finish();
}

#[test]
#[should_panic(expected = "bytes more")]
fn memory_is_seen_to_grow() {
    let server = Server::start();
    let memory = Memory::watch(server.pid());
    server.call("SETRANGE big 50000000 x");
    memory.assert_grown_less(10 << 20, "less than that value");
}
