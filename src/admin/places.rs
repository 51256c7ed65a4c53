//! Who is connected to the endpoint, and who gives his place up when all are taken.
//!
//! Whoever has not yet asked, or was answered and does not read it, may stay only as long as nobody else wants his place: else a
//! handful of connections that dribble bytes would keep `/livez` from being answered, and a supervisor from leaving us alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Who has one, the oldest first.
    taken: Arc<Mutex<VecDeque<Occupant>>>,
}

#[derive(Debug)]
struct Occupant {
    work: Work,
    connection: AbortHandle,
}

/// Whether a connection's order is being carried out, which is not ended for somebody else's sake.
#[derive(Clone, Debug, Default)]
pub(super) struct Work(Arc<AtomicBool>);

impl Work {
    /// It is, or was.
    pub(super) fn set(&self, is_carried_out: bool) {
        self.0.store(is_carried_out, Ordering::Relaxed);
    }
}

/// A place to come: `None` has to wait for that of somebody who is just being sent away.
#[derive(Debug)]
pub(super) struct Promised(Option<OwnedSemaphorePermit>);

impl Places {
    /// All of them free.
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(CONNECTIONS_MAX)), taken: Arc::default() }
    }

    /// A place for who comes now, the oldest idler's if there is no other. `None`: orders are carried out at all of them.
    pub(super) fn find(&self) -> Option<Promised> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Some(Promised(Some(place)));
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let idler = taken.iter().position(|one| !one.work.0.load(Ordering::Relaxed))?;
        taken.remove(idler)?.connection.abort();
        Some(Promised(None))
    }

    /// The place itself.
    pub(super) async fn take(&self, promised: Promised) -> Option<OwnedSemaphorePermit> {
        match promised.0 {
            Some(place) => Some(place),
            None => self.free.clone().acquire_owned().await.ok(),
        }
    }

    /// Notes who has a place now. Those who left are forgotten.
    pub(super) fn note(&self, work: Work, connection: AbortHandle) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|one| !one.connection.is_finished());
        taken.push_back(Occupant { work, connection });
    }

    /// Returns once every place is free.
    pub(super) async fn all_free(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        drop(self.free.acquire_many(all).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_idler_goes_and_nobody_whose_order_is_carried_out() {
        let places = Places::new();
        let mut guests = Vec::new();
        for number in 0..CONNECTIONS_MAX {
            let (places, work, promised) = (places.clone(), Work::default(), places.find().unwrap());
            work.set(number < 2);
            let guest = tokio::spawn({
                let places = places.clone();
                async move {
                    let _place = places.take(promised).await;
                    std::future::pending::<()>().await;
                }
            });
            places.note(work.clone(), guest.abort_handle());
            guests.push((work, guest));
        }
        let promised = places.find().unwrap();
        assert!(places.take(promised).await.is_some(), "a place was given up");
        let gone: Vec<bool> = guests.iter().map(|(_, guest)| guest.is_finished()).collect();
        assert!(gone[2] && gone.iter().filter(|gone| **gone).count() == 1, "{gone:?}");
        guests.iter().for_each(|(work, _)| work.set(true));
        let _last = places.find().expect("the one that was taken above is free again");
        assert!(places.find().is_none(), "orders are carried out everywhere");
    }
}
