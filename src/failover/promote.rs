//! From the verdict to the new table: drain, seal, select, promote, verify, release.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Replication, Role};

use super::candidate::{Reason, rank};
use super::machine::{Kind, Machine, PROBE, PROMOTE, SEAL, VERIFY, words};
use super::node::Rejoin;
use super::state::{Cause, Goal, GoalKind, Sample, State, Trial};
use super::{Intent, Level, OnNoQuorum, Outcome, Step};

/// How long replicas get to apply what they received, and how long while they still move.
const DRAIN: Duration = Duration::from_millis(200);
const DRAIN_MOVING: Duration = Duration::from_secs(2);
/// A replica counts as moving for so long after its offset last grew.
const MOVING: Duration = Duration::from_millis(50);
/// Offsets are quiet when two looks this far apart agree.
const QUIET: Duration = Duration::from_millis(10);
/// Between two looks at a draining replica.
const DRAIN_AGAIN: Duration = Duration::from_millis(2);
/// Looks that must agree where the node does not tell what it received (before 6.2.6).
const LOOKS: u32 = 3;
/// For how long a new primary may fail its checks before the next candidate is tried.
const PROVE: Duration = Duration::from_secs(2);
/// Between two checks of a new primary.
const PROVE_AGAIN: Duration = Duration::from_millis(10);
/// Between two looks at whether its replicas are back.
const ATTACHED_AGAIN: Duration = Duration::from_millis(2);
/// After this a new primary that misses replicas is allowed to write without them.
const LOWER: Duration = Duration::from_millis(300);
/// A primary that is given up alive, by order, stops writing for this long; it is demoted well before.
const LIVE_PAUSE: Duration = Duration::from_secs(5);
/// The setting that makes a primary without replicas refuse writes.
pub(super) const MIN_REPLICAS: &str = "min-replicas-to-write";
/// A candidate whose promotion was not answered has this long to show what it is.
const UNKNOWN: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn start_drain(&mut self, trial: Trial) -> State {
        let samples = Vec::new();
        State::Drain { since: self.now, trial, samples }
    }

    /// Waits until each replica has applied what it received: a promotion throws the rest away.
    pub(super) fn drain(&mut self, since: Instant, trial: Trial, mut samples: Vec<Sample>) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        if trial.order.is_none() && self.primary_is_back(trial.began) {
            return self.recover(trial.began);
        }
        let targets = self.seal_targets(trial.began);
        for node in &targets {
            self.sample(&mut samples, *node);
        }
        let waiting: Vec<Sample> = samples
            .iter()
            .filter(|sample| !sample.drained && targets.contains(&sample.node))
            .copied()
            .collect();
        let moving = waiting.iter().any(|sample| sample.first + MOVING > self.now && sample.first > since);
        let limit = since + if moving { DRAIN_MOVING } else { DRAIN };
        let intended = self.is_intended(Intent::Failover, since);
        if intended && (waiting.is_empty() || self.now >= limit) {
            if !waiting.is_empty() {
                let names: Vec<String> = waiting.iter().map(|sample| self.node(sample.node).name()).collect();
                self.tell(
                    Level::Warn,
                    format!("not waiting any longer for {} to come to rest", names.join(", ")),
                );
            }
            return self.start_seal(trial, targets);
        }
        self.wake_at(limit);
        for sample in waiting {
            let due = self.node(sample.node).seen_at + DRAIN_AGAIN;
            if due <= self.now {
                self.ask(sample.node, Step::Probe, PROBE);
            } else {
                self.wake_at(due);
            }
        }
        State::Drain { since, trial, samples }
    }

    /// The old primary serves unchanged: until the first seal that ends the matter.
    fn primary_is_back(&self, began: Instant) -> bool {
        self.group.primary.is_some_and(|primary| {
            self.node(primary).answered_since(began).is_some_and(|facts| {
                facts.role == Role::Primary
                    && facts.run_id == self.group.run_id
                    && !facts.loading
                    && facts.offset >= self.group.offset
            })
        })
    }

    /// Every replica of the history that answered since `began`: candidates, and those who would otherwise keep
    /// the old primary company.
    fn seal_targets(&self, began: Instant) -> Vec<NodeId> {
        let lineage = self.lineage();
        let old = self.group.primary;
        self.nodes
            .iter()
            .filter(|node| Some(node.id) != old)
            .filter(|node| {
                node.answered_since(began).is_some_and(|facts| {
                    facts.role == Role::Replica && !facts.loading && lineage.contains(&facts.replid)
                })
            })
            .map(|node| node.id)
            .collect()
    }

    /// Compares the last look at a draining replica with the one before.
    fn sample(&self, samples: &mut Vec<Sample>, id: NodeId) {
        let node = self.node(id);
        let Some(facts) = node.answered() else {
            return;
        };
        let (offset, read, at) = (facts.offset, facts.read_offset, node.seen_at);
        let Some(sample) = samples.iter_mut().find(|sample| sample.node == id) else {
            let drained = is_cut_off(facts);
            samples.push(Sample { node: id, offset, read, first: at, last: at, looks: 1, drained });
            return;
        };
        if at <= sample.last || sample.drained {
            return;
        }
        if (sample.offset, sample.read) == (offset, read) {
            sample.looks += 1;
        } else {
            (sample.offset, sample.read, sample.first, sample.looks) = (offset, read, at, 1);
        }
        sample.last = at;
        let quiet = read == Some(offset) && at.saturating_duration_since(sample.first) >= QUIET;
        let still = !facts.link_up && sample.looks >= LOOKS;
        sample.drained = is_cut_off(facts) || quiet || still;
    }

    /// Detaches the replicas. From the first order on there is no way back to the old epoch.
    fn start_seal(&mut self, trial: Trial, targets: Vec<NodeId>) -> State {
        if trial.order.is_none() && !self.budget.take() {
            return self.block("the brake on failovers holds".to_owned(), false);
        }
        if trial.order.is_some() && trial.cause == Cause::Ordered {
            // A live primary that is given up by order must not go on writing for clients of its own.
            if let Some(primary) = self.group.primary {
                self.ask(primary, Step::Pause(LIVE_PAUSE), VERIFY);
            }
        }
        self.phase = super::Phase::Seal;
        let names: Vec<String> = targets.iter().map(|node| self.node(*node).name()).collect();
        self.tell(Level::Info, format!("sealing {}", names.join(", ")));
        for node in &targets {
            self.ask(*node, Step::Seal, SEAL);
        }
        let goal =
            Goal { kind: GoalKind::Failover, order: trial.order, lineage: self.lineage(), floor: None };
        State::Seal { since: self.now, targets, to: trial.to, goal }
    }

    pub(super) fn seal(
        &mut self,
        since: Instant,
        targets: Vec<NodeId>,
        to: Option<NodeId>,
        goal: Goal,
    ) -> State {
        // Who leads is answered only once a live primary that is given up takes no writes any more, or does not answer.
        let writes = |node| !self.node(node).is_down() && self.is_out(node, Kind::Pause);
        let open = targets.iter().any(|node| self.is_out(*node, Kind::Seal));
        if open || self.group.primary.is_some_and(writes) {
            return State::Seal { since, targets, to, goal };
        }
        State::Select { since, targets, to, goal }
    }

    /// Chooses among those that were sealed, by what they said after it.
    pub(super) fn select(
        &mut self,
        since: Instant,
        targets: &[NodeId],
        to: Option<NodeId>,
        mut goal: Goal,
    ) -> State {
        let sealed = |id: &NodeId| self.node(*id).answered_since(since).is_some_and(|facts| facts.sealed);
        let pool: Vec<NodeId> = targets.iter().filter(|id| sealed(id)).copied().collect();
        let replicas = self.nodes.len() - 1;
        if pool.len() < replicas {
            self.tell(
                Level::Warn,
                format!(
                    "{} of {replicas} other nodes sealed; writes that only the others hold would be lost",
                    pool.len()
                ),
            );
        }
        let forgive = goal.order.is_some() || self.settings.on_no_quorum == OnNoQuorum::Proceed;
        let nodes = self.nodes.iter().filter(|node| pool.contains(&node.id));
        let mut ranking = rank(nodes, &goal.lineage, since, forgive);
        if let Err(why) = self.demand_all_acknowledged(&mut ranking, &mut goal, &pool, since) {
            return self.fail_unpromoted(goal, why);
        }
        if let Some(wanted) = to {
            if !ranking.order.contains(&wanted) {
                let why =
                    format!("{} cannot be promoted: {}", self.node(wanted).name(), self.losers(&ranking));
                return self.fail_unpromoted(goal, why);
            }
            ranking.order.retain(|node| *node != wanted);
            ranking.order.insert(0, wanted);
        }
        if ranking.order.is_empty() {
            let why = match pool.is_empty() {
                true => "no replica could be sealed in time".to_owned(),
                false => format!("no sealed replica can be promoted: {}", self.losers(&ranking)),
            };
            return self.fail_unpromoted(goal, why);
        }
        let best = ranking.order.remove(0);
        let offset = self.node(best).facts.as_ref().map_or(0, |facts| facts.offset);
        ranking.losers.retain(|(node, reason)| *node != best && !matches!(reason, Reason::NotAnswering));
        let name = self.node(best).name();
        let others =
            if ranking.losers.is_empty() { String::new() } else { format!(" ({})", self.losers(&ranking)) };
        let lacks =
            self.node(best).lacks.as_ref().map_or_else(String::new, |it| format!(", which lacks {it}"));
        self.tell(Level::Warn, format!("promoting {name} at offset {offset}{lacks}{others}"));
        self.ask(best, Step::Promote, PROMOTE);
        State::Promote { since: self.now, candidate: best, rest: ranking.order, goal, unknown: None }
    }

    /// The candidate is told to lead; an answer that is missing is looked for on the node itself.
    pub(super) fn promote(
        &mut self,
        since: Instant,
        candidate: NodeId,
        rest: Vec<NodeId>,
        goal: Goal,
        unknown: Option<Instant>,
    ) -> State {
        if let Some(outcome) = self.answered(Some(candidate), Kind::Promote) {
            return match outcome {
                Outcome::Done(_) if self.leads(candidate, since) => self.start_verify(candidate, rest, goal),
                Outcome::Done(_) | Outcome::Captured(_) | Outcome::Unknown => {
                    self.ask(candidate, Step::Probe, PROBE);
                    let until = unknown.unwrap_or(self.now + UNKNOWN);
                    State::Promote { since, candidate, rest, goal, unknown: Some(until) }
                }
                Outcome::Failed(_) | Outcome::Down(_) => {
                    self.next_candidate(candidate, rest, goal, &words(&outcome))
                }
            };
        }
        let Some(until) = unknown else {
            return State::Promote { since, candidate, rest, goal, unknown };
        };
        if self.is_out(candidate, Kind::Promote) {
            // Asked again: never another promotion before this one is settled.
            return State::Promote { since, candidate, rest, goal, unknown };
        }
        let node = self.node(candidate);
        if self.leads(candidate, since) {
            return self.start_verify(candidate, rest, goal);
        }
        if node.is_down() || self.now >= until {
            return self.next_candidate(candidate, rest, goal, "it does not show that it leads");
        }
        let still_replica = node.answered_since(since).is_some_and(|facts| facts.role == Role::Replica);
        if still_replica {
            self.ask(candidate, Step::Promote, PROMOTE);
        }
        self.wake_at(until);
        self.probe_later(candidate, PROVE_AGAIN);
        State::Promote { since, candidate, rest, goal, unknown }
    }

    /// Probes `node` once its last look is `pause` old.
    pub(super) fn probe_later(&mut self, node: NodeId, pause: Duration) {
        let due = self.node(node).seen_at + pause;
        if due <= self.now {
            self.ask(node, Step::Probe, PROBE);
        } else {
            self.wake_at(due);
        }
    }

    fn leads(&self, node: NodeId, since: Instant) -> bool {
        self.node(node).answered_since(since).is_some_and(|facts| facts.role == Role::Primary)
    }

    /// This one could not: whatever it became, it may not lead by itself.
    fn next_candidate(&mut self, failed: NodeId, mut rest: Vec<NodeId>, mut goal: Goal, why: &str) -> State {
        self.node_mut(failed).deposed = true;
        self.tell(Level::Error, format!("{} cannot lead: {why}", self.node(failed).name()));
        if matches!(goal.kind, GoalKind::Switch(_) | GoalKind::Rollback(_)) {
            return self.switch_failed(goal, why);
        }
        // Siblings may have begun to copy the failed one: its history is ours too.
        if let Some(facts) =
            self.node(failed).facts.as_ref().filter(|facts| goal.lineage.contains(&facts.replid2))
            && !goal.lineage.contains(&facts.replid)
        {
            goal.lineage.push(facts.replid.clone());
        }
        if rest.is_empty() {
            return self.fail(goal, format!("no candidate is left after {}", self.node(failed).name()));
        }
        rest.retain(|node| *node != failed);
        for node in &rest {
            self.ask(*node, Step::Seal, SEAL);
        }
        State::Seal { since: self.now, targets: rest, to: None, goal }
    }

    /// Gives up an attempt in which nobody was promoted yet: the brake on promotions does not count it.
    fn fail_unpromoted(&mut self, goal: Goal, why: String) -> State {
        if goal.kind == GoalKind::Failover && goal.order.is_none() && goal.floor.is_none() {
            self.budget.give_back();
        }
        self.fail(goal, why)
    }

    /// Gives up this attempt.
    pub(super) fn fail(&mut self, goal: Goal, why: String) -> State {
        self.answer_order(goal.order, Err(why.clone()));
        let sealed = goal.kind == GoalKind::Failover;
        self.block(why, sealed)
    }

    /// It says that it leads. The others are attached to it beside its checks: until the first is back, a node
    /// with `min-replicas-to-write` refuses writes.
    fn start_verify(&mut self, candidate: NodeId, rest: Vec<NodeId>, goal: Goal) -> State {
        self.ask(candidate, Step::Verify, VERIFY);
        if !matches!(goal.kind, GoalKind::Rollback(_)) {
            let primary = self.node(candidate).peer();
            for sibling in self.siblings(candidate) {
                self.node_mut(sibling).rejoin = Rejoin::Following { paused: false };
                self.ask(
                    sibling,
                    Step::Follow { primary: primary.clone(), kick: false },
                    super::machine::FOLLOW,
                );
            }
        }
        let again = self.now + PROVE_AGAIN;
        State::Verify { since: self.now, candidate, rest, goal, again, lowered: false }
    }

    /// Replicas that can follow at once without any loss: sealed or attached, of the same history, or blank.
    fn siblings(&self, candidate: NodeId) -> Vec<NodeId> {
        let Some(leader) = self.node(candidate).facts.as_ref() else {
            return Vec::new();
        };
        let kin = |facts: &Replication| {
            facts.role == Role::Replica
                && !facts.loading
                && (facts.replid == leader.replid2 || facts.keys == 0)
                // The candidate itself, by another address.
                && facts.run_id != leader.run_id
        };
        let busy = |node: &super::node::Node| !matches!(node.rejoin, Rejoin::Idle { .. });
        let led_before = self.group.primary;
        self.others(candidate)
            .filter(|node| Some(node.id) != led_before && !busy(node) && node.answered().is_some_and(kin))
            .map(|node| node.id)
            .collect()
    }

    /// The new primary proves itself: role, history, and that it takes a write.
    pub(super) fn verify(
        &mut self,
        since: Instant,
        candidate: NodeId,
        rest: Vec<NodeId>,
        goal: Goal,
        mut again: Instant,
        mut lowered: bool,
    ) -> State {
        if let Some(outcome) = self.answered(Some(candidate), Kind::Verify) {
            let mut pause = PROVE_AGAIN;
            match &outcome {
                Outcome::Done(_) if self.wants_acknowledgers(candidate, since) => pause = ATTACHED_AGAIN,
                Outcome::Done(_) => match self.impostor(candidate, &goal) {
                    None => return State::Release { primary: candidate, goal },
                    Some(why) => return self.next_candidate(candidate, rest, goal, why),
                },
                Outcome::Failed(text) if text.starts_with("NOREPLICAS") => {}
                Outcome::Down(_) => return self.next_candidate(candidate, rest, goal, &words(&outcome)),
                Outcome::Failed(_) | Outcome::Captured(_) | Outcome::Unknown => {
                    self.tell(
                        Level::Warn,
                        format!("{} fails its checks: {}", self.node(candidate).name(), words(&outcome)),
                    );
                }
            }
            again = self.now + pause;
        }
        if self.answered(Some(candidate), Kind::Tune).is_some() {
            again = self.now;
        }
        if self.node(candidate).is_down() || self.now >= since + PROVE {
            return self.next_candidate(candidate, rest, goal, "it does not pass its checks");
        }
        let patient = self.now < since + LOWER
            && self.others(candidate).any(|node| !matches!(node.rejoin, Rejoin::Idle { .. }));
        if !lowered && self.lacks_replicas(candidate) && !patient {
            lowered = true;
            self.tell(
                Level::Warn,
                format!("{} lacks replicas: min-replicas-to-write lowered to 0", self.node(candidate).name()),
            );
            let pair = (MIN_REPLICAS.to_owned(), "0".to_owned());
            self.ask(candidate, Step::Tune(vec![pair]), VERIFY);
            again = self.now;
        }
        if !self.is_out(candidate, Kind::Verify) {
            if again <= self.now {
                self.ask(candidate, Step::Verify, VERIFY);
                again = self.now + PROVE_AGAIN;
            }
            self.wake_at(again);
        }
        self.wake_at(since + LOWER);
        self.wake_at(since + PROVE);
        State::Verify { since, candidate, rest, goal, again, lowered }
    }

    /// Writes would have to wait for replicas that are not back yet, and are given a moment.
    fn wants_acknowledgers(&self, candidate: NodeId, since: Instant) -> bool {
        self.lacks_acknowledgers(candidate) && self.now < since + LOWER
    }

    /// `min-replicas-to-write` is in force and not met.
    fn lacks_replicas(&self, node: NodeId) -> bool {
        self.node(node).facts.as_ref().is_some_and(|facts| facts.good_replicas == Some(0))
    }

    /// Why the node that passed its checks is still not the one that was chosen.
    fn impostor(&self, candidate: NodeId, goal: &Goal) -> Option<&'static str> {
        let node = self.node(candidate);
        let Some(facts) = node.answered() else {
            return Some("it stopped answering");
        };
        if facts.role != Role::Primary {
            return Some("it became a replica again");
        }
        let continues = goal.lineage.contains(&facts.replid2) || goal.lineage.contains(&facts.replid);
        match goal.kind {
            GoalKind::Failover | GoalKind::Switch(_) | GoalKind::Rollback(_) if !continues => {
                Some("its history does not continue the group's")
            }
            GoalKind::Failover
                if goal.order.is_none()
                    && self.settings.on_no_quorum == OnNoQuorum::Hold
                    && node.in_sync.as_ref() != Some(&facts.run_id) =>
            {
                Some("it restarted meanwhile")
            }
            GoalKind::Failover
            | GoalKind::Begin
            | GoalKind::Adopt
            | GoalKind::Switch(_)
            | GoalKind::Rollback(_) => None,
        }
    }

    /// Publishes the new primary as a new epoch and lets writes go.
    pub(super) fn release(&mut self, primary: NodeId, goal: &Goal) -> State {
        self.phase = super::Phase::Release;
        self.decide(primary);
        let name = self.node(primary).name();
        if goal.kind == GoalKind::Adopt {
            // The operator said whose data counts.
            for node in self.nodes.iter_mut().filter(|node| node.id != primary) {
                node.deposed = true;
            }
        }
        let level = if goal.kind == GoalKind::Failover { Level::Warn } else { Level::Info };
        self.tell(level, format!("{name} leads, epoch {}", self.group.epoch));
        self.lift_pause();
        self.open();
        if let GoalKind::Switch(switch) | GoalKind::Rollback(switch) = &goal.kind {
            self.ask(switch.from, Step::Unpause, super::machine::FOLLOW);
        }
        let held = self.timeline.since(self.now).as_millis();
        let result = match &goal.kind {
            GoalKind::Rollback(switch) => {
                Err(format!("undone: {name} leads again, epoch {}; {}", self.group.epoch, switch.why))
            }
            GoalKind::Failover | GoalKind::Begin | GoalKind::Adopt | GoalKind::Switch(_) => {
                Ok(format!("{name} leads, epoch {}, after {held} ms", self.group.epoch))
            }
        };
        self.answer_order(goal.order, result);
        self.end();
        State::Steady
    }
}

/// The link is down and the node says what it received: nothing more can come to be applied. (A sealed one too.)
fn is_cut_off(facts: &Replication) -> bool {
    !facts.link_up && (facts.sealed || facts.read_offset.is_some())
}
