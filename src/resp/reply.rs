//! Where a reply ends: RESP2 and RESP3, every type.

use super::length;
use std::fmt;

/// What a feed found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The chunk ended first.
    More,
    /// One whole frame.
    Frame {
        /// How many bytes of the chunk belong to it.
        end: usize,
    },
}

/// Bytes from a node that are no RESP. The node or the connection is at fault; nothing that follows on the
/// connection can be matched to a request any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// No reply, or nothing that may stand here, begins with this byte.
    Type(u8),
    /// A length, a number, a boolean or a null that is none.
    Header,
    /// A string is not followed by CRLF where its length says so.
    Length,
    /// More nested parts than [`ReplyScanner`] or [`super::decode`] follow.
    Depth,
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(byte) => write!(f, "a reply cannot begin with byte {byte:#04x}"),
            Self::Header => f.write_str("malformed length or number"),
            Self::Length => f.write_str("a string longer than announced"),
            Self::Depth => f.write_str("nested too deep"),
        }
    }
}

impl std::error::Error for BadReply {}

/// Finds the end of one reply after the other in chunks that may be cut anywhere. Keeps no bytes but a header
/// line that a chunk's end has cut, so a reply of any size and any depth of arrays costs the same.
///
/// An attribute belongs to the reply behind it: both are one frame.
#[derive(Clone, Debug, Default)]
pub struct ReplyScanner {
    /// Elements still due in the aggregates that announced their length, of all depths together: only when they
    /// are all there, the outermost is. An aggregate adds what it holds, any element takes one away.
    due: u64,
    /// For each streamed aggregate (`*?`) that is open, what was due around it.
    streams: Vec<u64>,
    step: Step,
    /// First byte of the present or last reply, its attribute passed over; 0 while unknown.
    kind: u8,
    line: [u8; LINE],
    line_len: usize,
}

/// Any number within an i64 with its type byte, and CRLF.
const LINE: usize = 24;
/// Open streamed aggregates. No server sends any; the number is there to have one.
const MAX_STREAMS: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Before a type byte.
    #[default]
    Type,
    /// In a header, the beginning of which is kept in `line`.
    Header,
    /// In a text that ends with CRLF.
    Text { cr: bool },
    /// In a string of which this many bytes follow, the last two CRLF. `chunked`: another chunk follows it.
    Body { left: u64, chunked: bool },
    /// Before the `;` of a further chunk of a streamed string.
    Chunk,
}

/// The end of a string or of `+OK` that is wholly there: most replies. `None` says nothing.
#[inline]
fn at_once(chunk: &[u8]) -> Option<usize> {
    if let Some((len, start)) = length::header(chunk, 0, b'$') {
        let end = start + len as usize;
        return (chunk.get(end..end + 2)? == b"\r\n").then_some(end + 2);
    }
    chunk.starts_with(b"+OK\r\n").then_some(5)
}

impl ReplyScanner {
    /// Reads on from `chunk[0]` until one reply has ended or the chunk has. After an error, never again.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Fed, BadReply> {
        let mut at = 0;
        if self.is_idle() && !chunk.is_empty() {
            if let Some(end) = at_once(chunk) {
                self.kind = chunk[0];
                return Ok(Fed::Frame { end });
            }
            self.due = 1;
            self.kind = 0;
        }
        while at < chunk.len() {
            at = match self.step {
                Step::Type => self.begin(chunk, at)?,
                Step::Chunk => self.chunk(chunk, at)?,
                Step::Header => self.header_rest(chunk, at)?,
                Step::Text { cr } => self.text(chunk, at, cr),
                Step::Body { left, chunked } => self.body(chunk, at, left, chunked)?,
            };
            if self.is_idle() {
                return Ok(Fed::Frame { end: at });
            }
        }
        Ok(Fed::More)
    }

    /// First byte of the reply that just ended or is under way, behind its attribute: `b'>'` is a push. 0 while
    /// that byte has not come.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// So many bytes more, at least, belong to the reply under way.
    pub fn left(&self) -> u64 {
        if let Step::Body { left, .. } = self.step { left } else { 0 }
    }

    /// Between two replies: not a byte of the next one has come.
    pub fn is_idle(&self) -> bool {
        self.due == 0 && self.step == Step::Type && self.streams.is_empty()
    }

    #[inline]
    fn begin(&mut self, chunk: &[u8], at: usize) -> Result<usize, BadReply> {
        let byte = chunk[at];
        if self.kind == 0 && self.due == 1 && byte != b'|' && self.streams.is_empty() {
            self.kind = byte;
        }
        if self.due == 0 && byte != b'.' {
            // Directly within a streamed aggregate: one more element, how many is not known.
            self.due = 1;
        }
        match byte {
            b'+' | b'-' | b',' | b'(' => {
                self.step = Step::Text { cr: false };
                Ok(self.text(chunk, at + 1, false))
            }
            b'$' => match length::header(chunk, at, b'$') {
                Some((len, next)) => self.body(chunk, next, len + 2, false),
                None => self.header(chunk, at),
            },
            b'*' | b'%' | b'~' | b'>' | b'|' => match length::header(chunk, at, byte) {
                Some((len, next)) => {
                    self.aggregate(byte, len)?;
                    Ok(next)
                }
                None => self.header(chunk, at),
            },
            b':' => match length::header(chunk, at, b':') {
                Some((_, next)) => {
                    self.element();
                    Ok(next)
                }
                None => self.header(chunk, at),
            },
            b'_' | b'#' | b'!' | b'=' | b'.' => self.header(chunk, at),
            other => Err(BadReply::Type(other)),
        }
    }

    fn chunk(&mut self, chunk: &[u8], at: usize) -> Result<usize, BadReply> {
        if chunk[at] == b';' { self.header(chunk, at) } else { Err(BadReply::Type(chunk[at])) }
    }

    /// A header at `at`: acted on when its line is whole, else kept.
    fn header(&mut self, chunk: &[u8], at: usize) -> Result<usize, BadReply> {
        self.step = Step::Header;
        self.line_len = 0;
        self.header_rest(chunk, at)
    }

    fn header_rest(&mut self, chunk: &[u8], mut at: usize) -> Result<usize, BadReply> {
        while let Some(&byte) = chunk.get(at) {
            *self.line.get_mut(self.line_len).ok_or(BadReply::Header)? = byte;
            self.line_len += 1;
            at += 1;
            if byte == b'\n' {
                self.act_on_header()?;
                break;
            }
        }
        Ok(at)
    }

    fn act_on_header(&mut self) -> Result<(), BadReply> {
        let line = self.line;
        let (kind, text) = match &line[..self.line_len] {
            [kind, text @ .., b'\r', b'\n'] => (*kind, text),
            _ => return Err(BadReply::Header),
        };
        self.step = Step::Type;
        match (kind, text) {
            (b':', text) => {
                length::integer(text).or_else(|| positive(text)).ok_or(BadReply::Header)?;
                self.element();
            }
            (b'_', b"") | (b'#', b"t" | b"f") | (b'$' | b'*', b"-1") => self.element(),
            (b'.', b"") => self.end_of_stream()?,
            (b'$', b"?") => self.step = Step::Chunk,
            (b'*' | b'%' | b'~', b"?") => self.stream()?,
            (b';', b"0") => self.element(),
            (b'$' | b'!' | b'=' | b';', text) => {
                self.step = Step::Body { left: len(text)? + 2, chunked: kind == b';' };
            }
            (b'*' | b'%' | b'~' | b'>' | b'|', text) => self.aggregate(kind, len(text)?)?,
            _ => return Err(BadReply::Header),
        }
        Ok(())
    }

    /// One element, and be it the reply itself, has ended.
    #[inline]
    fn element(&mut self) {
        debug_assert!(self.due > 0, "`begin` counts an element before it is read");
        self.due -= 1;
    }

    #[inline]
    fn aggregate(&mut self, kind: u8, len: u64) -> Result<(), BadReply> {
        let elements = match kind {
            b'%' | b'|' => len.checked_mul(2).ok_or(BadReply::Header)?,
            _ => len,
        };
        // An attribute is no element itself: the one that it belongs to is still due.
        let itself = u64::from(kind != b'|');
        self.due = (self.due - itself).checked_add(elements).ok_or(BadReply::Header)?;
        Ok(())
    }

    fn stream(&mut self) -> Result<(), BadReply> {
        if self.streams.len() == MAX_STREAMS {
            return Err(BadReply::Depth);
        }
        self.element();
        self.streams.push(self.due);
        self.due = 0;
        Ok(())
    }

    fn end_of_stream(&mut self) -> Result<(), BadReply> {
        if self.due > 0 {
            return Err(BadReply::Type(b'.'));
        }
        self.due = self.streams.pop().ok_or(BadReply::Type(b'.'))?;
        Ok(())
    }

    #[inline]
    fn text(&mut self, chunk: &[u8], mut at: usize, mut cr: bool) -> usize {
        while let Some(&byte) = chunk.get(at) {
            at += 1;
            if cr && byte == b'\n' {
                self.step = Step::Type;
                self.element();
                return at;
            }
            cr = byte == b'\r';
        }
        self.step = Step::Text { cr };
        at
    }

    #[inline]
    fn body(&mut self, chunk: &[u8], at: usize, left: u64, chunked: bool) -> Result<usize, BadReply> {
        let here = &chunk[at..];
        if left > 2 && (here.len() as u64) <= left - 2 {
            self.step = Step::Body { left: left - here.len() as u64, chunked };
            return Ok(chunk.len());
        }
        // The end of the string lies in this chunk or was in the one before.
        let string = left.saturating_sub(2) as usize;
        let expected = &b"\r\n"[2 - left.min(2) as usize..];
        let trailer = &here[string..here.len().min(string + expected.len())];
        if !expected.starts_with(trailer) {
            return Err(BadReply::Length);
        }
        if trailer.len() < expected.len() {
            self.step = Step::Body { left: (expected.len() - trailer.len()) as u64, chunked };
        } else if chunked {
            self.step = Step::Chunk;
        } else {
            self.step = Step::Type;
            self.element();
        }
        Ok(at + string + trailer.len())
    }
}

fn len(text: &[u8]) -> Result<u64, BadReply> {
    // Beyond this no server's memory reaches, and sums of a few cannot overflow.
    const MAX: i64 = 1 << 60;
    match length::integer(text) {
        Some(len @ 0..=MAX) => Ok(len as u64),
        _ => Err(BadReply::Header),
    }
}

/// RESP allows `:+5`.
fn positive(text: &[u8]) -> Option<i64> {
    length::integer(text.strip_prefix(b"+")?).filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests;
