//! CLIENT MAINT_NOTIFICATIONS: who is told of holds and of the end of the proxy, in which form, and where in the stream.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, eventually_some};

const ON: &str = "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type external-ip";

fn unknown() -> Value {
    Value::Error("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.".to_owned())
}

/// A RESP3 client that is told, and what that takes.
fn told(proxy: &Proxy, request: &str) -> Client {
    let mut client = Client::connect_resp3(proxy.address());
    assert_eq!(client.call(request), Value::ok(), "{request}");
    client
}

/// The name and the number of the notice that comes next.
#[track_caller]
fn notice(client: &mut Client) -> (String, i64, Vec<Value>) {
    let push = client.read();
    let Value::Push(items) = &push else { panic!("{push:?}") };
    let (name, number) = (items[0].text().expect("a name"), items[1].int().expect("a number"));
    (name, number, items[2..].to_vec())
}

/// Reads notices up to the end of a hold; those of its beginning and its end have to be these. A switchover that was put
/// back for want of processor time comes before it.
#[track_caller]
fn read_hold(client: &mut Client, begins: &str, ends: &str) -> [i64; 2] {
    let shards = Value::bulk("[\"1\"]");
    let (name, first, rest) = notice(client);
    assert_eq!((name.as_str(), &rest), (begins, &vec![Value::Int(5), shards.clone()]));
    let (name, second, rest) = notice(client);
    assert_eq!((name.as_str(), &rest), (ends, &vec![shards]));
    assert!(second > first, "numbers grow: {first}, {second}");
    [first, second]
}

#[test]
fn clients_are_told_of_a_switchover_and_all_of_them_by_the_same_numbers() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut clients: Vec<Client> = (0..4).map(|_| told(&proxy, ON)).collect();
    let mut other = Client::connect_resp3(proxy.address());
    let mut subscriber = told(&proxy, ON);
    assert!(matches!(subscriber.call("SUBSCRIBE news"), Value::Push(_)));
    let refusals = proxy.switch_over();
    let mut seen = Vec::new();
    for client in clients.iter_mut().chain([&mut subscriber]) {
        let mut holds = vec![read_hold(client, "MIGRATING", "MIGRATED")];
        while holds.len() <= refusals.len() && !client.is_silent_for(Duration::from_millis(300)) {
            holds.push(read_hold(client, "MIGRATING", "MIGRATED"));
        }
        seen.push(holds);
    }
    assert!(seen.iter().all(|holds| *holds == seen[0]), "{seen:?}");
    assert_eq!(clients[0].call("SET k v"), Value::ok());
    assert_eq!(other.call("GET k"), Value::bulk("v"), "who did not ask is told nothing");
}

#[test]
fn clients_are_told_of_a_failover_before_and_after() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = told(&proxy, ON);
    group.wait_in_sync(0);
    group.node(0).kill9();
    read_hold(&mut client, "FAILING_OVER", "FAILED_OVER");
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(proxy.status()["epoch"], 2);
}

#[test]
fn who_takes_it_back_says_reset_or_leaves_resp3_is_told_nothing() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let [mut off, mut reset, mut resp2] = [(); 3].map(|()| told(&proxy, ON));
    assert_eq!(off.call("CLIENT MAINT_NOTIFICATIONS OFF"), Value::ok());
    assert_eq!(reset.call("RESET"), Value::Simple("RESET".to_owned()));
    assert_eq!(resp2.call("HELLO 2").items().len() % 2, 0);
    assert!(matches!(resp2.call("HELLO 3"), Value::Map(_)));
    let mut witness = told(&proxy, ON);
    proxy.switch_over();
    read_hold(&mut witness, "MIGRATING", "MIGRATED");
    for client in [&mut off, &mut reset, &mut resp2] {
        assert!(client.is_silent_for(Duration::from_millis(300)));
        assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
    }
}

#[test]
fn who_wants_no_replies_gets_no_notice_between_them() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").start();
    let mut quiet = told(&proxy, ON);
    quiet.send(&["CLIENT", "REPLY", "OFF"]);
    quiet.send(&["SET", "k", "v"]);
    // Of one thread's clients those that came first are told first.
    let mut witness = told(&proxy, ON);
    eventually_some(LONG, "the silent write is there", || {
        (witness.call("GET k") == Value::bulk("v")).then_some(())
    });
    proxy.switch_over();
    read_hold(&mut witness, "MIGRATING", "MIGRATED");
    assert_eq!(quiet.call("CLIENT REPLY ON"), Value::ok());
    assert_eq!(quiet.call("GET k"), Value::bulk("v"));
}

#[test]
fn a_server_without_it_is_what_resp2_clients_and_configurations_without_it_see() {
    let server = Server::start();
    let (with, without) = (
        Proxy::start(&[server.address()]),
        ProxyOptions::new(&[server.address()]).set("proxy.maint_notifications", "false").start(),
    );
    for request in [ON, "CLIENT MAINT_NOTIFICATIONS OFF", "CLIENT MAINT_NOTIFICATIONS ON nonsense"] {
        assert_eq!(with.client().call(request), unknown(), "{request}");
        let mut client = Client::connect_resp3(without.address());
        assert_eq!(client.call(request), unknown(), "{request}");
    }
    let mut client = Client::connect_resp3(with.address());
    for (request, words) in [
        ("CLIENT MAINT_NOTIFICATIONS PERHAPS", "ERR syntax error"),
        ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type x", "ERR unknown moving-endpoint-type 'x'"),
    ] {
        assert_eq!(client.call(request), Value::Error(words.to_owned()), "{request}");
    }
    server.call("CONFIG SET requirepass sesame");
    let refused = client.call(ON);
    assert_eq!(refused, Value::ok(), "the node has let it in before");
    let mut stranger = with.client();
    assert!(stranger.call("HELLO 3").error().is_some_and(|text| text.starts_with("NOAUTH")));
}

#[test]
fn a_drain_tells_where_to_go_and_for_how_long_there_is_time() {
    let server = Server::start();
    let start = |announce: &str| {
        ProxyOptions::new(&[server.address()])
            .set("proxy.drain_delay", "\"4s\"")
            .set("proxy.announce", announce)
            .start()
    };
    let mut proxy = start("\"redis.example:6380\"");
    let (mut named, mut unnamed) =
        (told(&proxy, ON), told(&proxy, "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none"));
    proxy.sigterm();
    for (client, address) in [(&mut named, Value::bulk("redis.example:6380")), (&mut unnamed, Value::Nil)] {
        let (name, number, rest) = notice(client);
        assert_eq!((name.as_str(), number, &rest[1]), ("MOVING", 1, &address));
        assert!(rest[0].int().is_some_and(|seconds| (1..=4).contains(&seconds)), "{rest:?}");
        assert_eq!(client.call("SET k v"), Value::ok(), "everybody is served");
    }
    // Who comes from where it was sent is not sent away again.
    let mut late = told(&proxy, ON);
    assert_eq!(late.call("GET k"), Value::bulk("v"));
    assert!(proxy.wait_exit().success());
    for client in [&mut named, &mut unnamed, &mut late] {
        assert_eq!(client.read_to_close(), b"");
    }
    let mut silent = start("\"\"");
    let mut named = told(&silent, ON);
    silent.sigterm();
    assert!(silent.wait_exit().success());
    assert_eq!(named.read_to_close(), b"", "no address is known to it");
}

#[test]
fn a_drain_without_delay_tells_who_holds_something() {
    let server = Server::start();
    let mut proxy = ProxyOptions::new(&[server.address()]).set("proxy.announce", "\"b:1\"").start();
    let (mut idle, mut holder) = (told(&proxy, ON), told(&proxy, ON));
    assert!(matches!(holder.call("SUBSCRIBE news"), Value::Push(_)));
    proxy.sigterm();
    let (name, _, rest) = notice(&mut holder);
    assert_eq!((name.as_str(), &rest[1]), ("MOVING", &Value::bulk("b:1")));
    assert_eq!(idle.read_to_close(), b"");
    drop(holder);
    assert!(proxy.wait_exit().success());
}

/// Larger than what the sockets on the way hold, so that it can be stopped in its middle.
const LARGE: usize = 64 << 20;

#[test]
fn a_notice_waits_for_the_end_of_a_reply_that_has_begun() {
    let server = Server::start();
    server.client().cmd(&["SETRANGE", "large", &(LARGE - 1).to_string(), "x"]);
    let relay = Relay::to(server.address());
    let proxy = ProxyOptions::new(&[relay.address()])
        .set("proxy.drain_delay", "\"60s\"")
        .set("proxy.announce", "\"b:1\"")
        .looking_once_a_minute()
        .start();
    let mut client = told(&proxy, ON);
    let header = format!("${LARGE}\r\n");
    let quiet = Duration::from_millis(300);
    let mut left = eventually_some(LONG, "the relay stops in the middle of the reply", || {
        client.send(&["GET", "large"]);
        assert_eq!(client.read_raw(header.len()), header.as_bytes());
        relay.stall();
        let left = LARGE + 2 - client.read_until_silent(quiet, LARGE + 2).len();
        if left == 0 {
            relay.resume();
        }
        (left > 0).then_some(left)
    });
    proxy.sigterm();
    eventually_some(LONG, "the drain has begun", || {
        proxy.http("GET", "/readyz").filter(|(code, _)| *code == 503)
    });
    let before = client.read_until_silent(quiet, left);
    relay.resume();
    left -= before.len();
    assert!(left > 2, "the rest comes later");
    let after = client.read_raw(left);
    let is_value = |bytes: &[u8]| bytes.iter().all(|byte| b"\0x\r\n".contains(byte));
    assert!(is_value(&before) && is_value(&after), "no notice in the middle of a reply");
    assert_eq!(notice(&mut client).0, "MOVING");
    assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
}
