//! Nodes that misbehave, and nodes that are not there.

use std::time::Duration;

use crate::support::{
    Bystander, FakeNode, Group, LONG, Memory, ProxyOptions, Relay, Script, Server, Value, eventually,
    eventually_some, row_field, spend_spare,
};

/// Ample for what small requests and repeated dialling leave behind.
const LITTLE: u64 = 16 << 20;

const NOT_EXECUTED: &str = "TRYAGAIN no writable primary for 300 ms; command was not executed";

#[test]
fn without_any_node_it_listens_says_why_and_answers_at_the_holds_end() {
    let mut group = Group::plain(1);
    group.node(0).kill9();
    group.node(1).kill9();
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"300ms\"").start_unready();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::Error(NOT_EXECUTED.to_owned()));
    let (status, reason) = proxy.http("GET", "/readyz").expect("the admin page answers");
    assert_eq!(status, 503);
    assert!(!reason.trim().is_empty(), "and says why");
    assert_eq!(proxy.http("GET", "/livez").map(|(status, _)| status), Some(200));
    group.node(0).restart();
    group.node(1).restart();
    proxy.wait_ready();
    assert_eq!(client.call("SET k v"), Value::ok(), "the same connection goes on");
}

#[test]
fn a_large_request_that_is_refused_is_not_executed_by_its_rest() {
    let mut server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"300ms\"").start();
    let mut client = proxy.client();
    server.kill9();
    eventually(LONG, "requests are held", || {
        proxy.http("GET", "/readyz").is_some_and(|(status, _)| status == 503)
    });
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2097152\r\n");
    assert_eq!(client.read(), Value::Error(NOT_EXECUTED.to_owned()));
    // The close may come before the last byte was sent.
    client.try_send_raw(&vec![b'x'; 1 << 20]).ok();
    assert_eq!(client.read_to_close(), b"", "one error for one request");
    server.restart();
    proxy.wait_ready();
    assert_eq!(proxy.client().call("EXISTS k"), Value::Int(0));
}

#[test]
fn held_requests_go_on_as_soon_as_a_node_comes() {
    let mut server = Server::start();
    server.kill9();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"60s\"").start_unready();
    let mut client = proxy.client();
    client.send_raw(b"SET k v\r\nGET k\r\nINCR n\r\n");
    assert!(client.is_silent_for(Duration::from_millis(300)));
    server.restart();
    assert_eq!((client.read(), client.read(), client.read()), (Value::ok(), Value::bulk("v"), Value::Int(1)));
}

#[test]
fn a_node_that_accepts_and_stays_silent_holds_nobody_up() {
    let silent = FakeNode::start(Script::Silent);
    let options = ProxyOptions::new(&[silent.address()]).noticing_silence();
    let proxy = options.set("failover.hold", "\"300ms\"").start_unready();
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    assert_eq!(client.read(), Value::Error(NOT_EXECUTED.to_owned()));
    let told =
        format!("no writable primary: waiting for every node to answer: {} is silent\n", silent.address());
    eventually(LONG, &told, || proxy.http("GET", "/readyz") == Some((503, told.clone())));
    assert!(silent.accepted() > 0);
    let descriptors = proxy.descriptors();
    eventually(LONG, "it is asked again and again", || silent.accepted() > 5);
    assert!(proxy.descriptors() < descriptors + 10, "and connections are not piled up");
    memory.assert_grown_less(LITTLE, "ample for one small request");
}

#[test]
fn a_replica_that_accepts_and_stays_silent_costs_nobody_a_reply() {
    let group = Group::plain(2);
    let relay = Relay::to(group.nodes()[2].address());
    let nodes = [group.addresses()[..2].to_vec(), vec![relay.address()]].concat();
    let options = ProxyOptions::new(&nodes).set("reads.policy", "\"prefer_replica\"");
    let proxy = options.noticing_silence().start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    relay.stall();
    eventually(LONG, "its silence is seen", || proxy.status()["nodes"][2]["up"] == false);
    bystander.wait_for(200);
    bystander.finish_undisturbed();
    assert_eq!(proxy.status()["epoch"], 1);
    assert_eq!(proxy.status()["nodes"][2]["error"], "no answer in time");
    memory.assert_grown_less(LITTLE, "ample for small requests");
}

/// What a node says to everything, and what a person is told of it.
const OKS: [u8; 5 * 20] = {
    let (line, mut all, mut at) = (*b"+OK\r\n", [0; 5 * 20], 0);
    while at < all.len() {
        all[at] = line[at % 5];
        at += 1;
    }
    all
};

const GARBAGE: [(&[u8], &str); 4] = [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers no RESP: a reply cannot begin with byte 0x48"),
    (b"\0\0\0\0", "answers no RESP: a reply cannot begin with byte 0x00"),
    // More than anybody asks in one go.
    (&OKS, "ERR INFO names no run_id and role"),
    (b"$999999999999\r\nx", "no answer in time"),
];

#[test]
fn a_replica_that_is_replaced_by_garbage_costs_nobody_a_reply() {
    let mut group = Group::plain(2);
    let options = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\"");
    let proxy = options.noticing_silence().start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    group.node(2).kill9();
    let node = FakeNode::start_at(group.nodes()[2].port(), Script::Silent);
    for (garbage, told) in GARBAGE {
        node.become_script(Script::Reply(garbage.to_vec()));
        eventually(LONG, told, || proxy.status()["nodes"][2]["error"] == told);
        assert_eq!(proxy.status()["nodes"][2]["up"], false);
        bystander.wait_for(50);
    }
    bystander.finish_undisturbed();
    assert_eq!(proxy.status()["epoch"], 1);
    memory.assert_grown_less(LITTLE, "ample: a length is no reason to allocate it");
}

#[test]
fn a_node_that_answers_garbage_is_no_node() {
    for (garbage, told) in GARBAGE {
        let node = FakeNode::start(Script::Reply(garbage.to_vec()));
        let options = ProxyOptions::new(&[node.address()]).noticing_silence();
        let proxy = options.set("failover.hold", "\"300ms\"").start_unready();
        let memory = Memory::watch(proxy.pid());
        let mut client = proxy.client();
        assert_eq!(client.call("SET k v"), Value::Error(NOT_EXECUTED.to_owned()));
        let said = if told == "no answer in time" { "is silent" } else { &format!("refuses ({told})") };
        let why =
            format!("no writable primary: waiting for every node to answer: {} {said}\n", node.address());
        eventually(LONG, &why, || proxy.http("GET", "/readyz") == Some((503, why.clone())));
        memory.assert_grown_less(LITTLE, "ample: a length is no reason to allocate it");
    }
}

#[test]
fn a_primary_that_comes_back_empty_is_not_followed_into_emptiness() {
    let mut group = Group::sealed(1);
    let proxy = ProxyOptions::new(&group.addresses()).start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET precious data"), Value::ok());
    group.wait_in_sync(0);
    group.node(0).restart();
    assert_eq!(client.call("GET precious"), Value::bulk("data"));
    assert_eq!(client.call("SET more data"), Value::ok());
    assert_eq!(group.primary(), 1);
    group.wait_following(0, 1);
    assert_eq!(group.nodes()[0].call("GET precious"), Value::bulk("data"));
}

#[test]
fn a_lone_cache_that_comes_back_empty_is_used_again() {
    let mut server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("failover.hold", "\"60s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    server.restart();
    assert_eq!(client.call("GET k"), Value::Nil);
    assert_eq!(client.call("SET k v"), Value::ok());
}

#[test]
fn lost_connections_alone_are_no_reason_to_change_the_primary() {
    let group = Group::plain(1);
    let relay = Relay::to(group.nodes()[0].address());
    let proxy = ProxyOptions::new(&[relay.address(), group.nodes()[1].address()]).start();
    let mut client = proxy.client();
    let mut reader = proxy.client();
    for round in 0..10 {
        assert_eq!(
            client.call(&format!("SET k {round}")),
            Value::ok(),
            "idle connections are replaced unseen"
        );
        assert_eq!(reader.call("GET k"), Value::bulk(round.to_string()));
        relay.cut();
    }
    assert_eq!(proxy.status()["epoch"], 1);
    assert_eq!(group.primary(), 0);
}

#[test]
fn a_connection_that_the_server_closed_for_its_idleness_is_replaced_unseen() {
    let server = Server::options().set("timeout", "1").start();
    let proxy = ProxyOptions::new(&[server.address()]).start();
    let mut client = proxy.client();
    let open = |id: &str| {
        let list = server.call("CLIENT LIST").text().expect("text");
        list.lines().any(|row| row_field(row, "id").as_deref() == Some(id))
    };
    let id = eventually_some(LONG, "the connection that the request went on", || {
        assert_eq!(client.call("SET k v"), Value::ok());
        let list = server.call("CLIENT LIST").text()?;
        let used = list.lines().find(|row| row_field(row, "cmd").as_deref() == Some("set"));
        used.and_then(|row| row_field(row, "id"))
    });
    eventually(LONG, "the idle connection was closed", || !open(&id));
    assert_eq!(client.call("GET k"), Value::bulk("v"));
}

/// The node lives and answers on the connections that it has, and takes no other.
#[test]
fn a_node_that_takes_no_more_connections_holds_nobody_up_for_ever() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("failover.hold", "\"500ms\"")
        .set("proxy.workers", "1")
        .set("backend.pinned_max", "100")
        .start();
    let mut node = server.client();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let _holder = spend_spare(&proxy, &server);
    assert_eq!(node.call("CONFIG SET maxclients 1"), Value::ok());
    let text = "TRYAGAIN no connection to the primary could be opened for 500 ms (ERR max number of clients reached); \
                command was not executed";
    // A connection of another identity, for what is shared and for what is not.
    let mut other = proxy.client();
    assert_eq!(other.call("SELECT 3"), Value::Error(text.to_owned()));
    assert_eq!(other.call("BLPOP none 1"), Value::Error(text.to_owned()));
    let start = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(other.call("SELECT 3"), Value::Error(text.to_owned()));
    }
    assert!(start.elapsed() < Duration::from_secs(4), "the wait belongs to the node, not to each request");
    assert_eq!(proxy.errors("out_of_reach"), 12.0);
    assert_eq!(client.call("GET k"), Value::bulk("v"), "who has a connection goes on");
    assert_eq!(node.call("CONFIG SET maxclients 1000"), Value::ok());
    eventually(LONG, "connections are opened again", || other.call("SELECT 3") == Value::ok());
    assert_eq!(other.call("BLPOP none 0.01"), Value::Nil);
}

/// A replica that is declared twice, under two addresses.
#[test]
fn a_process_of_two_addresses_is_promoted_and_not_told_to_follow_itself() {
    let group = Group::plain(1);
    let [primary, replica] = group.addresses()[..] else { unreachable!("two nodes were asked for") };
    let alias = Relay::to(replica);
    let proxy = ProxyOptions::new(&[primary, replica, alias.address()]).start();
    proxy.switch_over_to(replica);
    assert_eq!(group.nodes()[1].info("role").as_deref(), Some("master"));
    let told = format!("{} is the same process as {replica}, under another address", alias.address());
    eventually(LONG, "it is told", || proxy.log().contains(&told));
    group.wait_following(0, 1);
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    assert_eq!(group.nodes()[1].call("GET k"), Value::bulk("v"));
}
