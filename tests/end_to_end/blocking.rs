//! Blocking commands: parked on a connection of their own, in nobody's way.

use std::time::{Duration, Instant};

use crate::support::{BLMPOP, Client, LONG, Value, eventually};
use crate::target::{Target, Way, both_ways, direct_only};

both_ways!(
    a_parked_client_gets_what_is_pushed,
    a_timeout_answers_nil_when_it_is_over,
    every_blocking_form_returns,
    many_parked_clients_delay_nobody,
    a_parked_client_that_leaves_takes_nothing,
    what_is_pipelined_behind_a_blocking_command_waits_for_it,
    wrong_arguments_do_not_park,
);

direct_only!(a_parked_client_can_be_unblocked,);

fn list(items: &[&str]) -> Value {
    Value::Array(items.iter().map(Value::bulk).collect())
}

/// Waits until as many clients of the server are blocked.
fn wait_blocked(target: &Target, count: usize) {
    eventually(LONG, "clients are blocked", || {
        target.primary().info("blocked_clients") == Some(count.to_string())
    });
}

fn a_parked_client_gets_what_is_pushed(way: Way) {
    let target = Target::new(way, 0);
    let (mut parked, mut other) = (target.client(), target.client());
    for round in 0..5 {
        parked.send(&["BLPOP", "a", "b", "0"]);
        wait_blocked(&target, 1);
        assert_eq!(other.call(&format!("RPUSH b {round}")), Value::Int(1));
        assert_eq!(parked.read(), list(&["b", &round.to_string()]));
        assert_eq!(parked.call("SET k v"), Value::ok(), "and goes on as before");
    }
}

fn a_timeout_answers_nil_when_it_is_over(way: Way) {
    let target = Target::new(way, 0);
    let (mut two, mut three) = (target.client(), target.client_resp3());
    let start = Instant::now();
    two.send(&["BLPOP", "none", "0.2"]);
    three.send(&["BLMOVE", "none", "to", "LEFT", "RIGHT", "0.2"]);
    assert_eq!(two.read_raw(5), b"*-1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    assert_eq!(three.read_raw(3), b"_\r\n");
}

fn every_blocking_form_returns(way: Way) {
    let target = Target::new(way, 0);
    let (mut parked, mut other) = (target.client(), target.client());
    other.call("XGROUP CREATE stream group $ MKSTREAM");
    let several_keys = BLMPOP.is_there();
    for (request, push) in [
        ("BLPOP l 0", "RPUSH l x"),
        ("BRPOP l 0", "RPUSH l x"),
        ("BRPOPLPUSH l to 0", "RPUSH l x"),
        ("BLMOVE l to LEFT LEFT 0", "RPUSH l x"),
        ("BLMPOP 0 1 l LEFT", "RPUSH l x"),
        ("BZPOPMIN z 0", "ZADD z 1 x"),
        ("BZPOPMAX z 0", "ZADD z 1 x"),
        ("BZMPOP 0 1 z MIN", "ZADD z 1 x"),
        ("XREAD BLOCK 0 STREAMS stream $", "XADD stream * f v"),
        ("XREADGROUP GROUP group me BLOCK 0 STREAMS stream >", "XADD stream * f v"),
    ] {
        if request.contains("MPOP ") && !several_keys {
            continue;
        }
        if request.starts_with("XREADGROUP") {
            parked.call("XREADGROUP GROUP group me COUNT 10 STREAMS stream >");
        }
        parked.send(&request.split(' ').collect::<Vec<_>>());
        wait_blocked(&target, 1);
        other.call(push);
        let reply = parked.read();
        assert!(reply.error().is_none() && reply != Value::Nil, "{request}: {reply:?}");
    }
}

fn many_parked_clients_delay_nobody(way: Way) {
    let target = Target::new(way, 0);
    let mut parked: Vec<Client> = (0..40).map(|_| target.client()).collect();
    for (number, client) in parked.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("q{number}"), "0"]);
    }
    wait_blocked(&target, 40);
    let mut other = target.client();
    for round in 0..500 {
        assert_eq!(other.call(&format!("SET k {round}")), Value::ok());
    }
    for (number, client) in parked.iter_mut().enumerate().rev() {
        other.call(&format!("RPUSH q{number} v{number}"));
        assert_eq!(client.read(), list(&[&format!("q{number}"), &format!("v{number}")]));
    }
}

fn a_parked_client_that_leaves_takes_nothing(way: Way) {
    let target = Target::new(way, 0);
    let mut other = target.client();
    for request in [&["BLPOP", "q", "0"][..], &["BLMOVE", "q", "to", "LEFT", "LEFT", "0"]] {
        other.call("DEL q");
        let mut parked = target.client();
        parked.send(request);
        wait_blocked(&target, 1);
        drop(parked);
        wait_blocked(&target, 0);
        other.call("RPUSH q job");
        assert_eq!(other.call("LRANGE q 0 -1"), list(&["job"]));
    }
}

fn what_is_pipelined_behind_a_blocking_command_waits_for_it(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    client.send_raw(b"SET k before\r\nBLPOP q 0\r\nSET k after\r\nGET k\r\n");
    assert_eq!(client.read(), Value::ok());
    wait_blocked(&target, 1);
    assert_eq!(other.call("GET k"), Value::bulk("before"));
    other.call("RPUSH q go");
    assert_eq!(client.read(), list(&["q", "go"]));
    assert_eq!((client.read(), client.read()), (Value::ok(), Value::bulk("after")));
}

fn a_parked_client_can_be_unblocked(way: Way) {
    let target = Target::new(way, 0);
    let (mut parked, mut other) = (target.client(), target.client());
    let id = parked.call("CLIENT ID").int().expect("a number");
    for (how, reply) in [
        ("TIMEOUT", Value::Nil),
        ("ERROR", Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned())),
    ] {
        parked.send(&["BLPOP", "q", "0"]);
        wait_blocked(&target, 1);
        assert_eq!(other.call(&format!("CLIENT UNBLOCK {id} {how}")), Value::Int(1));
        assert_eq!(parked.read(), reply);
        assert_eq!(parked.call("PING"), Value::Simple("PONG".to_owned()));
    }
    assert_eq!(other.call(&format!("CLIENT UNBLOCK {id}")), Value::Int(0));
}

fn wrong_arguments_do_not_park(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.call("SET text x");
    for (request, error) in [
        ("BLPOP q", "ERR wrong number of arguments for 'blpop' command"),
        ("BLPOP q x", "ERR timeout is not a float or out of range"),
        ("BLPOP q -1", "ERR timeout is negative"),
        ("BLPOP text 0", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        assert_eq!(client.call(request), Value::Error(error.to_owned()), "{request}");
    }
    client.call("RPUSH q now");
    assert_eq!(client.call("BLPOP q 0"), list(&["q", "now"]));
}
