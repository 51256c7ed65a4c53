//! Connections lent to single clients: how many there are, and whose turn it is when all are taken.
//!
//! Only who needs such a connection comes here, and the lock is taken only while somebody waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::registry::Live;
use super::shared::Shared;

/// See the module's text. Counts and lengths are sequentially consistent: who finds all taken has shown that it waits
/// before it looks again, and who gives one back looks for waiting ones afterwards.
#[derive(Debug, Default)]
pub(super) struct Lent {
    count: AtomicUsize,
    /// Length of the queue.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Waiting>>,
}

/// A client whose request waits.
#[derive(Debug)]
struct Waiting {
    id: u64,
    since: Instant,
    live: Arc<Live>,
}

/// Keeps the count true, and what is known of the client's own connection, whatever way a lent connection ends.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Arc<Shared>, Arc<Live>);

impl Counted {
    /// One more, when less than `most` are lent and nobody waits.
    pub(super) fn free(shared: &Arc<Shared>, most: usize, live: &Arc<Live>) -> Option<Self> {
        let lent = &shared.lent;
        let free = lent.waiting.load(Ordering::SeqCst) == 0 && lent.add(most);
        free.then(|| Self(shared.clone(), live.clone()))
    }

    /// One more for client `id`, when less than `most` are lent and nobody has waited longer. Else since when the
    /// client waits; it is woken when its turn may have come. Who does not come back within twice `patience` loses
    /// its place.
    pub(super) fn take(
        shared: &Arc<Shared>,
        most: usize,
        (id, live): (u64, &Arc<Live>),
        now: Instant,
        patience: Duration,
    ) -> Result<Self, Instant> {
        let lent = &shared.lent;
        if let Some(free) = Self::free(shared, most, live) {
            return Ok(free);
        }
        let mut queue = lent.queue();
        queue.retain(|other| other.id == id || now.saturating_duration_since(other.since) < 2 * patience);
        let place = queue.iter().position(|waiting| waiting.id == id).unwrap_or(queue.len());
        if place == queue.len() {
            queue.push_back(Waiting { id, since: now, live: live.clone() });
        }
        lent.waiting.store(queue.len(), Ordering::SeqCst);
        let free = most.saturating_sub(lent.count.load(Ordering::SeqCst));
        if place < free && lent.add(most) {
            queue.remove(place);
            lent.waiting.store(queue.len(), Ordering::SeqCst);
            // Two may have been given back while one was woken.
            if free > 1 {
                lent.wake_first(&queue);
            }
            return Ok(Self(shared.clone(), live.clone()));
        }
        Err(queue[place].since)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.disown();
        let lent = &self.0.lent;
        lent.count.fetch_sub(1, Ordering::SeqCst);
        if lent.waiting.load(Ordering::SeqCst) > 0 {
            lent.wake_first(&lent.queue());
        }
    }
}

impl Lent {
    /// The client does not wait any more.
    pub(super) fn leave(&self, id: u64) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut queue = self.queue();
        queue.retain(|waiting| waiting.id != id);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        // It may have been woken for a connection that now is another's.
        self.wake_first(&queue);
    }

    fn add(&self, most: usize) -> bool {
        let more = |count| (count < most).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn wake_first(&self, queue: &VecDeque<Waiting>) {
        if let Some(first) = queue.front() {
            first.live.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // No code panics while it holds the lock; a poisoned one still holds whole values.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::slow_log::SlowLog;
    use crate::routing::OwnWrites;
    use crate::topology::Marks;
    use std::sync::atomic::AtomicU32;
    use std::task::{Wake, Waker};

    const PATIENCE: Duration = Duration::from_secs(5);

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Two connections, and clients that count how often they are woken.
    struct Clients {
        shared: Arc<Shared>,
        clients: Vec<(Arc<Live>, Arc<Woken>)>,
        now: Instant,
    }

    impl Clients {
        fn new(count: usize) -> Self {
            let now = Instant::now();
            let client = |_| {
                let (live, woken) = (Live::new(now), Arc::new(Woken::default()));
                live.wake_by(&Waker::from(woken.clone()));
                (live, woken)
            };
            let shared = Arc::new(Shared::new(
                Arc::new(Marks::new(now)),
                OwnWrites::Off,
                SlowLog::new(Duration::ZERO, 0),
                Arc::default(),
            ));
            Self { shared, clients: (0..count).map(client).collect(), now }
        }

        fn take(&self, client: usize) -> Result<Counted, Instant> {
            let live = &self.clients[client].0;
            Counted::take(&self.shared, 2, (client as u64, live), self.now, PATIENCE)
        }

        fn woken(&self) -> Vec<u32> {
            self.clients.iter().map(|(_, woken)| woken.0.load(Ordering::SeqCst)).collect()
        }
    }

    #[test]
    fn who_waited_longest_comes_first_and_nobody_is_overtaken() {
        let mut clients = Clients::new(5);
        let (first, second) = (clients.take(0).unwrap(), clients.take(1).unwrap());
        let began = clients.now;
        assert_eq!(clients.take(2).unwrap_err(), began);
        clients.now += PATIENCE / 2;
        assert_eq!(clients.take(2).unwrap_err(), began, "since its first attempt");
        assert_eq!(clients.take(3).unwrap_err(), clients.now);
        drop(first);
        assert_eq!(clients.woken(), [0, 0, 1, 0, 0]);
        clients.take(4).unwrap_err();
        clients.take(3).unwrap_err();
        let third = clients.take(2).unwrap();
        drop((second, third));
        let fourth = clients.take(3).unwrap();
        assert!(clients.woken()[4] > 0, "two were given back, so two are told");
        let fifth = clients.take(4).unwrap();
        clients.take(0).unwrap_err();
        drop((fourth, fifth));
    }

    #[test]
    fn who_leaves_makes_way() {
        let clients = Clients::new(4);
        let held = (clients.take(0).unwrap(), clients.take(1).unwrap());
        clients.take(2).unwrap_err();
        clients.take(3).unwrap_err();
        drop(held.0);
        assert_eq!(clients.woken(), [0, 0, 1, 0]);
        clients.shared.lent.leave(2);
        assert_eq!(clients.woken(), [0, 0, 1, 1]);
        clients.take(3).unwrap();
    }

    #[test]
    fn who_does_not_come_back_loses_its_place() {
        let mut clients = Clients::new(4);
        let held = (clients.take(0).unwrap(), clients.take(1).unwrap());
        clients.take(2).unwrap_err();
        clients.now += 2 * PATIENCE;
        clients.take(3).unwrap_err();
        drop(held.0);
        assert_eq!(clients.woken(), [0, 0, 0, 1]);
        clients.take(3).unwrap();
    }
}
