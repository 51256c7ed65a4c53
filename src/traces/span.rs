//! A span, as OTLP has it. Pure.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which side of a call a span is; the numbers are OTLP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Flag(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

pub(super) type Attributes<'a> = Vec<(&'static str, Value<'a>)>;

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    pub(super) name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: Cow<'a, str>,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970, as is `end`.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Attributes<'a>,
    pub(super) events: Vec<Event<'a>>,
    /// It ended with an error.
    pub(super) failed: bool,
}

/// Nanoseconds since 1970; 0 for what was before, the last that there is for what is after 2554.
pub(super) fn nanos(at: SystemTime) -> u64 {
    length(at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

/// In nanoseconds.
pub(super) fn length(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
