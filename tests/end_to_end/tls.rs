//! TLS towards clients: who is let in, certificates that change, and that nothing else does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::support::{
    Authority, Certificate, CertificateFolder, Client, LONG, Proxy, ProxyOptions, Server, Tunnel, Value,
    eventually, row_field, trusting,
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server, and a proxy in front that shows a certificate.
fn certified() -> (CertificateFolder, Server, ProxyOptions) {
    let (folder, server) = (CertificateFolder::new(), Server::start());
    let options = folder.shown_by(ProxyOptions::new(&[server.address()]));
    (folder, server, options)
}

/// For clients that trust this folder's authority, show this certificate and speak this version.
fn tunnel(
    folder: &CertificateFolder,
    proxy: &Proxy,
    shown: Option<&Certificate>,
    version: &'static SupportedProtocolVersion,
) -> Tunnel {
    Tunnel::open(proxy.address(), trusting(&folder.authority, shown, &[version]))
}

fn pong() -> Value {
    Value::Simple("PONG".to_owned())
}

/// Whether somebody gets a reply there, or is turned away.
fn is_let_in(address: SocketAddr) -> bool {
    Client::connect(address).try_cmd(&["PING"]).is_ok_and(|reply| reply == pong())
}

fn failed_handshakes(proxy: &Proxy) -> Option<f64> {
    proxy.metric("redhold_errors_total{kind=\"tls_handshake\"}")
}

#[test]
fn requests_and_replies_of_every_size_come_through() {
    let (folder, _server, options) = certified();
    let proxy = options.start();
    for version in VERSIONS {
        let way = tunnel(&folder, &proxy, None, version);
        let mut client = Client::connect(way.address());
        // A record holds 16 KiB.
        for size in [0, 1, 16_383, 16_384, 16_385, 70_000, 3 << 20] {
            let value: Vec<u8> = (0..size).map(|at| b'a' + (at % 23) as u8).collect();
            assert_eq!(client.cmd(&[b"SET".as_slice(), b"k", &value]), Value::ok());
            assert_eq!(client.call("GET k"), Value::Bulk(value), "{version:?} {size}");
        }
        let requests: String = (0..20_000).map(|at| format!("ECHO {at}\r\n")).collect();
        let mut sender = client.sender();
        let sending = std::thread::spawn(move || sender.send_raw(requests.as_bytes()));
        for at in 0..20_000 {
            assert_eq!(client.read(), Value::Bulk(at.to_string().into()));
        }
        sending.join().expect("all was sent");
    }
}

/// What waits in the session for room in the socket is written when there is some, though nothing else happens. First it is found
/// how much the way to a client that does not read takes, and then a little less is sent, so that the end of it is left there.
#[test]
fn a_slow_reader_gets_all_of_it() {
    let (folder, _server, options) = certified();
    let proxy = options.start();
    let way = tunnel(&folder, &proxy, None, &TLS13);
    let value = Value::Bulk(vec![b'x'; 16 << 10]);
    let reply = (16 << 10) + "$16384\r\n\r\n".len();
    assert_eq!(proxy.client().cmd(&["SET", "k", &"x".repeat(16 << 10)]), Value::ok());
    let written =
        || proxy.metric("redhold_bytes_total{side=\"client\",direction=\"out\"}").expect("a counter");
    let waiting = || proxy.metric("redhold_client_memory_bytes").is_some_and(|bytes| bytes > 0.0);
    let mut client = Client::connect_narrow(way.address());
    let ask = |client: &mut Client, replies: usize| (0..replies).for_each(|_| client.send(&["GET", "k"]));
    let mut room = 0;
    // The second time the kernel gives it as much as it will from then on.
    for _ in 0..2 {
        let before = written();
        ask(&mut client, 2_000);
        let mut seen = before;
        eventually(LONG, "the way is full", || {
            let last = std::mem::replace(&mut seen, written());
            let is_full = waiting() && seen > before && seen == last;
            std::thread::sleep(Duration::from_millis(50));
            is_full
        });
        room = (seen - before) as usize;
        (0..2_000).for_each(|_| assert_eq!(client.read(), value));
    }
    for less in (4..64).step_by(4) {
        let (before, replies) = (written(), (room - (less << 10)) / reply);
        ask(&mut client, replies);
        eventually(LONG, "all is on the way", || waiting() || written() - before == (replies * reply) as f64);
        (0..replies).for_each(|_| assert_eq!(client.read(), value));
    }
}

#[test]
fn who_speaks_no_tls_is_turned_away_and_others_are_not_concerned() {
    let (folder, _server, options) = certified();
    let proxy = options.start();
    let way = tunnel(&folder, &proxy, None, &TLS13);
    let mut plain = Client::connect(proxy.address());
    plain.send_raw(b"*1\r\n$4\r\nPING\r\n");
    let said = plain.read_to_close();
    assert_eq!(said.first(), Some(&21), "an alert, which TLS numbers so: {said:?}");
    eventually(LONG, "it is counted", || failed_handshakes(&proxy) == Some(1.0));
    let silent = Client::connect(proxy.address());
    assert!(is_let_in(way.address()), "who says nothing keeps nobody waiting");
    drop(silent);
    eventually(LONG, "who left is counted", || failed_handshakes(&proxy) == Some(2.0));
    let wary = Tunnel::open(proxy.address(), trusting(&Authority::new("strangers"), None, &VERSIONS));
    assert!(!is_let_in(wary.address()), "it does not trust the proxy");
    assert!(is_let_in(way.address()));
}

#[test]
fn an_address_that_is_called_plain_stays_plain() {
    let (folder, _server, options) = certified();
    let proxy = options.start();
    assert_ne!(proxy.address(), proxy.plain());
    assert!(is_let_in(proxy.plain()) && !is_let_in(proxy.address()));
    assert!(is_let_in(tunnel(&folder, &proxy, None, &TLS13).address()));
}

#[test]
fn with_an_authority_for_clients_only_its_clients_are_let_in() {
    let (folder, _server, options) = certified();
    let proxy = folder.asked_by(options).start();
    let own = folder.authority.issue(&["app"]);
    let foreign = Authority::new("others").issue(&["app"]);
    for version in VERSIONS {
        let lets_in = |shown| is_let_in(tunnel(&folder, &proxy, shown, version).address());
        assert!(lets_in(Some(&own)) && !lets_in(Some(&foreign)) && !lets_in(None), "{version:?}");
    }
    eventually(LONG, "they are counted", || failed_handshakes(&proxy) == Some(4.0));
}

#[test]
fn a_version_below_the_least_is_turned_away() {
    let (folder, _server, options) = certified();
    let proxy = options.set("proxy.tls.min_version", "\"1.3\"").start();
    assert!(is_let_in(tunnel(&folder, &proxy, None, &TLS13).address()));
    assert!(!is_let_in(tunnel(&folder, &proxy, None, &TLS12).address()));
}

#[test]
fn certificates_that_change_are_used_and_nobody_is_disturbed() {
    let (mut folder, _server, options) = certified();
    let proxy = options.start();
    let before = tunnel(&folder, &proxy, None, &TLS13);
    let mut stays = Client::connect(before.address());
    assert_eq!(stays.call("PING"), pong());

    std::fs::write(folder.at("tls.crt"), "no certificate").expect("the folder is writable");
    eventually(LONG, "it is told", || proxy.log().contains("tls.crt: no certificate; what the files held"));
    assert!(is_let_in(before.address()), "what the files held before is kept");

    folder.authority = Authority::new("successors");
    folder.write("tls", &folder.authority.issue(&["127.0.0.1"]));
    let after = tunnel(&folder, &proxy, None, &TLS13);
    eventually(LONG, "the new certificate is shown", || is_let_in(after.address()));
    assert!(!is_let_in(before.address()), "the old one no more");
    assert_eq!(stays.call("PING"), pong());
}

#[test]
fn a_client_behind_a_balancer_that_passes_tls_on_is_known_by_its_own_address() {
    let (folder, _server, options) = certified();
    let options = options.set("proxy.proxy_protocol", "true");
    let proxy = options.set("proxy.trusted", "[\"127.0.0.1\"]").start_unready();
    let config = trusting(&folder.authority, None, &[&TLS13]);
    let header = b"PROXY TCP4 10.1.2.3 10.0.0.9 5000 6380\r\n";
    let way = Tunnel::with_header(proxy.address(), config, header);
    let mut client = Client::connect(way.address());
    let row = client.call("CLIENT INFO").text().expect("a row");
    assert_eq!(row_field(&row, "addr").as_deref(), Some("10.1.2.3:5000"));
}

/// One who is refused before keys are agreed on is closed without a word, as with Redis.
#[test]
fn one_client_too_many_is_closed() {
    let (folder, _server, options) = certified();
    let proxy = options.set("proxy.max_clients", "1").start();
    let way = tunnel(&folder, &proxy, None, &TLS13);
    let mut first = None;
    eventually(LONG, "the client that looked whether it is ready has left", || {
        let mut client = Client::connect(way.address());
        let got = client.try_cmd(&["PING"]).is_ok();
        first = got.then_some(client);
        got
    });
    assert_eq!(Client::connect(proxy.address()).read_to_close(), b"");
    assert!(!is_let_in(way.address()));
    assert_eq!(first.expect("it is there").call("PING"), pong());
}

/// What waits in the session is no reason to keep who does not read.
#[test]
fn who_reads_nothing_for_the_idle_timeout_is_closed() {
    let (folder, _server, options) = certified();
    let proxy = options.set("proxy.idle_timeout", "\"300ms\"").start();
    let way = tunnel(&folder, &proxy, None, &TLS13);
    assert_eq!(proxy.client().cmd(&["SETRANGE", "k", "8388607", "x"]), Value::Int(8 << 20));
    let mut client = Client::connect_narrow(way.address());
    (0..4).for_each(|_| client.send(&["GET", "k"]));
    eventually(LONG, "it is closed", || {
        proxy.metric("redhold_errors_total{kind=\"idle_timeout\"}") == Some(1.0)
            && proxy.metric("redhold_clients") == Some(0.0)
    });
}

/// What the endpoint there answers under `/metrics`.
fn metrics(address: SocketAddr) -> String {
    let (mut stream, mut text) = (TcpStream::connect(address).expect("the tunnel listens"), String::new());
    let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // It may not listen yet.
    asked.and_then(|()| stream.read_to_string(&mut text)).ok();
    text
}

/// Of the certificates in use, also when they are replaced; and who has little time left is told in the log.
#[test]
fn when_certificates_expire_is_told() {
    let (folder, server) = (CertificateFolder::new(), Server::start());
    let write = |name: &str, year| folder.write(name, &folder.authority.issue_until(&["127.0.0.1"], year));
    let write_all = |years: [(&str, i32); 3]| years.into_iter().for_each(|(name, year)| write(name, year));
    write_all([("tls", 2040), ("nodes", 2060), ("admin", 2045)]);
    let at = |name: &str| format!("{:?}", folder.at(name));
    let proxy = folder
        .shown_by(ProxyOptions::new(&[server.address()]))
        .set("backend.tls.ca", &at("ca.crt"))
        .set("backend.tls.cert", &at("nodes.crt"))
        .set("backend.tls.key", &at("nodes.key"))
        .set("admin.tls.cert", &at("admin.crt"))
        .set("admin.tls.key", &at("admin.key"))
        .start_unready();
    let way = Tunnel::open(proxy.admin_address(), trusting(&folder.authority, None, &[&TLS13]));
    let told = |section: &str, second: u64| {
        let series =
            format!("redhold_certificate_expiry_timestamp_seconds{{section=\"{section}\"}} {second}\n");
        metrics(way.address()).contains(&series)
    };
    let all = || {
        told("proxy.tls", 2_208_988_800)
            && told("backend.tls", 2_840_140_800)
            && told("admin.tls", 2_366_841_600)
    };
    eventually(LONG, "each is told", all);
    assert!(!proxy.log().contains("its certificate expire"), "{}", proxy.log());
    write_all([("tls", 2001), ("nodes", 2041), ("admin", 2046)]);
    eventually(LONG, "the new ones are told", || {
        told("proxy.tls", 978_307_200)
            && told("backend.tls", 2_240_611_200)
            && told("admin.tls", 2_398_377_600)
    });
    let warned = || proxy.log().contains("proxy.tls: its certificate expired ");
    eventually(LONG, "the log warns", warned);
    let started = folder.shown_by(ProxyOptions::new(&[server.address()])).start_unready();
    eventually(LONG, "the log warns at the start", || {
        started.log().contains("proxy.tls: its certificate expired ")
    });
    assert!(
        started.metric("redhold_certificate_expiry_timestamp_seconds{section=\"backend.tls\"}").is_none()
    );
}
