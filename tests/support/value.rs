//! RESP2 and RESP3 values as a test sees them, with a parser of their own: the proxy's must not judge itself.

use std::fmt;
use std::io::{self, BufRead, Read};

/// One reply.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-` or `!`, without the sign.
    Error(String),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Nil,
    /// `*`
    Array(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `,` as written.
    Double(String),
    /// `#`
    Bool(bool),
    /// `(`
    Big(String),
    /// `=` format and text.
    Verbatim(String, Vec<u8>),
    /// `>`
    Push(Vec<Value>),
    /// `|` and the value that it precedes.
    Attribute(Vec<(Value, Value)>, Box<Value>),
}

impl Value {
    /// A bulk string.
    pub fn bulk(text: impl AsRef<[u8]>) -> Self {
        Self::Bulk(text.as_ref().to_vec())
    }

    /// `+OK`
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// The text of a simple or bulk string, else `None`.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) | Self::Verbatim(_, bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The text of an error, else `None`.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The number, else `None`.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array, set or push, else none.
    pub fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            _ => &[],
        }
    }

    /// What a map, or the flat array that RESP2 gives for it, holds under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let named = |name: &Value| name.text().as_deref() == Some(key);
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| named(name)).map(|(_, value)| value),
            Self::Array(items) => items.chunks(2).find(|pair| named(&pair[0])).and_then(|pair| pair.get(1)),
            _ => None,
        }
    }

    /// Reads one value, whatever its protocol.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(from)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| malformed(&line))?;
        Ok(match kind {
            "+" => Self::Simple(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            ":" => Self::Int(rest.parse().map_err(|_| malformed(&line))?),
            "," => Self::Double(rest.to_owned()),
            "(" => Self::Big(rest.to_owned()),
            "#" => Self::Bool(rest == "t"),
            "_" => Self::Nil,
            "$" => read_bulk(from, rest)?.map_or(Self::Nil, Self::Bulk),
            "!" => {
                let bytes = read_bulk(from, rest)?.ok_or_else(|| malformed(&line))?;
                Self::Error(String::from_utf8_lossy(&bytes).into_owned())
            }
            "=" => {
                let bytes = read_bulk(from, rest)?.ok_or_else(|| malformed(&line))?;
                let format = String::from_utf8_lossy(bytes.get(..3).unwrap_or_default()).into_owned();
                Self::Verbatim(format, bytes.get(4..).unwrap_or_default().to_vec())
            }
            "*" => read_items(from, rest)?.map_or(Self::Nil, Self::Array),
            "~" => read_items(from, rest)?.map_or(Self::Nil, Self::Set),
            ">" => read_items(from, rest)?.map_or(Self::Nil, Self::Push),
            "%" => Self::Map(read_pairs(from, rest)?),
            "|" => Self::Attribute(read_pairs(from, rest)?, Box::new(Self::read(from)?)),
            _ => return Err(malformed(&line)),
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) if bytes.len() > 200 => {
                write!(f, "\"{}…\" ({} bytes)", bytes[..60].escape_ascii(), bytes.len())
            }
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Nil => write!(f, "nil"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Set(items) => write!(f, "~").and_then(|()| f.debug_list().entries(items).finish()),
            Self::Push(items) => write!(f, ">").and_then(|()| f.debug_list().entries(items).finish()),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish(),
            Self::Double(text) => write!(f, ",{text}"),
            Self::Bool(truth) => write!(f, "#{truth}"),
            Self::Big(text) => write!(f, "({text}"),
            Self::Verbatim(format, bytes) => write!(f, "={format}:{}", bytes.escape_ascii()),
            Self::Attribute(pairs, value) => write!(f, "|{pairs:?} {value:?}"),
        }
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a RESP value: {line:?}"))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed between replies"));
    }
    let Some(text) = line.strip_suffix(b"\r\n") else {
        let shown = line.escape_ascii().to_string();
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed inside a line: {shown}")));
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn read_length(text: &str) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => usize::try_from(length).map(Some).map_err(|_| malformed(text)),
        Err(_) => Err(malformed(text)),
    }
}

fn read_bulk(from: &mut impl BufRead, length: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = read_length(length)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let got = from.take(length as u64 + 2).read_to_end(&mut bytes)?;
    if got != length + 2 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a bulk string"));
    }
    if bytes.split_off(length) != b"\r\n" {
        return Err(malformed("a bulk string longer than announced"));
    }
    Ok(Some(bytes))
}

fn read_items(from: &mut impl BufRead, length: &str) -> io::Result<Option<Vec<Value>>> {
    let Some(length) = read_length(length)? else { return Ok(None) };
    (0..length).map(|_| Value::read(from)).collect::<io::Result<_>>().map(Some)
}

fn read_pairs(from: &mut impl BufRead, length: &str) -> io::Result<Vec<(Value, Value)>> {
    let length = read_length(length)?.ok_or_else(|| malformed(length))?;
    (0..length).map(|_| Ok((Value::read(from)?, Value::read(from)?))).collect()
}
