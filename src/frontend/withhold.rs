//! Replies of one client that wait in its output until a barrier has passed.

use bytes::BytesMut;

use crate::command::{Effect, RowId};
use crate::durability::{Level, Ticket};
use crate::error::Failure;
use crate::resp::encode;

use super::client::{Client, ClientRef};

impl Client {
    /// How much of the output may be written now.
    pub(super) fn writable(&self) -> usize {
        self.withheld.borrow().writable(self.out.borrow().len())
    }

    /// Bytes of the output that count when it is asked whether the client gets more to wait for. A reply that has not ended
    /// does not: its end can only come if it is read on; what bounds it is `limits.client_output`.
    pub(super) fn pending(&self) -> usize {
        self.out.borrow().len() - self.withheld.borrow().unfinished()
    }

    /// The end of a reply that has begun to come will not come.
    pub(super) fn cut_unfinished(&self) {
        self.withheld.borrow_mut().cut_unfinished(&mut self.out.borrow_mut());
    }

    /// What waits for `ticket` is given to the client, or `failure` in its place.
    pub(super) fn resolve(&self, ticket: Ticket, failure: Option<&Failure>) {
        let before = self.pending();
        match failure {
            None => self.withheld.borrow_mut().release(ticket),
            Some(failure) => {
                let mut instead = BytesMut::new();
                encode::error(&mut instead, &failure.to_string());
                let replaced =
                    self.withheld.borrow_mut().replace(ticket, &instead, &mut self.out.borrow_mut());
                (0..replaced).for_each(|_| self.worker.count_failure(failure));
            }
        }
        if self.is_closed() {
            return;
        }
        if !self.flush() {
            self.doom("the client closed its connection");
            return;
        }
        let room = self.pending() < before && self.was_full.replace(false);
        if room || self.writable() > 0 || self.doomed.get().is_some() || self.blocked.get() {
            self.wake();
        }
    }
}

impl ClientRef {
    /// The last `len` bytes of the output answer `count` requests of this row.
    pub(super) fn withhold(&self, tag: u16, len: usize, count: u32) {
        if RowId(tag).spec().effect == Effect::Write {
            self.withhold_for(self.worker.settings.durability.mode, len, count);
        }
    }

    /// The last `len` bytes of the output are a piece of a large reply to a request of this row.
    pub(super) fn withhold_part(&self, tag: u16, len: usize, last: bool) {
        if RowId(tag).spec().effect == Effect::Write {
            self.withhold_piece(self.worker.settings.durability.mode, len, last);
        }
    }

    /// The last `len` bytes of the output are `count` replies that wait for a barrier of `level`.
    pub(super) fn withhold_for(&self, level: Level, len: usize, count: u32) {
        let ticket = self.worker.durable.line(level).await_next(&self.worker, self);
        self.withheld.borrow_mut().withhold(self.out.borrow().len(), len, count, ticket);
    }

    /// The last `len` bytes of the output are a piece of a reply to a write; `last`: its end.
    pub(super) fn withhold_piece(&self, level: Level, len: usize, last: bool) {
        let ticket = last.then(|| self.worker.durable.line(level).await_next(&self.worker, self));
        self.withheld.borrow_mut().withhold_piece(self.out.borrow().len(), len, ticket);
        if self.withheld.borrow().unfinished() as u64 > self.worker.settings.client_output {
            self.cut_unfinished();
            self.too_large();
        }
    }
}
