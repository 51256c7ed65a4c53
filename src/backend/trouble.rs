//! For how long no connection to a node could be opened, and why. Pure.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// After a failed attempt the next one waits this long, doubling up to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_millis(2);
const DELAY_MAX: Duration = Duration::from_millis(128);

/// When nobody tried for this long, what was before says nothing of now.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Attempts that failed in a row.
    failures: Cell<u32>,
    /// When the first and the last of them failed.
    span: Cell<Option<(Instant, Instant)>>,
    /// What the last one was told.
    said: RefCell<String>,
}

impl Trouble {
    /// Notes how an attempt ended: opened, or why not.
    pub fn note(&self, failed: Option<&std::io::Error>, now: Instant) {
        let Some(error) = failed else {
            self.failures.set(0);
            self.span.set(None);
            return;
        };
        self.failures.set(self.failures.get().saturating_add(1));
        let goes_on = self.span.get().filter(|(_, last)| now.saturating_duration_since(*last) < FORGOTTEN);
        self.span.set(Some((goes_on.map_or(now, |(first, _)| first), now)));
        self.said.replace(error.to_string());
    }

    /// The next attempt need not wait.
    pub(crate) fn hurry(&self) {
        self.failures.set(0);
    }

    /// How long the next attempt waits.
    #[must_use]
    pub fn delay(&self) -> Duration {
        match self.failures.get() {
            0 => Duration::ZERO,
            n => (DELAY_MIN * 2_u32.saturating_pow(n.min(16) - 1)).min(DELAY_MAX),
        }
    }

    /// What the last attempt was told, when every one of the last `least` and longer failed.
    #[must_use]
    pub fn lasted(&self, least: Duration, now: Instant) -> Option<String> {
        let (first, last) = self.span.get()?;
        let lasts = self.failures.get() > 0
            && now.saturating_duration_since(last) < FORGOTTEN
            && now.saturating_duration_since(first) >= least;
        lasts.then(|| self.said.borrow().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> std::io::Error {
        std::io::Error::other("full")
    }

    #[test]
    fn the_delay_grows_from_nothing_to_its_bound() {
        let (trouble, now) = (Trouble::default(), Instant::now());
        assert!(trouble.delay().is_zero());
        trouble.note(Some(&refused()), now);
        assert_eq!(trouble.delay(), DELAY_MIN);
        trouble.note(Some(&refused()), now);
        assert_eq!(trouble.delay(), 2 * DELAY_MIN);
        (0..100).for_each(|_| trouble.note(Some(&refused()), now));
        assert_eq!(trouble.delay(), DELAY_MAX);
        trouble.hurry();
        assert!(trouble.delay().is_zero());
    }

    #[test]
    fn it_lasts_from_the_first_failure_on_and_ends_with_a_success_or_a_silence() {
        let (trouble, start) = (Trouble::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let lasted = |seconds| trouble.lasted(Duration::from_secs(5), at(seconds));
        assert_eq!(lasted(9), None);
        trouble.note(Some(&refused()), at(0));
        trouble.note(Some(&refused()), at(4));
        assert_eq!((lasted(4), lasted(5)), (None, Some("full".to_owned())));
        trouble.note(Some(&refused()), at(20));
        assert_eq!(lasted(21), None, "nobody tried in between");
        trouble.note(Some(&refused()), at(25));
        assert!(lasted(25).is_some());
        trouble.note(None, at(26));
        assert_eq!(lasted(26), None);
    }
}
