//! Requests of a mebibyte and more: they pass through to a connection of their own and are never kept.

use crate::resp::{Fed, RequestScanner};

use super::connection::{Connection, Step};
use super::pinned_lane::SEND_PAUSE;
use super::purpose::Purpose;

impl Connection {
    /// The beginning of a large request: its bytes pass through from here on.
    pub(super) fn stream_large(&mut self, scanner: &RequestScanner, bytes: &[u8]) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Some((mut tail, from)) = scanner.tail() else { return Step::Taken };
        if !matches!(tail.feed(&bytes[from..], &self.limits), Ok(Fed::More)) {
            return Step::Taken;
        }
        let row = crate::command::classify_partial(&scanner.partial(bytes)).row;
        match self.take_lane(Purpose::Large, None) {
            Err(Step::Wait) => Step::Wait,
            Err(Step::Taken) => {
                // It was refused, and the rest that still comes in belongs to nobody: only closing ends it.
                self.client.doom("a large request was refused");
                Step::Wait
            }
            Ok(mut lane) => {
                lane.write(bytes);
                lane.owe(&bytes::Bytes::new(), row, false);
                lane.tail = Some(tail);
                self.pinned = Some(lane);
                Step::Taken
            }
        }
    }

    /// The client is in the middle of a large request.
    pub(super) fn is_streaming(&self) -> bool {
        self.pinned.as_ref().is_some_and(|lane| lane.tail.is_some())
    }

    /// Bytes of a large request on their way through; `None` when there is none. Else how many were taken.
    pub(super) fn stream_on(&mut self, bytes: &[u8]) -> Option<(usize, Step)> {
        let lane = self.pinned.as_mut()?;
        let mut tail = lane.tail.take()?;
        if bytes.is_empty() || lane.unwritten() > SEND_PAUSE {
            lane.tail = Some(tail);
            return Some((0, if bytes.is_empty() { Step::Taken } else { Step::Wait }));
        }
        let (taken, ended) = match tail.feed(bytes, &self.limits) {
            Ok(Fed::More) => (bytes.len(), false),
            Ok(Fed::Frame { end }) => (end, true),
            Err(error) => {
                // The node must not execute half of it: its connection goes, unanswered.
                self.pinned = None;
                error.write(&mut self.client.out.borrow_mut());
                self.client.doom("protocol error in a large request");
                return Some((0, Step::Wait));
            }
        };
        lane.write(&bytes[..taken]);
        if !ended {
            lane.tail = Some(tail);
        }
        Some((taken, Step::Taken))
    }
}
