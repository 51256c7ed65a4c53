//! Where a client's request ends, and what its arguments are.

use super::encode;
use super::inline;
use super::length;
use super::limits::{Limits, ProtocolError};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// What [`RequestScanner::scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The request goes on.
    Incomplete {
        /// Length that the buffer must have before another scan can find more.
        at_least: usize,
    },
    /// A whole request.
    Complete {
        /// Its length in bytes.
        len: usize,
    },
    /// `*0`, `*-1` or an empty line: Redis answers nothing.
    Empty {
        /// Its length in bytes.
        len: usize,
    },
}

/// Place of an argument in the bytes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Finds the end of one request in a buffer that grows. Each byte is looked at once, however the request arrives.
/// After `Complete` or `Empty` call [`RequestScanner::reset`] before the next request; after an error, never again.
#[derive(Debug, Default)]
pub struct RequestScanner {
    /// Start of the header or of the argument that is looked for next.
    pos: usize,
    /// Up to here no line end was found.
    searched: usize,
    /// Arguments announced and not yet complete.
    due: u64,
    /// Length of the argument at `pos`, when its header has been read.
    body: Option<u64>,
    /// The number of arguments has been read.
    counted: bool,
    /// Some line did not end with CRLF; Redis looks at the CR and the distance only.
    loose: bool,
    inline: bool,
    args: Vec<Span>,
    /// The unquoted arguments of an inline request.
    text: Vec<u8>,
}

/// Arguments beyond which an allocation is not kept for the next request.
const KEPT_ARGS: usize = 256;
/// Bytes beyond which the text of an inline request is not kept for the next one.
const KEPT_TEXT: usize = 1024;
/// Most arguments of a request that is tried whole first; below what clients may send before they authenticate.
const AT_ONCE: u64 = 8;
/// `$0\r\n\r\n`
pub(super) const LEAST_ARG: u64 = 6;

enum Line {
    /// It ends with the CR here, and one more byte is there.
    Ends(usize),
    /// Its CR is the last byte.
    Waits,
    /// No CR so far.
    Open,
}

impl RequestScanner {
    /// Of a request that was whole and within the client's limits when it came, and was kept since. `None` when it is
    /// neither.
    pub fn of_kept(bytes: &[u8]) -> Option<Self> {
        let mut scanner = Self::default();
        match scanner.scan(bytes, &Limits::default()) {
            Ok(Scan::Complete { .. }) => Some(scanner),
            Ok(Scan::Incomplete { .. } | Scan::Empty { .. }) | Err(_) => None,
        }
    }

    /// Looks on for the end of the request whose first byte is `buf[0]`, in every call the same request with
    /// at least as many bytes as in the call before. Bytes of later requests may follow.
    pub fn scan(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, ProtocolError> {
        match buf.first() {
            None => Ok(Scan::Incomplete { at_least: 1 }),
            Some(b'*') => self.scan_multibulk(buf, limits),
            Some(_) => self.scan_inline(buf, limits),
        }
    }

    /// The request that `scan` called `Complete`, in the same buffer.
    pub fn request<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        let raw = &buf[..self.pos];
        let bytes = if self.inline { &self.text[..] } else { raw };
        Request { raw, bytes, args: &self.args, inline: self.inline, loose: self.loose }
    }

    /// While `Incomplete`: the arguments that are already whole. `raw()` ends where they do.
    pub fn partial<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        self.request(buf)
    }

    /// While `Incomplete`: the announced length of the first argument that is not whole, once its header has been read.
    pub fn next_len(&self) -> Option<u64> {
        self.body
    }

    /// Least length of the whole request in bytes, by what its headers have announced so far.
    pub fn known_len(&self) -> u64 {
        let body = self.body.map_or(0, |len| len + 2);
        let without_header = self.due - u64::from(self.body.is_some());
        (self.pos as u64).saturating_add(body).saturating_add(without_header.saturating_mul(LEAST_ARG))
    }

    /// Makes ready for the next request. Keeps its allocations unless they are large.
    pub fn reset(&mut self) {
        let (mut args, mut text) = (std::mem::take(&mut self.args), std::mem::take(&mut self.text));
        args.clear();
        text.clear();
        if args.capacity() > KEPT_ARGS {
            args = Vec::new();
        }
        if text.capacity() > KEPT_TEXT {
            text = Vec::new();
        }
        *self = Self { args, text, ..Self::default() };
    }

    /// For a request that shall not be kept whole: what is still to come, and from which byte of the buffer on
    /// [`super::RequestTail::feed`] must see it. Only for a multibulk request whose header has been read.
    pub fn tail(&self) -> Option<(super::RequestTail, usize)> {
        self.counted.then(|| (super::RequestTail::new(self.due, self.body, self.known_len()), self.pos))
    }

    fn scan_multibulk(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, ProtocolError> {
        if !self.counted {
            if let Some(len) = self.scan_at_once(buf, limits) {
                return Ok(Scan::Complete { len });
            }
            let Some(due) = self.count(buf, limits)? else {
                return Ok(Scan::Incomplete { at_least: buf.len() + 1 });
            };
            if due == 0 {
                return Ok(Scan::Empty { len: self.pos });
            }
            self.due = due;
            self.counted = true;
            limits.check_request(self.known_len())?;
        }
        while self.due > 0 {
            let len = match self.body {
                Some(len) => len,
                None => match self.bulk_len(buf, limits)? {
                    Some(len) => {
                        self.body = Some(len);
                        limits.check_request(self.known_len())?;
                        len
                    }
                    None => return Ok(Scan::Incomplete { at_least: buf.len() + 1 }),
                },
            };
            let end = self.pos.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            let next = end.saturating_add(2);
            if buf.len() < next {
                return Ok(Scan::Incomplete { at_least: next });
            }
            self.loose |= &buf[end..next] != b"\r\n";
            self.args.push(Span { start: self.pos, end });
            self.body = None;
            self.due -= 1;
            self.pos = next;
        }
        Ok(Scan::Complete { len: self.pos })
    }

    /// A request that is wholly there, in the form that every client sends, in one go. `None` says nothing.
    #[inline]
    fn scan_at_once(&mut self, buf: &[u8], limits: &Limits) -> Option<usize> {
        let (count, mut pos) = length::header(buf, 0, b'*')?;
        if count == 0 || count > AT_ONCE {
            return None;
        }
        for _ in 0..count {
            let Some(span) = bulk_at_once(buf, pos, limits) else {
                self.args.clear();
                return None;
            };
            self.args.push(span);
            pos = span.end + 2;
        }
        if pos as u64 > limits.max_request {
            self.args.clear();
            return None;
        }
        self.pos = pos;
        Some(pos)
    }

    #[inline]
    fn count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<u64>, ProtocolError> {
        if let Some((count, next)) = length::header(buf, 0, b'*') {
            self.pos = next;
            return limits.check_args(count).map(Some);
        }
        let Some(end) = self.header_end(buf, limits, ProtocolError::MultibulkHeader)? else {
            return Ok(None);
        };
        let due = limits.args(&buf[1..end])?;
        self.pos = end + 2;
        Ok(Some(due))
    }

    #[inline]
    fn bulk_len(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<u64>, ProtocolError> {
        if let Some((len, next)) = length::header(buf, self.pos, b'$') {
            self.pos = next;
            return limits.check_bulk(len).map(Some);
        }
        let Some(end) = self.header_end(buf, limits, ProtocolError::BulkHeader)? else { return Ok(None) };
        if buf[self.pos] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[self.pos]));
        }
        let len = limits.bulk(&buf[self.pos + 1..end])?;
        self.pos = end + 2;
        Ok(Some(len))
    }

    #[cold]
    fn header_end(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        too_big: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        match self.line(buf, b'\r', 1) {
            Line::Ends(end) => {
                self.loose |= buf[end + 1] != b'\n';
                Ok(Some(end))
            }
            Line::Open if buf.len() - self.pos > limits.max_inline => Err(too_big),
            Line::Open | Line::Waits => Ok(None),
        }
    }

    fn scan_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, ProtocolError> {
        self.inline = true;
        let Line::Ends(newline) = self.line(buf, b'\n', 0) else {
            if buf.len() > limits.max_inline {
                return Err(ProtocolError::Inline);
            }
            return Ok(Scan::Incomplete { at_least: buf.len() + 1 });
        };
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.text, &mut self.args).ok_or(ProtocolError::Quotes)?;
        self.pos = newline + 1;
        let len = self.pos;
        limits.check_request(len as u64)?;
        Ok(if self.args.is_empty() { Scan::Empty { len } } else { Scan::Complete { len } })
    }

    /// Looks for `terminator` from `pos` on; `after` more bytes must follow it. Redis looks with `strchr`, which
    /// no byte behind a NUL is visible to: such a line stays open until it is too long.
    fn line(&mut self, buf: &[u8], terminator: u8, after: usize) -> Line {
        let from = self.searched.max(self.pos);
        match buf[from..].iter().position(|&byte| byte == terminator || byte == 0) {
            Some(offset) => {
                let at = from + offset;
                self.searched = at;
                match buf[at] {
                    0 => Line::Open,
                    _ if at + after < buf.len() => Line::Ends(at),
                    _ => Line::Waits,
                }
            }
            None => {
                self.searched = buf.len();
                Line::Open
            }
        }
    }
}

/// The argument at `pos`, when it is wholly there in the form that every client sends.
#[inline(always)]
fn bulk_at_once(buf: &[u8], pos: usize, limits: &Limits) -> Option<Span> {
    let (len, start) = length::header(buf, pos, b'$')?;
    let end = start + limits.check_bulk(len).ok()? as usize;
    (buf.get(end..end + 2)? == b"\r\n").then_some(Span { start, end })
}

/// How a request begins: the number of its arguments and the command's name, byte for byte as the client wrote them.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    bytes: &'a [u8],
    /// Arguments behind the name.
    further: usize,
}

impl Head<'_> {
    /// The length of the request that `buf` begins with, when it has this head, is wholly there and is within the limits, in
    /// the form that every client sends. `None` says nothing.
    #[inline]
    pub fn next(&self, buf: &[u8], limits: &Limits) -> Option<usize> {
        if !buf.starts_with(self.bytes) {
            return None;
        }
        let mut len = self.bytes.len();
        for _ in 0..self.further {
            len = bulk_at_once(buf, len, limits)?.end + 2;
        }
        (len as u64 <= limits.max_request).then_some(len)
    }
}

/// One request: its arguments, the command's name first.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    raw: &'a [u8],
    bytes: &'a [u8],
    args: &'a [Span],
    inline: bool,
    loose: bool,
}

impl<'a> Request<'a> {
    /// Number of arguments, the name included.
    #[expect(clippy::len_without_is_empty, reason = "a request has at least its name")]
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Argument `index`; the name is number 0. Empty when there is none.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args.get(index).map_or(&[], |span| &self.bytes[span.start..span.end])
    }

    /// All arguments, the name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.args.iter().map(move |span| &bytes[span.start..span.end])
    }

    /// The command's name as the client wrote it.
    pub fn name(&self) -> &'a [u8] {
        self.arg(0)
    }

    /// How it begins. `None` when it is not [strict](Self::is_strict).
    pub fn head(&self) -> Option<Head<'a>> {
        let name = self.args.first().filter(|_| self.is_strict())?;
        Some(Head { bytes: self.raw.get(..name.end + 2)?, further: self.args.len() - 1 })
    }

    /// The request's bytes as they came.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Came as a line of words.
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// What a server would say to it as a multibulk request of a client that has yet to authenticate, before it looks
    /// at the command.
    #[inline]
    pub fn beyond_unauthenticated(&self) -> Option<ProtocolError> {
        if self.args.len() as u64 > Limits::UNAUTHENTICATED_ARGS {
            return Some(ProtocolError::UnauthenticatedMultibulk);
        }
        let most = Limits::UNAUTHENTICATED_BULK as usize;
        // Only a request that is longer than an argument may be can have such an argument.
        let long = self.bytes.len() > most && self.args.iter().any(|span| span.end - span.start > most);
        long.then_some(ProtocolError::UnauthenticatedBulk)
    }

    /// `raw()` is a multibulk request that any server reads alike: it may go on a shared connection as it is.
    /// Otherwise [`Request::write_multibulk`] makes it so.
    pub fn is_strict(&self) -> bool {
        !self.inline && !self.loose
    }

    /// The request as [`Self::write_multibulk`] makes it, in one allocation where it is strict.
    pub fn to_multibulk(&self) -> Bytes {
        if self.is_strict() {
            return Bytes::copy_from_slice(self.raw);
        }
        let mut out = BytesMut::new();
        self.write_multibulk(&mut out);
        out.freeze()
    }

    /// Appends the request as a multibulk request with every line ended by CRLF: a copy of the raw bytes where
    /// they are that already.
    pub fn write_multibulk(&self, out: &mut BytesMut) {
        if self.is_strict() {
            out.put_slice(self.raw);
            return;
        }
        encode::array_header(out, self.len());
        for arg in self.args() {
            encode::bulk(out, arg);
        }
    }
}

impl fmt::Debug for Request<'_> {
    /// The name and the lengths only: arguments may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &String::from_utf8_lossy(self.name()))
            .field("args", &self.len())
            .field("bytes", &self.raw.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
