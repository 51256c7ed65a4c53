//! CLIENT PAUSE: what a client stops is stopped for all, and nothing else is.

use crate::support::{Client, LONG, Value, eventually};
use crate::target::{Target, Way, both_ways};

both_ways!(
    a_pause_of_writes_stops_no_read_of_others,
    a_pause_within_a_transaction_stops_no_read_of_others,
    an_unpause_lets_everything_go_on,
    who_is_parked_is_unblocked_in_a_pause,
);

/// Much longer than the test: a read that waits for the end of the pause fails it.
const PAUSE: &str = "CLIENT PAUSE 600000 WRITE";

fn a_pause_of_writes_stops_no_read_of_others(way: Way) {
    only_writes_wait(way, |operator| assert_eq!(operator.call(PAUSE), Value::ok()));
}

fn a_pause_within_a_transaction_stops_no_read_of_others(way: Way) {
    only_writes_wait(way, |operator| {
        let executed = operator.pipeline(&["MULTI", PAUSE, "SET other x", "EXEC"]).pop();
        assert_eq!(executed, Some(Value::Array(vec![Value::ok(), Value::ok()])));
    });
}

#[track_caller]
fn only_writes_wait(way: Way, pause: impl FnOnce(&mut Client)) {
    let target = Target::new(way, 1);
    let (mut operator, mut writer) = (target.client(), target.client());
    // On every worker there is one who shares the writer's connection, unless it has one of its own.
    let mut readers: Vec<_> = (0..8).map(|_| target.client()).collect();
    assert_eq!(writer.call("SET k before"), Value::ok());
    pause(&mut operator);
    writer.send(&["SET", "k", "after"]);
    eventually(LONG, "the write stands at the server", || {
        target.primary().info("blocked_clients").is_some_and(|count| count == "1")
    });
    for _ in 0..3 {
        readers.iter_mut().for_each(|reader| assert_eq!(reader.call("GET k"), Value::bulk("before")));
    }
    assert_eq!(operator.call("CLIENT UNPAUSE"), Value::ok());
    assert_eq!(writer.read(), Value::ok());
    readers.iter_mut().for_each(|reader| assert_eq!(reader.call("GET k"), Value::bulk("after")));
}

fn an_unpause_lets_everything_go_on(way: Way) {
    let target = Target::new(way, 0);
    let (mut operator, mut client) = (target.client(), target.client());
    assert_eq!(operator.call(PAUSE), Value::ok());
    client.send(&["INCR", "n"]);
    client.send(&["INCR", "n"]);
    assert_eq!(operator.call("CLIENT UNPAUSE"), Value::ok());
    assert_eq!((client.read(), client.read()), (Value::Int(1), Value::Int(2)));
    // Requests share connections again.
    let mut others: Vec<_> = (0..20).map(|_| target.client()).collect();
    let connections =
        || target.primary().info("connected_clients").and_then(|count| count.parse::<usize>().ok());
    others.iter_mut().for_each(|client| assert_eq!(client.call("GET n"), Value::bulk("2")));
    if way == Way::Proxied {
        assert!(connections().is_some_and(|count| count < 20), "{:?}", connections());
    }
}

fn who_is_parked_is_unblocked_in_a_pause(way: Way) {
    let target = Target::new(way, 0);
    let (mut operator, mut parked) = (target.client(), target.client());
    let id = parked.call("CLIENT ID").int().expect("a number");
    parked.send(&["BLPOP", "none", "0"]);
    eventually(LONG, "it is parked", || target.primary().info("blocked_clients").is_some_and(|n| n == "1"));
    assert_eq!(operator.call(PAUSE), Value::ok());
    assert_eq!(operator.call("CLIENT UNBLOCK 999999"), Value::Int(0));
    assert_eq!(operator.call(&format!("CLIENT UNBLOCK {id}")), Value::Int(1));
    assert_eq!(parked.read(), Value::Nil);
}

#[test]
fn a_setting_of_redholds_is_granted_or_refused_in_a_pause_as_ever() {
    let target = Target::new(Way::Proxied, 0);
    let mut client = target.client();
    // It is Redhold's own doing, a moment after the start.
    let present = |client: &mut Client| client.call("CONFIG GET repl-timeout").items()[1].text();
    eventually(LONG, "it is set", || present(&mut client).as_deref() == Some("10"));
    let requests = ["CONFIG SET repl-timeout 10", "CONFIG SET repl-timeout 7", "REPLICAOF NO ONE"];
    let mut answers = || requests.map(|request| client.call(request));
    let before = answers();
    assert_eq!(before[0], Value::ok(), "it is the present value");
    assert_eq!(target.client().call(PAUSE), Value::ok());
    assert_eq!(answers(), before);
}
