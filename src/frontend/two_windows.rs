//! What was noted of late, in two windows of time: the one that runs, and the one before. Pure.

use std::time::{Duration, Instant};

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct TwoWindows<W> {
    length: Duration,
    born: Instant,
    /// When the window began that runs now.
    pub(super) began: Instant,
    pub(super) now: W,
    before: W,
}

impl<W: Default> TwoWindows<W> {
    /// Windows of this length, at least a second, of which the first begins at `born`.
    pub(super) fn new(length: Duration, born: Instant) -> Self {
        Self { length, born, began: born, now: W::default(), before: W::default() }
    }

    /// Forgets what is too old by now.
    pub(super) fn advance(&mut self, now: Instant) {
        let over = now.saturating_duration_since(self.began).as_secs() / self.length.as_secs();
        if over > 0 {
            let last = std::mem::take(&mut self.now);
            self.before = if over == 1 { last } else { W::default() };
            self.began += self.length * u32::try_from(over).unwrap_or(u32::MAX);
        }
    }

    /// How far back what was noted goes.
    pub(super) fn span(&self, now: Instant) -> Duration {
        let before = if self.began > self.born { self.length } else { Duration::ZERO };
        now.saturating_duration_since(self.began) + before
    }

    /// Both windows.
    pub(super) fn both(&self) -> [&W; 2] {
        [&self.now, &self.before]
    }
}
