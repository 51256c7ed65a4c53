//! Ten thousand clients that do nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Bystander, Group, LONG, Memory, ProxyOptions, eventually};

const CLIENTS: usize = 10_000;
/// Descriptors that the proxy wants beside those of clients, and as many for the test.
const OTHERS: u64 = 1_200;
/// What one idle client may cost the proxy.
const EACH: u64 = 2 << 10;

/// Lets this process and its children have enough open files. Nothing is skipped where they may not.
#[track_caller]
pub fn raise_descriptor_limit() {
    let wanted = CLIENTS as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        hard >= wanted,
        "this needs {wanted} open files and {hard} are allowed; type: sudo prlimit --pid $$ --nofile={wanted}:{wanted}"
    );
    if limit.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised up to the hard one");
    }
}

fn ping(client: &mut TcpStream) {
    client.write_all(b"*1\r\n$4\r\nPING\r\n").expect("the proxy reads");
    let mut reply = [0; 7];
    client.read_exact(&mut reply).expect("the proxy answers");
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn ten_thousand_idle_clients_cost_little_and_are_all_served() {
    raise_descriptor_limit();
    let group = Group::plain(0);
    // The second client is one too.
    let most = CLIENTS + 1;
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.max_clients", &most.to_string()).start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    eventually(LONG, "the second client alone", || proxy.metric("redhold_clients") == Some(1.0));
    let memory = Memory::watch(proxy.pid());
    let before = proxy.rss();
    let mut idle: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let client = TcpStream::connect(proxy.address()).expect("ports and descriptors are left");
            client.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
            client
        })
        .collect();
    eventually(LONG, "all are accepted", || proxy.metric("redhold_clients") == Some(most as f64));
    let silent = proxy.rss().saturating_sub(before) / CLIENTS as u64;
    let mut refused = proxy.client();
    assert_eq!(refused.read_to_close(), b"-ERR max number of clients reached\r\n");
    idle.iter_mut().for_each(ping);
    let used = proxy.rss().saturating_sub(before) / CLIENTS as u64;
    println!("an idle client costs {silent} bytes before its first request and {used} after it");
    assert!(silent <= EACH && used <= EACH, "{silent} bytes before its first request, {used} after it");
    let connections =
        group.nodes()[0].info("connected_clients").and_then(|count| count.parse::<usize>().ok());
    assert!(connections.is_some_and(|count| count < 64), "{connections:?}");
    bystander.finish_undisturbed();
    memory.assert_grown_less(CLIENTS as u64 * EACH, "2 KiB for each idle client");
}
