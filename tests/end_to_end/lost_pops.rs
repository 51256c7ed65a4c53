//! Pops whose connection was lost before their reply: what they took out may be gone, so they are counted.

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, eventually};

const COUNTER: &str = "redhold_lost_pops_total";

fn counted(proxy: &Proxy) -> u64 {
    proxy.metric(COUNTER).expect("it is always listed") as u64
}

fn item(key: &str, value: &str) -> Value {
    Value::Array(vec![Value::bulk(key), Value::bulk(value)])
}

/// A node that is killed while it does not run has the requests, and nobody knows whether it executed them.
#[test]
fn pops_in_flight_at_a_kill_are_counted_and_what_keeps_its_elements_is_not() {
    let mut group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).start();
    let requests = [
        "BRPOP parked 0",
        "LPOP list",
        "BLMOVE queue taken LEFT RIGHT 0",
        "SPOP set",
        "GET text",
        "INCR number",
    ];
    let mut clients: Vec<Client> = requests.iter().map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("ECHO here"), Value::bulk("here"), "its connections are open");
    }
    clients[0].send(&["BRPOP", "parked", "0"]);
    clients[2].send(&["BLMOVE", "queue", "taken", "LEFT", "RIGHT", "0"]);
    eventually(LONG, "two are parked", || group.nodes()[0].info("blocked_clients").as_deref() == Some("2"));
    group.nodes()[0].sigstop();
    let sent = || proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}");
    for at in [1, 3, 4, 5] {
        let before = sent();
        clients[at].send(&requests[at].split(' ').collect::<Vec<_>>());
        eventually(LONG, "it is written to the node", || sent() > before);
    }
    assert_eq!(counted(&proxy), 0, "nothing is lost yet");
    group.node(0).kill9();
    for at in [1, 3, 5] {
        let reply = clients[at].read();
        assert!(
            reply.error().is_some_and(|text| text.starts_with("AMBIGUOUS")),
            "{}: {reply:?}",
            requests[at]
        );
    }
    assert_eq!(clients[4].read(), Value::Nil, "a read is asked again");
    let mut other = proxy.client();
    other.call("RPUSH parked a");
    other.call("RPUSH queue b");
    assert_eq!((clients[0].read(), clients[2].read()), (item("parked", "a"), Value::bulk("b")));
    assert_eq!(counted(&proxy), 3, "BRPOP, LPOP and SPOP");
}

#[test]
fn a_planned_change_loses_no_pop() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut parked: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    parked.iter_mut().for_each(|client| client.send(&["BLPOP", "queue", "0"]));
    eventually(LONG, "all are parked", || group.nodes()[0].info("blocked_clients").as_deref() == Some("5"));
    proxy.switch_over();
    let mut other = proxy.client();
    eventually(LONG, "they are parked again", || {
        group.nodes()[1].info("blocked_clients").as_deref() == Some("5")
    });
    other.call("RPUSH queue 0 1 2 3 4");
    let mut got: Vec<String> =
        parked.iter_mut().map(|client| client.read().items()[1].text().unwrap()).collect();
    got.sort();
    assert_eq!(got, ["0", "1", "2", "3", "4"]);
    assert_eq!(counted(&proxy), 0, "the old primary said that it executed none of them");
}

/// The element is gone with the reply, and exactly that is what the count says.
#[test]
fn an_element_that_reached_nobody_is_in_the_count() {
    let node = Server::start();
    let relay = Relay::to(node.address());
    let proxy = ProxyOptions::new(&[relay.address()]).looking_once_a_minute().start();
    let (mut worker, mut direct) = (proxy.client(), node.client());
    worker.send(&["BRPOP", "queue", "0"]);
    eventually(LONG, "it is parked", || node.info("blocked_clients").as_deref() == Some("1"));
    relay.stall();
    direct.call("RPUSH queue lost");
    eventually(LONG, "the node has given it away", || direct.call("LLEN queue") == Value::Int(0));
    relay.cut();
    relay.resume();
    eventually(LONG, "it is parked again", || node.info("blocked_clients").as_deref() == Some("1"));
    direct.call("RPUSH queue found");
    assert_eq!(worker.read(), item("queue", "found"), "the worker is told nothing of the first one");
    assert_eq!(counted(&proxy), 1);
}
