//! What operators ordered to wait at the proxy (PAUSE) or to be refused there (READONLY): any thread orders, the workers
//! obey and say how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::Answer;

/// What is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restraint {
    /// Requests wait, without limit.
    pub paused: bool,
    /// Writes are refused.
    pub read_only: bool,
}

impl Restraint {
    /// Whether anything is.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.paused || self.read_only
    }
}

/// What is in force, and the number of the order that put it there.
pub type Numbered = (u32, Restraint);

/// Orders restraints and lifts them. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Restraints {
    ordered: Arc<watch::Sender<Numbered>>,
    /// By worker: number of the order that it obeys, and how many of its clients are owed something.
    obeyed: Arc<[AtomicU64]>,
    /// Changes with each of these.
    noted: Arc<watch::Sender<()>>,
}

impl Restraints {
    /// None, for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let obeyed = (0..workers).map(|_| AtomicU64::new(0)).collect();
        let (ordered, noted) = (watch::Sender::new((0, Restraint::default())), watch::Sender::new(()));
        Self { ordered: Arc::new(ordered), obeyed, noted: Arc::new(noted) }
    }

    /// What was ordered last.
    #[must_use]
    pub fn now(&self) -> Restraint {
        self.ordered.borrow().1
    }

    /// Every later change, for a worker.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Numbered> {
        self.ordered.subscribe()
    }

    /// This worker obeys the order of this number; while paused, so many of its clients are owed something.
    pub fn obeys(&self, worker: usize, number: u32, busy: u32) {
        self.obeyed[worker].store(u64::from(number) << 32 | u64::from(busy), Ordering::Relaxed);
        self.noted.send_replace(());
    }

    /// Everything waits from now on; answered when nothing is on its way to a node any more.
    ///
    /// # Errors
    /// It is paused, or was resumed meanwhile.
    pub async fn pause(&self) -> Answer {
        if self.now().paused {
            return Err("it is paused already".to_owned());
        }
        let number = self.order(|restraint| restraint.paused = true);
        self.settled(number).await?;
        Ok("paused: nothing is on its way to a node, requests wait until PROXY RESUME".to_owned())
    }

    /// What waits goes on.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn resume(&self) -> Answer {
        if !self.now().paused {
            return Err("it is not paused".to_owned());
        }
        let number = self.order(|restraint| restraint.paused = false);
        self.settled(number).await?;
        Ok("resumed".to_owned())
    }

    /// Writes that come from now on are refused, or are not. Answered when every worker obeys.
    ///
    /// # Errors
    /// Another order came meanwhile.
    pub async fn read_only(&self, on: bool) -> Answer {
        let number = self.order(|restraint| restraint.read_only = on);
        self.settled(number).await?;
        Ok(if on { "writes are refused, reads go on" } else { "writes are taken" }.to_owned())
    }

    fn order(&self, change: impl FnOnce(&mut Restraint)) -> u32 {
        let mut number = 0;
        self.ordered.send_modify(|(last, restraint)| {
            change(restraint);
            *last += 1;
            number = *last;
        });
        number
    }

    /// Waits until every worker obeys the order of this number and, when that is a pause, owes nothing.
    async fn settled(&self, number: u32) -> Result<(), String> {
        let mut noted = self.noted.subscribe();
        loop {
            noted.borrow_and_update();
            if self.ordered.borrow().0 != number {
                return Err("another order came meanwhile".to_owned());
            }
            let wanted = u64::from(number) << 32;
            if self.obeyed.iter().all(|worker| worker.load(Ordering::Relaxed) == wanted) {
                return Ok(());
            }
            // The sender lives as long as `self`, so that waiting cannot fail.
            let _ = noted.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_pause_is_answered_when_no_worker_owes_anything() {
        let restraints = Restraints::new(2);
        let mut pause = pin!(restraints.pause());
        assert!(poll(pause.as_mut()).is_pending());
        assert!(restraints.now().paused);
        restraints.obeys(0, 1, 0);
        restraints.obeys(1, 1, 3);
        assert!(poll(pause.as_mut()).is_pending(), "three clients are owed something");
        restraints.obeys(1, 1, 0);
        assert!(matches!(poll(pause.as_mut()), Poll::Ready(Ok(_))));
        assert!(matches!(poll(pin!(restraints.pause())), Poll::Ready(Err(_))), "it is paused already");
    }

    #[test]
    fn a_later_order_ends_the_wait_for_an_earlier_one() {
        let restraints = Restraints::new(1);
        let mut pause = pin!(restraints.pause());
        assert!(poll(pause.as_mut()).is_pending());
        restraints.obeys(0, 1, 1);
        let mut resume = pin!(restraints.resume());
        assert!(poll(resume.as_mut()).is_pending());
        assert!(matches!(poll(pause.as_mut()), Poll::Ready(Err(_))));
        restraints.obeys(0, 2, 0);
        assert!(matches!(poll(resume.as_mut()), Poll::Ready(Ok(_))));
        assert!(matches!(poll(pin!(restraints.resume())), Poll::Ready(Err(_))), "it is not paused");
        assert_eq!(restraints.now(), Restraint::default());
    }

    #[test]
    fn refusing_writes_and_pausing_are_independent() {
        let restraints = Restraints::new(1);
        assert!(poll(pin!(restraints.read_only(true))).is_pending());
        assert!(poll(pin!(restraints.pause())).is_pending());
        assert_eq!(restraints.now(), Restraint { paused: true, read_only: true });
        assert!(poll(pin!(restraints.read_only(false))).is_pending());
        assert_eq!(restraints.now(), Restraint { paused: true, read_only: false });
    }
}
