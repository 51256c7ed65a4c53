//! Clients whose own connections ended with an epoch. There may be thousands, and each has a connection to open: they come
//! back a few at a time, so that they do not stand before those who ask for something.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::Worker;
use crate::frontend::client::ClientRef;

/// Clients woken between two turns of everybody else.
const WOKEN_AT_ONCE: usize = 16;

/// Connections opened at once, of each worker.
const OPENING_MAX: usize = 16;

/// See the module's text.
pub(in crate::frontend) struct Returning {
    /// Who is to be woken.
    waiting: RefCell<BTreeMap<u64, ClientRef>>,
    due: Notify,
    turns: Rc<Semaphore>,
}

impl Default for Returning {
    fn default() -> Self {
        let turns = Rc::new(Semaphore::new(OPENING_MAX));
        Self { waiting: RefCell::default(), due: Notify::new(), turns }
    }
}

impl Returning {
    /// This client is woken in its turn.
    pub(in crate::frontend) fn one(&self, client: &ClientRef) {
        self.waiting.borrow_mut().insert(client.id, client.clone());
        self.due.notify_one();
    }

    /// Each of them is. Who unblocked one by its id there would unblock somebody else at the new primary.
    pub(super) fn all(&self, clients: &BTreeMap<u64, ClientRef>) {
        for client in clients.values() {
            client.live.unpark();
        }
        self.waiting.borrow_mut().extend(clients.iter().map(|(id, client)| (*id, client.clone())));
        self.due.notify_one();
    }

    /// `opening`, once it is its turn, or out of turn after `patience`: those before it may wait for a node that says nothing.
    pub(in crate::frontend) fn in_turn<F: Future>(
        &self,
        opening: F,
        patience: Duration,
    ) -> impl Future<Output = F::Output> + use<F> {
        let turns = self.turns.clone();
        async move {
            let _turn = timeout(patience, turns.acquire()).await;
            opening.await
        }
    }
}

/// Wakes them for as long as the thread lives.
pub(in crate::frontend) async fn keep_waking(worker: Rc<Worker>) {
    let Returning { waiting, due, .. } = &worker.returning;
    loop {
        due.notified().await;
        while !waiting.borrow().is_empty() {
            for _ in 0..WOKEN_AT_ONCE {
                let Some((_, client)) = waiting.borrow_mut().pop_first() else { break };
                client.its_turn.set(true);
                client.wake();
            }
            tokio::task::yield_now().await;
        }
    }
}
