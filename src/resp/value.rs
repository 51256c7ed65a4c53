//! Replies to the proxy's own questions, as values. RESP2: the proxy's own connections never say HELLO 3.

use super::length;
use super::reply::{BadReply, Fed, ReplyScanner};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `+`; what is no UTF-8 is replaced.
    Simple(String),
    /// `-`, with its code, without the `-`; what is no UTF-8 is replaced.
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`
    Null,
    /// `*`
    Array(Vec<Value>),
}

/// Deepest nesting that is decoded; COMMAND, the deepest reply that the proxy asks for, has 8.
const MAX_DEPTH: usize = 32;

/// Decodes one reply from the start of `bytes`, and says how many of them it took; `None` when it is not whole.
pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, BadReply> {
    let end = match ReplyScanner::default().feed(bytes)? {
        Fed::More => return Ok(None),
        Fed::Frame { end } => end,
    };
    let frame = &bytes[..end];
    // The decoder recurses: a node's garbage must not reach the end of our stack.
    check_depth(frame)?;
    match decode_range(frame) {
        Ok(Some((decoded, len))) if len == end => Ok(Some((value(frame, decoded), end))),
        Ok(_) => Err(BadReply::Length),
        Err(_) => Err(BadReply::Type(frame[0])),
    }
}

impl Value {
    /// A text: `+`, or `$` if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Error(_) | Self::Integer(_) | Self::Null | Self::Array(_) => None,
        }
    }

    /// The bytes of `+` or `$`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) => Some(text.as_bytes()),
            Self::Bulk(bytes) => Some(bytes),
            Self::Error(_) | Self::Integer(_) | Self::Null | Self::Array(_) => None,
        }
    }

    /// An integer, or a text that is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text of an error, its code first.
    pub fn as_error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The code of an error: its first word.
    pub fn error_code(&self) -> Option<&str> {
        self.as_error().and_then(|text| text.split(' ').next())
    }

    /// Answers `+OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }
}

fn value(bytes: &[u8], frame: RangeFrame) -> Value {
    let text = |(start, end): (usize, usize)| String::from_utf8_lossy(&bytes[start..end]).into_owned();
    match frame {
        RangeFrame::SimpleString(range) => Value::Simple(text(range)),
        RangeFrame::Error(range) => Value::Error(text(range)),
        RangeFrame::Integer(number) => Value::Integer(number),
        RangeFrame::BulkString((start, end)) => Value::Bulk(bytes[start..end].to_vec()),
        RangeFrame::Null => Value::Null,
        RangeFrame::Array(items) => Value::Array(items.into_iter().map(|item| value(bytes, item)).collect()),
    }
}

/// `frame` is whole.
fn check_depth(frame: &[u8]) -> Result<(), BadReply> {
    let mut open: Vec<u64> = Vec::new();
    let mut at = 0;
    while at < frame.len() {
        let line = frame[at..].windows(2).position(|pair| pair == b"\r\n").ok_or(BadReply::Header)?;
        let [kind, text @ ..] = &frame[at..at + line] else { return Err(BadReply::Header) };
        at += line + 2;
        let announced = length::integer(text).and_then(|len| u64::try_from(len).ok());
        if let Some(due) = open.last_mut() {
            *due -= 1;
        }
        match (*kind, announced) {
            (b'$', Some(len)) => at += len as usize + 2,
            (b'*', Some(len)) => open.push(len),
            (b'+' | b'-' | b':' | b'$' | b'*', _) => {}
            (other, _) => return Err(BadReply::Type(other)),
        }
        if open.len() > MAX_DEPTH {
            return Err(BadReply::Depth);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resp2_type_becomes_its_value() {
        let bytes = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$2\r\n\xff\x00\r\n$-1\r\n*2\r\n*0\r\n*-1\r\n+next\r\n";
        let (value, len) = decode(bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len() - 7);
        assert_eq!(
            value,
            Value::Array(vec![
                Value::Simple("OK".into()),
                Value::Error("ERR no".into()),
                Value::Integer(-7),
                Value::Bulk(vec![0xff, 0]),
                Value::Null,
                Value::Array(vec![Value::Array(vec![]), Value::Null]),
            ])
        );
        for cut in 0..len {
            assert_eq!(decode(&bytes[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_value_is_read_as_what_it_can_be() {
        let items = decode(b"*5\r\n+OK\r\n-MOVED 1 x\r\n:12\r\n$2\r\n34\r\n*1\r\n:1\r\n").unwrap().unwrap().0;
        let [ok, error, number, text, array] = items.as_array().unwrap() else { panic!("{items:?}") };
        assert!(ok.is_ok() && !text.is_ok());
        assert_eq!((ok.as_str(), error.as_str(), text.as_str()), (Some("OK"), None, Some("34")));
        assert_eq!((number.as_int(), text.as_int(), ok.as_int()), (Some(12), Some(34), None));
        assert_eq!((error.as_error(), error.error_code()), (Some("MOVED 1 x"), Some("MOVED")));
        assert_eq!((text.as_bytes(), number.as_bytes()), (Some(&b"34"[..]), None));
        assert_eq!(array.as_array().unwrap().len(), 1);
    }

    #[test]
    fn garbage_is_refused_and_not_recursed_into() {
        assert_eq!(decode(b"HTTP/1.1 200 OK\r\n"), Err(BadReply::Type(b'H')));
        assert_eq!(decode(b"%0\r\n"), Err(BadReply::Type(b'%')));
        assert_eq!(decode(b"$2\r\nabc\r\n"), Err(BadReply::Length));
        assert_eq!(decode(b"+a\n\nb\r\n"), Ok(Some((Value::Simple("a\n\nb".into()), 7))));
        let deep = [&b"*1\r\n".repeat(100_000)[..], b":1\r\n"].concat();
        assert_eq!(decode(&deep), Err(BadReply::Depth));
        let deepest = [&b"*1\r\n".repeat(MAX_DEPTH)[..], b":1\r\n"].concat();
        assert!(decode(&deepest).unwrap().is_some());
    }
}
