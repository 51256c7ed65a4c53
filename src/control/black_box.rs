//! What each episode cost clients: differences of the workers' counts, from shortly before it began until the requests that it
//! held have gone on. Pure.

use std::time::{Duration, Instant};

use crate::failover::{Captured, Episode, Level, Note};
use crate::topology::Toll;

/// A worker may have noticed a death before the machine did: an episode counts from so long before its beginning, and up to
/// twice as long.
const BEFORE: Duration = Duration::from_millis(250);

/// Who is still held so long after the end is held for another reason, such as `reads.policy = "replica"`.
const AFTER: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub(super) struct BlackBox {
    /// The last two moments of rest, with the counts as they were.
    rests: [(Instant, Toll); 2],
    /// Of the episodes that are listed, oldest first.
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    /// Of its episode.
    began: Instant,
    /// The counts that it began with.
    from: Toll,
    toll: Toll,
    /// It takes no more counts.
    closed: bool,
    /// What the timeline says of it then.
    note: Option<Note>,
}

impl BlackBox {
    pub(super) fn new(now: Instant) -> Self {
        Self { rests: [(now, Toll::default()); 2], accounts: Vec::new() }
    }

    /// Takes the counts of this moment and completes `episodes` by what they cost. The note of one whose account is closed
    /// just now is returned, to be logged.
    pub(super) fn note(&mut self, now: Instant, counts: Toll, episodes: &mut [Episode]) -> Option<Note> {
        self.accounts.retain(|account| episodes.iter().any(|episode| episode.began == account.began));
        let known = self.accounts.last().map(|account| account.began);
        let mut closed = None;
        if let Some(newest) = episodes.last().filter(|episode| Some(episode.began) != known) {
            closed = self.close(now, counts, &episodes[..episodes.len() - 1]);
            let from = self.rests[0].1;
            self.accounts.push(Account {
                began: newest.began,
                from,
                toll: Toll::default(),
                closed: false,
                note: None,
            });
        }
        let over = episodes.last().and_then(|episode| episode.ended);
        if let Some(account) = self.accounts.last_mut().filter(|account| !account.closed) {
            account.add(counts);
            let late = over.is_some_and(|over| now.saturating_duration_since(over) >= AFTER);
            if over.is_some() && (late || counts.held == counts.released) {
                closed = self.close(now, counts, episodes);
            }
        } else if now.saturating_duration_since(self.rests[1].0) >= BEFORE {
            self.rests = [self.rests[1], (now, counts)];
        }
        for account in &self.accounts {
            if let Some(episode) = episodes.iter_mut().find(|episode| episode.began == account.began) {
                episode.toll = account.toll;
                episode.notes.extend(account.note.clone());
            }
        }
        closed
    }

    /// The last account takes no more counts.
    fn close(&mut self, now: Instant, counts: Toll, episodes: &[Episode]) -> Option<Note> {
        let account = self.accounts.last_mut().filter(|account| !account.closed)?;
        account.add(counts);
        let of = episodes.iter().find(|episode| episode.began == account.began)?;
        account.closed = true;
        self.rests = [(now, counts); 2];
        // A false alarm that cost nothing, or the first primary, is not worth a line.
        if account.toll == Toll::default() && (of.before.1.is_none() || of.before.1 == of.after.1) {
            return None;
        }
        let (since, text) = (now.saturating_duration_since(of.began), told(&account.toll));
        // Time in phases ends with the episode.
        let phase = of.notes.last().map_or("steady", |last| last.phase);
        account.note = Some(Note { level: Level::Info, since, phase, text });
        account.note.clone()
    }

    /// What an old primary alone had, found when it returned, belongs to the last change of primary.
    pub(super) fn captured(&mut self, captured: &Captured, episodes: &[Episode]) {
        let changed = |episode: &&Episode| episode.before.1 != episode.after.1;
        let Some(of) = episodes.iter().rev().find(changed) else { return };
        let Some(account) = self.accounts.iter_mut().find(|account| account.began == of.began) else {
            return;
        };
        match captured {
            Captured::Read { bytes, kept: Ok(_), .. } => account.toll.quarantined_bytes += bytes,
            Captured::Read { bytes, kept: Err(_), .. } => account.toll.given_up_bytes += bytes,
            Captured::Unread(_) => {}
        }
    }
}

impl Account {
    fn add(&mut self, counts: Toll) {
        let toll = &mut self.toll;
        toll.held = counts.held - self.from.held;
        toll.released = counts.released - self.from.released;
        toll.longest_hold = toll.longest_hold.max(counts.longest_hold);
        toll.ambiguous = counts.ambiguous - self.from.ambiguous;
        toll.reissued = counts.reissued - self.from.reissued;
    }
}

fn told(toll: &Toll) -> String {
    let many = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let longest = match toll.held {
        0 => String::new(),
        _ => format!(", the longest for {} ms", toll.longest_hold.as_millis()),
    };
    format!(
        "{} held{longest}; {} answered AMBIGUOUS; {} sent again",
        many(toll.held, "request"),
        many(toll.ambiguous, "write"),
        many(toll.reissued, "request")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::NodeId;

    fn counts(held: u64, released: u64, longest_ms: u64, ambiguous: u64, reissued: u64) -> Toll {
        let longest_hold = Duration::from_millis(longest_ms);
        Toll { held, released, longest_hold, ambiguous, reissued, ..Toll::default() }
    }

    fn episode(began: Instant) -> Episode {
        Episode {
            began,
            ended: None,
            ordered: false,
            before: (1, Some(NodeId(0))),
            after: (2, Some(NodeId(1))),
            held: Duration::ZERO,
            phases: Vec::new(),
            toll: Toll::default(),
            notes: Vec::new(),
        }
    }

    /// Plays moments in milliseconds with their counts; the episode begins at 1,000 and ends at 1,200.
    fn play(moments: &[(u64, Toll)]) -> (Toll, Vec<String>) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut black_box, mut logged, mut toll) = (BlackBox::new(start), Vec::new(), Toll::default());
        for (ms, counts) in moments {
            let mut episodes = [episode(at(1_000))];
            episodes[0].ended = (*ms >= 1_200).then(|| at(1_200));
            let list = if *ms < 1_000 { &mut [][..] } else { &mut episodes[..] };
            logged.extend(black_box.note(at(*ms), *counts, list).map(|note| note.text));
            if let [episode] = list {
                toll = episode.toll;
                assert_eq!(episode.notes.last().map(|note| &note.text), logged.last());
            }
        }
        (toll, logged)
    }

    #[test]
    fn an_episode_is_charged_with_what_happened_in_it() {
        let (toll, logged) = play(&[
            (300, counts(5, 5, 90, 2, 3)),
            (600, counts(5, 5, 0, 2, 3)),
            (1_000, counts(5, 5, 0, 2, 3)),
            (1_100, counts(12, 5, 0, 5, 4)),
            (1_200, counts(14, 13, 150, 5, 4)),
            (1_210, counts(14, 14, 160, 5, 5)),
            (1_300, counts(20, 14, 0, 9, 9)),
        ]);
        assert_eq!(toll, counts(9, 9, 160, 3, 2));
        assert_eq!(
            logged,
            ["9 requests held, the longest for 160 ms; 3 writes answered AMBIGUOUS; 2 requests sent again"]
        );
    }

    #[test]
    fn what_a_worker_met_just_before_belongs_to_it() {
        let (toll, logged) = play(&[
            (400, counts(0, 0, 0, 7, 7)),
            (700, counts(0, 0, 0, 7, 7)),
            (995, counts(0, 0, 0, 8, 7)),
            (1_000, counts(0, 0, 0, 8, 8)),
            (1_200, counts(0, 0, 0, 8, 8)),
        ]);
        assert_eq!(toll, counts(0, 0, 0, 1, 1));
        assert_eq!(logged, ["0 requests held; 1 write answered AMBIGUOUS; 1 request sent again"]);
    }

    #[test]
    fn who_is_held_for_another_reason_does_not_keep_it_open() {
        let (toll, logged) = play(&[
            (1_000, counts(1, 0, 0, 0, 0)),
            (1_200, counts(2, 1, 20, 0, 0)),
            (2_100, counts(2, 1, 0, 0, 0)),
            (2_200, counts(2, 1, 0, 0, 0)),
        ]);
        assert_eq!((toll.held, logged.len()), (2, 1));
    }

    #[test]
    fn what_an_old_primary_had_belongs_to_the_change_that_deposed_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut black_box = BlackBox::new(start);
        let mut list = vec![episode(at(0)), episode(at(10))];
        list[1].after.1 = list[1].before.1;
        black_box.note(at(0), Toll::default(), &mut list[..1]);
        black_box.note(at(10), Toll::default(), &mut list);
        let read = |bytes, kept| Captured::Read { bytes, commands: 1, kept };
        black_box.captured(&read(7, Ok("file".to_owned())), &list);
        black_box.captured(&read(5, Err("no room".to_owned())), &list);
        black_box.note(at(20), Toll::default(), &mut list);
        let bytes = |episode: &Episode| (episode.toll.quarantined_bytes, episode.toll.given_up_bytes);
        assert_eq!((bytes(&list[0]), bytes(&list[1])), ((7, 5), (0, 0)));
    }
}
