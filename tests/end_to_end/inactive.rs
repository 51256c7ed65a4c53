//! Who does nothing for `proxy.idle_timeout` is closed, who waits for something is not.

use std::time::{Duration, Instant};

use crate::support::{Bystander, Client, LONG, Proxy, ProxyOptions, Server, Value, encode, eventually};

fn closing_after(server: &Server, timeout: &str) -> Proxy {
    ProxyOptions::new(&[server.address()]).set("proxy.idle_timeout", &format!("\"{timeout}\"")).start()
}

/// Several times as long as may be done nothing.
#[track_caller]
fn let_the_idle_go(proxy: &Proxy) {
    for _ in 0..3 {
        let mut idle = proxy.client();
        assert_eq!(idle.call("ECHO here"), Value::bulk("here"));
        assert_eq!(idle.read_to_close(), b"", "without a word, as Redis does");
    }
}

#[test]
fn who_asks_for_nothing_is_closed() {
    let server = Server::start();
    let proxy = closing_after(&server, "1s");
    let start = Instant::now();
    let_the_idle_go(&proxy);
    assert!(start.elapsed() >= Duration::from_secs(3), "no sooner");
    let mut never_asked = proxy.client();
    assert_eq!(never_asked.read_to_close(), b"");
    let mut in_transaction = proxy.client();
    assert_eq!(in_transaction.call("MULTI"), Value::ok());
    assert_eq!(in_transaction.read_to_close(), b"");
    let series = "redhold_errors_total{kind=\"idle_timeout\"}";
    assert_eq!(proxy.metric(series), Some(5.0));
}

#[test]
fn who_waits_for_something_is_not() {
    let server = Server::start();
    let proxy = closing_after(&server, "1s");
    let [mut subscriber, mut blocked, mut monitor, mut owed] = [(); 4].map(|()| proxy.client());
    subscriber.call("SUBSCRIBE news");
    assert_eq!(monitor.call("MONITOR"), Value::ok());
    blocked.send(&["BLPOP", "list", "0"]);
    eventually(LONG, "it is blocked", || {
        server.call("INFO clients").text().is_some_and(|info| info.contains("blocked_clients:1"))
    });
    server.sigstop();
    owed.send(&["GET", "k"]);
    let mut idle = proxy.client();
    assert_eq!(idle.read_to_close(), b"");
    let mut idle = proxy.client();
    assert_eq!(idle.read_to_close(), b"");
    server.sigcont();
    assert_eq!(owed.read(), Value::Nil);
    let_the_idle_go(&proxy);
    let mut direct = server.client();
    direct.call("PUBLISH news today");
    direct.call("RPUSH list element");
    assert_eq!(subscriber.read().items().len(), 3);
    assert_eq!(blocked.read().items().len(), 2);
    assert!(matches!(monitor.read(), Value::Simple(_)));
}

/// It sends a byte from time to time, which is all that keeps many servers waiting.
#[test]
fn a_request_that_does_not_come_to_its_end_is_given_up() {
    let server = Server::start();
    let proxy = closing_after(&server, "300ms");
    let request = encode(&["SET", "k", &"v".repeat(10_000)]);
    let mut slow = proxy.client();
    assert_eq!(slow.call("SET k v"), Value::ok());
    let given_up = request.iter().any(|byte| {
        std::thread::sleep(Duration::from_millis(10));
        slow.try_send_raw(std::slice::from_ref(byte)).is_err()
    });
    assert!(given_up, "all of it was taken, over 100 s");
    assert_eq!(proxy.client().call("GET k"), Value::bulk("v"));
}

/// Bounded in number by `proxy.max_clients`, and in time by this.
#[test]
fn a_crowd_that_sends_a_byte_from_time_to_time_is_given_up_and_others_are_served() {
    let server = Server::start();
    let proxy = closing_after(&server, "2s");
    let bystander = Bystander::start(proxy.address(), server.address());
    let request = encode(&["SET", "k", &"v".repeat(10_000)]);
    let mut crowd: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
    for byte in &request {
        crowd.retain_mut(|client| client.try_send_raw(std::slice::from_ref(byte)).is_ok());
        if crowd.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(crowd.is_empty(), "{} were waited for to the end", crowd.len());
    bystander.finish_undisturbed();
    assert_eq!(proxy.client().call("EXISTS k"), Value::Int(0));
    assert_eq!(proxy.metric("redhold_errors_total{kind=\"idle_timeout\"}"), Some(200.0));
}

#[test]
fn who_does_not_read_is_given_up() {
    let server = Server::start();
    let proxy = closing_after(&server, "300ms");
    let value = "v".repeat(32 << 20);
    assert_eq!(server.client().cmd(&["SET", "big", &value]), Value::ok());
    let mut deaf = proxy.client();
    deaf.send(&["GET", "big"]);
    eventually(LONG, "it is closed", || {
        proxy.metric("redhold_errors_total{kind=\"idle_timeout\"}") == Some(1.0)
    });
    assert!(deaf.read_to_close().len() < value.len());
}

/// A reply that takes twice as long to be read as may be done nothing.
const BIG: usize = 32 << 20;

fn slowly(client: &mut Client, bytes: &[u8]) {
    for piece in bytes.chunks(4 << 10) {
        client.send_raw(piece);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_comes_on_with_a_long_request_or_reply_may_take_his_time() {
    let server = Server::start();
    assert_eq!(server.client().cmd(&["SET", "big", &"v".repeat(BIG)]), Value::ok());
    let proxy = closing_after(&server, "2s");
    let mut client = Client::connect_narrow(proxy.address());
    assert_eq!(client.call("SET k v"), Value::ok());
    // Below and above what is passed on as it comes.
    for size in [900 << 10, 2 << 20] {
        let value = "v".repeat(size);
        slowly(&mut client, &encode(&["SET", "k", &value]));
        assert_eq!(client.read(), Value::ok());
        client.send(&["GET", "k"]);
        assert_eq!(client.read(), Value::bulk(value.as_str()));
    }
    // What the kernel has of it at last may be read when the proxy has closed.
    client.send(&["GET", "big"]);
    let mut left = format!("${BIG}\r\n").len() + BIG + 2;
    while left > 0 {
        left -= client.read_raw(left.min(64 << 10)).len();
        std::thread::sleep(Duration::from_millis(8));
    }
}
