//! Strangers at the admin port: requests that are two to somebody else, pages in a browser, names that were rebound, and who wants
//! nothing but places.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::File;
use super::support::{LONG, Proxy, ProxyOptions, Server, eventually};

/// The order that an attacker wants to have taken. What becomes of it shows in the status.
const ORDER: &str = "POST /api/readonly/on HTTP/1.1\r\nHost: localhost\r\nX-Redhold: 1\r\n\r\n";

const STATUS: &str = "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// All that is answered to these bytes until the end of the connection.
#[track_caller]
fn answers(proxy: &Proxy, bytes: &str) -> String {
    let mut stream = TcpStream::connect(proxy.admin_address()).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
    // It may be refused before all of it was sent.
    let _ = stream.write_all(bytes.as_bytes());
    let mut text = Vec::new();
    if let Err(fault) = stream.read_to_end(&mut text) {
        assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset, "not closed after {bytes:?}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn code(answers: &str) -> u16 {
    answers.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
}

fn is_read_only(proxy: &Proxy) -> bool {
    proxy.status()["read_only"].as_bool().expect("the status says it")
}

/// One answer at most, with one of these codes, and no order was taken. 0: closed without an answer.
#[track_caller]
fn refused(proxy: &Proxy, bytes: &str, codes: &[u16]) {
    let text = answers(proxy, bytes);
    assert!(text.matches("HTTP/1.").count() <= 1, "{bytes:?}: {text}");
    assert!(codes.contains(&code(&text)), "{bytes:?}: {text}");
    assert!(!is_read_only(proxy), "{bytes:?} was taken as an order");
}

/// What is tried is an order when nothing is wrong with it.
#[track_caller]
fn is_taken(proxy: &Proxy, order: &str) {
    assert_eq!(code(&answers(proxy, order)), 200, "{order:?}");
    assert!(is_read_only(proxy));
    assert_eq!(proxy.http("POST", "/api/readonly/off").map(|(code, _)| code), Some(200));
}

#[test]
fn what_others_might_take_for_two_requests_is_one_or_none() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    is_taken(&proxy, ORDER);
    let chunk = format!("{:x}\r\n{ORDER}\r\n0\r\n\r\n", ORDER.len());
    let head = "POST /api/readonly/on HTTP/1.1\r\nHost: localhost\r\n";
    let len = ORDER.len();
    for (bytes, codes) in [
        // The body of a request that is refused, or what stands behind it.
        (format!("{head}Content-Length: {len}\r\n\r\n{ORDER}"), [403].as_slice()),
        (format!("{head}Content-Length: 0\r\n\r\n{ORDER}"), &[403]),
        (format!("{head}Connection: keep-alive\r\nContent-Length: 0\r\n\r\n{ORDER}"), &[403]),
        (format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n{ORDER}"), &[200]),
        (format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n{ORDER}"), &[200]),
        (format!("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{ORDER}"), &[200]),
        // Two lengths, and which of them counts.
        (format!("{head}Content-Length: {len}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{ORDER}"), &[400, 403]),
        (format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}"), &[400, 403]),
        (format!("{head}Content-Length: 0\r\nContent-Length: {len}\r\n\r\n{ORDER}"), &[400]),
        (format!("{head}Content-Length: 0, {len}\r\n\r\n{ORDER}"), &[400]),
        (format!("{head}Content-Length: +{len}\r\n\r\n{ORDER}"), &[400]),
        (format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunk}"), &[400, 403]),
        (format!("{head}Transfer-Encoding : chunked\r\n\r\n{chunk}"), &[400]),
        // Lines that go on, and ends of lines that are none.
        (format!("{head}X-Redhold:\r\n 1\r\n\r\n"), &[400, 403]),
        (format!("{head}A: b\r\n\tX-Redhold: 1\r\n\r\n"), &[400, 403]),
        (format!("{head}A: b\rX-Redhold: 1\r\n\r\n"), &[400, 403]),
        (format!("{head}A: b\0X-Redhold: 1\r\n\r\n"), &[400, 403]),
        (format!("{head}X-Redhold : 1\r\n\r\n"), &[400]),
        (format!("{head}X_Redhold: 1\r\n\r\n"), &[403]),
        ("GET /livez HTTP/1.1\nHost: localhost\n\nPOST /api/readonly/on HTTP/1.1\nHost: localhost\nX-Redhold: 1\n\n".to_owned(), &[200]),
        // What is no HTTP, and what is another.
        (format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{ORDER}"), &[0, 400]),
        (format!("*1\r\n$4\r\nPING\r\n{ORDER}"), &[0, 400]),
        (ORDER.replace("POST", "post"), &[400, 405]),
        (ORDER.replace("HTTP/1.1", "HTTP/9.9"), &[0, 400, 505]),
    ] {
        refused(&proxy, &bytes, codes);
    }
    is_taken(&proxy, ORDER);
    assert!(!proxy.log().contains("panicked"));
}

#[test]
fn an_order_for_another_host_is_none() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let port = proxy.admin_address().port();
    let with = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        format!("POST {target} HTTP/1.1\r\n{hosts}X-Redhold: 1\r\n\r\n")
    };
    is_taken(&proxy, &with("/api/readonly/on", &[&format!("127.0.0.1:{port}")]));
    for (target, hosts, codes) in [
        // A name that a page's server points at this machine once the page is there.
        ("/api/readonly/on", ["rebound.example"].as_slice(), [403].as_slice()),
        ("/api/readonly/on", &["rebound.example:9380"], &[403]),
        ("/api/readonly/on", &["127.0.0.1.rebound.example"], &[403]),
        ("/api/readonly/on", &["localhost.rebound.example"], &[403]),
        ("/api/readonly/on", &["localhost@rebound.example"], &[403]),
        ("/api/readonly/on", &["localhost", "rebound.example"], &[400, 403]),
        ("/api/readonly/on", &["rebound.example", "localhost"], &[400, 403]),
        ("/api/readonly/on", &[], &[400, 403]),
        ("/api/readonly/on", &[""], &[403]),
        ("http://rebound.example/api/readonly/on", &["localhost"], &[400]),
        ("http://localhost/api/readonly/on", &["localhost"], &[400]),
        ("//rebound.example/api/readonly/on", &["localhost"], &[404]),
        ("/api/readonly/on/", &["localhost"], &[404]),
        ("/api/../api/readonly/on", &["localhost"], &[404]),
        ("/api%2freadonly%2fon", &["localhost"], &[404]),
    ] {
        refused(&proxy, &with(target, hosts), codes);
    }
    refused(
        &proxy,
        "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nX-Redhold: 1\r\n\r\n",
        &[400, 404, 405],
    );
    refused(&proxy, "POST /api/readonly/on HTTP/1.0\r\nX-Redhold: 1\r\n\r\n", &[403]);
}

#[test]
fn a_page_in_a_browser_on_this_machine_can_order_nothing() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let host = proxy.admin_address();
    let sent = |method: &str, headers: &str, body: &str| {
        let len = body.len();
        format!(
            "{method} /api/readonly/on HTTP/1.1\r\nHost: {host}\r\nOrigin: http://page.example\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
        )
    };
    // What a form or a script sends without asking first.
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"] {
        for body in ["", "to=127.0.0.1%3A6379&X-Redhold=1", "X-Redhold: 1\r\n\r\n"] {
            refused(&proxy, &sent("POST", &format!("Content-Type: {kind}\r\n"), body), &[403]);
        }
    }
    // It asks first, and is not allowed to.
    let asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-redhold\r\n";
    for method in ["OPTIONS", "GET", "HEAD", "PUT"] {
        let text = answers(&proxy, &sent(method, asks, ""));
        assert_eq!(code(&text), 405, "{text}");
        assert!(!text.to_ascii_lowercase().contains("access-control-"), "{text}");
    }
    // Nor does it see what others may read.
    let read = format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\nOrigin: http://page.example\r\n\r\n");
    let text = answers(&proxy, &read);
    assert!(code(&text) == 200 && !text.to_ascii_lowercase().contains("access-control-"), "{text}");
    let page = answers(&proxy, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert!(page.contains("frame-ancestors 'none'") && page.contains("default-src 'none'"), "{page}");
    assert!(!is_read_only(&proxy));
}

/// Nor does a header that a page or a neighbour can send stand for the token.
#[test]
fn with_a_token_nothing_else_is_enough() {
    let (token, server) = (File::new("0123456789abcdef\n"), Server::start());
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("admin.token_file", &format!("{:?}", token.path())).start();
    let with = |headers: &str| ORDER.replace("X-Redhold: 1\r\n", headers);
    for headers in [
        "X-Redhold: 1\r\n",
        "Authorization: Bearer 0123456789abcdeF\r\nX-Redhold: 1\r\n",
        "Authorization: Bearer\r\n 0123456789abcdef\r\n",
        "Authorization: Bearer 0123456789abcdef\r\nAuthorization: Bearer x\r\n",
        "Proxy-Authorization: Bearer 0123456789abcdef\r\n",
        "Cookie: token=0123456789abcdef\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Redhold: 1\r\n",
    ] {
        refused(&proxy, &with(headers), &[400, 401]);
    }
    refused(&proxy, &ORDER.replace("/on ", "/on?token=0123456789abcdef "), &[401]);
    assert_eq!(code(&answers(&proxy, &with("Authorization: Bearer 0123456789abcdef\r\n"))), 200);
}

/// Whoever may order nothing may still ask as often as he likes.
#[test]
fn who_is_refused_does_not_fill_the_log() {
    let (token, server) = (File::new("0123456789abcdef\n"), Server::start());
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("admin.token_file", &format!("{:?}", token.path())).start();
    let lines = |text: &str| proxy.log().lines().filter(|line| line.contains(text)).count();
    let start = Instant::now();
    let marked = |request: &str| {
        request.replace("localhost\r\n", "localhost\r\nAuthorization: Bearer 0123456789abcdeF\r\n")
    };
    let (order, status) = (marked(ORDER), marked(STATUS));
    (0..100).for_each(|_| refused(&proxy, &order, &[401]));
    assert_eq!(lines("cannot read"), 0);
    std::fs::remove_file(token.path()).expect("it is there");
    (0..100).for_each(|_| assert_eq!(code(&answers(&proxy, &status)), 200));
    assert!(lines("cannot read") > 0, "who only looks finds it out as well");
    (0..100).for_each(|_| refused(&proxy, &order, &[503]));
    // One line of each kind in ten seconds, whatever this machine needs for it.
    let most = 1 + usize::try_from(start.elapsed().as_secs()).expect("it ends") / 10;
    for text in ["order refused", "cannot read"] {
        let lines = lines(text);
        assert!((1..=most).contains(&lines), "{lines} lines of {text}:\n{}", proxy.log());
    }
}

/// More than there are places.
const CROWD: usize = 200;

#[test]
fn who_only_takes_places_keeps_nobody_from_being_answered() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (descriptors, address) = (proxy.descriptors(), proxy.admin_address());
    let begun = [
        "",
        "GET /livez HTTP/1.1\r\nX-Slow: ",
        "POST /api/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n",
        "POST /api/drain HTTP/1.1\r\nHost: localhost\r\nX-Redhold: 1\r\nContent-Length: 1000\r\n\r\n",
        "\x16\x03\x01",
    ];
    let mut crowd: Vec<TcpStream> = Vec::new();
    let start = Instant::now();
    for round in 0..CROWD {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let _ = stream.write_all(begun[round % begun.len()].as_bytes());
        crowd.push(stream);
        // Those who have a place still dribble.
        for stream in crowd.iter_mut().rev().take(8) {
            let _ = stream.write_all(b"x");
        }
        if round % 10 == 0 {
            assert_eq!(proxy.http("GET", "/livez"), Some((200, "alive\n".to_owned())), "with {round} others");
        }
    }
    assert_eq!(proxy.http("GET", "/readyz").map(|(code, _)| code), Some(200));
    assert!(proxy.descriptors() <= descriptors + 2 * 64, "so many have a place at most");
    // And none of them for long: a request has to come within five seconds.
    for mut stream in crowd {
        stream.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(
            ended.is_ok() || ended.is_err_and(|fault| fault.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    assert!(start.elapsed() < 2 * LONG, "{:?}", start.elapsed());
    eventually(LONG, "none is left", || proxy.descriptors() <= descriptors);
}
