//! `proxy.batching`: what comes while a worker waits reaches the node in one piece.

use crate::support::{Client, Group, Proxy, ProxyOptions, Value};

const CLIENTS: usize = 64;

/// A node, a proxy with one worker in front of it, and many clients.
struct Bench {
    group: Group,
    _proxy: Proxy,
    clients: Vec<Client>,
}

impl Bench {
    fn new(batching: &str) -> Self {
        let group = Group::plain(0);
        let options = ProxyOptions::new(&group.addresses()).looking_once_a_minute().set("proxy.workers", "1");
        let proxy = options.set("proxy.batching", &format!("{batching:?}")).start();
        let clients = (0..CLIENTS).map(|_| proxy.client()).collect();
        Self { group, _proxy: proxy, clients }
    }

    /// Times that the server had to read for a request of each client, sent one after the other.
    fn reads(&mut self) -> u64 {
        let node = &self.group.nodes()[0];
        let total = || node.info("total_reads_processed").and_then(|count| count.parse::<u64>().ok());
        let before = total().expect("servers count reads");
        self.clients.iter_mut().for_each(|client| client.send(&["ECHO", "x"]));
        for client in &mut self.clients {
            assert_eq!(client.read(), Value::bulk("x"));
        }
        total().expect("servers count reads") - before
    }
}

#[test]
fn requests_that_come_within_the_wait_are_passed_on_together() {
    let (mut none, mut waits) = (Bench::new("none"), Bench::new("400us"));
    let (mut single, mut together) = (0, 0);
    for _ in 0..200 {
        single += none.reads();
        together += waits.reads();
    }
    println!("{single} reads at once, {together} gathered");
    assert!(together < single, "{together} reads gathered, {single} at once");
}
