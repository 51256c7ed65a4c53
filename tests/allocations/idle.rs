//! What a client costs that does nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Test;
use crate::counted::Counted;
use crate::support::{Group, LONG, ProxyOptions, eventually};

pub const TESTS: &[Test] = &[("an_idle_client_costs_little", costs)];

/// As many as fit into the usual limit of 1,024 open files.
const CLIENTS: usize = 800;
/// Bytes in use for each: what it takes today, and a little.
const EACH: u64 = 1_800;

fn costs() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").looking_once_a_minute();
    let mut counted = Counted::start(options);
    let mut first = counted.proxy.client();
    first.call("GET none");
    let series = "redhold_clients";
    eventually(LONG, "one client alone", || counted.proxy.metric(series) == Some(1.0));
    let before = counted.counts().in_use;
    let connect = |_| TcpStream::connect(counted.proxy.address()).expect("ports and descriptors are left");
    let mut idle: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    let all = Some((CLIENTS + 1) as f64);
    eventually(LONG, "all are accepted", || counted.proxy.metric(series) == all);
    let silent = (counted.counts().in_use - before) / CLIENTS as u64;
    for client in &mut idle {
        client.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
        client.write_all(b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n").expect("the proxy reads");
        let mut reply = [0; 5];
        client.read_exact(&mut reply).expect("the proxy answers");
        assert_eq!(&reply, b"$-1\r\n");
    }
    let used = (counted.counts().in_use - before) / CLIENTS as u64;
    println!("    an idle client has {silent} bytes in use before its first request and {used} after it");
    assert!(silent <= EACH && used <= EACH, "{silent} and {used} bytes where {EACH} are allowed");
}
