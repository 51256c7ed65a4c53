//! The marks that a worker leaves for the control thread: writes in flight, long requests, pauses, refusals.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::command::RowId;
use crate::topology::NodeId;

use super::super::cursor;
use super::super::redo;
use super::super::tag::row_of;
use super::Worker;

/// Between two reports of the same node's refusals.
const REFUSAL_BEAT: Duration = Duration::from_millis(10);

/// A request that waits for so long is worth a look at its node.
const LATE: Duration = Duration::from_millis(6);

/// Between two such looks: a server whose commands take long is not to be asked all the time.
const LATE_AGAIN: Duration = Duration::from_millis(100);

impl Worker {
    /// So many writes went to `node`.
    pub(in crate::frontend) fn writes_sent(&self, node: NodeId, count: u32) {
        self.change_writes(node, i64::from(count));
    }

    /// `node` owes so many writes less: answered or lost.
    pub(in crate::frontend) fn writes_ended(&self, node: NodeId, count: u32) {
        self.change_writes(node, -i64::from(count));
    }

    /// Changes of one node are gathered; another one's turn publishes them.
    fn change_writes(&self, node: NodeId, by: i64) {
        let (of, change) = self.writes.get();
        if of == node {
            self.writes.set((node, change + by));
        } else {
            self.publish_writes();
            self.writes.set((node, by));
        }
    }

    /// Brings the mark up to date; called once a turn, not once a request.
    pub(in crate::frontend) fn publish_writes(&self) {
        let (node, change) = self.writes.get();
        if change != 0 {
            self.writes.set((node, 0));
            // Wrapping addition of a negative change is subtraction.
            self.marks.of(node).writes_in_flight.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// A client's own connection carries a request that may take long.
    pub(in crate::frontend) fn long_begun(&self, client: u64, node: NodeId, row: RowId) {
        self.long.borrow_mut().entry(client).or_insert((node, self.now(), row));
    }

    pub(in crate::frontend) fn long_ended(&self, client: u64) {
        self.long.borrow_mut().remove(&client);
    }

    /// A client's CLIENT PAUSE, once the node has agreed: of all commands, it silences the node without being its death; of
    /// any kind, it stops what stands behind a stopped request.
    pub(in crate::frontend) fn note_pause(&self, node: NodeId, request: &[u8]) {
        let marks = self.marks.of(node);
        let millis = cursor::nth_word(request, 2)
            .and_then(|text| std::str::from_utf8(&text).ok()?.parse::<u64>().ok())
            .unwrap_or(0);
        let until = self.marks.millis(Instant::now()).saturating_add(millis);
        let of_writes = cursor::nth_word(request, 3).is_some_and(|mode| mode.eq_ignore_ascii_case(b"write"));
        if !of_writes {
            marks.paused_until_ms.store(until, Ordering::Relaxed);
        }
        marks.stalled_until_ms.store(until, Ordering::Relaxed);
    }

    /// Its CLIENT UNPAUSE.
    pub(in crate::frontend) fn note_unpause(&self, node: NodeId) {
        let marks = self.marks.of(node);
        marks.paused_until_ms.store(0, Ordering::Relaxed);
        marks.stalled_until_ms.store(0, Ordering::Relaxed);
    }

    /// A node that says it is in no state to serve is looked at before the next beat; how often it says so again within
    /// [`REFUSAL_BEAT`] tells nothing new.
    pub(in crate::frontend) fn note_refusal(&self, node: NodeId, frame: &[u8]) {
        let now = self.now();
        let last = self.refusal_told.get();
        if !redo::is_of_state(frame)
            || last.is_some_and(|(of, at)| of == node && now.duration_since(at) < REFUSAL_BEAT)
        {
            return;
        }
        self.refusal_told.set(Some((node, now)));
        let text = String::from_utf8_lossy(frame[1..].trim_ascii_end()).into_owned();
        self.control.signals.refused(node, text);
    }

    /// Has the primary looked at before the next beat when its oldest request waits and writes are on their way; whether any are.
    pub(super) fn note_late(&self) -> bool {
        let Some(primary) = self.table.borrow().primary else { return false };
        if self.marks.of(primary).writes_in_flight.load(Ordering::Relaxed) == 0
            || self.marked_long.borrow().contains(&primary)
        {
            return false;
        }
        let now = Instant::now();
        let recent = self.late_told.get().is_some_and(|at| now.duration_since(at) < LATE_AGAIN);
        let oldest = self.pools.oldest(primary, |_| true);
        if !recent && oldest.is_some_and(|(since, _)| now.saturating_duration_since(since) >= LATE) {
            self.late_told.set(Some(now));
            self.control.signals.late(primary);
        }
        true
    }

    /// Tells the monitor of which nodes a silence would be explained by the request that they work on.
    pub(super) fn mark_long(&self) {
        let is_long = |tag: u16| row_of(tag).spec().long;
        let mut marked = self.marked_long.borrow_mut();
        // One that has gone may still be owed the end of its mark.
        let nodes: BTreeSet<_> =
            self.table.borrow().nodes.iter().map(|node| node.id).chain(marked.iter().copied()).collect();
        for node in nodes {
            let long = self.long.borrow();
            let lent =
                long.values().filter(|(at, ..)| *at == node).map(|(_, since, row)| (*since, row.0)).min();
            let oldest = lent.into_iter().chain(self.pools.oldest(node, is_long)).min();
            match oldest {
                Some((since, tag)) => {
                    let begins = marked.insert(node);
                    self.marks.works_on(node, since, row_of(tag).spec().name, begins);
                }
                None if marked.remove(&node) => self.marks.worked_long(node),
                None => {}
            }
        }
    }
}
