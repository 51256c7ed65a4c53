//! Requests that a node refused and did not execute, while something may be done about it: they are kept back, in their order,
//! and sent again. They are held as requests are that wait for an outage, and count as such; the memory that they take is part of
//! `failover.hold_memory`, and where it is used up others wait before they are sent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::command::{Effect, RowId};
use crate::error::Failure;
use crate::topology::Remedy;

use super::client::{Client, Special};
use super::connection::{Connection, Step};
use super::cursor;
use super::dispatch::Dispatched;
use super::redo::{self, Redo};

/// A refused request is tried again after this long, if nothing else happened before.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// What the primary refuses for its disk or its replicas is kept back for so long until the failover machine has said whether that
/// makes sense. It does within milliseconds, unless it was not told: signals may get lost.
pub(super) const JUDGEMENT: Duration = Duration::from_millis(500);

/// What a worker's clients may keep back.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes that are kept for sending again, on pipelines too.
    kept: Rc<Cell<usize>>,
    /// This worker's share of `failover.hold_memory`.
    max: usize,
    /// Those of them that were refused.
    back: Cell<usize>,
    /// Clients that found no room, by their ids.
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

/// Bytes that count as kept for as long as this lives.
#[derive(Debug)]
pub(super) struct Kept {
    room: Rc<Room>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(kept: Rc<Cell<usize>>, max: usize) -> Rc<Self> {
        Rc::new(Self { kept, max, back: Cell::new(0), waiting: RefCell::default() })
    }

    /// Counts so many bytes as kept.
    pub(super) fn keep(self: &Rc<Self>, bytes: usize) -> Kept {
        self.kept.set(self.kept.get() + bytes);
        self.back.set(self.back.get() + bytes);
        Kept { room: self.clone(), bytes }
    }

    /// Whether `len` bytes may be sent that may have to be kept. One request always fits.
    #[inline]
    pub(super) fn takes(&self, len: usize) -> bool {
        self.back.get() == 0 || self.back.get() + len <= self.max
    }

    /// Who found no room is woken when half of it is free again.
    fn await_room(&self, client: u64, waker: &Waker) {
        self.waiting.borrow_mut().insert(client, waker.clone());
    }

    /// It waits no more.
    pub(super) fn leave(&self, client: u64) {
        self.waiting.borrow_mut().remove(&client);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let room = &self.room;
        room.kept.set(room.kept.get() - self.bytes);
        room.back.set(room.back.get() - self.bytes);
        if room.back.get() <= room.max / 2 {
            room.waiting.take().into_values().for_each(Waker::wake);
        }
    }
}

impl Client {
    /// Something that was refused is still to be answered.
    #[inline]
    pub(super) fn keeps_back(&self) -> bool {
        self.refused_since.get().is_some()
    }

    /// Keeps a refusal back. Its request is sent again once all that this client is owed was refused too: a later request
    /// that was executed must not be followed by an earlier one.
    pub(super) fn keep_back(&self, frame: &[u8], request: &[u8], resent: bool) {
        if self.is_closed() {
            return;
        }
        let now = Instant::now();
        let since = self.refused_since.get().unwrap_or(now);
        self.refused_since.set(Some(since));
        self.worker.count_held(self, now);
        let room = &self.worker.room;
        let again = |request: &[u8]| Redo::refused(request, frame, resent, since, now, room);
        let mut kept = Vec::new();
        match self.special.take() {
            Some(Special::Refused(before)) => {
                kept = before;
                kept.push(again(request));
            }
            Some(Special::Session(original)) => kept.push(again(&original)),
            Some(Special::Cursor(epoch)) => {
                kept.push(again(cursor::restore_request(request, epoch).as_deref().unwrap_or(request)));
            }
            None
            | Some(
                Special::Order
                | Special::Probe
                | Special::EveryNode(..)
                | Special::Pubsub(..)
                | Special::Hidden(_),
            ) => kept.push(again(request)),
        }
        if self.owed.get() > 0 {
            self.special.replace(Some(Special::Refused(kept)));
        } else {
            self.redo_refused(kept);
        }
    }

    /// Whether `frame` refuses a request of this row for a disk that fails or replicas that are missing, and something is being done
    /// about it, or that is not known yet; `since` when requests have been refused so.
    pub(super) fn awaits_remedy(&self, row: RowId, frame: &[u8], since: Option<Instant>) -> bool {
        if !redo::is_curable_proof(row, frame) {
            return false;
        }
        match self.worker.current().remedy {
            Remedy::UnderWay => true,
            Remedy::Nowhere => false,
            Remedy::Unjudged => since.is_none_or(|since| since.elapsed() < JUDGEMENT),
        }
    }

    pub(super) fn redo_refused(&self, kept: Vec<Redo>) {
        let mut redo = self.redo.borrow_mut();
        for (index, again) in kept.into_iter().enumerate() {
            redo.lost(if index == 0 { again.alone() } else { again });
        }
    }

    /// Refusals come to the client as the node gave them, in their place before the reply at hand.
    pub(super) fn hand_on(&self, kept: &[Redo]) {
        kept.iter().for_each(|redo| self.hand_on_one(redo));
    }

    /// The same of one of them; of a write that was sent before, nobody knows what became of it.
    pub(super) fn hand_on_one(&self, redo: &Redo) {
        match redo.refusal() {
            Some(_) if redo.may_be_executed() => {
                let epoch = self.worker.epoch();
                self.fail(&Failure::Ambiguous { from: epoch, to: epoch });
            }
            Some(refusal) => self.out.borrow_mut().extend_from_slice(refusal),
            None => {}
        }
    }

    /// The client's hold is over if nothing that was refused is left.
    pub(super) fn end_keeping_back(&self) {
        if self.keeps_back() && self.special.borrow().is_none() && self.redo.borrow().is_empty() {
            self.refused_since.set(None);
            self.worker.unhold(self);
        }
    }
}

impl Connection {
    /// Whether a write has to wait, or was answered because it had waited long enough, since what is kept back leaves no room to
    /// keep it as well; `None`: it may be sent. What is sent again has its room, and what was kept back before; reads are not
    /// refused for what refuses writes.
    #[inline]
    pub(super) fn hold_for_room(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let takes = self.worker.room.takes(dispatched.request.raw().len())
            || dispatched.class.effect != Effect::Write
            || dispatched.since.is_some()
            || self.client.keeps_back();
        if takes { None } else { Some(self.await_room()) }
    }

    #[cold]
    fn await_room(&mut self) -> Step {
        let (hold, now) = (self.worker.settings.hold, self.worker.now());
        let since = self.client.held_since.get().unwrap_or(now);
        if now.saturating_duration_since(since) >= hold && self.is_owed_nothing() {
            self.worker.unhold(&self.client);
            return self.answer_failure(&Failure::HoldExpired { hold });
        }
        self.worker.count_held(&self.client, now);
        self.wake_when_over(since + hold);
        if let Some(waker) = self.client.waker.borrow().as_ref() {
            self.worker.room.await_room(self.client.id, waker);
        }
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_counts_until_it_is_dropped_and_one_request_always_fits() {
        let kept = Rc::new(Cell::new(10));
        let room = Room::new(kept.clone(), 100);
        assert!(room.takes(1_000));
        let (first, second) = (room.keep(60), room.keep(30));
        assert_eq!((kept.get(), room.takes(10), room.takes(11)), (100, true, false));
        drop(first);
        assert_eq!((kept.get(), room.takes(70), room.takes(71)), (40, true, false));
        drop(second);
        assert_eq!((kept.get(), room.takes(1_000)), (10, true));
    }
}
