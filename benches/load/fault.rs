//! Why a run is void.

use std::fmt;
use std::io::ErrorKind;

/// What ended a run before its time: a wrong reply, a lost connection, a stall.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A reply to `asked` that differs from what it must be, from byte `offset` on.
    pub(crate) fn wrong(asked: impl fmt::Debug, offset: usize, input: &[u8]) -> Self {
        let shown = &input[..input.len().min(offset + 120)];
        Self(format!("WRONG REPLY to {asked:?}, from byte {offset}: {}", shown.escape_ascii()))
    }

    /// Bytes that came though nothing was owed.
    pub(crate) fn unasked(input: &[u8]) -> Self {
        let shown = &input[..input.len().min(120)];
        Self(format!("WRONG REPLY: nothing was asked, got {}", shown.escape_ascii()))
    }

    /// The same, of client `number`.
    pub(crate) fn of_client(self, number: usize) -> Self {
        Self(format!("client {number}: {}", self.0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self("STALLED: no reply in time".to_owned()),
            _ => Self(format!("connection failed: {error}")),
        }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}
