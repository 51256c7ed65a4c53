//! The rest of a request that passes through without being kept.

use super::limits::{Limits, ProtocolError};
use super::reply::Fed;
use super::request::LEAST_ARG;

/// Follows a request from the middle to its end, chunk by chunk. Keeps no argument, only the header line that a
/// chunk's end has cut.
#[derive(Clone, Debug)]
pub struct RequestTail {
    due: u64,
    /// Least length of the whole request, by what its headers have announced so far.
    known_len: u64,
    /// Bytes of the present argument still to come, its last two included.
    body: u64,
    /// The beginning of a header line.
    line: [u8; LINE],
    line_len: usize,
    /// Redis sees nothing behind a NUL in a header: the line stays open until it is too long.
    nul: bool,
    /// A CR has been read, the byte after it not.
    cr: bool,
}

/// Longer than any number that fits an i64, with its `$`.
const LINE: usize = 24;

impl RequestTail {
    /// `due` arguments are not complete; of the first of them `body` bytes follow when its header has been read.
    pub(super) fn new(due: u64, body: Option<u64>, known_len: u64) -> Self {
        let body = body.map_or(0, |len| len + 2);
        Self { due, known_len, body, line: [0; LINE], line_len: 0, nul: false, cr: false }
    }

    /// Reads on from `chunk[0]` until the request ends or the chunk does. After an error or `Frame`, never again.
    pub fn feed(&mut self, chunk: &[u8], limits: &Limits) -> Result<Fed, ProtocolError> {
        let mut at = 0;
        while self.due > 0 {
            if self.body > 0 {
                let left = chunk.len() - at;
                if (left as u64) < self.body {
                    self.body -= left as u64;
                    return Ok(Fed::More);
                }
                at += self.body as usize;
                self.body = 0;
                self.due -= 1;
                continue;
            }
            let Some(&byte) = chunk.get(at) else { return Ok(Fed::More) };
            at += 1;
            self.header_byte(byte, limits)?;
        }
        Ok(Fed::Frame { end: at })
    }

    fn header_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), ProtocolError> {
        if self.cr {
            return self.header_end(limits);
        }
        self.nul |= byte == 0;
        if byte == b'\r' && !self.nul {
            self.cr = true;
            return Ok(());
        }
        if let Some(place) = self.line.get_mut(self.line_len) {
            *place = byte;
        }
        self.line_len += 1;
        if self.line_len > limits.max_inline { Err(ProtocolError::BulkHeader) } else { Ok(()) }
    }

    fn header_end(&mut self, limits: &Limits) -> Result<(), ProtocolError> {
        // What does not fit the line is longer than any number.
        let line = self.line.get(..self.line_len).ok_or(ProtocolError::BulkLength);
        match line {
            Ok([b'$', digits @ ..]) => self.body = limits.bulk(digits)? + 2,
            Ok([first, ..]) => return Err(ProtocolError::ExpectedBulk(*first)),
            Ok([]) => return Err(ProtocolError::ExpectedBulk(b'\r')),
            Err(_) if self.line[0] != b'$' => return Err(ProtocolError::ExpectedBulk(self.line[0])),
            Err(error) => return Err(error),
        }
        let whole = self.line_len as u64 + 2 + self.body;
        self.known_len = self.known_len.saturating_add(whole - LEAST_ARG);
        limits.check_request(self.known_len)?;
        self.line_len = 0;
        self.cr = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RequestScanner, Scan};
    use super::*;

    /// Scans the first `cut` bytes with the scanner and the rest, `step` bytes at a time, with the tail.
    fn end(bytes: &[u8], cut: usize, step: usize) -> Result<Option<usize>, ProtocolError> {
        let limits = Limits::default();
        let mut scanner = RequestScanner::default();
        assert!(matches!(scanner.scan(&bytes[..cut], &limits)?, Scan::Incomplete { .. }));
        let Some((mut tail, from)) = scanner.tail() else { panic!("no header in {cut} bytes") };
        let mut at = from;
        while at < bytes.len() {
            let chunk = &bytes[at..bytes.len().min(at + step)];
            if let Fed::Frame { end } = tail.feed(chunk, &limits)? {
                return Ok(Some(at + end));
            }
            at += chunk.len();
        }
        Ok(None)
    }

    #[test]
    fn the_tail_ends_where_the_request_does_wherever_it_was_cut() {
        let request = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$11\r\nhello\r\n$1\r\n\r\n";
        let mut bytes = request.to_vec();
        bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        for cut in 4..request.len() {
            for step in 1..bytes.len() {
                assert_eq!(end(&bytes, cut, step), Ok(Some(request.len())), "cut {cut} step {step}");
            }
        }
    }

    #[test]
    fn the_tail_refuses_what_the_scanner_refuses() {
        let long = format!("*2\r\n$1\r\nx\r\n${}\r\n", "1".repeat(30));
        let endless = format!("*2\r\n$1\r\nx\r\n$\0\r\n{}", "1".repeat(70_000));
        for (bytes, error) in [
            (&b"*2\r\n$1\r\nx\r\n+OK\r\n"[..], ProtocolError::ExpectedBulk(b'+')),
            (b"*2\r\n$1\r\nx\r\n\r\n", ProtocolError::ExpectedBulk(b'\r')),
            (b"*2\r\n$1\r\nx\r\n$-1\r\n", ProtocolError::BulkLength),
            (b"*2\r\n$1\r\nx\r\n$536870913\r\n", ProtocolError::BulkLength),
            (long.as_bytes(), ProtocolError::BulkLength),
            (endless.as_bytes(), ProtocolError::BulkHeader),
        ] {
            assert_eq!(end(bytes, 4, 1), Err(error));
            assert_eq!(end(bytes, 4, bytes.len()), Err(error));
        }
    }

    #[test]
    fn the_tail_counts_the_whole_request() {
        let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello, world\r\n";
        let len = request.len() as u64;
        for (most, cut) in [(len, 4), (len, 20), (len - 1, 4), (len - 1, 20)] {
            let limits = Limits { max_request: most, ..Limits::default() };
            let mut scanner = RequestScanner::default();
            scanner.scan(&request[..cut], &limits).unwrap();
            let (mut tail, from) = scanner.tail().unwrap();
            let expected = if most < len {
                Err(ProtocolError::RequestSize(most))
            } else {
                Ok(Fed::Frame { end: request.len() - from })
            };
            assert_eq!(tail.feed(&request[from..], &limits), expected, "cut {cut}");
        }
    }

    #[test]
    fn a_cut_request_is_not_whole() {
        let bytes = b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r";
        for step in 1..bytes.len() {
            assert_eq!(end(bytes, 4, step), Ok(None));
        }
    }
}
