//! The timeline: what happened lately, for people. Bounded in episodes and in notes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::topology::{NodeId, Toll};

use super::{EPISODES_MAX, Episode, NOTES_MAX, Note};

/// The last episodes; at most one of them is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    episodes: VecDeque<Episode>,
    /// Since when writes are held in the open episode.
    holding: Option<Instant>,
    /// The phase, and since when its time is not counted yet.
    phase: Option<(&'static str, Instant)>,
}

impl Timeline {
    fn open(&mut self) -> Option<&mut Episode> {
        self.episodes.back_mut().filter(|episode| episode.ended.is_none())
    }

    /// Begins an episode unless one is open.
    pub(super) fn begin(&mut self, now: Instant, ordered: bool, before: (u64, Option<NodeId>)) {
        if self.open().is_some() {
            return;
        }
        if self.episodes.len() == EPISODES_MAX {
            // One without a change of primary is missed least.
            let victim =
                self.episodes.iter().position(|episode| episode.before == episode.after).unwrap_or(0);
            self.episodes.remove(victim);
        }
        self.episodes.push_back(Episode {
            began: now,
            ended: None,
            ordered,
            before,
            after: before,
            held: Duration::ZERO,
            phases: Vec::new(),
            toll: Toll::default(),
            notes: Vec::new(),
        });
    }

    /// Tells it which phase it is from now on.
    pub(super) fn enter(&mut self, now: Instant, phase: &'static str) {
        if self.phase.is_none_or(|(present, _)| present != phase) {
            self.count(now);
            self.phase = Some((phase, now));
        }
    }

    /// Counts the time in the present phase up to now.
    fn count(&mut self, now: Instant) {
        let Some((phase, since)) = self.phase else { return };
        self.phase = Some((phase, now));
        if let Some(episode) = self.open() {
            spend(episode, phase, now.saturating_duration_since(since.max(episode.began)));
        }
    }

    /// Time since the open episode began; zero outside one.
    pub(super) fn since(&mut self, now: Instant) -> Duration {
        self.open().map_or(Duration::ZERO, |episode| now.saturating_duration_since(episode.began))
    }

    /// Adds a note to the open episode.
    pub(super) fn note(&mut self, note: &Note) {
        if let Some(episode) = self.open() {
            add(episode, note);
        }
    }

    /// The open episode, or the last one that changed the primary.
    fn change(&mut self) -> Option<&mut Episode> {
        self.episodes.iter_mut().rev().find(|one| one.ended.is_none() || one.before.1 != one.after.1)
    }

    /// Time since that one began; zero without one.
    pub(super) fn since_change(&mut self, now: Instant) -> Duration {
        self.change().map_or(Duration::ZERO, |episode| now.saturating_duration_since(episode.began))
    }

    /// Adds a note to that one, even when it is over.
    pub(super) fn note_change(&mut self, note: &Note) {
        if let Some(episode) = self.change() {
            add(episode, note);
        }
    }

    /// Tells it whether writes are held.
    pub(super) fn hold(&mut self, now: Instant, held: bool) {
        match (self.holding, held) {
            (None, true) => self.holding = Some(now),
            (Some(since), false) => {
                self.holding = None;
                if let Some(episode) = self.open() {
                    episode.held += now.saturating_duration_since(since);
                }
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Ends the open episode.
    pub(super) fn end(&mut self, now: Instant, after: (u64, Option<NodeId>)) {
        self.count(now);
        if let Some(episode) = self.open() {
            episode.ended = Some(now);
            episode.after = after;
        }
    }

    /// All of them, oldest first; the open one as far as it got.
    pub(super) fn list(&self, now: Instant, present: (u64, Option<NodeId>)) -> Vec<Episode> {
        let mut list: Vec<Episode> = self.episodes.iter().cloned().collect();
        if let Some(open) = list.last_mut().filter(|episode| episode.ended.is_none()) {
            open.after = present;
            if let Some((phase, since)) = self.phase {
                spend(open, phase, now.saturating_duration_since(since.max(open.began)));
            }
            if let Some(since) = self.holding {
                open.held += now.saturating_duration_since(since.max(open.began));
            }
        }
        list
    }
}

fn spend(episode: &mut Episode, phase: &'static str, time: Duration) {
    match episode.phases.iter_mut().find(|(known, _)| *known == phase) {
        Some((_, sum)) => *sum += time,
        None if time.is_zero() => {}
        None => episode.phases.push((phase, time)),
    }
}

/// Beyond the bound the middle gives way to the newest.
fn add(episode: &mut Episode, note: &Note) {
    if episode.notes.len() == NOTES_MAX {
        episode.notes.remove(NOTES_MAX / 2);
    }
    episode.notes.push(note.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::Level;

    #[test]
    fn time_in_phases_adds_up_to_the_whole() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::default();
        timeline.enter(at(0), "steady");
        timeline.begin(at(50), false, (1, None));
        for (ms, phase) in
            [(50, "suspect"), (350, "drain"), (750, "suspect"), (800, "commit"), (800, "verify")]
        {
            timeline.enter(at(ms), phase);
        }
        let ms = Duration::from_millis;
        let so_far = [("suspect", ms(350)), ("drain", ms(400)), ("verify", ms(100))];
        assert_eq!(timeline.list(at(900), (1, None))[0].phases, so_far);
        timeline.end(at(1_050), (2, None));
        timeline.enter(at(1_050), "steady");
        let whole = [("suspect", ms(350)), ("drain", ms(400)), ("verify", ms(250))];
        assert_eq!(timeline.list(at(9_000), (2, None))[0].phases, whole);
    }

    #[test]
    fn episodes_and_notes_are_bounded_and_changes_outlive_false_alarms() {
        let start = Instant::now();
        let mut timeline = Timeline::default();
        for round in 0..40_u64 {
            timeline.begin(start, false, (round, None));
            for line in 0..100 {
                let text = format!("{line}");
                timeline.note(&Note { level: Level::Info, since: Duration::ZERO, phase: "suspect", text });
            }
            timeline.end(start, (if round == 3 { 4 } else { round }, None));
        }
        let list = timeline.list(start, (0, None));
        assert_eq!(list.len(), EPISODES_MAX);
        assert!(list.iter().all(|episode| episode.notes.len() == NOTES_MAX));
        assert_eq!(list[0].before.0, 3, "the change of primary is kept");
        let notes = &list[0].notes;
        assert_eq!((notes[0].text.as_str(), notes[NOTES_MAX - 1].text.as_str()), ("0", "99"));
    }
}
