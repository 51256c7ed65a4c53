//! Which requests a node owed when connections to it were lost: whoever asks what killed a node begins here.

use std::time::{Duration, Instant};

/// Requests kept of one node, the most suspicious ones; the rest of the crowd is only counted.
const KEPT: usize = 8;

/// What is lost within this much of the last loss belongs to the same event; what comes later begins a new list.
const EVENT: Duration = Duration::from_secs(2);

/// Why a request may have been the cause; compared in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspicion {
    /// It is of a kind that can take long or do anything.
    pub long: bool,
    /// It had been lost before, with another connection, and sent again.
    pub twice: bool,
    /// For how long its client had waited.
    pub waited: Duration,
}

/// A request that was written whole and not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRequest {
    /// Name of the command and its first key, nothing else of it.
    pub request: String,
    /// Why it may have been the cause.
    pub suspicion: Suspicion,
}

/// Those of one node's last event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostRequests {
    /// When the last one was lost; `None`: none was.
    pub at: Option<Instant>,
    /// The most suspicious first.
    pub kept: Vec<LostRequest>,
    /// All of the event.
    pub count: u64,
}

impl LostRequests {
    /// Notes one; `describe` is only asked when it is kept. True when it was not named before in this event.
    pub fn note(&mut self, now: Instant, suspicion: Suspicion, describe: impl FnOnce() -> String) -> bool {
        if self.at.is_none_or(|last| now.saturating_duration_since(last) > EVENT) {
            *self = Self::default();
        }
        self.at = Some(now);
        self.count += 1;
        if self.kept.len() == KEPT && self.kept.last().is_some_and(|least| least.suspicion >= suspicion) {
            return false;
        }
        let request = describe();
        let known = self.kept.iter().position(|one| one.request == request);
        let worse = known.map_or(suspicion, |at| self.kept.remove(at).suspicion.max(suspicion));
        let place = self.kept.partition_point(|one| one.suspicion >= worse);
        self.kept.insert(place, LostRequest { request, suspicion: worse });
        self.kept.truncate(KEPT);
        known.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENT, KEPT, LostRequests, Suspicion};
    use std::time::{Duration, Instant};

    fn suspicion(long: bool, twice: bool, waited_ms: u64) -> Suspicion {
        Suspicion { long, twice, waited: Duration::from_millis(waited_ms) }
    }

    #[test]
    fn the_most_suspicious_are_kept_and_come_first() {
        let (mut lost, now) = (LostRequests::default(), Instant::now());
        for number in 0..100 {
            lost.note(now, suspicion(false, false, 5), || format!("GET {number}"));
        }
        assert!(lost.note(now, suspicion(false, false, 900), || "GET slow".to_owned()));
        assert!(lost.note(now, suspicion(false, true, 1), || "GET twice".to_owned()));
        assert!(lost.note(now, suspicion(true, false, 1), || "DEBUG".to_owned()));
        assert!(!lost.note(now, suspicion(true, false, 7), || "DEBUG".to_owned()), "named before");
        let names: Vec<_> = lost.kept.iter().map(|one| one.request.as_str()).collect();
        assert_eq!(names[..3], ["DEBUG", "GET twice", "GET slow"]);
        assert_eq!((names.len(), lost.count), (KEPT, 104));
        assert_eq!(lost.kept[0].suspicion.waited, Duration::from_millis(7));
    }

    #[test]
    fn a_later_event_begins_a_new_list() {
        let (mut lost, now) = (LostRequests::default(), Instant::now());
        lost.note(now, suspicion(true, false, 1), || "DEBUG".to_owned());
        lost.note(now + EVENT, suspicion(false, false, 1), || "GET a".to_owned());
        assert_eq!(lost.kept.len(), 2);
        lost.note(now + EVENT * 2 + Duration::from_millis(1), suspicion(false, false, 1), || {
            "GET b".to_owned()
        });
        assert_eq!((lost.kept.len(), lost.count), (1, 1));
    }
}
