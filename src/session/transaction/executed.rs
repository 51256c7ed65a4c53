//! What an executed transaction left behind.

use bytes::Bytes;

use super::{Queue, Word};

/// Where in EXEC's reply to look, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Elements of the array that belong to requests which leave state on the connection, unless the element is an error;
    /// with the request, empty when it was too much to be kept.
    pub left: Vec<(usize, Bytes)>,
    /// Which elements of the array are replies of the SCAN family, cursors to be translated.
    pub scans: Vec<usize>,
    /// Which of them are replies of PUBSUB, and of which row.
    pub listed: Vec<(usize, &'static str)>,
    /// Which of its elements belong to cursors of an earlier epoch, and to which.
    pub stale: Vec<(usize, u64)>,
}

impl Executed {
    /// Of an EXEC that executed what was queued. An error among the answers before it need not have hindered that.
    pub(super) fn of(queue: Queue) -> Self {
        let mut executed = Self::default();
        for (at, word, request) in queue.notes {
            match word {
                Word::Scan => executed.scans.push(at),
                Word::Listed(row) => executed.listed.push((at, row)),
                Word::Stale(of) => executed.stale.push((at, of)),
                _ => executed.left.push((at, request)),
            }
        }
        executed
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
