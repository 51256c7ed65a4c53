//! Requests that a node refuses for its role or state are sent again only where that can not change their order or
//! execute them twice.

use std::time::{Duration, Instant};

use crate::support::{Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, encode, eventually};

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

fn behind_a_relay(hold: &str) -> (Server, Relay, Proxy) {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy =
        ProxyOptions::new(&[relay.address()]).set("failover.hold", hold).set("proxy.workers", "1").start();
    (server, relay, proxy)
}

#[test]
fn an_error_that_a_script_makes_up_is_an_answer() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut client = proxy.client();
    for (count, text) in [
        "READONLY x",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("redis.call('incr', 'k'); return redis.error_reply(\"{text}\")");
        assert_eq!(client.cmd(&["EVAL", &script, "0"]), Value::Error(text.to_owned()));
        assert_eq!(client.call("GET k"), Value::bulk((count + 1).to_string()), "{text}");
    }
}

#[test]
fn an_error_with_other_words_is_handed_on() {
    let (_server, relay, proxy) = behind_a_relay("\"60s\"");
    let mut client = proxy.client();
    relay.answer_at("refused", "-READONLY for a reason of a module's own\r\n");
    let text = "READONLY for a reason of a module's own";
    assert_eq!(client.call("INCR refused"), Value::Error(text.to_owned()));
    assert_eq!(relay.met(), 1);
}

#[test]
fn a_refusal_that_does_not_end_is_handed_on_when_the_hold_has_passed() {
    let (server, relay, proxy) = behind_a_relay("\"500ms\"");
    let mut client = proxy.client();
    relay.answer_at("refused", LOADING);
    let start = Instant::now();
    let refusal = Value::Error(LOADING.trim_start_matches('-').trim_end().to_owned());
    // Were each to wait by itself, they would take half a minute.
    assert_eq!(client.pipeline(&["INCR refused"; 60]), vec![refusal; 60]);
    assert!(start.elapsed() >= Duration::from_millis(500), "it was tried for as long as the hold");
    assert!(start.elapsed() < Duration::from_secs(10), "the hold belongs to all of them");
    assert!(relay.met() > 60, "it was tried again");
    relay.answer_none();
    assert_eq!(client.call("INCR refused"), Value::Int(1));
    assert_eq!(server.call("GET refused"), Value::bulk("1"));
}

#[test]
fn a_blocking_command_that_is_refused_again_and_again_is_told_so_in_the_end() {
    let (server, relay, proxy) = behind_a_relay("\"200ms\"");
    // Connections that are open and greeted: the relay answers what comes in one go, a greeting too.
    let mut clients: Vec<_> = (0..32).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&["BLPOP", "warm", "0"]));
    eventually(LONG, "all wait", || server.info("blocked_clients").as_deref() == Some("32"));
    clients.iter().for_each(|_| assert!(server.call("RPUSH warm a").error().is_none()));
    clients.iter_mut().for_each(|client| assert_eq!(client.read().items().len(), 2));
    let client = &mut clients[0];
    relay.answer_at("refused", LOADING);
    let refusal = Value::Error(LOADING.trim_start_matches('-').trim_end().to_owned());
    assert_eq!(client.call("BLPOP refused 0"), refusal);
    assert!(relay.met() > 1, "it was tried again");
    relay.answer_none();
    assert_eq!(server.call("RPUSH refused a"), Value::Int(1));
    let popped = Value::Array(vec![Value::bulk("refused"), Value::bulk("a")]);
    assert_eq!(client.call("BLPOP refused 0"), popped);
}

/// All were refused, so their order is still to be made.
#[test]
fn a_pipeline_that_was_refused_as_a_whole_is_executed_in_order() {
    let (_server, relay, proxy) = behind_a_relay("\"60s\"");
    let mut client = proxy.client();
    assert_eq!(client.call("SET other 1"), Value::ok());
    relay.answer_at("refused", LOADING);
    let mut bytes = Vec::new();
    for _ in 0..20 {
        bytes.extend(encode(&["INCR", "refused"]));
        bytes.extend(encode(&["GET", "refused"]));
    }
    client.send_raw(&bytes);
    eventually(LONG, "all were refused and some again", || relay.met() > 42);
    relay.answer_none();
    for number in 1..=20 {
        assert_eq!(client.read(), Value::Int(number));
        assert_eq!(client.read(), Value::bulk(number.to_string()));
    }
}

/// The primary became a replica behind the proxy's back: it refuses writes and executes reads.
#[test]
fn refusals_before_an_executed_request_are_handed_on_in_their_places() {
    let group = Group::plain(1);
    let proxy =
        ProxyOptions::new(&group.addresses()).looking_once_a_minute().set("failover.hold", "\"30s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.exchange();
    let refusal = Value::Error("READONLY You can't write against a read only replica.".to_owned());
    let replies = client.pipeline(&["SET k 2", "SET k 3", "GET k", "SET k 4", "INCR k"]);
    assert_eq!(replies[..3], [refusal.clone(), refusal, Value::bulk("1")]);
    assert_eq!(replies[3..], [Value::ok(), Value::Int(5)], "what nothing executed followed is sent again");
    assert_eq!(group.nodes()[1].call("GET k"), Value::bulk("5"));
}

/// It may have been executed before its connection was lost, and nothing that comes later changes that.
#[test]
fn a_write_that_was_sent_and_can_not_be_sent_again_is_ambiguous() {
    let (mut server, _relay, proxy) = behind_a_relay("\"500ms\"");
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    let written = || proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}");
    let before = written();
    server.sigstop();
    client.send(&["SET", "k", "2"]);
    eventually(LONG, "it was sent", || written() > before);
    server.kill9();
    let reply = client.read();
    let text = reply.error().expect("an error");
    assert!(text.starts_with("AMBIGUOUS write may have been executed"), "{text}");
    let text = "TRYAGAIN no writable primary for 500 ms; command was not executed";
    assert_eq!(client.call("SET k 3"), Value::Error(text.to_owned()));
}

/// Its connection ended, and the next one is refused: it may have been executed before that.
#[test]
fn a_write_that_was_sent_is_ambiguous_when_its_user_is_refused_afterwards() {
    let (server, relay, proxy) = behind_a_relay("\"60s\"");
    let mut client = proxy.client();
    assert_eq!(server.call("ACL SETUSER u on >old ~* +@all"), Value::ok());
    assert_eq!(client.call("AUTH u old"), Value::ok());
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(server.call("ACL SETUSER u resetpass >new"), Value::ok());
    relay.cut_at("marker", 1);
    let reply = client.call("SET marker v");
    assert!(reply.error().is_some_and(|text| text.starts_with("AMBIGUOUS")), "{reply:?}");
}
