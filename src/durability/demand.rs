//! What the reply to one request waits for.

use super::{Level, Settings};

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What holds once the reply is given.
    pub level: Level,
    /// The request has changed nothing: what waits is what it shows.
    pub reads: bool,
}

impl Demand {
    /// The reply waits for nothing.
    pub const NONE: Self = Self { level: Level::Async, reads: false };

    /// Whether the reply waits for nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.level == Level::Async
    }

    /// Of a reply which says that nothing was changed. It may tell of what others have written all the same.
    #[must_use]
    pub fn unchanged(self, settings: &Settings) -> Self {
        if settings.reads_wait { Self { reads: true, ..self } } else { Self::NONE }
    }
}

/// Errors that tell of the node, of the user's rights or of the request, and of no data.
const DATALESS: &[&[u8]] = &[
    b"-NOPERM ",
    b"-NOAUTH ",
    b"-WRONGPASS ",
    b"-DENIED ",
    b"-NOPROTO ",
    b"-LOADING ",
    b"-READONLY ",
    b"-MASTERDOWN ",
    b"-MISCONF ",
    b"-NOREPLICAS ",
    b"-OOM ",
    b"-BUSY ",
    b"-NOSCRIPT ",
    b"-EXECABORT ",
];

/// Whether an error may depend on what the node holds, as WRONGTYPE does.
#[must_use]
pub fn shows_data(error: &[u8]) -> bool {
    !DATALESS.iter().any(|code| error.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_data_unless_it_is_known_to_show_none() {
        for error in ["-WRONGTYPE Operation", "-ERR no such key", "-BUSYKEY Target", "-BUSYGROUP Consumer"] {
            assert!(shows_data(error.as_bytes()), "{error}");
        }
        for error in ["-NOPERM this user", "-OOM command", "-BUSY Redis is busy"] {
            assert!(!shows_data(error.as_bytes()), "{error}");
        }
    }

    #[test]
    fn what_was_not_executed_waits_as_a_read_where_reads_wait() {
        let write = Demand { level: Level::SemiSync, reads: false };
        let mut settings = Settings::default();
        assert_eq!(write.unchanged(&settings), Demand::NONE);
        settings.reads_wait = true;
        assert_eq!(write.unchanged(&settings), Demand { reads: true, ..write });
    }
}
