//! Cursors of the SCAN family carry the epoch that they belong to. Pure.
//!
//! Bits 44 to 51 of a cursor other than 0 are XORed with `(epoch - 1) mod 256`: epoch 1 changes nothing, 0 stays
//! 0, and every cursor stays below 2^53, which is as far as clients that keep numbers as doubles can count.

use bytes::{Bytes, BytesMut};

use crate::backend::first_len;
use crate::command::{Lane, classify};
use crate::error::Failure;
use crate::resp::{Fed, ReplyScanner, Request, RequestScanner, encode};
use crate::session::{Executed, Listing};

const SHIFT: u32 = 44;
const MASK: u64 = 0xff << SHIFT;

/// Every cursor is below it.
const BEYOND: u64 = 1 << 53;

/// Position of the cursor among the words of a command: SCAN has it first, the others after their key.
pub(super) fn position(name: &[u8]) -> usize {
    if name.len() == 4 { 1 } else { 2 }
}

/// The bits that `epoch` puts into a cursor.
pub(super) fn stamp(epoch: u64) -> u64 {
    (epoch.wrapping_sub(1) & 0xff) << SHIFT
}

/// The server's own cursor in what a client sent.
///
/// # Errors
/// The epoch, as far as its low eight bits tell, of a cursor that is not of `epoch`.
pub fn strip(given: &[u8], epoch: u64) -> Result<Vec<u8>, u64> {
    let Some(cursor) = parse(given).filter(|cursor| *cursor != 0 && *cursor < BEYOND) else {
        // Zero, no number, or none that a node has given: Redis judges it.
        return Ok(given.to_vec());
    };
    let bare = cursor ^ stamp(epoch);
    if bare & MASK == 0 {
        return Ok(bare.to_string().into_bytes());
    }
    let low = ((cursor & MASK) >> SHIFT) + 1;
    // The latest epoch with these bits that is not the present one.
    let mut of = (epoch & !0xff) | (low & 0xff);
    if of >= epoch {
        of = of.saturating_sub(0x100);
    }
    Err(if of == 0 { low } else { of })
}

/// Copies the reply of a SCAN command, or its beginning, with the cursor stamped; anything of another shape is copied unchanged.
pub fn stamp_reply(frame: &[u8], epoch: u64, out: &mut BytesMut) {
    match split(frame) {
        Some((cursor, rest)) if cursor != 0 => {
            out.extend_from_slice(b"*2\r\n");
            encode::bulk(out, (cursor ^ stamp(epoch)).to_string().as_bytes());
            out.extend_from_slice(rest);
        }
        _ => out.extend_from_slice(frame),
    }
}

/// The request with the server's own cursor in it.
///
/// # Errors
/// As [`strip`].
pub(super) fn strip_request(request: &Request<'_>, epoch: u64) -> Result<BytesMut, u64> {
    let at = position(request.name());
    let mut out = BytesMut::new();
    if request.len() <= at {
        request.write_multibulk(&mut out);
        return Ok(out);
    }
    let bare = strip(request.arg(at), epoch)?;
    replace(request, &bare, &mut out);
    Ok(out)
}

/// The request as the client gave it, from what was sent under `epoch`. `None` where they are the same.
pub(super) fn restore_request(sent: &[u8], epoch: u64) -> Option<BytesMut> {
    let scanner = RequestScanner::of_kept(sent)?;
    let request = scanner.request(sent);
    let at = position(request.name());
    let cursor = parse(request.arg(at)).filter(|cursor| *cursor != 0)?;
    let mut out = BytesMut::new();
    replace(&request, (cursor ^ stamp(epoch)).to_string().as_bytes(), &mut out);
    Some(out)
}

/// Appends the request with this cursor in place of its own.
pub(super) fn replace(request: &Request<'_>, cursor: &[u8], out: &mut BytesMut) {
    let at = position(request.name());
    let mut words: Vec<&[u8]> = request.args().collect();
    words[at] = cursor;
    encode::command(out, &words);
}

/// Appends the request with a cursor that every server refuses, since its own is of the epoch `of`.
pub(super) fn refuse(request: &Request<'_>, of: u64, out: &mut BytesMut) {
    replace(request, format!("cursor-of-epoch-{of}").as_bytes(), out);
}

/// Whether a server has refused a cursor that is none.
pub(super) fn is_refused(reply: &[u8]) -> bool {
    reply == b"-ERR invalid cursor\r\n"
}

/// Requests in multibulk form, those of the SCAN family that go on from a cursor written as [`refuse`] does.
pub(super) fn spoil(requests: &[u8], of: u64) -> Vec<u8> {
    let mut out = BytesMut::with_capacity(requests.len());
    let mut rest = requests;
    while !rest.is_empty() {
        let (bytes, after) = rest.split_at(first_len(rest));
        rest = after;
        if let Some(scanner) = RequestScanner::of_kept(bytes) {
            let request = scanner.request(bytes);
            let goes_on = parse(request.arg(position(request.name()))).is_some_and(|cursor| cursor != 0);
            if goes_on && classify(&request).lane == Lane::Scan {
                refuse(&request, of, &mut out);
                continue;
            }
        }
        out.extend_from_slice(bytes);
    }
    out.to_vec()
}

/// A reply of the SCAN family has its cursor within this many of its first bytes.
const HEAD: usize = 64;

/// A reply of PUBSUB can only be looked at whole. A longer one passes as the node gave it, Redhold's own channel in it.
const LISTING: usize = 16 << 20;

/// Stamps the cursors in EXEC's reply, and leaves out of it what only Redhold listens to. It may come in pieces, the first of which
/// holds the array's header.
#[derive(Debug)]
pub struct Stamper {
    /// Where to look. Stale cursors are refused by the server, in words of its own.
    executed: Executed,
    epoch: u64,
    /// How many patterns are Redhold's at the node.
    patterns: i64,
    /// `None` before the header.
    index: Option<usize>,
    scanner: ReplyScanner,
    /// The beginning of the present element, as long as its cursor may not be whole.
    head: BytesMut,
    /// The cursor of the present element has passed.
    passed: bool,
    /// The present element has begun.
    begun: bool,
}

impl Stamper {
    pub fn new(executed: Executed, epoch: u64, patterns: i64) -> Self {
        let (scanner, head) = (ReplyScanner::default(), BytesMut::new());
        Self { executed, epoch, patterns, index: None, scanner, head, passed: false, begun: false }
    }

    /// The requests that have left state, once all of the reply has passed: their elements were no errors.
    pub fn left(self) -> Vec<Bytes> {
        self.executed.left.into_iter().map(|(_, request)| request).collect()
    }

    /// Appends `piece`, stamped, to `out`.
    pub fn feed(&mut self, mut piece: &[u8], out: &mut BytesMut) {
        if self.index.is_none() {
            let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
            out.extend_from_slice(&piece[..end]);
            (piece, self.index) = (&piece[end..], Some(0));
        }
        while let (Some(index), false) = (self.index, piece.is_empty()) {
            let (end, whole) = match self.scanner.feed(piece) {
                Ok(Fed::Frame { end }) => (end, true),
                Ok(Fed::More) | Err(_) => (piece.len(), false),
            };
            let (element, rest) = piece.split_at(end);
            if !std::mem::replace(&mut self.begun, true) && matches!(element.first(), Some(b'-' | b'!')) {
                self.executed.left.retain(|(at, _)| *at != index);
            }
            let of = self.executed.stale.iter().find(|(at, _)| *at == index).map(|(_, of)| *of);
            let listed = self.executed.listed.iter().find(|(at, _)| *at == index).map(|(_, row)| *row);
            if self.passed || !(of.is_some() || listed.is_some() || self.executed.scans.contains(&index)) {
                out.extend_from_slice(element);
            } else {
                self.head.extend_from_slice(element);
                if whole || self.head.len() >= if listed.is_some() { LISTING } else { HEAD } {
                    let head = self.head.split();
                    match of.filter(|_| is_refused(&head)) {
                        Some(of) => encode::error(out, &Failure::Cursor { of, now: self.epoch }.to_string()),
                        None => match listed.filter(|_| whole) {
                            Some(row) => Listing::of(row, self.patterns).write(&head, out),
                            None => stamp_reply(&head, self.epoch, out),
                        },
                    }
                    self.passed = true;
                }
            }
            if whole {
                (self.index, self.passed, self.begun) = (Some(index + 1), false, false);
            }
            piece = rest;
        }
    }
}

/// Word `index` of a request in multibulk form.
pub(super) fn nth_word(request: &[u8], index: usize) -> Option<Vec<u8>> {
    let scanner = RequestScanner::of_kept(request)?;
    let request = scanner.request(request);
    (request.len() > index).then(|| request.arg(index).to_vec())
}

/// The cursor of `*2 $n cursor …` and what follows it.
fn split(frame: &[u8]) -> Option<(u64, &[u8])> {
    let rest = frame.strip_prefix(b"*2\r\n$")?;
    let line = rest.iter().position(|byte| *byte == b'\r')?;
    let len: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
    let body = rest.get(line + 2..)?;
    Some((parse(body.get(..len)?)?, body.get(len + 2..)?))
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_in_its_own_epoch() {
        for epoch in [1, 2, 41, 256, 257, 1_000] {
            let mut reply = BytesMut::new();
            stamp_reply(b"*2\r\n$4\r\n1234\r\n*0\r\n", epoch, &mut reply);
            let (cursor, rest) = split(&reply).unwrap();
            assert_eq!(rest, b"*0\r\n");
            assert!(cursor < 1 << 53);
            let given = cursor.to_string();
            assert_eq!(strip(given.as_bytes(), epoch), Ok(b"1234".to_vec()));
            assert_eq!(strip(given.as_bytes(), epoch + 1), Err(epoch));
        }
    }

    #[test]
    fn what_goes_on_from_a_cursor_is_spoilt_and_nothing_else() {
        let write = |lines: &[&str]| {
            let mut out = BytesMut::new();
            for line in lines {
                encode::command(&mut out, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            }
            out.to_vec()
        };
        let given = ["MULTI", "SCAN 7 COUNT 1", "SCAN 0", "SET k 7", "SSCAN k 9"];
        let spoilt =
            ["MULTI", "SCAN cursor-of-epoch-41 COUNT 1", "SCAN 0", "SET k 7", "SSCAN k cursor-of-epoch-41"];
        assert_eq!(spoil(&write(&given), 41), write(&spoilt));
    }

    #[test]
    fn a_stale_cursor_is_named_among_the_elements_and_a_good_one_stamped() {
        let array = b"*3\r\n-ERR invalid cursor\r\n-ERR invalid cursor\r\n*2\r\n$1\r\n7\r\n*0\r\n";
        let mut out = BytesMut::new();
        let executed = Executed { scans: vec![1], stale: vec![(0, 41), (2, 41)], ..Executed::default() };
        Stamper::new(executed, 42, 0).feed(array, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let error = "-ERR cursor belongs to epoch 41 (now 42): start again from 0\r\n-ERR invalid cursor\r\n";
        assert!(text.starts_with(&format!("*3\r\n{error}*2\r\n")) && !text.contains("$1\r\n7"), "{text}");
    }

    #[test]
    fn cursors_in_an_array_are_stamped_however_it_is_cut() {
        let array = b"*4\r\n+OK\r\n*2\r\n$4\r\n1234\r\n*1\r\n$1\r\nx\r\n*2\r\n$1\r\n7\r\n*0\r\n-ERR no\r\n";
        let left = (0..4).map(|at| (usize::from(at), Bytes::from(vec![at]))).collect();
        let executed = Executed { scans: vec![1, 3], left, ..Executed::default() };
        let mut whole = BytesMut::new();
        Stamper::new(executed.clone(), 42, 0).feed(array, &mut whole);
        let stamped = (1234 ^ stamp(42)).to_string();
        let expected = format!(
            "*4\r\n+OK\r\n*2\r\n${}\r\n{stamped}\r\n*1\r\n$1\r\nx\r\n*2\r\n$1\r\n7\r\n*0\r\n-ERR no\r\n",
            stamped.len()
        );
        assert_eq!(whole, expected.as_bytes());
        for cut in 4..array.len() {
            let (mut stamper, mut out) = (Stamper::new(executed.clone(), 42, 0), BytesMut::new());
            stamper.feed(&array[..cut], &mut out);
            stamper.feed(&array[cut..], &mut out);
            assert_eq!(out, whole, "cut at {cut}");
            assert_eq!(stamper.left(), [vec![0], vec![1], vec![2]], "cut at {cut}");
        }
    }

    #[test]
    fn what_only_redhold_listens_to_is_left_out_of_the_elements() {
        let array = "*4\r\n:7\r\n:7\r\n*2\r\n$1\r\na\r\n$15\r\n__redhold:hello\r\n-ERR no\r\n".as_bytes();
        let listed = vec![(1, "pubsub|numpat"), (2, "pubsub|channels"), (3, "pubsub|numpat")];
        for cut in 4..array.len() {
            let executed = Executed { listed: listed.clone(), ..Executed::default() };
            let (mut stamper, mut out) = (Stamper::new(executed, 1, 1), BytesMut::new());
            stamper.feed(&array[..cut], &mut out);
            stamper.feed(&array[cut..], &mut out);
            assert_eq!(&out[..], b"*4\r\n:7\r\n:6\r\n*1\r\n$1\r\na\r\n-ERR no\r\n", "cut at {cut}");
        }
    }

    #[test]
    fn what_no_node_gives_is_judged_by_the_node() {
        for given in ["9007199254740992", "9223372036854775807", "18446744073709551615"] {
            assert_eq!(strip(given.as_bytes(), 1), Ok(given.as_bytes().to_vec()));
        }
    }

    #[test]
    fn the_first_epoch_and_zero_change_nothing() {
        assert_eq!(stamp(1), 0);
        assert_eq!(strip(b"0", 42), Ok(b"0".to_vec()));
        assert_eq!(strip(b"junk", 42), Ok(b"junk".to_vec()));
        let mut reply = BytesMut::new();
        stamp_reply(b"*2\r\n$1\r\n0\r\n*0\r\n", 42, &mut reply);
        assert_eq!(&reply[..], b"*2\r\n$1\r\n0\r\n*0\r\n");
    }
}
