//! Keeps what strangers can cause as often as they like from filling the log.

use std::time::{Duration, Instant};

/// At most one line of the log tells in this time of each kind.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Counts what happens; says when a line is due, and of how many that line speaks.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    untold: u64,
    told: Option<Instant>,
}

impl Brake {
    /// It happened once more: of how many, this one included, the log is to be told now; `None`: it was told less than
    /// ten seconds ago.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_line_tells_of_all_in_ten_seconds() {
        let (mut brake, begin) = (Brake::default(), Instant::now());
        let mut at = |millis| brake.note(begin + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(9_999)], [Some(1), None, None]);
        assert_eq!([at(10_000), at(10_001), at(20_000)], [Some(3), None, Some(2)]);
        assert_eq!(at(90_000), Some(1));
    }
}
