//! How much a client may send, and what it is told when it sends something else.

use super::encode;
use super::length;
use bytes::{BufMut, BytesMut};
use std::fmt;

/// What a client may send. Reaching one of them is a [`ProtocolError`], after which Redis closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument in bytes: Redis's `proto-max-bulk-len`, 512 MiB by default.
    pub max_bulk: u64,
    /// Most arguments of one request: Redis ≥ 6.2.6 has `INT_MAX`, earlier ones 1,048,576.
    pub max_args: u64,
    /// Longest inline request and longest header line in bytes: 64 KiB in Redis.
    pub max_inline: usize,
    /// Longest request in bytes, headers included. A bound of the proxy's own.
    pub max_request: u64,
    /// `false` applies the limits of clients that have yet to authenticate: 10 arguments of 16,384 bytes.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bulk: 512 << 20,
            max_args: i32::MAX as u64,
            max_inline: 64 << 10,
            max_request: u64::MAX,
            authenticated: true,
        }
    }
}

impl Limits {
    /// Most arguments of one request before authentication, as in Redis.
    pub(super) const UNAUTHENTICATED_ARGS: u64 = 10;
    /// Longest argument before authentication in bytes, as in Redis.
    pub(super) const UNAUTHENTICATED_BULK: u64 = 16_384;

    /// The number of arguments announced by a header's text; 0 for what Redis passes over in silence.
    pub(super) fn args(&self, text: &[u8]) -> Result<u64, ProtocolError> {
        let number = length::integer(text).ok_or(ProtocolError::MultibulkLength)?;
        self.check_args(u64::try_from(number).unwrap_or(0))
    }

    #[inline]
    pub(super) fn check_args(&self, count: u64) -> Result<u64, ProtocolError> {
        if count > self.max_args {
            return Err(ProtocolError::MultibulkLength);
        }
        if count > Self::UNAUTHENTICATED_ARGS && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        Ok(count)
    }

    /// Judges a request that is at least this long, by what its headers have announced so far.
    #[inline]
    pub(super) fn check_request(&self, least: u64) -> Result<(), ProtocolError> {
        if least > self.max_request { Err(ProtocolError::RequestSize(self.max_request)) } else { Ok(()) }
    }

    /// The length of an argument announced by a header's text.
    pub(super) fn bulk(&self, text: &[u8]) -> Result<u64, ProtocolError> {
        let number = length::integer(text).and_then(|number| u64::try_from(number).ok());
        self.check_bulk(number.ok_or(ProtocolError::BulkLength)?)
    }

    #[inline]
    pub(super) fn check_bulk(&self, len: u64) -> Result<u64, ProtocolError> {
        if len > self.max_bulk {
            return Err(ProtocolError::BulkLength);
        }
        if len > Self::UNAUTHENTICATED_BULK && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        Ok(len)
    }
}

/// A request that breaks the protocol: the client is told [`ProtocolError::write`] and its connection closed.
/// `Display` is Redis's own text behind `-ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number of arguments is no number or beyond [`Limits::max_args`].
    MultibulkLength,
    /// An argument did not begin with `$` but with this byte.
    ExpectedBulk(u8),
    /// The length of an argument is no number, negative or beyond [`Limits::max_bulk`].
    BulkLength,
    /// The line with the number of arguments does not end.
    MultibulkHeader,
    /// The line with the length of an argument does not end.
    BulkHeader,
    /// An inline request does not end.
    Inline,
    /// An inline request with a quote that is not closed.
    Quotes,
    /// More than 10 arguments before authentication.
    UnauthenticatedMultibulk,
    /// More than 16,384 bytes in an argument before authentication.
    UnauthenticatedBulk,
    /// The whole request is longer than [`Limits::max_request`], which is this. Redis has no such bound.
    RequestSize(u64),
}

impl ProtocolError {
    /// Only those are told so who have yet to authenticate.
    pub fn is_of_strangers(self) -> bool {
        matches!(self, Self::UnauthenticatedMultibulk | Self::UnauthenticatedBulk)
    }

    /// Appends the whole error reply, byte for byte Redis's own where Redis has one.
    pub fn write(self, out: &mut BytesMut) {
        match self {
            // The byte is passed on raw as Redis does; it need not be UTF-8.
            Self::ExpectedBulk(byte) => {
                out.put_slice(b"-ERR Protocol error: expected '$', got '");
                out.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
                out.put_slice(b"'\r\n");
            }
            other => encode::error(out, &format!("ERR {other}")),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::ExpectedBulk(byte) => return write!(f, "expected '$', got '{}'", char::from(*byte)),
            Self::RequestSize(most) => {
                return write!(f, "request larger than limits.request_size ({most} bytes)");
            }
            Self::MultibulkLength => "invalid multibulk length",
            Self::BulkLength => "invalid bulk length",
            Self::MultibulkHeader => "too big mbulk count string",
            Self::BulkHeader => "too big bulk count string",
            Self::Inline => "too big inline request",
            Self::Quotes => "unbalanced quotes in request",
            Self::UnauthenticatedMultibulk => "unauthenticated multibulk length",
            Self::UnauthenticatedBulk => "unauthenticated bulk length",
        })
    }
}

impl std::error::Error for ProtocolError {}
