//! Is the primary dead? From the first sign to the verdict.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Role};

use super::candidate::{Ranking, rank};
use super::machine::{Kind, Machine, PROBE};
use super::node::{Node, Sight};
use super::state::{Cause, State, Trial};
use super::{Intent, Level, Mode, OnNoQuorum, Step};

/// Between two looks at a node that refuses.
const REFUSED_AGAIN: Duration = Duration::from_millis(5);
/// Between two looks at a node that is silent or in doubt.
const SILENT_AGAIN: Duration = Duration::from_millis(50);
/// A replica that says the link is up beside a refusing primary is asked again for this long.
const WITNESS: Duration = Duration::from_millis(50);
/// How long a replica that still hears the primary delays the verdict.
const VETO: Duration = Duration::from_secs(1);
/// For how long a replica that was well before is waited for.
const GATHER: Duration = Duration::from_millis(150);
/// An attempt that failed after the seals is not repeated sooner.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A change from outside has this long to become clean, and a loading node to say what it is.
const OUTSIDE: Duration = Duration::from_secs(2);

/// What is to be thought of the suspect.
enum Diagnosis {
    /// It serves as decided.
    Well,
    /// It must not be written to any more.
    Dead(Cause),
    /// Not known yet; look again after this.
    Unknown(Duration),
}

impl Machine {
    /// The primary serves: watch it, and tend to everyone else.
    pub(super) fn steady(&mut self) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        if let Some(cause) = self.trouble() {
            let trial = Trial { began: self.now, cause, order: None, to: None };
            return self.begin_trial(trial);
        }
        if let Some(state) = self.planned() {
            return state;
        }
        self.watch_acknowledgers();
        self.tend();
        self.watch_want();
        State::Steady
    }

    /// What is wrong with the primary.
    fn trouble(&mut self) -> Option<Cause> {
        let primary = self.group.primary?;
        let node = self.node(primary);
        match &node.sight {
            Sight::Down { text, .. } => return Some(Cause::Refused(text.clone())),
            Sight::Refused(text) if text.starts_with("LOADING") => return Some(Cause::Loading),
            Sight::Answered => {
                let facts = node.answered()?;
                if facts.run_id != self.group.run_id && !self.group.run_id.is_empty() {
                    return Some(if facts.loading { Cause::Loading } else { Cause::Restarted });
                }
                if facts.role == Role::Replica {
                    return Some(Cause::Demoted);
                }
                if facts.loading {
                    return Some(Cause::Loading);
                }
                if facts.offset < self.group.offset {
                    return Some(Cause::Regressed { from: self.group.offset, to: facts.offset });
                }
            }
            Sight::Unseen | Sight::Refused(_) | Sight::Silent => {}
        }
        // From half the patience on, writes are better held than sent into the silence.
        let silent = node.silent_at(node.patience(&self.settings) / 2);
        if silent <= self.now {
            return Some(Cause::Silent);
        }
        self.wake_at(silent);
        None
    }

    /// Holds writes and asks everyone.
    pub(super) fn begin_trial(&mut self, trial: Trial) -> State {
        self.begin(trial.order.is_some());
        let name = self.group.primary.map_or_else(|| "the primary".to_owned(), |node| self.node(node).name());
        let why = format!("{name} {}", trial.cause);
        self.phase = super::Phase::Suspect;
        self.tell(Level::Warn, why.clone());
        self.explained_until = self.explained_until();
        self.hold(why);
        self.probe_all();
        State::Suspect { trial }
    }

    /// A long request that explains the silence is no outage yet: its patience is as long as the hold, whose end would come
    /// when that of the silence does. Until the patience is over, or the primary is given up, the hold does not count.
    fn explained_until(&self) -> Option<Instant> {
        let primary = self.group.primary.map(|primary| self.node(primary)).filter(|node| node.busy)?;
        Some(primary.silent_at(primary.patience(&self.settings)))
    }

    pub(super) fn suspect(&mut self, mut trial: Trial) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        if let Some(heir) = self.heir() {
            return self.follow_heir(heir);
        }
        match self.diagnose(&trial) {
            Diagnosis::Well => self.recover(trial.began),
            Diagnosis::Dead(cause) => {
                trial.cause = cause;
                self.condemn(trial)
            }
            Diagnosis::Unknown(again) => {
                self.look_again(&trial, again);
                self.wake_at(trial.began + OUTSIDE);
                if let Some(primary) = self.group.primary {
                    self.wake_at(self.node(primary).silent_at(self.node(primary).patience(&self.settings)));
                }
                State::Suspect { trial }
            }
        }
    }

    /// The primary counts as dead for us: its connections are given up.
    fn condemn(&mut self, trial: Trial) -> State {
        if let Some(primary) = self.group.primary {
            let name = self.node(primary).name();
            let node = self.node_mut(primary);
            if !node.dead {
                node.dead = true;
                node.generation += 1;
            }
            self.tell(Level::Error, format!("{name} {}: replacing it", trial.cause));
        }
        self.count_hold();
        if self.settings.mode == Mode::Auto {
            // Beside what is still to be asked; nobody is touched before it is written.
            self.write_record(Some(Intent::Failover));
        }
        State::Confirm { since: self.now, trial }
    }

    /// The suspect is well: as if nothing had been.
    pub(super) fn recover(&mut self, began: Instant) -> State {
        let name = self.group.primary.map_or_else(String::new, |node| self.node(node).name());
        let length = self.now.saturating_duration_since(began).as_millis();
        self.tell(Level::Info, format!("{name} serves again after {length} ms"));
        self.resuming = false;
        if let Some(facts) = self.primary_facts().cloned() {
            self.take_facts(&facts);
        }
        self.lift_pause();
        self.open();
        self.end();
        State::Steady
    }

    /// Asks the suspect and the witnesses again, `again` from the last answer on.
    fn look_again(&mut self, trial: &Trial, again: Duration) {
        for position in 0..self.nodes.len() {
            let node = &self.nodes[position];
            let (id, seen_at, fresh) = (node.id, node.seen_at, node.seen_at >= trial.began);
            let due = if fresh { seen_at + again } else { self.now };
            if due > self.now {
                self.wake_at(due);
            } else {
                self.ask(id, Step::Probe, PROBE);
            }
        }
    }

    fn diagnose(&self, trial: &Trial) -> Diagnosis {
        let Some(primary) = self.group.primary else {
            return Diagnosis::Dead(trial.cause.clone());
        };
        if trial.order.is_some() {
            return Diagnosis::Dead(Cause::Ordered);
        }
        let node = self.node(primary);
        let silent = node.silent_at(node.patience(&self.settings)) <= self.now;
        match &node.sight {
            Sight::Answered if node.seen_at >= trial.began => self.examine(node, trial),
            Sight::Down { text, .. } if node.refused_for_good() || self.witnesses(trial.began).all_lost() => {
                Diagnosis::Dead(Cause::Refused(text.clone()))
            }
            Sight::Down { .. } => Diagnosis::Unknown(REFUSED_AGAIN),
            Sight::Refused(text) if text.starts_with("LOADING") => {
                if trial.began + OUTSIDE <= self.now {
                    return Diagnosis::Dead(Cause::Loading);
                }
                Diagnosis::Unknown(SILENT_AGAIN)
            }
            // It answers, if only to say what it lacks; that is not for us to cure.
            Sight::Refused(_) if node.seen_at >= trial.began => Diagnosis::Well,
            Sight::Answered | Sight::Refused(_) | Sight::Unseen | Sight::Silent
                if silent || self.hushed(node, trial) =>
            {
                Diagnosis::Dead(Cause::Silent)
            }
            Sight::Answered | Sight::Refused(_) | Sight::Unseen | Sight::Silent => {
                Diagnosis::Unknown(SILENT_AGAIN)
            }
        }
    }

    /// Silent for half the patience without any explanation, and every witness lost it too.
    fn hushed(&self, node: &Node, trial: &Trial) -> bool {
        node.silent_at(node.patience(&self.settings) / 2) <= self.now
            && self.witnesses(trial.began).all_lost()
    }

    /// The suspect answered INFO since.
    fn examine(&self, node: &Node, trial: &Trial) -> Diagnosis {
        let Some(facts) = node.answered() else {
            return Diagnosis::Unknown(SILENT_AGAIN);
        };
        let restarted = if self.group.run_id.is_empty() {
            facts.replid != self.group.replid
        } else {
            facts.run_id != self.group.run_id
        };
        if restarted {
            Diagnosis::Dead(if facts.loading { Cause::Loading } else { Cause::Restarted })
        } else if facts.loading {
            // Its own order (DEBUG RELOAD): it will be back, or change its run_id.
            Diagnosis::Unknown(SILENT_AGAIN)
        } else if facts.role == Role::Replica {
            let waited = self.now.saturating_duration_since(trial.began);
            if waited < OUTSIDE && trial.cause != Cause::Missing {
                Diagnosis::Unknown(SILENT_AGAIN)
            } else {
                Diagnosis::Dead(Cause::Demoted)
            }
        } else if facts.offset < self.group.offset {
            Diagnosis::Dead(Cause::Regressed { from: self.group.offset, to: facts.offset })
        } else {
            Diagnosis::Well
        }
    }

    /// What the replicas that answered since `began` say of their link.
    fn witnesses(&self, began: Instant) -> Witnesses {
        let mut witnesses = Witnesses::default();
        let Some(primary) = self.group.primary else {
            return witnesses;
        };
        for node in self.others(primary) {
            let Some(facts) = node.answered_since(began).filter(|facts| facts.replid == self.group.replid)
            else {
                continue;
            };
            if facts.role != Role::Replica || facts.sealed {
                continue;
            }
            if facts.link_up {
                witnesses.up += 1;
                let moved = node.moved_at.is_some_and(|at| at + self.settings.timeout > self.now);
                let heard =
                    facts.last_io_seconds.is_some_and(|ago| Duration::from_secs(ago) < self.settings.timeout);
                witnesses.hearing += u32::from(moved || heard);
            } else {
                witnesses.lost += 1;
            }
        }
        witnesses
    }

    /// Dead for us: does anyone object, and is there anybody to take over?
    pub(super) fn confirm(&mut self, since: Instant, trial: Trial) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        if let Some(heir) = self.heir() {
            return self.follow_heir(heir);
        }
        if let Diagnosis::Well = self.diagnose(&trial) {
            return self.recover(trial.began);
        }
        if let Some(until) = self.objection(since, &trial) {
            self.look_again(&trial, REFUSED_AGAIN);
            self.wake_at(until);
            return State::Confirm { since, trial };
        }
        let doubt = self.doubt(&trial);
        // Who answers is sealed all the same where the primary may be started again with less: they would copy it.
        let waits = doubt.clone().filter(|_| !self.may_be_copied());
        if let Some(why) = self.obstacle(&trial).or(waits) {
            if self.settings.mode == Mode::Auto {
                if self.pardon(trial.began) {
                    return self.start_drain(trial);
                }
                if let Some(primary) = self.revival(trial.began) {
                    return self.revive(primary);
                }
            }
            self.answer_order(trial.order, Err(why.clone()));
            return self.block(why, false);
        }
        self.fence(doubt.is_some());
        self.start_drain(trial)
    }

    /// Until when to wait before acting.
    fn objection(&self, since: Instant, trial: &Trial) -> Option<Instant> {
        let primary = self.group.primary?;
        // Someone who was well a moment ago may hold more than those who answered first.
        let awaited = self.others(primary).any(|node| {
            node.seen_at < trial.began
                && node.alive_at + self.settings.timeout > trial.began
                && !node.is_down()
        });
        if awaited && self.now < since + GATHER {
            return Some(since + GATHER);
        }
        let witnesses = self.witnesses(trial.began);
        let until = match trial.cause {
            Cause::Refused(_) if witnesses.up > 0 => since + WITNESS,
            Cause::Silent if witnesses.hearing > 0 => since + VETO,
            Cause::Refused(_)
            | Cause::Silent
            | Cause::Restarted
            | Cause::Loading
            | Cause::Regressed { .. }
            | Cause::Demoted
            | Cause::Ordered
            | Cause::Missing
            | Cause::Switch => return None,
        };
        (self.now < until).then_some(until)
    }

    /// Replication ids whose holders may take over.
    pub(super) fn lineage(&self) -> Vec<String> {
        let histories = [&self.group.replid, &self.group.parent];
        histories.into_iter().filter(|replid| !replid.is_empty()).cloned().collect()
    }

    /// Who could take over, by what was said since `began`.
    pub(super) fn candidates(&self, began: Instant) -> Ranking {
        let forgive = self.settings.on_no_quorum == OnNoQuorum::Proceed;
        let old = self.group.primary;
        rank(self.nodes.iter().filter(|node| Some(node.id) != old), &self.lineage(), began, forgive)
    }

    /// Why nobody may be promoted now; an order passes over what is only caution.
    pub(super) fn obstacle(&self, trial: &Trial) -> Option<String> {
        let ordered = trial.order.is_some();
        if !ordered && self.settings.mode == Mode::Manual {
            return Some("failover.mode is manual; order one: redhold failover --force".to_owned());
        }
        if let Some(whom) = self.primary_facts().and_then(|facts| facts.primary.as_ref())
            && !ordered
            // An earlier life may have ordered it, and by a name that this one has not learned yet.
            && !self.resuming
            && !self.nodes.iter().any(|node| node.is_called(whom))
        {
            return Some(format!(
                "the primary was made to follow {whom} from outside; to decide: redhold adopt NODE"
            ));
        }
        let mut ranking = self.candidates(trial.began);
        if ordered && ranking.order.is_empty() {
            ranking = rank(
                self.nodes.iter().filter(|node| Some(node.id) != self.group.primary),
                &self.lineage(),
                trial.began,
                true,
            );
        }
        if ranking.order.is_empty() {
            return Some(format!(
                "no replica can be promoted: {}; to decide: redhold adopt NODE",
                self.losers(&ranking)
            ));
        }
        if !ordered && self.budget.tokens() == 0 {
            return Some(
                "the brake holds: failover.burst is used up until failover.refill gives one back".to_owned(),
            );
        }
        None
    }

    /// Why nobody is known to hold everything that was acknowledged.
    fn doubt(&self, trial: &Trial) -> Option<String> {
        let lineage = self.lineage();
        let distrust = |node: &Node| node.untrusted(&lineage, trial.began).map(|reason| reason.to_string());
        self.lacks_quorum(trial.order.is_some(), distrust)
    }

    /// The primary's process is gone: what is at its address, or will be, may hold less than its replicas.
    fn may_be_copied(&self) -> bool {
        self.group.primary.map(|primary| self.node(primary)).is_some_and(|node| match &node.sight {
            Sight::Down { .. } => true,
            Sight::Refused(text) => text.starts_with("LOADING"),
            Sight::Answered => node.facts.as_ref().is_some_and(|facts| facts.run_id != self.group.run_id),
            Sight::Unseen | Sight::Silent => false,
        })
    }

    /// Why each other one not, in one line.
    pub(super) fn losers(&self, ranking: &Ranking) -> String {
        if ranking.losers.is_empty() {
            return "there is no other node".to_owned();
        }
        let one = |(node, reason): &(NodeId, super::candidate::Reason)| {
            format!("{} {reason}", self.node(*node).name())
        };
        ranking.losers.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// A primary that came back empty must not be copied by those who still hold the data; nor one that came back at all, while it is
    /// in `doubt` whether anybody else has everything.
    fn fence(&mut self, doubt: bool) {
        let Some(primary) = self.group.primary else {
            return;
        };
        let facts = self.node(primary).answered();
        let back = facts.filter(|facts| facts.role == Role::Primary && facts.run_id != self.group.run_id);
        let Some(keys) = back.map(|facts| facts.keys) else {
            return;
        };
        let empty = keys == 0 && !self.group.empty;
        if (empty || doubt) && !self.is_out(primary, Kind::Seal) {
            let what = if keys == 0 { "came back empty" } else { "came back as another process" };
            self.tell(Level::Error, format!("{} {what}: sealed", self.node(primary).name()));
            self.ask(primary, Step::Seal, super::machine::SEAL);
        }
    }

    /// Holds, and says why.
    pub(super) fn block(&mut self, why: String, sealed: bool) -> State {
        self.phase = super::Phase::Blocked;
        self.tell(Level::Error, why.clone());
        self.hold(why.clone());
        State::Blocked { since: self.now, reason: why, sealed }
    }

    /// Looks for a way on at every event.
    pub(super) fn blocked(&mut self, since: Instant, reason: String, sealed: bool) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        if let Some(heir) = self.heir() {
            return self.follow_heir(heir);
        }
        let began = self.now.checked_sub(self.settings.timeout).unwrap_or(since).max(since);
        let trial = Trial { began, cause: Cause::Missing, order: None, to: None };
        if let (Some(primary), Diagnosis::Well) = (self.group.primary, self.diagnose(&trial)) {
            if !sealed {
                return self.recover(since);
            }
            let name = self.node(primary).name();
            self.tell(Level::Warn, format!("{name} is back unchanged: those who were sealed return to it"));
            return self.adopt(primary);
        }
        let (obstacle, doubt) = (self.obstacle(&trial), self.doubt(&trial));
        let copied = doubt.is_some() && self.may_be_copied();
        // Once to seal who answers, and then when there is no doubt any more.
        let obstacle = obstacle.or_else(|| doubt.filter(|_| sealed || !copied));
        let rested = !sealed || self.now >= since + AFTER_FAILURE;
        self.wake_at(since + AFTER_FAILURE);
        if obstacle.is_none() && rested {
            return State::Confirm { since: self.now, trial };
        }
        if self.settings.mode == Mode::Auto {
            if self.pardon(since) {
                return State::Confirm { since: self.now, trial };
            }
            if let Some(primary) = self.revival(since) {
                return self.revive(primary);
            }
        }
        if copied {
            self.fence(true);
        }
        self.look_again(&trial, SILENT_AGAIN * 2);
        if let Some(next) = self.budget.next() {
            self.wake_at(next);
        }
        let reason = self.explain(reason, obstacle);
        State::Blocked { since, reason, sealed }
    }

    /// The present reason; told when it differs from the one told before.
    fn explain(&mut self, before: String, obstacle: Option<String>) -> String {
        match obstacle {
            Some(why) if why != before => {
                self.tell(Level::Warn, why.clone());
                self.hold(why.clone());
                why
            }
            Some(_) | None => before,
        }
    }
}

/// How many replicas lost the primary, still have a link, and still hear it.
#[derive(Clone, Copy, Debug, Default)]
struct Witnesses {
    lost: u32,
    up: u32,
    hearing: u32,
}

impl Witnesses {
    /// At least one lost it and nobody has it.
    fn all_lost(self) -> bool {
        self.lost > 0 && self.up == 0
    }
}
