//! Replies of one client that wait in its output until a barrier has passed.

use bytes::BytesMut;

use crate::durability::{Demand, Instead, Replaced, Ticket, Withheld};
use crate::error::{Failure, Undurable};
use crate::resp::encode;

use super::client::{Client, ClientRef};
use super::tag::row_of;

impl Client {
    /// How much of the output may be written now.
    pub(super) fn writable(&self) -> usize {
        self.withheld.borrow().writable(self.out.borrow().len())
    }

    /// Something waits for the client to read.
    pub(super) fn is_unread(&self) -> bool {
        self.writer.unwritten() > 0 || (!self.out.borrow().is_empty() && self.writable() > 0)
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

    /// What waits for `ticket` is given to the client, or `failure` in its place; in that of what was only read, that nobody
    /// vouches for it.
    pub(super) fn resolve(&self, ticket: Ticket, failure: Option<&Failure>) {
        let before = self.pending();
        match failure {
            None => self.withheld.borrow_mut().release(ticket),
            Some(failure) => {
                self.replace(failure, |withheld, instead, out| withheld.replace(ticket, instead, out));
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
        if room || self.is_unread() || self.doomed.get().is_some() || self.blocked.get() {
            self.wake();
        }
    }
}

impl Client {
    /// More waits in the output than the client may be owed. What waits for replicas the client can not read: what was read is given
    /// up, and if that is not enough, what writes answer too.
    #[cold]
    pub(super) fn relieve(&self) {
        let bound = self.worker.settings.client_output;
        for reads in [true, false] {
            let waiting = self.out.borrow().len() as u64;
            if waiting <= bound {
                return;
            }
            let failure = Failure::Undurable(Undurable::Unawaited);
            let Replaced { reads, writes } =
                self.replace(&failure, |withheld, instead, out| withheld.give_up(reads, instead, out));
            if reads + writes > 0 {
                tracing::warn!(
                    client = self.id,
                    waiting,
                    reads,
                    writes,
                    "replies given up: more than limits.client_output would wait for replicas"
                );
            }
        }
    }

    /// Puts `failure` in the place of replies that wait, or in that of what was only read, that nobody vouches for it.
    fn replace(
        &self,
        failure: &Failure,
        replace: impl FnOnce(&mut Withheld, Instead<'_>, &mut BytesMut) -> Replaced,
    ) -> Replaced {
        let [write, read] = [failure, &Failure::Uncommitted].map(|failure| {
            let mut error = BytesMut::new();
            encode::error(&mut error, &failure.to_string());
            error
        });
        let instead = Instead { write: &write, read: &read };
        let replaced = replace(&mut self.withheld.borrow_mut(), instead, &mut self.out.borrow_mut());
        (0..replaced.writes).for_each(|_| self.worker.count_failure(failure));
        (0..replaced.reads).for_each(|_| self.worker.count_failure(&Failure::Uncommitted));
        replaced
    }
}

impl ClientRef {
    /// The last `len` bytes of the output answer `count` requests with this tag.
    #[cold]
    pub(super) fn withhold(&self, tag: u16, len: usize, count: u32) {
        let demand = self.worker.demand_of_tag(tag);
        if !demand.is_none() {
            self.withhold_for(demand, len, count);
        }
    }

    /// The last `len` bytes of the output are this error, or came of it, in reply to a request with this tag.
    #[cold]
    pub(super) fn withhold_error(&self, tag: u16, error: &[u8], len: usize, resent: bool) {
        let demand = self.worker.demand_of_tag(tag);
        let demand = self.worker.demand_of_error(demand, row_of(tag), error, resent);
        if !demand.is_none() {
            self.withhold_for(demand, len, 1);
        }
    }

    /// The last `len` bytes of the output are a piece of a large reply to a request with this tag.
    #[cold]
    pub(super) fn withhold_part(&self, tag: u16, len: usize, last: bool) {
        let demand = self.worker.demand_of_tag(tag);
        if !demand.is_none() {
            self.withhold_piece(demand, len, last);
        }
    }

    /// The last `len` bytes of the output are `count` replies of which this is demanded.
    pub(super) fn withhold_for(&self, demand: Demand, len: usize, count: u32) {
        let ticket = self.worker.durable.line(demand.level).await_next(&self.worker, self, demand);
        self.withheld.borrow_mut().withhold(self.out.borrow().len(), len, count, ticket);
    }

    /// The last `len` bytes of the output are a piece of a reply of which this is demanded; `last`: its end.
    pub(super) fn withhold_piece(&self, demand: Demand, len: usize, last: bool) {
        let line = self.worker.durable.line(demand.level);
        let ticket = last.then(|| line.await_next(&self.worker, self, demand));
        self.withheld.borrow_mut().withhold_piece(self.out.borrow().len(), len, ticket);
        if self.withheld.borrow().unfinished() as u64 > self.worker.settings.client_output {
            self.cut_unfinished();
            self.too_large();
        }
    }
}
