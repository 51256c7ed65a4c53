//! The brake on failovers in quick succession.

use std::time::{Duration, Instant};

/// A token bucket: full at the start, one token back per `refill`.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    burst: u32,
    refill: Duration,
    tokens: u32,
    /// Since when the missing token has been growing; meaningless while full.
    since: Instant,
}

impl Budget {
    /// A full bucket of `burst` tokens; never less than one.
    pub(super) fn new(burst: u32, refill: Duration, now: Instant) -> Self {
        let burst = burst.max(1);
        Self { burst, refill: refill.max(Duration::from_millis(1)), tokens: burst, since: now }
    }

    /// Adds what grew until `now`.
    pub(super) fn grow(&mut self, now: Instant) {
        while self.tokens < self.burst && now.saturating_duration_since(self.since) >= self.refill {
            self.tokens += 1;
            self.since += self.refill;
        }
        if self.tokens == self.burst {
            self.since = now;
        }
    }

    /// Tokens left.
    pub(super) fn tokens(&self) -> u32 {
        self.tokens
    }

    /// One is left of several.
    pub(super) fn is_last(&self) -> bool {
        self.tokens == 1 && self.burst > 1
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }

    /// The one that was taken last was not needed.
    pub(super) fn give_back(&mut self) {
        self.tokens = self.burst.min(self.tokens + 1);
    }

    /// When the next token will be there; `None` while full.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.tokens < self.burst).then(|| self.since + self.refill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_one_per_refill_and_never_beyond_the_burst() {
        let start = Instant::now();
        let mut budget = Budget::new(2, Duration::from_secs(60), start);
        assert!(budget.take() && budget.take() && !budget.take());
        budget.grow(start + Duration::from_secs(59));
        assert_eq!(budget.tokens(), 0);
        budget.grow(start + Duration::from_secs(61));
        assert_eq!(budget.tokens(), 1);
        assert_eq!(budget.next(), Some(start + Duration::from_secs(120)));
        assert!(budget.take());
        budget.give_back();
        assert_eq!(budget.tokens(), 1);
        budget.grow(start + Duration::from_secs(1000));
        assert_eq!((budget.tokens(), budget.next()), (2, None));
    }
}
