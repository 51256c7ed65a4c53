//! Clients that do nothing for `proxy.idle_timeout`: those that ask for nothing, as Redis's `timeout` has it, and those that neither
//! end a request nor read their replies.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::telemetry::ErrorKind;

use super::client::Client;
use super::worker::Worker;

/// Between two looks, a tenth of the time and this at most.
const BEAT_MAX: Duration = Duration::from_secs(1);
const BEAT_MIN: Duration = Duration::from_millis(10);

/// Who is within a request does something if it sends this much of it.
const PROGRESS: u64 = 16 << 10;

/// What a client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It has something to wait for: a reply, a message, its turn.
    Waiting,
    /// Nothing, for so long.
    Nothing(Duration),
    /// A request of which the end has not come, or a reply that it does not read; this has to change.
    Something([u64; 3]),
}

/// Those that were not idle at the last look.
#[derive(Debug)]
struct Inactive {
    timeout: Duration,
    /// How far they were, of those that are to come on, and when that was seen first.
    seen: BTreeMap<u64, (Option<[u64; 3]>, Instant)>,
}

impl Inactive {
    fn new(timeout: Duration) -> Self {
        Self { timeout, seen: BTreeMap::new() }
    }

    /// From now on so long; whether anybody may be closed already. Where there was no limit nobody was looked at: who is here counts as
    /// having had something until now.
    fn obey(&mut self, timeout: Duration, here: impl Iterator<Item = u64>, now: Instant) -> bool {
        let begins = self.timeout.is_zero() && !timeout.is_zero();
        self.timeout = timeout;
        if begins {
            self.seen = here.map(|id| (id, (None, now))).collect();
        }
        !begins && !timeout.is_zero()
    }

    /// Whether the client has done nothing for too long.
    fn is_over(&mut self, id: u64, at: At, now: Instant) -> bool {
        let seen = self.seen.get(&id);
        let passed = seen.map_or(Duration::MAX, |(_, since)| now.duration_since(*since));
        match at {
            At::Something(progress) if seen.is_some_and(|(before, _)| *before == Some(progress)) => {
                passed >= self.timeout
            }
            At::Something(progress) => {
                self.seen.insert(id, (Some(progress), now));
                false
            }
            At::Waiting => {
                self.seen.insert(id, (None, now));
                false
            }
            // It may have been given something since it asked for it.
            At::Nothing(rested) => rested.min(passed) >= self.timeout,
        }
    }
}

impl Client {
    fn at(&self, now: Instant) -> At {
        let progress = || At::Something(self.live.progress(PROGRESS));
        let unread = self.is_unread();
        // What waits for replicas is not to be read yet.
        let waits = !self.out.borrow().is_empty()
            || self.blocked.get()
            || self.owed.get() > 0
            || self.lane_owes.get()
            || self.live.is_told_unasked()
            || !self.redo.borrow().is_empty()
            || self.special.borrow().is_some();
        match (unread, waits, self.midway.get()) {
            (true, ..) => progress(),
            (_, true, _) => At::Waiting,
            (.., true) => progress(),
            _ => At::Nothing(self.live.rests_for(now)),
        }
    }
}

/// Closes them for as long as the thread lives.
pub(super) async fn keep_closing(worker: Rc<Worker>) {
    let limit = || worker.shared.limits.load().idle_timeout;
    let mut inactive = Inactive::new(limit());
    loop {
        let beat = if inactive.timeout.is_zero() { BEAT_MAX } else { inactive.timeout / 10 };
        tokio::time::sleep(beat.clamp(BEAT_MIN, BEAT_MAX)).await;
        let (now, clients) = (Instant::now(), worker.clients.borrow());
        if !inactive.obey(limit(), clients.keys().copied(), now) {
            continue;
        }
        inactive.seen.retain(|id, _| clients.contains_key(id));
        for (id, client) in clients.iter().filter(|(_, client)| client.doomed.get().is_none()) {
            if !inactive.is_over(*id, client.at(now), now) {
                continue;
            }
            worker.metrics.error(ErrorKind::IdleTimeout);
            // It does not read: what it was given will never be written.
            client.close();
            client.doom("it did nothing for proxy.idle_timeout");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn who_waits_is_never_inactive_and_who_rests_is_after_the_time() {
        let (mut inactive, now) = (Inactive::new(TIMEOUT), Instant::now());
        assert!(!inactive.is_over(1, At::Waiting, now + 10 * TIMEOUT));
        assert!(!inactive.is_over(2, At::Nothing(TIMEOUT - Duration::from_millis(1)), now));
        assert!(inactive.is_over(2, At::Nothing(TIMEOUT), now));
    }

    #[test]
    fn a_limit_that_is_new_is_counted_from_then_on() {
        let (mut inactive, start) = (Inactive::new(Duration::ZERO), Instant::now());
        assert!(!inactive.obey(Duration::ZERO, [1].into_iter(), start));
        assert!(!inactive.obey(TIMEOUT, [1].into_iter(), start), "nobody was looked at");
        assert!(inactive.obey(TIMEOUT, [1, 2].into_iter(), start));
        let rested = At::Nothing(10 * TIMEOUT);
        assert!(
            !inactive.is_over(1, rested, start + TIMEOUT / 2),
            "it asked long ago, and may have been answered just now"
        );
        assert!(inactive.is_over(1, rested, start + TIMEOUT));
        assert!(inactive.obey(TIMEOUT / 2, [1].into_iter(), start + TIMEOUT));
        assert!(inactive.is_over(1, rested, start + TIMEOUT / 2), "a shorter one holds at once");
        assert!(!inactive.obey(Duration::ZERO, [1].into_iter(), start + TIMEOUT));
        assert!(!inactive.obey(TIMEOUT, [1].into_iter(), start + TIMEOUT), "off and on again");
    }

    #[test]
    fn who_is_at_something_has_to_come_on_with_it() {
        let (mut inactive, start) = (Inactive::new(TIMEOUT), Instant::now());
        let half = TIMEOUT / 2;
        assert!(!inactive.is_over(1, At::Something([1, 0, 0]), start));
        assert!(!inactive.is_over(1, At::Something([1, 0, 0]), start + half));
        assert!(!inactive.is_over(1, At::Something([1, 1, 0]), start + 2 * half), "it came on");
        assert!(!inactive.is_over(1, At::Something([1, 1, 0]), start + 3 * half));
        assert!(inactive.is_over(1, At::Something([1, 1, 0]), start + 4 * half));
        assert!(!inactive.is_over(2, At::Something([1, 1, 0]), start + 4 * half), "another one");
    }

    #[test]
    fn who_was_given_something_rests_since_then() {
        let (mut inactive, start) = (Inactive::new(TIMEOUT), Instant::now());
        for at in [At::Waiting, At::Something([1, 0, 0])] {
            assert!(!inactive.is_over(1, at, start));
            assert!(!inactive.is_over(1, At::Nothing(10 * TIMEOUT), start + TIMEOUT / 2));
            assert!(inactive.is_over(1, At::Nothing(10 * TIMEOUT), start + TIMEOUT));
        }
    }

    #[test]
    fn the_time_begins_again_after_something_else() {
        let (mut inactive, start) = (Inactive::new(TIMEOUT), Instant::now());
        assert!(!inactive.is_over(1, At::Something([1, 0, 0]), start));
        assert!(!inactive.is_over(1, At::Waiting, start + TIMEOUT / 2));
        assert!(!inactive.is_over(1, At::Something([1, 0, 0]), start + TIMEOUT));
    }
}
