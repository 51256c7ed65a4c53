//! Redis's own words for a request that it would not accept.

use crate::resp::encode;
use bytes::BytesMut;
use std::fmt;

/// An error reply as Redis words it: the client is at fault, and nothing was done.
#[derive(Clone, PartialEq, Eq)]
pub struct Misuse(Vec<u8>);

impl Misuse {
    /// `text` with its code.
    pub(super) fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The parts one behind the other, some of which the client wrote. Redis takes what the client wrote for a C
    /// string and ends it at a NUL.
    pub(super) fn quoting(before: &str, quoted: &[u8], after: &str) -> Self {
        let quoted = quoted.split(|&byte| byte == 0).next().unwrap_or_default();
        Self([before.as_bytes(), quoted, after.as_bytes()].concat())
    }

    pub(super) fn syntax() -> Self {
        Self::new("ERR syntax error")
    }

    pub(super) fn arity(command: &str) -> Self {
        Self::new(&format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// Appends the error reply.
    pub fn write(&self, out: &mut BytesMut) {
        encode::error_bytes(out, &self.0);
    }
}

impl fmt::Debug for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Misuse({:?})", String::from_utf8_lossy(&self.0))
    }
}
