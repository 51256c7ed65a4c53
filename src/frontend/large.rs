//! Requests of a mebibyte and more: they pass through to a connection of their own and are never kept.

use crate::command::Effect;
use crate::resp::{Fed, RequestScanner};

use super::connection::{Connection, Step};
use super::pinned_lane::SEND_PAUSE;
use super::purpose::{Purpose, Sent};

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
        let class = crate::command::classify_partial(&scanner.partial(bytes));
        match self.take_lane(Purpose::Large, None) {
            Err(step) => step,
            Ok(mut lane) => {
                lane.write(bytes);
                // Counted from its beginning: a switch that cut it would be an error to its client.
                let writes = class.effect == Effect::Write;
                let sent = Sent::new(bytes::Bytes::new(), class.row, self.worker.now());
                lane.owe(Sent { writes, ..sent }, 0);
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
