//! What a reload changes while clients are served.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::support::{Client, LONG, Proxy, ProxyOptions, Server, Value, encode, eventually, row_field};

/// Gives a key of the configuration file this value and orders that the file is read again; what is answered.
#[track_caller]
fn reload(proxy: &Proxy, path: &str, value: impl Into<toml::Value>) -> String {
    let text = fs::read_to_string(proxy.config_file()).expect("the file is there");
    let mut file: toml::Table = text.parse().expect("it is TOML");
    let (section, key) = path.split_once('.').expect("a key path has a section");
    let section = file.entry(section).or_insert_with(|| toml::Table::new().into());
    section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
    fs::write(proxy.config_file(), file.to_string()).expect("the file can be written");
    let (code, body) = proxy.http("POST", "/api/reload").expect("the admin page answers");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(code, 200, "{body}");
    body["answer"].as_str().expect("a sentence").to_owned()
}

/// The same, where it is taken at once.
#[track_caller]
fn take(proxy: &Proxy, path: &str, value: impl Into<toml::Value>) {
    assert_eq!(reload(proxy, path, value), format!("now as the file says: {path}"));
}

fn from(last: u8, proxy: &Proxy) -> Client {
    Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), proxy.address())
}

#[track_caller]
fn is_served(mut client: Client) -> Client {
    assert_eq!(client.call("ECHO served"), Value::bulk("served"));
    client
}

#[track_caller]
fn is_sent_away(mut client: Client, because: &str) {
    let words = String::from_utf8(client.read_to_close()).expect("words");
    assert!(words.starts_with(because), "{words}");
}

#[test]
fn who_comes_meets_the_limits_that_the_file_has_now_and_who_is_there_stays() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let here = [2, 3].map(|address| is_served(from(address, &proxy)));

    take(&proxy, "proxy.deny", vec!["127.0.0.2"]);
    is_sent_away(from(2, &proxy), "-DENIED ");
    take(&proxy, "proxy.deny", Vec::<String>::new());
    drop(is_served(from(2, &proxy)));
    take(&proxy, "proxy.allow", vec!["127.0.0.1", "127.0.0.3"]);
    is_sent_away(from(2, &proxy), "-DENIED ");

    // Who came while any number might counts.
    take(&proxy, "limits.clients_per_address", 1);
    is_sent_away(from(3, &proxy), "-ERR max number of clients reached for your address");
    drop(is_served(from(1, &proxy)));

    eventually(LONG, "two are left", || proxy.metric("redhold_clients") == Some(2.0));
    take(&proxy, "proxy.max_clients", 2);
    is_sent_away(from(1, &proxy), "-ERR max number of clients reached\r\n");
    assert_eq!(proxy.errors("max_clients"), 1.0);
    drop(here.map(is_served));
    eventually(LONG, "they are gone", || proxy.metric("redhold_clients") == Some(0.0));
    drop(is_served(from(1, &proxy)));
}

#[test]
fn connections_in_a_second_are_as_many_as_the_file_has_now() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    drop(is_served(proxy.client()));
    take(&proxy, "limits.connections_per_second", 5);
    // This one was waited for before.
    drop(is_served(proxy.client()));
    let start = Instant::now();
    let clients: Vec<_> = (0..9).map(|_| proxy.client()).collect();
    clients.into_iter().for_each(|client| drop(is_served(client)));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(600), "5 at once and 4 at 5 a second in {took:?}");
}

#[test]
fn a_balancer_is_believed_from_the_moment_that_it_is_named() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    take(&proxy, "proxy.trusted", vec!["127.0.0.2"]);
    take(&proxy, "proxy.proxy_protocol", true);
    let mut client = from(2, &proxy);
    client.send_raw(b"PROXY TCP4 10.1.2.3 10.0.0.9 5000 6380\r\n");
    let row = client.call("CLIENT INFO").text().expect("a row");
    assert_eq!(row_field(&row, "addr").as_deref(), Some("10.1.2.3:5000"));
    take(&proxy, "proxy.trusted", vec!["127.0.0.9"]);
    is_served(from(2, &proxy));
    is_served(client);
}

#[test]
fn who_rests_is_closed_once_the_file_says_so() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut idle = is_served(proxy.client());
    take(&proxy, "proxy.idle_timeout", "1s");
    assert_eq!(idle.read_to_close(), b"");
    take(&proxy, "proxy.idle_timeout", "0s");
    let mut idle = is_served(proxy.client());
    assert!(idle.is_silent_for(Duration::from_millis(2_500)));
    is_served(idle);
}

#[test]
fn the_largest_are_closed_when_the_file_leaves_less_memory() {
    const MIB: usize = 1 << 20;
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let request = encode(&["SET", "k", &"v".repeat(MIB / 2)]);
    let mut clients: Vec<_> = (0..10).map(|_| is_served(proxy.client())).collect();
    clients.iter_mut().for_each(|client| client.send_raw(&request[..request.len() - 1]));
    let held = || proxy.metric("redhold_client_memory_bytes").unwrap_or_default();
    eventually(LONG, "all wait", || held() >= 5.0 * MIB as f64);
    take(&proxy, "limits.memory", "2MiB");
    // It is looked at when somebody takes more.
    let mut one_more = is_served(proxy.client());
    one_more.send_raw(&request[..request.len() / 2]);
    eventually(LONG, "the others fit", || held() <= 2.0 * MIB as f64);
    assert!(proxy.log().contains("requests and replies of all clients exceed limits.memory"));
    is_served(proxy.client());
}

#[test]
fn the_end_takes_as_long_as_the_file_says_at_the_end() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]);
    let mut proxy = options.set("proxy.drain_delay", "\"1h\"").set("proxy.drain_timeout", "\"1h\"").start();
    let mut subscriber = proxy.client();
    assert_eq!(subscriber.call("SUBSCRIBE news").items().len(), 3);
    take(&proxy, "proxy.drain_delay", "0s");
    take(&proxy, "proxy.drain_timeout", "100ms");
    proxy.sigterm();
    assert!(proxy.wait_exit().success());
}

#[test]
fn what_only_a_restart_changes_is_named_each_time_and_what_was_taken_once() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    assert_eq!(
        reload(&proxy, "proxy.workers", 1),
        "proxy.workers waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    let both = "now as the file says: proxy.max_clients; proxy.workers waits for an upgrade in place (`redhold upgrade`) or a restart";
    assert_eq!(reload(&proxy, "proxy.max_clients", 77), both);
    assert_eq!(
        reload(&proxy, "proxy.max_clients", 77),
        "proxy.workers waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    assert!(proxy.log().contains("the configuration file changes proxy.max_clients"), "{}", proxy.log());
}
