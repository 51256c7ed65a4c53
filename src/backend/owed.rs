//! What must come back next on one connection: replies arrive in request order, so a queue says whose they are.
//! Pure.

use std::collections::VecDeque;
use std::time::Instant;

use super::pipeline::first_len;

/// What became of a request before it was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// It was lost once and is sent again: never a third time.
    pub resent: bool,
    /// Microseconds that it was held, or since its first departure; no more than are counted in 32 bits.
    pub waited: u32,
}

/// A run: requests of one caller with one tag, handed over at one moment, so that what holds for the oldest holds for all
/// and a caller that never waits for its replies does not make one run that never ends.
#[derive(Debug)]
pub(crate) struct Owed<C> {
    pub(crate) caller: C,
    pub(crate) tag: u16,
    pub(crate) past: Past,
    /// Requests in the run.
    pub(crate) count: u32,
    /// Replies that arrived for it.
    pub(crate) answered: u32,
    /// Replies that are kept back, so that the requests are not answered yet.
    pub(crate) kept_back: u32,
    /// Bytes of all its requests.
    pub(crate) bytes: usize,
    /// When its requests were handed over.
    pub(crate) since: Instant,
    /// Bytes of the run's first `located.0` requests, as far as they had to be found out.
    pub(crate) located: (u32, usize),
}

impl<C> Owed<C> {
    /// Finds out where the first of its requests begins that is not answered yet.
    pub(crate) fn locate(&mut self, requests: &[u8]) {
        while self.located.0 < self.answered {
            self.located = (self.located.0 + 1, self.located.1 + first_len(&requests[self.located.1..]));
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct OwedQueue<C> {
    runs: VecDeque<Owed<C>>,
    requests: usize,
}

impl<C> Default for OwedQueue<C> {
    fn default() -> Self {
        Self { runs: VecDeque::new(), requests: 0 }
    }
}

impl<C: Clone + PartialEq> OwedQueue<C> {
    /// Notes `count` more requests of `bytes` altogether, joining the last run where caller, tag, past and moment are the same.
    #[inline]
    pub(crate) fn push(
        &mut self,
        caller: &C,
        tag: u16,
        past: Past,
        (count, bytes): (u32, usize),
        now: Instant,
    ) {
        self.requests += count as usize;
        if let Some(last) = self.runs.back_mut()
            && last.tag == tag
            && last.past == past
            && last.since == now
            && last.caller == *caller
        {
            last.count += count;
            last.bytes += bytes;
            return;
        }
        let caller = caller.clone();
        self.runs.push_back(Owed {
            caller,
            tag,
            past,
            count,
            answered: 0,
            kept_back: 0,
            bytes,
            since: now,
            located: (0, 0),
        });
    }

    /// The run whose reply comes next.
    pub(crate) fn front(&self) -> Option<&Owed<C>> {
        self.runs.front()
    }

    /// All runs, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Owed<C>> {
        self.runs.iter()
    }

    /// The run whose reply comes next, to note what was found out about it.
    pub(crate) fn front_mut(&mut self) -> Option<&mut Owed<C>> {
        self.runs.front_mut()
    }

    /// Notes `count` replies, all of the front run; returns the run when it is complete.
    pub(crate) fn answer(&mut self, count: u32) -> Option<Owed<C>> {
        let front = self.runs.front_mut()?;
        front.answered += count;
        debug_assert!(front.answered <= front.count);
        self.requests -= count as usize;
        if front.answered == front.count { self.runs.pop_front() } else { None }
    }

    /// Keeps no memory, if nothing is owed.
    pub(crate) fn rest(&mut self) {
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
    }

    /// Requests without a reply.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Everything owed, oldest first; the queue is empty afterwards.
    pub(crate) fn take(&mut self) -> VecDeque<Owed<C>> {
        self.requests = 0;
        std::mem::take(&mut self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::{OwedQueue, Past};
    use std::time::{Duration, Instant};

    #[test]
    fn runs_join_and_end_in_order() {
        let (mut queue, now) = (OwedQueue::default(), Instant::now());
        for (caller, tag) in [("a", 1), ("a", 1), ("b", 1), ("b", 2)] {
            queue.push(&caller, tag, Past::default(), (1, 10), now);
        }
        assert_eq!(queue.front().map(|run| (run.caller, run.count)), Some(("a", 2)));
        assert!(queue.answer(1).is_none());
        assert_eq!(queue.answer(1).map(|run| run.bytes), Some(20));
        assert_eq!(queue.answer(1).map(|run| (run.caller, run.tag)), Some(("b", 1)));
        assert_eq!(queue.requests(), 1);
        assert_eq!(queue.take().len(), 1);
        assert_eq!(queue.requests(), 0);
    }

    #[test]
    fn a_later_request_never_joins_an_earlier_run() {
        let (mut queue, now) = (OwedQueue::default(), Instant::now());
        queue.push(&"a", 1, Past::default(), (1, 10), now);
        queue.push(&"a", 1, Past::default(), (1, 10), now + Duration::from_micros(1));
        assert_eq!(queue.answer(1).map(|run| (run.bytes, run.since)), Some((10, now)));
        assert_eq!(queue.front().map(|run| run.since), Some(now + Duration::from_micros(1)));
    }

    #[test]
    fn a_request_sent_again_never_joins_a_first_sending() {
        let (mut queue, now) = (OwedQueue::default(), Instant::now());
        let again = Past { resent: true, waited: 0 };
        queue.push(&"a", 1, again, (1, 10), now);
        queue.push(&"a", 1, Past::default(), (1, 10), now);
        assert_eq!(queue.answer(1).map(|run| run.past.resent), Some(true));
    }
}
