//! Reads that replicas are there for, given to the primary since none of them is usable: so many at once that whatever else
//! the primary is asked does not wait behind them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::super::client::ClientRef;
use super::Worker;

/// So many of a worker may be on their way whatever else is: with fewer a primary that has nothing else to do would idle.
const LEAST: usize = 64;

/// See the module's text.
#[derive(Default)]
pub(super) struct Spill {
    /// On their way, over all clients.
    under_way: Cell<usize>,
    /// Clients whose next read waits until there are fewer.
    waiting: RefCell<VecDeque<ClientRef>>,
}

/// Whether one more may go while so many are on their way, of so many requests to the primary altogether.
fn may_go(permille: u16, under_way: usize, altogether: usize) -> bool {
    match permille {
        0 => false,
        1000.. => true,
        share => under_way < LEAST.max(altogether * usize::from(share) / 1000),
    }
}

impl Worker {
    /// Whether a client's read may go to the primary though it is meant for a replica; else the client is woken when it
    /// may try again.
    pub(in crate::frontend) fn may_spill(&self, client: &ClientRef) -> bool {
        let Some(primary) = self.current().primary else { return false };
        let altogether = self.pools.outstanding(primary);
        let may = may_go(self.reads.spill_permille, self.spill.under_way.get(), altogether);
        let mut waiting = self.spill.waiting.borrow_mut();
        if !may && !waiting.contains(client) {
            waiting.push_back(client.clone());
        }
        may
    }

    /// One such read was sent.
    pub(in crate::frontend) fn spilled(&self, client: &ClientRef) {
        self.metrics.spilled(1);
        self.spill.under_way.set(self.spill.under_way.get() + 1);
        client.spilled.set(client.spilled.get() + 1);
    }

    /// So many of them are over: as many clients may try.
    pub(in crate::frontend) fn spilled_ended(&self, count: usize) {
        let left = self.spill.under_way.get() - count;
        self.spill.under_way.set(left);
        // Whoever is woken may be gone; so with the last one all are.
        let woken = if left == 0 { usize::MAX } else { count };
        for _ in 0..woken {
            let Some(client) = self.spill.waiting.borrow_mut().pop_front() else { return };
            client.wake();
        }
    }

    /// A replica may be usable again.
    pub(super) fn wake_spilling(&self) {
        self.spill.waiting.take().iter().for_each(|client| client.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, may_go};

    #[test]
    fn a_share_of_what_is_under_way_may_spill_and_a_few_always() {
        assert!(may_go(500, LEAST - 1, LEAST - 1), "nothing else is asked");
        assert!(!may_go(500, LEAST, LEAST));
        assert!(may_go(500, LEAST, 2 * LEAST + 2), "others ask as much");
        assert!(!may_go(500, LEAST + 1, 2 * LEAST + 2));
        assert!(may_go(900, 8 * LEAST, 9 * LEAST) && !may_go(900, 9 * LEAST, 9 * LEAST));
        assert!(!may_go(0, 0, 1_000), "none may");
        assert!(may_go(1000, 1_000_000, 1_000_000), "all may");
    }
}
