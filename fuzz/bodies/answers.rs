//! Arbitrary bytes as a reply that is changed on its way: where one whole frame goes in, one comes out, in pieces as well.

use bytes::BytesMut;
use redhold::frontend::{Stamper, is_line, is_redholds, stamp_reply};
use redhold::resp::{Fed, ReplyScanner};
use redhold::session::{Executed, Listing, rewrite_hello};

const ROWS: [&str; 3] = ["pubsub|channels", "pubsub|numsub", "pubsub|numpat"];

fn is_one_frame(bytes: &[u8]) -> bool {
    matches!(ReplyScanner::default().feed(bytes), Ok(Fed::Frame { end }) if end == bytes.len())
}

/// See the module's text.
pub fn body(data: &[u8]) {
    let [cut, noted, frame @ ..] = data else { return };
    assert!(!is_redholds(frame) || is_line(frame));
    let whole = is_one_frame(frame);
    for epoch in [1, 42] {
        let mut out = BytesMut::new();
        stamp_reply(frame, epoch, &mut out);
        assert!(!whole || is_one_frame(&out), "{} from {}", out.escape_ascii(), frame.escape_ascii());
    }
    for row in ROWS {
        let mut out = BytesMut::new();
        Listing::of(row, 1).write(frame, &mut out);
        assert!(!whole || is_one_frame(&out), "{row}: {} from {}", out.escape_ascii(), frame.escape_ascii());
    }
    if let Some(hello) = rewrite_hello(frame, u64::from(*cut)) {
        assert!(whole && is_one_frame(&hello));
    }
    // No server streams what EXEC answers.
    if whole && matches!(frame, [b'*', b'0'..=b'9', ..]) {
        in_pieces(frame, usize::from(*cut), *noted);
    }
}

/// `noted`: which elements are looked at, and for what.
fn in_pieces(frame: &[u8], cut: usize, noted: u8) {
    let at = usize::from(noted & 3);
    let mut executed = Executed::default();
    match noted >> 2 & 3 {
        0 => executed.scans = vec![at, at + 1],
        1 => executed.listed = vec![(at, ROWS[usize::from(noted >> 4) % 3])],
        2 => executed.stale = vec![(at, 41)],
        _ => executed.left = vec![(at, b"SELECT 1\r\n".as_slice().into())],
    }
    let stamped = |pieces: &[&[u8]]| {
        let (mut stamper, mut out) = (Stamper::new(executed.clone(), 42, 1), BytesMut::new());
        pieces.iter().for_each(|piece| stamper.feed(piece, &mut out));
        (out, stamper.left())
    };
    let whole = stamped(&[frame]);
    assert!(is_one_frame(&whole.0), "{} from {}", whole.0.escape_ascii(), frame.escape_ascii());
    // The first piece has the header.
    let header = frame.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (first, second) = frame.split_at((header + cut).min(frame.len()));
    assert_eq!(stamped(&[first, second]), whole, "cut at {}", first.len());
}
