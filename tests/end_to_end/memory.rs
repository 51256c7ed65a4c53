//! What all clients' requests and replies may take together.

use std::time::Duration;

use crate::support::{Client, LONG, Proxy, ProxyOptions, Server, Value, encode, eventually};

const MIB: usize = 1 << 20;

fn held(proxy: &Proxy) -> f64 {
    proxy.metric("redhold_client_memory_bytes").unwrap_or_default()
}

fn closed(proxy: &Proxy) -> Option<f64> {
    proxy.metric("redhold_errors_total{kind=\"memory\"}")
}

#[test]
fn the_client_that_holds_most_is_closed_and_the_others_are_not_concerned() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("limits.memory", "\"40MiB\"").start();
    let value = "v".repeat(32 * MIB);
    assert_eq!(server.client().cmd(&["SET", "big", &value]), Value::ok());
    let [mut largest, mut second, mut small] = [(); 3].map(|()| proxy.client());
    largest.send(&["GET", "big"]);
    eventually(LONG, "its reply waits in the proxy", || held(&proxy) > 20.0 * MIB as f64);
    assert!(!proxy.log().contains("limits.memory"), "one has room");
    second.send(&["GET", "big"]);
    eventually(LONG, "one is closed", || closed(&proxy) == Some(1.0));
    assert_eq!(second.read(), Value::bulk(value.as_str()));
    assert_eq!(second.call("ECHO well"), Value::bulk("well"));
    assert_eq!(small.call("ECHO well"), Value::bulk("well"));
    assert!(largest.read_to_close().len() < value.len(), "it gets no more than the kernel had of it");
    assert!(proxy.log().contains("requests and replies of all clients exceed limits.memory"));
    eventually(LONG, "all is given back", || held(&proxy) == 0.0);
    assert_eq!(closed(&proxy), Some(1.0));
}

/// One that has begun a request and does not end it.
fn begun(proxy: &Proxy, request: &[u8]) -> Client {
    let mut client = proxy.client();
    // Nobody sends as much before the node has admitted him.
    assert_eq!(client.call("SET k v"), Value::ok());
    client.send_raw(&request[..request.len() - 1]);
    client
}

#[test]
fn what_is_not_served_yet_is_counted() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let request = encode(&["SET", "k", &"v".repeat(MIB / 2)]);
    let mut client = begun(&proxy, &request);
    // Its buffer may be larger, but not by half.
    let bytes = request.len() as f64;
    eventually(LONG, "it is counted", || (bytes - 1.0..bytes * 1.5).contains(&held(&proxy)));
    client.send_raw(&request[request.len() - 1..]);
    assert_eq!(client.read(), Value::ok());
    eventually(LONG, "it is served", || held(&proxy) == 0.0);
}

#[test]
fn requests_without_an_end_fill_no_more_and_who_is_closed_is_told() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("limits.memory", "\"4MiB\"").start();
    let request = encode(&["SET", "k", &"v".repeat(MIB / 2)]);
    let mut clients: Vec<_> = (0..20).map(|_| begun(&proxy, &request)).collect();
    eventually(LONG, "those that fit are left", || proxy.metric("redhold_clients") <= Some(8.0));
    let (mut told, mut served) = (0, 0);
    for client in &mut clients {
        if client.is_silent_for(Duration::from_millis(20)) {
            client.send_raw(&request[request.len() - 1..]);
            assert_eq!(client.read(), Value::ok());
            served += 1;
        } else {
            let line = String::from_utf8(client.read_to_close()).expect("words");
            assert!(
                line.starts_with("-ERR requests and replies of all clients exceed limits.memory"),
                "{line}"
            );
            assert!(line.ends_with("this request was not executed\r\n"), "{line}");
            told += 1;
        }
    }
    assert!((6..=8).contains(&served), "{served} of half a MiB in 4 MiB");
    assert_eq!((told, closed(&proxy)), (20 - served, Some(f64::from(20 - served))));
}
