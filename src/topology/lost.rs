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
    /// What of it may be told.
    pub told: Told,
    /// Why it may have been the cause.
    pub suspicion: Suspicion,
}

/// Name of a command and its first key, nothing else of the request. Displayed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Upper case.
    pub command: String,
    /// Escaped, and cut where it is long.
    pub key: Option<String>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.command)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, " {key}"))
    }
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
    pub fn note(&mut self, now: Instant, suspicion: Suspicion, describe: impl FnOnce() -> Told) -> bool {
        if self.at.is_none_or(|last| now.saturating_duration_since(last) > EVENT) {
            *self = Self::default();
        }
        self.at = Some(now);
        self.count += 1;
        if self.kept.len() == KEPT && self.kept.last().is_some_and(|least| least.suspicion >= suspicion) {
            return false;
        }
        let told = describe();
        let known = self.kept.iter().position(|one| one.told == told);
        let worse = known.map_or(suspicion, |at| self.kept.remove(at).suspicion.max(suspicion));
        let place = self.kept.partition_point(|one| one.suspicion >= worse);
        self.kept.insert(place, LostRequest { told, suspicion: worse });
        self.kept.truncate(KEPT);
        known.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENT, KEPT, LostRequests, Suspicion, Told};
    use std::time::{Duration, Instant};

    fn suspicion(long: bool, twice: bool, waited_ms: u64) -> Suspicion {
        Suspicion { long, twice, waited: Duration::from_millis(waited_ms) }
    }

    fn told(command: &str, key: Option<&str>) -> Told {
        Told { command: command.to_owned(), key: key.map(str::to_owned) }
    }

    #[test]
    fn the_most_suspicious_are_kept_and_come_first() {
        let (mut lost, now) = (LostRequests::default(), Instant::now());
        for number in 0..100 {
            lost.note(now, suspicion(false, false, 5), || told("GET", Some(&number.to_string())));
        }
        assert!(lost.note(now, suspicion(false, false, 900), || told("GET", Some("slow"))));
        assert!(lost.note(now, suspicion(false, true, 1), || told("GET", Some("twice"))));
        assert!(lost.note(now, suspicion(true, false, 1), || told("DEBUG", None)));
        assert!(!lost.note(now, suspicion(true, false, 7), || told("DEBUG", None)), "named before");
        let names: Vec<_> = lost.kept.iter().map(|one| one.told.to_string()).collect();
        assert_eq!(names[..3], ["DEBUG", "GET twice", "GET slow"]);
        assert_eq!((names.len(), lost.count), (KEPT, 104));
        assert_eq!(lost.kept[0].suspicion.waited, Duration::from_millis(7));
    }

    #[test]
    fn a_later_event_begins_a_new_list() {
        let (mut lost, now) = (LostRequests::default(), Instant::now());
        lost.note(now, suspicion(true, false, 1), || told("DEBUG", None));
        lost.note(now + EVENT, suspicion(false, false, 1), || told("GET", Some("a")));
        assert_eq!(lost.kept.len(), 2);
        lost.note(now + EVENT * 2 + Duration::from_millis(1), suspicion(false, false, 1), || {
            told("GET", Some("b"))
        });
        assert_eq!((lost.kept.len(), lost.count), (1, 1));
    }
}
