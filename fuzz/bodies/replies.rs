//! Arbitrary bytes as replies: cut or whole they are judged alike, where `redis-protocol` ends a frame the scanner ends
//! it too, and the control plane's decoder neither panics nor disagrees.

use redhold::resp::{BadReply, Fed, ReplyScanner, decode};
use redis_protocol::resp2::decode::decode_range as resp2;
use redis_protocol::resp3::decode::complete::decode_range as resp3;

/// What the scanner finds in `bytes` that come `step` at a time: ends and kinds of frames, and the error behind them.
fn frames(bytes: &[u8], step: usize) -> (Vec<(usize, u8)>, Option<BadReply>) {
    let mut scanner = ReplyScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        while start < end {
            match scanner.feed(&bytes[start..end]) {
                Ok(Fed::More) => start = end,
                Ok(Fed::Frame { end }) => {
                    assert!(end > 0 && scanner.is_idle());
                    start += end;
                    found.push((start, scanner.kind()));
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// `redis-protocol` recurses; what is deeper than this it is not asked.
fn is_shallow(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| b"*%~>|".contains(byte)).count() < 200
}

/// See the module's text.
pub fn body(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(frames(bytes, 1), whole);
    assert_eq!(frames(bytes, usize::from(step).max(1)), whole);

    let end = whole.0.first().map(|(end, _)| *end);
    if is_shallow(bytes) {
        for oracle in
            [resp2(bytes).ok().flatten().map(|(_, len)| len), resp3(bytes).ok().flatten().map(|(_, len)| len)]
        {
            if let (Some(end), Some(oracle)) = (end, oracle) {
                assert_eq!(end, oracle);
            }
        }
    }
    match decode(bytes) {
        Ok(Some((_, len))) => assert_eq!(end, Some(len)),
        Ok(None) => assert_eq!(whole, (vec![], None)),
        Err(_) => {}
    }
}
