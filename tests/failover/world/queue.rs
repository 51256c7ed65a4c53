//! What will happen, in the order of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Gives the earliest first, and of those of one instant the one that was planned first. The heap holds numbers alone: what
/// they stand for is large, and lies still.
pub(super) struct Queue<T> {
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    items: Vec<Option<T>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), items: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(super) fn push(&mut self, when: u64, item: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() - 1
        });
        self.items[place] = Some(item);
        self.sequence += 1;
        self.order.push(Reverse((when, self.sequence, place)));
    }

    /// The next that is due at `end`, and its time.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, T)> {
        while self.order.peek().is_some_and(|Reverse((when, ..))| *when <= end) {
            let Reverse((when, _, place)) = self.order.pop()?;
            self.free.push(place);
            if let Some(item) = self.items[place].take() {
                return Some((when, item));
            }
        }
        None
    }

    /// Drops all that is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for item in &mut self.items {
            if item.as_ref().is_some_and(|item| !keep(item)) {
                *item = None;
            }
        }
    }
}
