//! Requests and replies of hundreds of MiB pass in pieces: what of them is in memory is bounded, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Test;
use crate::counted::Counted;
use crate::support::{Bystander, Client, Group, LONG, ProxyOptions, Value, encode, eventually};

pub const TESTS: &[Test] = &[
    ("a_large_request_waits_in_its_clients_socket", request),
    ("a_large_reply_on_an_own_connection_waits_in_the_nodes_socket", own_reply),
    ("a_large_reply_that_nobody_reads_is_dropped_at_the_bound", unread_reply),
    ("a_large_reply_that_is_read_passes_in_pieces", read_reply),
];

/// A value of Redis's greatest length, and of half of it.
const HUGE: usize = 512 << 20;
const HALF: usize = HUGE / 2;
/// Of a request or reply that waits at least so much is in memory: both are taken until 256 KiB are.
const WAITING: u64 = 256 << 10;
/// … and at most so much, buffers that have grown by doubling included, while somebody else is served.
const MOST: u64 = 2 << 20;
/// Replies of others while one waits.
const OTHERS: u64 = 50;

fn group() -> Group {
    let group = Group::plain(0);
    let last = (HUGE - 1).to_string();
    assert_eq!(group.nodes()[0].client().cmd(&["SETRANGE", "huge", &last, "x"]), Value::Int(HUGE as i64));
    group
}

fn start(group: &Group, client_output: &str) -> Counted {
    let options = ProxyOptions::new(&group.addresses())
        .set("proxy.workers", "1")
        .set("limits.client_output", &format!("\"{client_output}\""))
        .looking_once_a_minute();
    Counted::start(options)
}

/// The other client, once it has been served as often as fills its buffers, and what is in use then.
fn settled(counted: &mut Counted, group: &Group) -> (Bystander, u64) {
    let bystander = Bystander::start(counted.proxy.address(), group.addresses()[0]);
    bystander.wait_for(OTHERS);
    (bystander, counted.counts().in_use)
}

/// Waits until at least `bytes` more are in use.
fn wait_in_use(counted: &mut Counted, before: u64, bytes: u64) {
    eventually(2 * LONG, "what waits is in memory", || counted.counts().in_use >= before + bytes);
}

/// Reads and drops; the first bytes must be `head`.
pub fn read_through(mut stream: impl Read, head: &[u8], mut left: usize) {
    let mut buffer = vec![0; 256 << 10];
    let mut begins = vec![0; head.len()];
    stream.read_exact(&mut begins).expect("the proxy answers");
    assert_eq!(begins.escape_ascii().to_string(), head.escape_ascii().to_string());
    while left > 0 {
        let most = left.min(buffer.len());
        let some = stream.read(&mut buffer[..most]).expect("the proxy answers");
        assert!(some > 0, "closed with {left} bytes to come");
        left -= some;
    }
}

fn connect(counted: &Counted) -> TcpStream {
    let stream = TcpStream::connect(counted.proxy.address()).expect("the proxy listens");
    stream.set_read_timeout(Some(2 * LONG)).expect("a timeout above zero is accepted");
    stream
}

fn tell(name: &str, peak: u64, before: u64) {
    println!("    {name}: {} KiB more in use at the most", peak.saturating_sub(before) >> 10);
}

fn request() {
    let group = Group::plain(0);
    let mut counted = start(&group, "1GiB");
    let mut client = connect(&counted);
    read_back(&mut client, &encode(&["PING"]), b"+PONG\r\n");
    let before = counted.counts().in_use;
    // It has a connection of its own before the node stands still.
    let mut head = format!("*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n${HALF}\r\n").into_bytes();
    head.resize(head.len() + (4 << 20), b'x');
    client.write_all(&head).expect("the proxy reads");
    let series = "redhold_bytes_total{side=\"client\",direction=\"in\"}";
    eventually(LONG, "its beginning has come in", || {
        counted.proxy.metric(series) >= Some(f64::from(2 << 20))
    });
    group.nodes()[0].sigstop();
    let mut sender = client.try_clone().expect("descriptors are left");
    let sending = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        (4..HALF >> 20).try_for_each(|_| sender.write_all(&piece))?;
        sender.write_all(b"\r\n")
    });
    wait_in_use(&mut counted, before, WAITING);
    group.nodes()[0].sigcont();
    read_back(&mut client, b"", b"+OK\r\n");
    sending.join().expect("it does not panic").expect("the proxy reads all of it");
    let peak = counted.counts().peak;
    tell("a request of 256 MiB", peak, before);
    assert!(peak <= before + MOST, "{peak} bytes after {before}");
    assert_eq!(group.nodes()[0].call("STRLEN huge"), Value::Int(HALF as i64));
}

fn read_back(client: &mut TcpStream, request: &[u8], reply: &[u8]) {
    client.write_all(request).expect("the proxy reads");
    read_through(client, reply, 0);
}

fn own_reply() {
    let group = group();
    let mut counted = start(&group, "1GiB");
    let mut client = connect(&counted);
    read_back(&mut client, &encode(&["MULTI"]), b"+OK\r\n");
    let (bystander, before) = settled(&mut counted, &group);
    client.write_all(&[encode(&["GET", "huge"]), encode(&["EXEC"])].concat()).expect("the proxy reads");
    wait_in_use(&mut counted, before, WAITING);
    bystander.wait_for(OTHERS);
    let head = format!("+QUEUED\r\n*1\r\n${HUGE}\r\n");
    read_through(&mut client, head.as_bytes(), HUGE + 2);
    let peak = counted.counts().peak;
    bystander.finish();
    tell("a reply of 512 MiB on an own connection", peak, before);
    assert!(peak <= before + MOST, "{peak} bytes after {before}");
}

fn unread_reply() {
    const BOUND: u64 = 16 << 20;
    let group = group();
    let mut counted = start(&group, "16MiB");
    let mut client = connect(&counted);
    let (bystander, before) = settled(&mut counted, &group);
    client.write_all(&encode(&["GET", "huge"])).expect("the proxy reads");
    eventually(2 * LONG, "who does not read is closed", || {
        counted.proxy.metric("redhold_errors_total{kind=\"client_output\"}") == Some(1.0)
    });
    let peak = counted.counts().peak;
    bystander.wait_for(OTHERS);
    bystander.finish();
    tell("a reply of 512 MiB that nobody reads, with limits.client_output at 16 MiB", peak, before);
    // A buffer that grows by doubling has up to twice the room.
    assert!(peak <= before + 2 * BOUND + MOST, "{peak} bytes after {before}");
    eventually(LONG, "what waited for it is given back", || counted.counts().in_use <= before + MOST);
    let got = Client::connect(counted.proxy.address()).call("STRLEN huge");
    assert_eq!(got, Value::Int(HUGE as i64));
}

/// On a shared connection a reply waits for nobody: what its client has not taken yet is in memory, up to `limits.client_output`. How
/// much that is goes by how fast it reads, so it is only told.
fn read_reply() {
    let group = group();
    let mut counted = start(&group, "1GiB");
    let mut client = connect(&counted);
    let (bystander, before) = settled(&mut counted, &group);
    client.write_all(&encode(&["GET", "huge"])).expect("the proxy reads");
    read_through(&mut client, format!("${HUGE}\r\n").as_bytes(), HUGE + 2);
    let peak = counted.counts().peak;
    bystander.wait_for(OTHERS);
    bystander.finish();
    tell("a reply of 512 MiB that is read", peak, before);
    eventually(LONG, "nothing of it is kept", || counted.counts().in_use <= before + MOST);
}
