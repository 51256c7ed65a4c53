//! Which replicas may answer a client's read: those that show what `reads.read_your_writes` promises, and all that the
//! replica did that it last read from. What that one had is not known when it answers; whatever it was, it lies before the
//! next look. So a client stays with a replica until another one is known to be as far as a look that began after its last
//! reply.

use std::sync::atomic::Ordering;

use crate::command::{Class, Effect};
use crate::routing::OwnWrites;
use crate::topology::NodeId;

use super::client::Client;
use super::connection::Connection;
use super::dispatch::Dispatched;
use super::lane::PinnedLane;
use super::worker::Worker;

/// What a replica must have, in looks at the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// Something that was written before the look after this one; 0: nothing.
    wrote: u64,
    /// Something that was read before the look after this one; 0: nothing.
    read: u64,
    /// It was read there.
    from: Option<NodeId>,
}

impl Needed {
    /// Whether `node`, which is known to have caught up with look `applied`, has it.
    fn is_met(self, node: NodeId, applied: u64) -> bool {
        (self.wrote == 0 || applied > self.wrote)
            && (self.read == 0 || applied > self.read || self.from == Some(node))
    }
}

impl Worker {
    pub(super) fn shows(&self, node: NodeId, needed: Needed) -> bool {
        needed.is_met(node, self.marks.of(node).applied_look.load(Ordering::Relaxed))
    }

    /// A request goes out on a connection of the client's own; `heard`: it will be answered.
    pub(super) fn touches_on(&self, lane: &mut PinnedLane, dispatched: &Dispatched<'_>, heard: bool) {
        let Class { row, effect, .. } = dispatched.class;
        match self.reads.own_writes {
            OwnWrites::Off | OwnWrites::Session => {}
            OwnWrites::Key | OwnWrites::Global if effect != Effect::Write => {}
            // An unknown subcommand may do what its row does not say.
            _ if row.spec().effect != Effect::Write => lane.touched.add_anything(),
            OwnWrites::Key | OwnWrites::Global => {
                lane.touched.add(row, &dispatched.request, &mut self.keys.borrow_mut(), heard);
            }
        }
    }
}

impl Client {
    /// A write on its own connection was answered, or may have been executed: from now on its reads are to show it.
    pub(super) fn note_write(&self) {
        self.wrote_by_look.set(self.worker.last_look());
    }

    /// All that a node owed it has come.
    pub(super) fn note_read(&self) {
        if self.reads_replica.take() {
            self.read_by_look.set(self.worker.last_look());
        }
        if self.spilled.get() > 0 {
            self.worker.spilled_ended(self.spilled.take());
        }
    }

    /// `count` writes on a shared pipeline were answered, or may have been executed: from now on reads are to show them.
    pub(super) fn note_writes(&self, count: u32) {
        let look = self.worker.last_look();
        self.wrote_by_look.set(look);
        let written = &self.worker.shared.written;
        match self.worker.reads.own_writes {
            OwnWrites::Off | OwnWrites::Session => {}
            OwnWrites::Key => self.touches.borrow_mut().answered(count, look, written),
            OwnWrites::Global => written.note(look),
        }
    }
}

impl Connection {
    /// What a replica must have to answer this read.
    pub(super) fn needed(&self, dispatched: &Dispatched<'_>) -> Needed {
        let worker = &self.worker;
        let written = &worker.shared.written;
        let wrote = match worker.reads.own_writes {
            OwnWrites::Off => return Needed::default(),
            OwnWrites::Session => self.client.wrote_by_look.get(),
            OwnWrites::Key => {
                written.before(dispatched.class.row, &dispatched.request, &mut worker.keys.borrow_mut())
            }
            OwnWrites::Global => written.newest(),
        };
        let lives = |(node, life): &(NodeId, u64)| worker.generation(*node) == Some(*life);
        let from = self.session.read_from.filter(lives).map(|(node, _)| node);
        Needed { wrote, read: self.client.read_by_look.get(), from }
    }

    /// A read goes to a replica: what it shows, later ones are to show too.
    pub(super) fn reads_from(&mut self, node: NodeId) {
        if self.worker.reads.own_writes != OwnWrites::Off {
            self.session.read_from = self.worker.generation(node).map(|life| (node, life));
            self.client.reads_replica.set(true);
        }
    }

    /// A write goes out on a shared pipeline.
    pub(super) fn touches(&self, dispatched: &Dispatched<'_>) {
        if self.worker.reads.own_writes == OwnWrites::Key {
            let (row, keys) = (dispatched.class.row, &mut self.worker.keys.borrow_mut());
            self.client.touches.borrow_mut().push(row, &dispatched.request, keys);
        }
    }

    /// What was written on a connection of the client's own may have been executed: reads are to show it before the client
    /// is given the replies at hand.
    pub(super) fn note_lane_writes(&self, lane: &mut PinnedLane) {
        let (look, written) = (self.worker.last_look(), &self.worker.shared.written);
        match self.worker.reads.own_writes {
            OwnWrites::Off | OwnWrites::Session => {}
            OwnWrites::Key | OwnWrites::Global => {
                let all = lane.is_owed_nothing() && !lane.standing.transaction().is_queueing();
                lane.touched.answered(all, look, written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn a_write_is_shown_by_a_later_look_and_what_was_read_there_or_by_a_later_look() {
        assert!(Needed::default().is_met(A, 0), "who did nothing may read anywhere");
        let wrote = Needed { wrote: 7, ..Needed::default() };
        assert_eq!([6, 7, 8].map(|applied| wrote.is_met(A, applied)), [false, false, true]);
        let read = Needed { read: 7, from: Some(A), ..Needed::default() };
        assert_eq!([6, 7, 8].map(|applied| read.is_met(A, applied)), [true; 3], "it has what it showed");
        assert_eq!([6, 7, 8].map(|applied| read.is_met(B, applied)), [false, false, true]);
        let both = Needed { wrote: 5, read: 7, from: Some(A) };
        assert_eq!([5, 6, 8].map(|applied| both.is_met(A, applied)), [false, true, true]);
        assert_eq!([5, 7, 8].map(|applied| both.is_met(B, applied)), [false, false, true]);
        let gone = Needed { from: None, ..read };
        assert!(!gone.is_met(A, 7) && gone.is_met(A, 8), "another life of it may have less");
    }

    /// Two replicas that follow at random paces, looked at at random moments: what a client reads never goes back.
    #[test]
    fn a_client_never_reads_less_than_before() {
        let mut moved = 0;
        for seed in 1..500_u64 {
            let mut dice = crate::topology::seeded(seed);
            // Offsets; what looks found the primary to have, the first ones before anybody came; what is known of the replicas.
            let (mut primary, mut has, mut looks, mut applied) = (0, [0, 0], vec![0, 0], [0, 0]);
            let (mut needed, mut seen) = (Needed::default(), 0);
            for _ in 0..400 {
                let at = usize::try_from(dice(2)).unwrap();
                match dice(5) {
                    0 => primary += dice(9),
                    1 => has[at] += dice(primary - has[at] + 1),
                    2 => looks.push(primary),
                    3 => {
                        applied[at] = looks.iter().rposition(|offset| *offset <= has[at]).unwrap_or(0) as u64;
                    }
                    _ => {
                        let node = [A, B][at];
                        if needed.is_met(node, applied[at]) {
                            assert!(has[at] >= seen, "seed {seed}: {} after {seen}", has[at]);
                            moved += u32::from(needed.from.is_some_and(|from| from != node));
                            seen = has[at];
                            needed = Needed { wrote: 0, read: looks.len() as u64 - 1, from: Some(node) };
                        }
                    }
                }
            }
        }
        assert!(moved > 100, "and it does move: {moved}");
    }
}
