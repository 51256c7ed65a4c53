//! Streams of hostile bytes, each on a connection of its own, beside a client that is to notice nothing. `STREAMS=100000` sends so
//! many.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::mutation::Mutator;
use crate::support::{
    Bystander, CertificateFolder, Group, Home, LONG, Proxy, ProxyOptions, encode, eventually, info_field,
    number,
};

/// Before anything is measured: buffers and tables have grown to what so many clients at once need.
const WARM_UP: usize = 5_000;
const STREAMS: usize = 15_000;
const THREADS: usize = 8;
/// What is made of one seed is the same each time.
const SEED: u64 = 24_833;
/// Streams of a thread that are left as they are for a while, in the middle of what they began.
const LEFT_OPEN: usize = 32;
/// Who may say in a PROXY header for whom he comes.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// What all of them together may leave in memory, of a hundred thousand 84 bytes each: less than anything that is kept for a client.
const GROWN_MAX: u64 = 8 << 20;
/// Connections to the node that clients gave back, more or fewer than at the first look.
const SPARE: usize = 16;
/// Strangers do not fill the disk: what the log may tell of all of them.
const LOG_MAX: usize = 64 << 10;

/// What clients say, none of it harmful; what is made of it is.
const REQUESTS: [&str; 24] = [
    "SET hostile:k v EX 10",
    "GET hostile:k",
    "MSET hostile:a 1 hostile:b 2",
    "INCR hostile:n",
    "LPUSH hostile:l a b c",
    "BLPOP hostile:none 0.01",
    "XREAD BLOCK 10 STREAMS hostile:s $",
    "EVAL return{KEYS[1],ARGV[1]} 1 hostile:k v",
    "SORT hostile:l BY hostile:w_* GET hostile:o_*",
    "SCAN 0 MATCH hostile:* COUNT 10",
    "MULTI",
    "EXEC",
    "WATCH hostile:k",
    "SUBSCRIBE hostile:news",
    "PSUBSCRIBE hostile:*",
    "HELLO 3 SETNAME hostile",
    "HELLO 3 AUTH nobody nothing",
    "AUTH nobody nothing",
    "CLIENT TRACKING ON BCAST PREFIX hostile:",
    "CLIENT SETNAME hostile",
    "SELECT 3",
    "MONITOR",
    "RESET",
    "QUIT",
];

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus: Vec<Vec<u8>> =
        REQUESTS.iter().map(|request| encode(&request.split(' ').collect::<Vec<_>>())).collect();
    corpus.extend(REQUESTS.iter().map(|request| format!("{request}\r\n").into_bytes()));
    for target in ["requests", "replies", "proxy_header"] {
        let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(folder).expect("the corpus is there");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        corpus.extend(files.iter().map(|file| std::fs::read(file).expect("a file of the corpus")));
    }
    corpus.extend([
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".to_vec(),
        b"\x16\x03\x01\x40\x00".to_vec(),
        b"POST /api/switchover HTTP/1.1\r\nHost: localhost\r\nX-Redhold: 1\r\n\r\n".to_vec(),
        b"*1\r\n".repeat(200),
        b"*1000000\r\n$1\r\nx\r\n".to_vec(),
        b"*2\r\n$3\r\nGET\r\n$536870912\r\n".to_vec(),
    ]);
    corpus
}

/// Longer than what is made otherwise: headers and lines beyond their bounds, many requests at once, and much of one.
fn long(which: usize) -> Vec<u8> {
    match which {
        0 => [b"*".as_slice(), &[b'9'; 70_000]].concat(),
        1 => vec![b'x'; 70_000],
        2 => encode(&["ECHO", "hostile"]).repeat(2_000),
        _ => [b"*3\r\n$3\r\nSET\r\n$9\r\nhostile:k\r\n$100000000\r\n".as_slice(), &[b'x'; 100_000]].concat(),
    }
}

/// Where a thread's streams go.
#[derive(Clone, Copy)]
struct Places {
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Places {
    /// One address has 28,000 ports for those who connect to it, and each thread has one of the proxy's to itself.
    fn of_thread(proxy: &Proxy, thread: usize) -> Self {
        let host = Ipv4Addr::new(127, 0, 1, u8::try_from(thread + 1).expect("a few threads"));
        let at = |port: u16| SocketAddr::from((host, port));
        Self { plain: at(proxy.plain().port()), tls: at(proxy.address().port()) }
    }
}

fn connect(to: SocketAddr, from: Option<Ipv4Addr>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("a port is left");
    }
    socket.connect(&to.into()).unwrap_or_else(|fault| panic!("connect to {to}: {fault}"));
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
    stream.set_write_timeout(Some(LONG)).expect("a timeout above zero is accepted");
    stream
}

/// Closes it so that the other side is told of a reset.
fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket has a linger time");
}

/// Reads until the other side closes, which it does once it has read all that was sent.
#[track_caller]
fn read_to_close(stream: &mut TcpStream, sent: &[u8]) {
    let mut chunk = [0; 16 << 10];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(fault) if matches!(fault.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return;
            }
            Err(fault) => panic!("not closed ({fault}) after {}", sent[..sent.len().min(400)].escape_ascii()),
        }
    }
}

/// The streams of one thread.
fn attack(places: Places, numbers: Range<usize>) {
    let corpus = corpus();
    let mut mutator = Mutator::new(SEED + numbers.start as u64, &corpus);
    let mut open = Vec::new();
    for _ in numbers {
        let (to, from) = match mutator.below(10) {
            0 => (places.tls, None),
            1 => (places.plain, Some(BALANCER)),
            _ => (places.plain, None),
        };
        let mut stream = connect(to, from);
        let bytes = if mutator.below(200) == 0 { long(mutator.below(4)) } else { mutator.next().to_vec() };
        // It may be refused before it was sent, and the connection closed.
        let _ = stream.write_all(&bytes);
        match mutator.below(10) {
            0..4 => {
                stream.shutdown(Shutdown::Write).ok();
                read_to_close(&mut stream, &bytes);
                reset(stream);
            }
            4 => drop(stream),
            5 | 6 => {
                stream.set_nonblocking(true).expect("a socket can be asked");
                let _ = stream.read(&mut [0; 64]);
                reset(stream);
            }
            7 => {
                open.push(stream);
                if open.len() == LEFT_OPEN {
                    open.drain(..).for_each(reset);
                }
            }
            _ => reset(stream),
        }
    }
}

fn attack_all(proxy: &Proxy, streams: usize) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let places = Places::of_thread(proxy, thread);
            let each = streams / THREADS;
            scope.spawn(move || attack(places, thread * each..(thread + 1) * each));
        }
    });
}

fn errors(proxy: &Proxy, kind: &str) -> f64 {
    proxy.metric(&format!("redhold_errors_total{{kind=\"{kind}\"}}")).unwrap_or_default()
}

#[test]
fn hostile_streams_concern_nobody_else_and_leave_nothing_behind() {
    let streams = number("STREAMS").map_or(STREAMS, |count| count as usize);
    let (group, folder) = (Group::plain(0), CertificateFolder::new());
    let node = &group.nodes()[0];
    let everywhere = Home { namespace: None, ip: Ipv4Addr::UNSPECIFIED.into() };
    let options = ProxyOptions::new(&group.addresses()).at(everywhere).set("proxy.workers", "1");
    let mut proxy = folder
        .shown_by(options)
        .set("proxy.proxy_protocol", "true")
        .set("proxy.trusted", &format!("[\"{BALANCER}\"]"))
        .start();
    let connected =
        || info_field(&mut node.client(), "connected_clients").and_then(|n| n.parse::<usize>().ok());
    let gone = || proxy.metric("redhold_clients") == Some(0.0);

    attack_all(&proxy, WARM_UP);
    eventually(LONG, "all are gone", gone);
    let (descriptors, rss, at_node) = (proxy.descriptors(), proxy.rss(), connected().expect("a number"));
    let kinds = ["protocol", "tls_handshake", "proxy_header"];
    let before = kinds.map(|kind| errors(&proxy, kind));

    let bystander = Bystander::start(proxy.plain(), node.address());
    let start = Instant::now();
    attack_all(&proxy, streams);
    println!("{streams} streams in {:?}", start.elapsed());
    bystander.finish_undisturbed();

    eventually(LONG, "all are gone", gone);
    eventually(LONG, "nothing is kept for them", || {
        proxy.metric("redhold_client_memory_bytes") == Some(0.0)
            && proxy.metric("redhold_held_requests") == Some(0.0)
    });
    eventually(LONG, "nor any descriptor", || proxy.descriptors() <= descriptors + SPARE);
    eventually(LONG, "nor anything at the node", || connected().is_some_and(|n| n <= at_node + SPARE));
    let after = proxy.rss();
    println!("memory: {} KiB before, {} KiB after", rss >> 10, after >> 10);
    assert!(after <= rss + GROWN_MAX, "{} bytes more", after - rss);
    for (kind, before) in kinds.into_iter().zip(before) {
        let met = errors(&proxy, kind) - before;
        println!("{kind}: {met}");
        assert!(
            met >= streams as f64 / 100.0,
            "{met} streams were refused because of {kind}: they do not reach it"
        );
    }
    let log = proxy.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.len() <= LOG_MAX, "{} bytes of log: {}", log.len(), &log[log.len() - 2_000..]);
    assert!(!proxy.has_exited());
}
