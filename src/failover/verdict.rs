//! What is told to the rest of the proxy: the verdict when it changes, the record when it changes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::topology::{NodeId, Role};

use super::machine::{Kind, Machine};
use super::node::{Floor, Node};
use super::{Action, Intent, Phase, Record, Verdict};

/// Samples of the primary's offset that are kept to tell how old a replica's data is.
const SAMPLES_MAX: usize = 64;
/// Writing a small file and two fsyncs.
const RECORD: Duration = Duration::from_secs(5);
/// How long the record of an intent is waited for.
const INTENT: Duration = Duration::from_millis(250);

/// The primary's offset over the last looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    samples: VecDeque<(Instant, u64)>,
}

impl Trace {
    /// Adds a look, unless it is known: false then.
    pub(super) fn add(&mut self, at: Instant, offset: u64) -> bool {
        if self.samples.back().is_some_and(|(last, _)| *last >= at) {
            return false;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((at, offset));
        true
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// Since when a replica that had `offset` at `seen` may lack something, that is since the newest sample that it covers.
    /// That is none of the newest one's unless `ended`: nothing more is seen of the primary. `None`: nothing to compare with.
    fn lacks_since(&self, offset: u64, seen: Instant, ended: bool) -> Option<Lack> {
        let newest = self.samples.iter().rev().find(|(at, _)| *at <= seen)?;
        let covered = self.samples.iter().rev().find(|(at, had)| *at <= seen && *had <= offset);
        Some(match covered {
            Some(covered) if covered == newest && !ended => Lack::Nothing,
            Some((at, _)) => Lack::Since(*at),
            None => Lack::All,
        })
    }
}

/// What a replica may not have of the primary's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// Nothing, as of the last look at it.
    Nothing,
    /// What came after this.
    Since(Instant),
    /// Older than anything remembered.
    All,
}

impl Machine {
    /// How old the data of `node` may be at most: time since the newest look at the primary that it covers. Zero when it
    /// covers all of them and there are more to come; with no primary it counts from the last one.
    pub(super) fn staleness(&self, node: &Node) -> Option<Duration> {
        let facts = node.facts.as_ref()?;
        if facts.role != Role::Replica || facts.replid != self.group.replid {
            return None;
        }
        Some(match self.trace.lacks_since(facts.offset, node.seen_at, self.held.is_some())? {
            Lack::Nothing => Duration::ZERO,
            Lack::Since(at) => self.now.saturating_duration_since(at),
            Lack::All => Duration::MAX,
        })
    }

    /// Whether a replica may answer reads. Without a known primary a replica whose link is up may.
    fn is_readable(&self, node: &Node) -> bool {
        if self.group.primary == Some(node.id) {
            return false;
        }
        let Some(facts) = node.answered() else {
            return false;
        };
        if facts.role != Role::Replica || facts.loading || facts.syncing || node.dead {
            return false;
        }
        match self.staleness(node) {
            Some(age) => age <= self.settings.max_staleness && (facts.link_up || self.held.is_some()),
            None => facts.link_up && (self.group.primary.is_none() || facts.replid == self.group.replid),
        }
    }

    pub(super) fn readable(&self) -> Vec<bool> {
        self.nodes.iter().map(|node| self.is_readable(node)).collect()
    }

    /// run_id of the process to connect to: of a primary that was started again it is still the old one, until it is
    /// decided on anew.
    fn meant<'a>(&'a self, node: &'a Node) -> &'a str {
        if self.group.primary == Some(node.id) && !self.group.run_id.is_empty() {
            return &self.group.run_id;
        }
        node.facts.as_ref().map_or("", |facts| &facts.run_id)
    }

    /// Publishes the verdict when it differs from the last one.
    pub(super) fn publish(&mut self) {
        let verdict = Verdict {
            epoch: self.group.epoch,
            primary: self.group.primary,
            nodes: self.nodes.iter().map(|node| node.id).collect(),
            held_since: self
                .held
                .as_ref()
                .map(|(since, _)| self.explained_until.map_or(*since, |until| until.max(*since))),
            readable: self.readable(),
            generations: self.nodes.iter().map(|node| node.generation).collect(),
            run_ids: self.nodes.iter().map(|node| self.meant(node).to_owned()).collect(),
            degraded: self.degraded,
            remedy: self.remedy(),
        };
        if self.published.as_ref() != Some(&verdict) {
            self.check_publication(&verdict);
            self.published = Some(verdict.clone());
            self.queue.push_back(Action::Publish(verdict));
        }
    }

    /// Keeps what a next life needs, when it changed: what was decided. What is being tried is recorded by
    /// [`is_intended`](Self::is_intended).
    pub(super) fn record(&mut self) {
        if matches!(self.phase, Phase::Steady | Phase::Observe) && self.held.is_none() {
            self.write_record(None);
        }
    }

    /// Whether the record says that the primary is being replaced; it is written when it does not. From `since` on that is waited for
    /// only so long: a full disk must not turn the death of a primary into an outage.
    pub(super) fn is_intended(&mut self, intent: Intent, since: Instant) -> bool {
        self.write_record(Some(intent.clone()));
        let says = self.recorded.as_ref().is_some_and(|record| record.intent.as_ref() == Some(&intent));
        let writing = self.is_writing_record();
        if says && !writing || self.now < self.record_after || self.now >= since + INTENT {
            return true;
        }
        self.wake_at(since + INTENT);
        false
    }

    fn is_writing_record(&self) -> bool {
        self.pending.values().any(|one| one.kind == Kind::Record)
    }

    pub(super) fn write_record(&mut self, intent: Option<Intent>) {
        let Some(primary) = self.group.primary else {
            return;
        };
        if self.now < self.record_after || self.is_writing_record() {
            return;
        }
        let record = Record {
            epoch: self.group.epoch,
            primary: self.node(primary).name(),
            replid: self.group.replid.clone(),
            fork_offset: self.group.fork_offset,
            empty: self.group.empty,
            run_ids: self
                .nodes
                .iter()
                .filter_map(|node| Some((node.name(), node.in_sync.clone()?)))
                .chain(self.undeclared.iter().cloned())
                .collect(),
            deposed: self.all_deposed(),
            intent,
            borrowed: self.borrowed(),
        };
        if self.recorded.as_ref() != Some(&record) {
            self.recorded = Some(record.clone());
            let id = self.expect(None, Kind::Record, RECORD);
            self.queue.push_back(Action::Record { id, record: Box::new(record) });
        }
    }

    /// Makes `primary` the decided one, as a new epoch. Publishes nothing yet.
    pub(super) fn decide(&mut self, primary: NodeId) {
        if let Some(old) = self.group.primary.filter(|old| *old != primary) {
            let old = self.node_mut(old);
            old.deposed = true;
            old.generation += 1;
        }
        let Some(facts) = self.node(primary).facts.clone() else {
            return;
        };
        let node = self.node_mut(primary);
        node.deposed = false;
        node.in_sync = Some(facts.run_id.clone());
        self.resuming = false;
        self.undeclared.clear();
        (self.alone_since, self.degraded, self.want) = (None, false, None);
        // The pause between two planned switches is for one primary that cannot be relieved; the brake is for all.
        if self.group.primary != Some(primary) {
            self.planned_after = self.now;
        }
        self.group.parent =
            self.lineage().into_iter().find(|replid| *replid == facts.replid2).unwrap_or_default();
        self.group.epoch += 1;
        self.group.primary = Some(primary);
        self.group.fork_offset =
            u64::try_from(facts.second_offset).map_or(0, |second| second.saturating_sub(1));
        self.take_facts(&facts);
        self.trace.clear();
        self.trace.add(self.now, facts.offset);
        // Offsets of one history say nothing in another.
        self.nodes.iter_mut().for_each(|node| node.floor = Floor::Looks(0));
        self.nodes.iter_mut().for_each(|node| node.measure(facts.offset));
    }

    /// The group is as its primary says.
    pub(super) fn take_facts(&mut self, facts: &crate::topology::Replication) {
        self.group.run_id.clone_from(&facts.run_id);
        self.group.replid.clone_from(&facts.replid);
        self.group.offset = facts.offset;
        self.group.empty = facts.keys == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(100);

    fn trace(start: Instant, offsets: &[u64]) -> Trace {
        let mut trace = Trace::default();
        (0..).zip(offsets).for_each(|(beat, offset)| {
            trace.add(start + BEAT * beat, *offset);
        });
        trace
    }

    #[test]
    fn a_replica_lacks_what_came_after_the_newest_look_that_it_covers() {
        let start = Instant::now();
        let trace = trace(start, &[10, 10, 20, 30]);
        let late = start + BEAT * 10;
        let lacks = |offset| trace.lacks_since(offset, late, false);
        assert_eq!(lacks(30), Some(Lack::Nothing));
        assert_eq!(lacks(29), Some(Lack::Since(start + BEAT * 2)));
        assert_eq!(lacks(19), Some(Lack::Since(start + BEAT)), "the primary was idle until then");
        assert_eq!(lacks(9), Some(Lack::All));
        let seen = start + BEAT;
        assert_eq!(trace.lacks_since(10, seen, false), Some(Lack::Nothing), "it could not have more then");
        assert_eq!(Trace::default().lacks_since(10, late, false), None);
    }

    #[test]
    fn without_a_primary_age_counts_from_the_last_look_at_it() {
        let start = Instant::now();
        let trace = trace(start, &[10, 20]);
        assert_eq!(trace.lacks_since(20, start + BEAT * 9, true), Some(Lack::Since(start + BEAT)));
    }

    /// The age told is never less than the real one was at the look, and by a beat more at most.
    #[test]
    fn no_replica_is_called_younger_than_it_is() {
        let start = Instant::now();
        for seed in 1..300_u64 {
            let mut dice = crate::topology::seeded(seed);
            // Its offset in every millisecond; looked at every hundredth.
            let mut history = vec![0_u64];
            (1..2_000).for_each(|at| history.push(history[at - 1] + 1 + dice(3)));
            let mut trace = Trace::default();
            history.iter().enumerate().step_by(100).for_each(|(at, offset)| {
                trace.add(start + Duration::from_millis(at as u64), *offset);
            });
            let seen = 1_000 + usize::try_from(dice(999)).unwrap();
            let behind = usize::try_from(dice(900)).unwrap();
            let told =
                trace.lacks_since(history[seen - behind], start + Duration::from_millis(seen as u64), false);
            match told.unwrap() {
                Lack::Nothing => assert!(behind < 100, "seed {seed}: {behind} ms behind"),
                Lack::Since(at) => {
                    let age = start + Duration::from_millis(seen as u64) - at;
                    let real = Duration::from_millis(behind as u64);
                    assert!(age >= real && age < real + BEAT, "seed {seed}: {age:?} for {real:?}");
                }
                Lack::All => panic!("seed {seed}: all is remembered"),
            }
        }
    }
}
