//! The request scanner beside real servers: the same bytes, the same requests, the same words of refusal, the same
//! end of the connection. And what the fuzz targets look at, on their corpus.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "wire/corpus.rs"]
mod corpus;
#[path = "wire/mutation.rs"]
mod mutation;
#[path = "support/mod.rs"]
mod support;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redhold::resp::{Fed, Limits, RequestScanner, Scan};
use support::{Server, V6_2, Version, encode, others};

/// The server on PATH, and every other one that is installed.
fn servers() -> Vec<Server> {
    [Server::start()].into_iter().chain(others().into_iter().map(Version::start)).collect()
}

/// What the scanner makes of a client's bytes.
#[derive(Debug, Default, PartialEq)]
struct Judged {
    requests: Vec<Vec<Vec<u8>>>,
    /// The error that closes the connection.
    refusal: Vec<u8>,
    /// The first request of which some line does not end with CRLF.
    loose: Option<usize>,
    /// A line with a quote or a byte beyond ASCII.
    quoted: bool,
}

fn judge(bytes: &[u8], limits: &Limits) -> Judged {
    let mut judged = Judged::default();
    let mut scanner = RequestScanner::default();
    let mut rest = bytes;
    loop {
        let scan = scanner.scan(rest, limits);
        if rest.starts_with(b"*") && !scanner.partial(rest).is_strict() {
            judged.loose.get_or_insert(judged.requests.len());
        }
        if !rest.starts_with(b"*") {
            let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
            judged.quoted |= line.iter().any(|&byte| matches!(byte, b'\'' | b'"' | 0x80..));
        }
        match scan {
            Ok(Scan::Incomplete { .. }) => return judged,
            Ok(Scan::Empty { len }) => rest = &rest[len..],
            Ok(Scan::Complete { len }) => {
                let request = scanner.request(rest);
                judged.requests.push(request.args().map(<[u8]>::to_vec).collect());
                rest = &rest[len..];
            }
            Err(error) => {
                let mut out = BytesMut::new();
                error.write(&mut out);
                judged.refusal = out.to_vec();
                return judged;
            }
        }
        scanner.reset();
    }
}

/// All that the server answers to `bytes` until it closes the connection. The sending half is closed behind them, so
/// that a server that waits for more closes as well.
fn answers(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut client = server.client();
    // It may close before it has read everything.
    client.try_send_raw(bytes).ok();
    client.finish_sending();
    client.read_to_close()
}

/// Plays `bytes` to the server, and then the requests that the scanner has found in them as it would write them.
#[track_caller]
fn compare(server: &Server, bytes: &[u8], limits: &Limits) {
    let judged = judge(bytes, limits);
    let valkey = server.info("valkey_version").is_some();
    // Valkey has its own way with quotes and bytes beyond ASCII in lines, and with NUL in lines and headers. The scanner
    // keeps to Redis.
    if valkey && (judged.quoted || bytes.contains(&0)) {
        return;
    }
    // It also insists on CRLF behind every argument, which is why such requests are written anew.
    let refused = judged.loose.filter(|_| valkey);
    let plain = judged.requests[..refused.unwrap_or(judged.requests.len())].iter();
    let mut expected = answers(server, &plain.flat_map(|args| encode(args)).collect::<Vec<_>>());
    let mut found = answers(server, bytes);
    match refused {
        Some(_) => {
            assert!(found.starts_with(&expected), "{judged:?} but {}", found.escape_ascii());
            found.drain(..expected.len());
            found.truncate(REFUSAL.len());
            expected = REFUSAL[..found.len()].to_vec();
        }
        None => expected.extend(&judged.refusal),
    }
    assert_eq!(
        found.escape_ascii().to_string(),
        expected.escape_ascii().to_string(),
        "answers to {} by port {}; judged {judged:?}",
        bytes[..bytes.len().min(200)].escape_ascii(),
        server.port(),
    );
}

const REFUSAL: &[u8] = b"-ERR Protocol error: ";

#[test]
fn malformed_requests_are_judged_as_by_the_server() {
    let too_long = [
        [&b"*"[..], &[b'1'; 70_000]].concat(),
        [&b"*1\r\n$"[..], &[b'1'; 70_000]].concat(),
        [&b"*1\r\n\0$"[..], &[b'1'; 70_000]].concat(),
        vec![b'x'; 70_000],
        [&b"PING\0\r\n"[..], &[b'x'; 70_000]].concat(),
    ];
    let short = [
        &b"*1\r\n$4\r\nPING\r\n"[..],
        b"*0\r\n*-1\r\n*-10\r\n\r\n\n \t\r\n*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*1\r\n$4\r\nPINGXX*1\r\n$4\r\nPING\r\n",
        b"*1\rX$4\rXPING\r\nPING\r\n",
        b"*x\r\nPING\r\n",
        b"*\r\nPING\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*-0\r\nPING\r\n",
        b"* 1\r\n$4\r\nPING\r\n",
        b"*2147483648\r\n",
        b"*-9223372036854775808\r\nPING\r\n",
        b"*-9223372036854775809\r\nPING\r\n",
        b"*99999999999999999999999\r\n",
        b"*1\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n\r\nPING\r\n",
        b"*1\r\n\n\r\nPING\r\n",
        b"*1\r\n\xff\r\nPING\r\n",
        b"*1\r\nPING\n",
        b"*1\n$4\nPING\n",
        b"*1\r\n$4",
        b"*1\r\n$4\r\nPIN",
        b"*1\r\n$4\r\nPING\r",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$9223372036854775808\r\n",
        b"*1\0\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\0\r\nPING\r\n",
        b"PING\0\r\nPING\r\n",
        b"\0PING\r\nPING\r\n",
        b"  ping  \r\nping hello\npInG \"hello world\"\r\n",
        b"echo \"a\\\"b\\\\c\\n\\r\\t\\b\\a\\x00\\xfF\\xg0\\q\"\r\n",
        b"echo 'it\\'s \\n \"so\"'\r\n",
        b"echo a\"b c\"\r\necho 'a''b'\r\nPING\r\n",
        b"echo \"a\"b\r\nPING\r\n",
        b"echo \"a\r\nPING\r\n",
        b"echo 'a\r\nPING\r\n",
        b"echo \"a\\\r\nPING\r\n",
        b"echo a\x0bb\r\n\x0b\x0cping\x0c \r\n",
        b"\"\"\r\nPING\r\n",
        b"echo a\rb\r\n",
        b"echo a\r\r\n",
        b"$4\r\nPING\r\n",
        b"+OK\r\n",
    ];
    for server in servers() {
        for bytes in short.into_iter().chain(too_long.iter().map(Vec::as_slice)) {
            compare(&server, bytes, &Limits::default());
        }
    }
}

#[test]
fn requests_before_authentication_are_judged_as_by_the_server() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let ten = [&b"*10\r\n"[..], &b"$4\r\nPING\r\n".repeat(10)].concat();
    let long = [&b"*2\r\n$4\r\nECHO\r\n$16384\r\n"[..], &[b'x'; 16_384], b"\r\n"].concat();
    // 6.2.5 has no such limits.
    let newer = others().into_iter().filter(|version| *version != V6_2).map(Version::options);
    for options in [Server::options()].into_iter().chain(newer) {
        let server = options.set("requirepass", "secret").start();
        for bytes in [&ten[..], &long, b"*11\r\n", b"*2\r\n$4\r\nECHO\r\n$16385\r\n", b"*-1\r\nPING\r\n"] {
            compare(&server, bytes, &limits);
        }
    }
}

#[test]
fn a_request_that_streams_by_ends_where_the_server_ends_it() {
    let server = Server::start();
    let limits = Limits::default();
    let value = vec![b'v'; 3 << 20];
    let bytes = [encode(&[b"SET", &b"key"[..], &value]), encode(&["STRLEN", "key"])].concat();
    assert_eq!(answers(&server, &bytes), format!("+OK\r\n:{}\r\n", value.len()).as_bytes());

    let mut scanner = RequestScanner::default();
    // The tail takes over within a header.
    assert!(matches!(scanner.scan(&bytes[..14], &limits), Ok(Scan::Incomplete { .. })));
    let (mut tail, mut at) = scanner.tail().expect("the header is there");
    let end = loop {
        let chunk = &bytes[at..bytes.len().min(at + 4_000)];
        match tail.feed(chunk, &limits).expect("a good request") {
            Fed::More => at += chunk.len(),
            Fed::Frame { end } => break at + end,
        }
    };
    assert_eq!(answers(&server, &bytes[..end]), b"+OK\r\n");
    assert_eq!(answers(&server, &bytes[end..]), format!(":{}\r\n", value.len()).as_bytes());
}

/// What requests and nearly requests are made of. No command among them does harm.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*",
        b"$4\r\nPING\r\n",
        b"$4\r\nECHO\r\n",
        b"$4\r\necho\r\n",
        b"$0\r\n\r\n",
        b"$3\r\na\0b\r\n",
        b"$1\r\nx\r\n",
        b"$2\r\nxXX",
        b"$-1\r\n",
        b"$",
        b"PING",
        b"echo ",
        b"echo \"",
        b"a\\x41\\n",
        b"'",
        b"\"",
        b"\\",
        b" ",
        b"\t",
        b"\x0b",
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"0",
        b"1",
        b"-",
    ];
    prop::sample::select(pieces).prop_map(<[u8]>::to_vec)
}

#[test]
fn random_requests_are_judged_as_by_the_server() {
    let servers = servers();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&vec(piece(), 1..14), |pieces| {
            servers.iter().for_each(|server| compare(server, &pieces.concat(), &Limits::default()));
            Ok(())
        })
        .unwrap();
}
