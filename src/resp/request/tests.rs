use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

type Found = Result<(Scan, Vec<Vec<u8>>), ProtocolError>;

fn scan(bytes: &[u8]) -> Found {
    scan_in_steps(bytes, &[bytes.len()], &Limits::default())
}

/// Shows the scanner ever more of `bytes`: up to each of `cuts`, then all. Stops where the scanner stops.
fn scan_in_steps(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Found {
    let mut scanner = RequestScanner::default();
    let mut wanted = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let seen = &bytes[..end];
        match scanner.scan(seen, limits)? {
            Scan::Incomplete { at_least } => {
                assert!(at_least > seen.len(), "nothing asked for");
                assert!(at_least >= wanted, "asked for less than before");
                wanted = at_least;
            }
            scan @ Scan::Empty { .. } => return Ok((scan, vec![])),
            scan @ Scan::Complete { len } => {
                assert!(end >= wanted, "complete with less than was asked for");
                let request = scanner.request(seen);
                assert_eq!(request.raw(), &bytes[..len]);
                return Ok((scan, request.args().map(<[u8]>::to_vec).collect()));
            }
        }
    }
    Ok((Scan::Incomplete { at_least: wanted }, vec![]))
}

#[test]
fn a_request_that_will_be_too_long_is_refused_by_the_header_that_says_so() {
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello, world\r\n";
    let last_header = request.len() - b"hello, world\r\n".len();
    let refused = |seen: &[u8], most: usize| {
        let limits = Limits { max_request: most as u64, ..Limits::default() };
        let cuts: Vec<usize> = (1..seen.len()).collect();
        let found = scan_in_steps(seen, &cuts, &limits);
        assert_eq!(found.is_err(), scan_in_steps(seen, &[], &limits).is_err(), "whole as in pieces");
        found.is_err_and(|error| error == ProtocolError::RequestSize(most as u64))
    };
    assert!(!refused(request, request.len()));
    assert!(refused(request, request.len() - 1));
    assert!(refused(&request[..last_header], request.len() - 1), "before its last argument comes");
    assert!(!refused(&request[..last_header - 1], request.len() - 1));
    assert!(refused(b"*1000\r\n", 5_000) && !refused(b"*1000\r\n", 7_000), "by the number of its arguments");
    assert!(refused(b"PING hello\r\n", 11) && !refused(b"PING hello\r\n", 12));
}

fn encoded(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode::command(&mut out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
    out.to_vec()
}

/// The same request with every byte quoted, as a line.
fn quoted(args: &[Vec<u8>]) -> Vec<u8> {
    let word = |arg: &Vec<u8>| arg.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let words: Vec<_> = args.iter().map(|arg| format!("\"{}\"", word(arg))).collect();
    format!("{}\r\n", words.join(" ")).into_bytes()
}

fn args() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..40), 1..8)
}

/// Cuts within `len`, ascending.
fn cuts_within(len: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn requests_end_where_redis_ends_them() {
    for (bytes, len, args) in [
        (&b"*1\r\n$4\r\nPING\r\n*1"[..], 14, &[&b"PING"[..]][..]),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 19, &[b"GET", b""]),
        (b"PING\r\nPING", 6, &[b"PING"]),
        (b"set a \"b c\"\n", 12, &[b"set", b"a", b"b c"]),
        (b"\"\"\r\n", 4, &[b""]),
        (b"*1\rX$4\rXPINGXX", 14, &[b"PING"]),
    ] {
        let whole = scan(bytes);
        assert_eq!(whole, Ok((Scan::Complete { len }, args.iter().map(|arg| arg.to_vec()).collect())));
        let every: Vec<_> = (0..=bytes.len()).collect();
        assert_eq!(scan_in_steps(bytes, &every, &Limits::default()), whole);
    }
    for (bytes, len) in
        [(&b"*0\r\nPING\r\n"[..], 4), (b"*-1\r\n", 5), (b"\r\nx", 2), (b"\n", 1), (b" \t\r\n", 4)]
    {
        assert_eq!(scan(bytes), Ok((Scan::Empty { len }, vec![])), "{bytes:?}");
    }
}

#[test]
fn what_breaks_the_protocol_is_refused_with_redis_words() {
    let long = [b"*1\r\n$".as_slice(), &[b'1'; 70_000]].concat();
    for (bytes, text) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (&long[4..].repeat(2), "too big inline request"),
        (&long, "too big bulk count string"),
        (&[b'*'; 70_000], "too big mbulk count string"),
        (&[b'x'; 70_000], "too big inline request"),
        (b"set a \"b\r\n", "unbalanced quotes in request"),
    ] {
        let error = scan(bytes).unwrap_err();
        let mut out = BytesMut::new();
        error.write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("-ERR Protocol error: {text}\r\n"));
        let every: Vec<_> = (0..=bytes.len()).collect();
        assert_eq!(scan_in_steps(bytes, &every, &Limits::default()), Err(error));
    }
}

#[test]
fn before_authentication_little_may_be_sent() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let outcome = |bytes: &[u8]| scan_in_steps(bytes, &[], &limits).map(|(scan, _)| scan);
    assert!(matches!(outcome(b"*10\r\n"), Ok(Scan::Incomplete { .. })));
    assert_eq!(outcome(b"*11\r\n"), Err(ProtocolError::UnauthenticatedMultibulk));
    assert!(matches!(outcome(b"*1\r\n$16384\r\n"), Ok(Scan::Incomplete { .. })));
    assert_eq!(outcome(b"*1\r\n$16385\r\n"), Err(ProtocolError::UnauthenticatedBulk));
}

#[test]
fn a_nul_hides_the_end_of_a_header_or_line() {
    for bytes in [&b"*1\0\r\n"[..], b"*1\r\n$4\0\r\nPING\r\n", b"PING\0\r\n"] {
        assert!(matches!(scan(bytes), Ok((Scan::Incomplete { .. }, _))), "{bytes:?}");
    }
}

#[test]
fn a_big_request_is_known_by_its_headers() {
    let known = |bytes: &[u8]| {
        let mut scanner = RequestScanner::default();
        let scan = scanner.scan(bytes, &Limits::default()).unwrap();
        assert!(matches!(scan, Scan::Incomplete { .. }));
        scanner.known_len()
    };
    assert_eq!(known(b"*3"), 0);
    assert_eq!(known(b"*3\r\n"), 4 + 3 * 6);
    assert_eq!(known(b"*3\r\n$3\r\nSET\r\n"), 4 + 9 + 2 * 6);
    assert_eq!(known(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxx"), 4 + 9 + 7 + 10 + 1_000_002);
    assert_eq!(known(b"*1000000\r\n"), 10 + 6_000_000);
}

#[test]
fn the_arguments_that_are_there_can_be_read_before_the_rest() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxx";
    let mut scanner = RequestScanner::default();
    let scan = scanner.scan(bytes, &Limits::default());
    assert_eq!(scan, Ok(Scan::Incomplete { at_least: 1_000_032 }));
    let partial = scanner.partial(bytes);
    assert_eq!(partial.args().collect::<Vec<_>>(), [&b"SET"[..], b"k"]);
    assert_eq!((partial.name(), partial.arg(1), partial.arg(2)), (&b"SET"[..], &b"k"[..], &b""[..]));
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_read_once() {
    // Read again from its start with every byte, these 1.2 MiB would take hours.
    let args = vec![vec![b'x'; 5]; 100_000];
    let bytes = encoded(&args);
    let every: Vec<_> = (0..=bytes.len()).collect();
    let (scan, found) = scan_in_steps(&bytes, &every, &Limits::default()).unwrap();
    assert_eq!((scan, found.len()), (Scan::Complete { len: bytes.len() }, args.len()));
}

#[test]
fn a_scanner_is_used_again_and_keeps_no_large_allocation() {
    let mut scanner = RequestScanner::default();
    let large = encoded(&vec![vec![b'x']; 10_000]);
    for bytes in [&large[..], b"*1\r\n$4\r\nPING\r\n", b"PING x\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"] {
        let scan = scanner.scan(bytes, &Limits::default());
        assert_eq!(scan, Ok(Scan::Complete { len: bytes.len() }));
        assert!(!scanner.request(bytes).name().is_empty());
        scanner.reset();
        assert!(scanner.args.capacity() <= KEPT_ARGS);
    }
    assert!(scanner.args.capacity() > 0, "a small allocation is kept");
}

#[test]
fn a_request_never_shows_its_arguments() {
    let bytes = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
    let mut scanner = RequestScanner::default();
    scanner.scan(bytes, &Limits::default()).unwrap();
    let shown = format!("{:?}", scanner.request(bytes));
    assert!(shown.contains("AUTH") && !shown.contains("secret"), "{shown}");
}

fn multibulk(bytes: &[u8]) -> Vec<u8> {
    let mut scanner = RequestScanner::default();
    scanner.scan(bytes, &Limits::default()).unwrap();
    let mut out = BytesMut::new();
    scanner.request(bytes).write_multibulk(&mut out);
    out.to_vec()
}

#[test]
fn what_servers_may_read_differently_is_made_strict() {
    let strict = b"*1\r\n$4\r\nPING\r\n";
    for bytes in
        [&strict[..], b"*1\rX$4\r\nPING\r\n", b"*1\r\n$4\rXPING\r\n", b"*1\r\n$4\r\nPINGXX", b"PING\n"]
    {
        assert_eq!(multibulk(bytes), strict, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn scanner_and_redis_protocol_agree(
        args in args(),
        behind in vec(any::<u8>(), 0..20),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let request = encoded(&args);
        let bytes = [&request[..], &behind].concat();
        let (frame, len) = decode_range(&bytes).unwrap().unwrap();
        let RangeFrame::Array(items) = frame else { panic!("no array") };
        let oracle: Vec<_> = items
            .iter()
            .map(|item| match item {
                RangeFrame::BulkString((start, end)) => bytes[*start..*end].to_vec(),
                other => panic!("no bulk: {other:?}"),
            })
            .collect();
        let expected = Ok((Scan::Complete { len }, oracle));
        prop_assert_eq!(scan(&bytes), expected.clone());
        let every: Vec<_> = (0..=bytes.len()).collect();
        prop_assert_eq!(scan_in_steps(&bytes, &every, &Limits::default()), expected.clone());
        let cuts = cuts_within(bytes.len(), &cuts);
        prop_assert_eq!(scan_in_steps(&bytes, &cuts, &Limits::default()), expected);
    }

    #[test]
    fn a_quoted_line_is_the_same_request(args in args()) {
        let line = quoted(&args);
        prop_assert_eq!(scan(&line), Ok((Scan::Complete { len: line.len() }, args.clone())));
        prop_assert_eq!(multibulk(&line), encoded(&args));
    }

    /// Bytes that are nearly requests: whole or in pieces, the outcome is the same.
    #[test]
    fn cuts_change_nothing(
        bytes in vec(prop::sample::select(b"**$$\r\n\r\n\r\n0012-xG\"' \\\0".to_vec()), 0..60),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = scan(&bytes);
        let pieces = scan_in_steps(&bytes, &cuts_within(bytes.len(), &cuts), &Limits::default());
        prop_assert_eq!(pieces, whole);
    }
}

proptest! {
    /// What is found by the head of the request before it is what a scanner finds.
    #[test]
    fn a_head_finds_what_the_scanner_finds(
        first in args(),
        others in vec(args(), 1..4),
        behind in vec(any::<u8>(), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let before = encoded(&first);
        let scanner = RequestScanner::of_kept(&before).unwrap();
        let head = scanner.request(&before).head().unwrap();
        for mut other in others {
            for same_name in [true, false] {
                if same_name {
                    other[0].clone_from(&first[0]);
                    other.resize(first.len(), b"x".to_vec());
                }
                let request = encoded(&other);
                let alike = other.len() == first.len() && other[0] == first[0];
                let bytes = [&request[..], &behind].concat();
                prop_assert_eq!(head.next(&bytes, &Limits::default()), alike.then_some(request.len()));
                prop_assert_eq!(head.next(&bytes[..cut.index(request.len())], &Limits::default()), None);
            }
        }
    }
}

#[test]
fn a_head_is_found_in_the_strict_form_only_and_keeps_to_the_limits() {
    let head_of = |bytes: &'static [u8]| {
        let mut scanner = RequestScanner::default();
        scanner.scan(bytes, &Limits::default()).unwrap();
        scanner.request(bytes).head().is_some()
    };
    assert!(head_of(b"*1\r\n$4\r\nPING\r\n"));
    assert!(!head_of(b"PING\r\n") && !head_of(b"*1\rX$4\r\nPING\r\n"));
    let get = b"*2\r\n$3\r\nGET\r\n$4\r\nfour\r\n";
    let scanner = RequestScanner::of_kept(get).unwrap();
    let head = scanner.request(get).head().unwrap();
    let found = |limits: Limits| head.next(get, &limits);
    assert_eq!(
        found(Limits { max_bulk: 4, max_request: get.len() as u64, ..Limits::default() }),
        Some(get.len())
    );
    assert_eq!(found(Limits { max_bulk: 3, ..Limits::default() }), None);
    assert_eq!(found(Limits { max_request: get.len() as u64 - 1, ..Limits::default() }), None);
    assert_eq!(head.next(b"*2\r\n$3\r\nGET\r\n$4\r\nfourXX", &Limits::default()), None);
}

#[test]
fn a_kept_request_is_read_again_only_when_it_is_whole() {
    let kept = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let scanner = RequestScanner::of_kept(kept).unwrap();
    assert_eq!(scanner.request(kept).arg(1), b"k");
    for broken in [&kept[..kept.len() - 1], b"*0\r\n", b"", b"*1\r\n+PING\r\n"] {
        assert!(RequestScanner::of_kept(broken).is_none(), "{}", broken.escape_ascii());
    }
}
