//! PAUSE and READONLY as a worker obeys them: what waits, what is refused, and when nothing is on its way any more.

use std::rc::Rc;
use std::time::Duration;

use crate::command::{Class, Effect, Lane};
use crate::error::Failure;

use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::worker::Worker;

/// Between two looks whether clients are still owed something, while somebody waits for that.
const BUSY_BEAT: Duration = Duration::from_millis(5);

impl Connection {
    /// What becomes of a request by order of an operator; `None`: it may go.
    #[cold]
    pub(super) fn restrained(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let restraint = self.worker.restraint.get();
        let class = &dispatched.class;
        if restraint.paused && !passes_pause(class) {
            return Some(self.pause());
        }
        // What was taken before the order is carried to its end.
        if !restraint.read_only || dispatched.since.is_some() || !is_refused(class) {
            return None;
        }
        let failure = Failure::ReadOnly;
        Some(match self.pinned {
            Some(_) => self.refuse_pinned(dispatched, &failure),
            None => self.answer_failure(&failure),
        })
    }

    /// The next request waits until PROXY RESUME; it counts as held.
    pub(super) fn pause(&self) -> Step {
        self.client.paused.set(true);
        self.worker.count_held(&self.client, self.worker.now());
        Step::Wait
    }
}

/// What operators need to give orders, and what goes to no node.
fn passes_pause(class: &Class) -> bool {
    class.lane == Lane::Proxy || ["auth", "hello", "quit", "reset"].contains(&class.row.spec().name)
}

/// A transaction that was queued before may end: what it would have written since was refused when it came. Messages are
/// no data.
pub(super) fn is_refused(class: &Class) -> bool {
    class.effect == Effect::Write && !["exec", "publish", "spublish"].contains(&class.row.spec().name)
}

impl Worker {
    /// Clients that a node owes something. Who waits at a node for something to happen is owed nothing.
    fn busy_clients(&self) -> u32 {
        let clients = self.clients.borrow();
        let busy = clients.values().filter(|client| client.owed.get() > 0 || client.lane_owes.get()).count();
        u32::try_from(busy).unwrap_or(u32::MAX)
    }

    fn resume_clients(&self) {
        for client in self.clients.borrow().values() {
            if client.paused.take() {
                client.waited.set(self.unhold(client).unwrap_or(0));
                if client.writer.peer_closed() {
                    client.doom("gone while its request was held");
                }
                client.wake();
            }
        }
    }
}

/// Obeys what operators order, for as long as the thread lives.
pub(super) async fn obey_restraints(worker: Rc<Worker>, index: usize) {
    let restraints = worker.control.restraints.clone();
    let mut ordered = restraints.follow();
    loop {
        let (number, restraint) = *ordered.borrow_and_update();
        let before = worker.restraint.replace(restraint);
        if before.paused && !restraint.paused {
            worker.resume_clients();
        }
        let busy = if restraint.paused { worker.busy_clients() } else { 0 };
        restraints.obeys(index, number, busy);
        tokio::select! {
            alive = ordered.changed() => if alive.is_err() { return },
            () = tokio::time::sleep(BUSY_BEAT), if busy > 0 => {}
        }
    }
}
