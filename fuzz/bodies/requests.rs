//! Arbitrary bytes as requests: cut or whole they are judged alike, what is written anew is the same request again, and
//! `redis-protocol` agrees about it.

use redhold::resp::{Fed, Limits, ProtocolError, RequestScanner, Scan};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

type Found = Result<(Scan, Vec<Vec<u8>>, bool), ProtocolError>;

/// The first request of `bytes` that come `step` at a time.
fn scan(bytes: &[u8], step: usize, limits: &Limits) -> Found {
    let mut scanner = RequestScanner::default();
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        let scan = scanner.scan(&bytes[..end], limits)?;
        match scan {
            Scan::Incomplete { at_least } => assert!(at_least > end),
            Scan::Empty { .. } => return Ok((scan, vec![], true)),
            Scan::Complete { len } => {
                assert_eq!(scanner.known_len(), len as u64);
                let request = scanner.request(bytes);
                return Ok((scan, request.args().map(<[u8]>::to_vec).collect(), request.is_strict()));
            }
        }
    }
    Ok((Scan::Incomplete { at_least: 0 }, vec![], true))
}

/// Where the request ends when it streams by from byte `seen` on.
fn streamed(bytes: &[u8], seen: usize, step: usize, limits: &Limits) -> Option<Result<usize, ProtocolError>> {
    let mut scanner = RequestScanner::default();
    if !matches!(scanner.scan(&bytes[..seen], limits), Ok(Scan::Incomplete { .. })) {
        return None;
    }
    let (mut tail, mut at) = scanner.tail()?;
    while at < bytes.len() {
        let chunk = &bytes[at..bytes.len().min(at + step)];
        match tail.feed(chunk, limits) {
            Ok(Fed::More) => at += chunk.len(),
            Ok(Fed::Frame { end }) => return Some(Ok(at + end)),
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

/// See the module's text.
pub fn body(data: &[u8]) {
    let [step, seen, bytes @ ..] = data else { return };
    let step = usize::from(*step).max(1);
    let limits = Limits::default();
    let whole = scan(bytes, bytes.len().max(1), &limits);
    assert_eq!(scan(bytes, 1, &limits), whole);
    assert_eq!(scan(bytes, step, &limits), whole);

    let ended = streamed(bytes, usize::from(*seen).min(bytes.len()), step, &limits);
    match (&whole, ended) {
        (Ok((Scan::Complete { len }, ..)), Some(end)) => assert_eq!(end, Ok(*len)),
        (Err(error), Some(end)) => assert_eq!(end, Err(*error)),
        (Ok(_), end) => assert_eq!(end, None),
        (Err(_), None) => {}
    }

    let Ok((Scan::Complete { .. }, args, strict)) = whole else { return };
    let mut scanner = RequestScanner::default();
    scanner.scan(bytes, &limits).expect("it was complete before");
    let mut written = bytes::BytesMut::new();
    scanner.request(bytes).write_multibulk(&mut written);
    if strict {
        assert!(bytes.starts_with(&written));
    }
    let (frame, len) = decode_range(&written).expect("RESP").expect("whole");
    assert_eq!(len, written.len());
    let RangeFrame::Array(items) = frame else { panic!("an array") };
    let oracle: Vec<_> = items
        .iter()
        .map(|item| match item {
            RangeFrame::BulkString((start, end)) => written[*start..*end].to_vec(),
            other => panic!("{other:?} is no bulk string"),
        })
        .collect();
    assert_eq!(oracle, args);
}
