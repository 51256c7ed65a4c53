//! Who may come in: networks, clients of an address, connections in a second, and who says for whom he comes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::support::{Client, LONG, Proxy, ProxyOptions, Server, Value, eventually, row_field};

const fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

fn from(last: u8, proxy: &Proxy) -> Client {
    Client::connect_from(loopback(last), proxy.address())
}

fn pong() -> Value {
    Value::Simple("PONG".to_owned())
}

fn errors(proxy: &Proxy, kind: &str) -> Option<f64> {
    proxy.metric(&format!("redhold_errors_total{{kind=\"{kind}\"}}"))
}

/// What a client is told who is sent away.
#[track_caller]
fn told(mut client: Client) -> String {
    String::from_utf8(client.read_to_close()).expect("words")
}

#[test]
fn networks_that_may_not_come_are_told_so() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options
        .set("proxy.allow", "[\"127.0.0.0/29\"]")
        .set("proxy.deny", "[\"127.0.0.3\", \"fd00::/8\"]")
        .start();
    assert_eq!(from(2, &proxy).call("PING"), pong());
    for denied in [3, 8] {
        assert_eq!(told(from(denied, &proxy)), "-DENIED Redhold takes no connections from your address\r\n");
    }
    assert_eq!(errors(&proxy, "denied"), Some(2.0));
    assert!(proxy.log().contains("proxy.allow, proxy.deny"), "{}", proxy.log());
    assert_eq!(from(2, &proxy).call("PING"), pong());
}

#[test]
fn an_address_has_so_many_clients_and_others_are_not_concerned() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("limits.clients_per_address", "3").start();
    let mut three: Vec<_> = (0..3).map(|_| from(2, &proxy)).collect();
    three.iter_mut().for_each(|client| assert_eq!(client.call("PING"), pong()));
    assert_eq!(told(from(2, &proxy)), "-ERR max number of clients reached for your address\r\n");
    assert_eq!(from(3, &proxy).call("PING"), pong());
    assert_eq!(errors(&proxy, "clients_per_address"), Some(1.0));
    drop(three.pop());
    eventually(LONG, "its place is free again", || {
        let mut client = from(2, &proxy);
        client.try_cmd(&["PING"]).is_ok_and(|reply| reply == pong())
    });
    three.iter_mut().for_each(|client| assert_eq!(client.call("PING"), pong()));
}

/// Nobody is refused: who comes too early waits in the kernel's queue.
#[test]
fn more_connections_in_a_second_than_may_come_wait() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("limits.connections_per_second", "20").start();
    let start = Instant::now();
    let mut clients: Vec<_> = (0..32).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.call("PING"), pong()));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500), "20 at once and 12 at 20 a second in {took:?}");
}

fn behind_a_balancer() -> (Server, Proxy) {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options
        .set("proxy.proxy_protocol", "true")
        .set("proxy.trusted", "[\"127.0.0.2\"]")
        .set("proxy.deny", "[\"10.66.0.0/16\"]")
        .set("limits.clients_per_address", "2")
        .start();
    (server, proxy)
}

/// A client of this address as a balancer at 127.0.0.2 announces it.
fn announced(proxy: &Proxy, address: &str) -> Client {
    let mut client = from(2, proxy);
    client.send_raw(format!("PROXY TCP4 {address} 10.0.0.9 5000 6380\r\n").as_bytes());
    client
}

fn row_of(client: &mut Client) -> String {
    client.call("CLIENT INFO").text().expect("a row")
}

#[test]
fn a_client_behind_a_trusted_balancer_is_known_by_its_own_address() {
    let (_server, proxy) = behind_a_balancer();
    let mut client = announced(&proxy, "10.1.2.3");
    let row = row_of(&mut client);
    assert_eq!(row_field(&row, "addr").as_deref(), Some("10.1.2.3:5000"));
    assert_eq!(row_field(&row, "laddr").as_deref(), Some("10.0.0.9:6380"));
    // Version 2, in pieces, and the first request in the last piece.
    let mut other = from(2, &proxy);
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x04\x0a\0\0\x09\x13\x88\x18\xec";
    other.send_raw(&header[..7]);
    assert!(other.is_silent_for(Duration::from_millis(20)));
    other.send_raw(&[&header[7..], b"CLIENT INFO\r\n"].concat());
    let row = other.read().text().expect("a row");
    assert_eq!(row_field(&row, "addr").as_deref(), Some("10.1.2.4:5000"));
    // The balancer looks whether we live.
    let mut balancer = from(2, &proxy);
    balancer.send_raw(b"PROXY UNKNOWN\r\nPING\r\n");
    assert_eq!(balancer.read(), pong());
    assert!(row_field(&row_of(&mut balancer), "addr").is_some_and(|addr| addr.starts_with("127.0.0.2:")));
}

#[test]
fn limits_hold_for_the_client_and_not_for_its_balancer() {
    let (_server, proxy) = behind_a_balancer();
    let mut clients: Vec<_> = (0..6).map(|n| announced(&proxy, &format!("10.1.2.{}", n / 2))).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.call("PING"), pong()));
    assert_eq!(
        told(announced(&proxy, "10.1.2.1")),
        "-ERR max number of clients reached for your address\r\n"
    );
    assert_eq!(
        told(announced(&proxy, "10.66.1.1")),
        "-DENIED Redhold takes no connections from your address\r\n"
    );
    assert_eq!((errors(&proxy, "clients_per_address"), errors(&proxy, "denied")), (Some(1.0), Some(1.0)));
}

/// Whoever is not trusted can not pass for somebody else: to him the word is a command, and he stays who he is.
#[test]
fn who_is_not_trusted_can_not_say_that_he_comes_for_others() {
    let (_server, proxy) = behind_a_balancer();
    let mut spoofer = from(3, &proxy);
    spoofer.send_raw(b"PROXY TCP4 10.1.2.3 10.0.0.9 5000 6380\r\n");
    assert!(spoofer.read().error().is_some(), "it is a request like any other");
    let row = row_of(&mut spoofer);
    assert!(row_field(&row, "addr").is_some_and(|addr| addr.starts_with("127.0.0.3:")), "{row}");
    let mut spoofer = from(3, &proxy);
    spoofer.send_raw(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x04\x0a\0\0\x09\x13\x88\x18\xec");
    // As in Redis, a line with a zero byte before its end has none.
    assert!(spoofer.is_silent_for(Duration::from_millis(20)));
    let mut other = from(4, &proxy);
    let list = other.call("CLIENT LIST").text().expect("rows");
    assert!(!list.contains("addr=10."), "{list}");
}

#[test]
fn a_balancer_without_a_header_is_told_what_is_missing() {
    let (_server, proxy) = behind_a_balancer();
    for bytes in
        [b"*1\r\n$4\r\nPING\r\n".as_slice(), b"PROXY TCP4 nonsense\r\nPING\r\n", b"\r\n\r\n\0\r\nQUITE"]
    {
        let mut client = from(2, &proxy);
        client.send_raw(bytes);
        client.finish_sending();
        assert_eq!(told(client), "-ERR a PROXY header is expected from your address\r\n");
    }
    assert_eq!(errors(&proxy, "proxy_header"), Some(3.0));
}
