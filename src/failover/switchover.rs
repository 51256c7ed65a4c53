//! Planned changes: the old primary steps down first, so that no moment has two.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Role};

use super::candidate::{Reason, rank};
use super::machine::{FOLLOW, Kind, Machine, PROBE, PROMOTE, VERIFY, words};
use super::state::{Cause, Goal, GoalKind, Spared, State, Switch, Trial};
use super::{Action, Intent, Level, Mode, Order, OrderId, Outcome, Step};

/// Writes in flight get this long to end.
const QUIESCE: Duration = Duration::from_millis(200);
/// For how long the old primary is told to pause writes.
const PAUSE: Duration = Duration::from_secs(3);
/// The pause may be over after this, at the latest when the old primary would be demoted.
const PAUSE_SAFE: Duration = Duration::from_secs(2);
/// The target gets this long to catch up.
const CATCH_UP: Duration = Duration::from_millis(500);
/// The target is looked at without rest for so long: most have caught up by the first answer or the second, and clients wait.
const CATCH_UP_EAGER: Duration = Duration::from_millis(5);
/// Between two looks at it later.
const CATCH_UP_AGAIN: Duration = Duration::from_millis(1);
/// A target further behind is not switched to.
const LAG_MAX: u64 = 1024 * 1024;
/// An old primary that does not say what it is now has this long.
const DOUBT: Duration = Duration::from_secs(1);
/// Between two planned switches that nobody ordered.
const PLANNED_AGAIN: Duration = Duration::from_secs(5);
/// … when the target could not lead: what it lacked then, it lacks for a while.
const PLANNED_FAILED: Duration = Duration::from_secs(60);

impl Machine {
    /// An order of an operator.
    pub(super) fn obey(&mut self, id: OrderId, order: Order) {
        let started = match order {
            Order::Switchover { to } => self.order_switch(id, to),
            Order::Failover { to } => self.order_failover(id, to),
            Order::Adopt { node } => self.order_adopt(id, node),
        };
        match started {
            Ok(state) => {
                // An order that overtakes another one leaves it without an end of its own.
                if let Some(before) = self.order.replace(id) {
                    self.answer_order(Some(before), Err("another order came in between".to_owned()));
                    self.order = Some(id);
                }
                self.check_transition(self.phase, state.phase());
                self.phase = state.phase();
                self.state = state;
            }
            Err(why) => self.answer_order(Some(id), Err(why)),
        }
    }

    pub(super) fn answer_order(&mut self, order: Option<OrderId>, result: Result<String, String>) {
        if let Some(id) = order {
            self.order.take_if(|open| *open == id);
            self.queue.push_back(Action::Answer { id, result });
        }
    }

    /// Whoever ordered something is answered, also when the world took another course.
    pub(super) fn close_order(&mut self) {
        let resting = matches!(
            self.state,
            State::Discover { .. } | State::Steady | State::Blocked { .. } | State::Observe { .. }
        );
        if resting && self.order.is_some() {
            let why = self.held.as_ref().map_or("overtaken by what happened meanwhile", |(_, why)| why);
            let why = format!("not carried out: {why}");
            self.answer_order(self.order, Err(why));
        }
    }

    /// Why nothing can be ordered now.
    fn forbidden(&self) -> Option<String> {
        if let Some((who, _)) = &self.other_brain {
            return Some(format!("another brain decides here ({who}): nothing is ordered beside it"));
        }
        if self.yielded {
            return Some("another process has taken over from this one: order it there".to_owned());
        }
        (self.settings.mode == Mode::Off).then(|| "failover.mode is off".to_owned())
    }

    fn order_switch(&mut self, id: OrderId, to: Option<NodeId>) -> Result<State, String> {
        if let Some(why) = self.forbidden() {
            return Err(why);
        }
        if !matches!(self.state, State::Steady) {
            return Err(format!("not now: the group is in state {}", self.phase.name()));
        }
        let to = self.switch_target(to)?;
        self.start_switch(to, Some(id), "ordered".to_owned())
    }

    /// Whom to switch to: the wanted one, when it can, or the best.
    fn switch_target(&self, wanted: Option<NodeId>) -> Result<NodeId, String> {
        let fresh = self.now.checked_sub(self.settings.timeout).unwrap_or(self.now);
        // What it lacks of its life before does not matter: it is waited for until it has all that the primary has.
        let others = self.nodes.iter().filter(|node| Some(node.id) != self.group.primary);
        let ranking = rank(others, &self.lineage(), fresh, true);
        let Some(wanted) = wanted else {
            return ranking
                .order
                .first()
                .copied()
                .ok_or_else(|| format!("no replica can lead: {}", self.losers(&ranking)));
        };
        if self.group.primary == Some(wanted) {
            return Err(format!("{} leads already", self.node(wanted).name()));
        }
        if ranking.order.contains(&wanted) {
            return Ok(wanted);
        }
        let reason =
            ranking.losers.iter().find(|(node, _)| *node == wanted).map(|(_, reason)| reason.clone());
        Err(match reason {
            Some(reason) => format!("{} {reason}", self.node(wanted).name()),
            None => "no such node is declared".to_owned(),
        })
    }

    fn start_switch(&mut self, to: NodeId, order: Option<OrderId>, why: String) -> Result<State, String> {
        let Some(from) = self.group.primary else {
            return Err("there is no primary to switch from".to_owned());
        };
        let (target, name) = (self.node(to), self.node(to).name());
        let Some(facts) = target.answered().filter(|facts| facts.link_up) else {
            return Err(format!("{name} is not connected to the primary"));
        };
        let lag = self.group.offset.saturating_sub(facts.offset);
        if lag > LAG_MAX {
            return Err(format!("{name} {}", Reason::Behind { bytes: lag }));
        }
        self.begin(order.is_some());
        self.phase = super::Phase::Intend;
        self.tell(Level::Info, format!("switching from {} to {name}: {why}", self.node(from).name()));
        self.phase = super::Phase::Steady;
        let switch = Switch { from, to, order, why, paused_at: None, offset: 0, spared: Spared::Unasked };
        Ok(State::Intend { since: self.now, switch })
    }

    /// The intent is recorded before anybody waits for anything.
    pub(super) fn intend(&mut self, since: Instant, switch: Switch) -> State {
        if self.is_lost(&switch) {
            return self.lose(&switch);
        }
        let intent = Intent::Switch(self.node(switch.to).name());
        if !self.is_intended(intent, since) {
            return State::Intend { since, switch };
        }
        self.hold(format!("planned switch to {}", self.node(switch.to).name()));
        if self.node(switch.from).answered().is_some_and(|facts| facts.shutting_down) {
            // It executes no write any more: those in flight end with it, and waiting for them would be waiting for that.
            return self.order_pause(switch);
        }
        let id = self.expect(None, Kind::Quiesce, QUIESCE);
        self.queue.push_back(Action::Quiesce { id, within: QUIESCE });
        State::Quiesce { switch }
    }

    /// A primary that is about to end, cannot write or is slow is replaced while it still can help.
    pub(super) fn planned(&mut self) -> Option<State> {
        if self.settings.mode != Mode::Auto {
            return None;
        }
        let primary = self.group.primary?;
        let (why, slow) = self.reason_to_leave(primary)?;
        if self.planned_after > self.now || self.budget.tokens() == 0 {
            return None;
        }
        let ends = self.node(primary).answered().is_some_and(|facts| facts.shutting_down);
        if !ends && self.budget.is_last() {
            // It serves, if not well: what is left of the brake is for one that does not.
            return None;
        }
        let target = self.switch_target(None);
        // Nobody is worse off than before: it is worth it only where the other one is as it always was.
        if slow && !target.as_ref().is_ok_and(|to| self.gauge.relieves(*to, primary)) {
            return None;
        }
        let why = format!("{} {why}", self.node(primary).name());
        self.planned_after = self.now + PLANNED_AGAIN;
        match target.and_then(|to| self.start_switch(to, None, why.clone())) {
            Ok(state) => {
                self.budget.take();
                if slow {
                    self.leaves_slow();
                }
                Some(state)
            }
            Err(reason) => {
                self.tell(Level::Error, format!("{why}, but {reason}"));
                None
            }
        }
    }

    fn order_failover(&mut self, id: OrderId, to: Option<NodeId>) -> Result<State, String> {
        if let Some(why) = self.forbidden() {
            return Err(why);
        }
        if !matches!(self.state, State::Steady | State::Suspect { .. } | State::Blocked { .. }) {
            return Err(format!("not now: the group is in state {}", self.phase.name()));
        }
        if self.group.primary.is_none() {
            return Err("no primary was ever decided: redhold adopt NODE".to_owned());
        }
        if to.is_some_and(|to| !self.is_declared(to)) {
            return Err("no such node is declared".to_owned());
        }
        let began = self.now;
        let trial = Trial { began, cause: Cause::Ordered, order: Some(id), to };
        self.begin(true);
        self.tell(Level::Warn, "failover ordered".to_owned());
        self.count_hold();
        self.hold("failover ordered".to_owned());
        self.probe_all();
        Ok(State::Confirm { since: began, trial })
    }

    fn order_adopt(&mut self, id: OrderId, node: NodeId) -> Result<State, String> {
        if let Some(why) = self.forbidden() {
            return Err(why);
        }
        if !matches!(
            self.state,
            State::Discover { .. } | State::Steady | State::Suspect { .. } | State::Blocked { .. }
        ) {
            return Err(format!("not now: the group is in state {}", self.phase.name()));
        }
        if !self.is_declared(node) {
            return Err("no such node is declared".to_owned());
        }
        let name = self.node(node).name();
        let Some(facts) = self.node(node).answered().cloned() else {
            return Err(format!("{} does not answer", name));
        };
        if self.group.primary == Some(node) && matches!(self.state, State::Steady) {
            return Err(format!("{name} leads already"));
        }
        self.memory = None;
        self.count_hold();
        self.begin(true);
        self.tell(Level::Warn, format!("{name} adopted as primary by order"));
        self.hold(format!("{name} is being adopted"));
        if facts.role == Role::Replica {
            self.ask(node, Step::Promote, PROMOTE);
        }
        let goal =
            Goal { kind: GoalKind::Adopt, order: Some(id), lineage: vec![facts.replid.clone()], floor: None };
        Ok(if facts.role == Role::Primary {
            State::Release { primary: node, goal }
        } else {
            State::Promote { since: self.now, candidate: node, rest: Vec::new(), goal, unknown: None }
        })
    }

    pub(super) fn quiesce(&mut self, switch: Switch) -> State {
        if self.is_lost(&switch) {
            return self.lose(&switch);
        }
        match self.answered(None, Kind::Quiesce) {
            None => State::Quiesce { switch },
            Some(Outcome::Done(_)) => self.order_pause(switch),
            Some(outcome) => self.undo(switch, format!("writes in flight did not end: {}", words(&outcome))),
        }
    }

    fn order_pause(&mut self, mut switch: Switch) -> State {
        switch.paused_at = Some(self.now);
        self.spare(&mut switch);
        self.ask(switch.from, Step::Pause(PAUSE), VERIFY);
        State::Pause { switch }
    }

    pub(super) fn pause(&mut self, mut switch: Switch) -> State {
        if self.is_lost(&switch) {
            return self.lose(&switch);
        }
        self.spare(&mut switch);
        match self.answered(Some(switch.from), Kind::Pause) {
            None => State::Pause { switch },
            Some(Outcome::Done(Some(facts))) if facts.role == Role::Primary => {
                switch.offset = facts.offset;
                self.ask(switch.to, Step::Probe, PROBE);
                State::CatchUp { since: self.now, switch }
            }
            Some(outcome) => {
                let why = format!("{} did not pause: {}", self.node(switch.from).name(), words(&outcome));
                self.undo(switch, why)
            }
        }
    }

    pub(super) fn catch_up(&mut self, since: Instant, mut switch: Switch) -> State {
        if self.is_lost(&switch) {
            return self.lose(&switch);
        }
        let judged = self.spare(&mut switch);
        let target = self.node(switch.to);
        let there = target.answered_since(since).is_some_and(|facts| facts.offset >= switch.offset);
        if there && judged {
            if switch.paused_at.is_none_or(|at| at + PAUSE_SAFE <= self.now) {
                return self.undo(switch, "the pause may have ended meanwhile".to_owned());
            }
            let primary = target.peer();
            if let Some(why) = self.would_be_missed(&switch) {
                self.planned_after = self.now + PLANNED_FAILED;
                return self.undo(switch, why);
            }
            if let Spared::Refused(why) = &switch.spared {
                let name = self.node(switch.from).name();
                self.tell(Level::Warn, format!("{name} may end itself as a replica, for its disk: {why}"));
            }
            self.ask(switch.from, Step::Follow { primary, kick: false }, FOLLOW);
            return State::Demote { since: self.now, switch, unknown: false };
        }
        if self.now >= since + CATCH_UP || target.is_down() {
            let why = match there {
                true => format!("{} does not say whether it goes on", self.node(switch.from).name()),
                false => format!("{} did not catch up in time", target.name()),
            };
            return self.undo(switch, why);
        }
        self.wake_at(since + CATCH_UP);
        let eager = self.now < since + CATCH_UP_EAGER;
        self.probe_later(switch.to, if eager { Duration::ZERO } else { CATCH_UP_AGAIN });
        State::CatchUp { since, switch }
    }

    pub(super) fn demote(&mut self, since: Instant, switch: Switch, mut unknown: bool) -> State {
        match self.answered(Some(switch.from), Kind::Follow) {
            Some(Outcome::Done(_) | Outcome::Captured(_)) | None => {}
            Some(Outcome::Failed(text)) => {
                return self.undo(switch, format!("the old primary did not step down: {text}"));
            }
            Some(Outcome::Down(_) | Outcome::Unknown) => unknown = true,
        }
        let old = self.node(switch.from);
        match old.answered_since(since).map(|facts| facts.role) {
            Some(Role::Replica) => return self.promote_target(switch),
            Some(Role::Primary) if unknown => {
                return self.undo(switch, "the old primary did not step down".to_owned());
            }
            Some(Role::Primary) | None => {}
        }
        if old.is_down() && switch.paused_at.is_some_and(|at| self.now < at + PAUSE_SAFE) {
            // It ended while it was paused, and the target has all that it had.
            return self.promote_target(switch);
        }
        if old.is_down() || self.now >= since + DOUBT + FOLLOW {
            // Stepped down or dead: a failover decides, with everything the target has.
            return self.lose(&switch);
        }
        self.wake_at(since + DOUBT + FOLLOW);
        if unknown {
            self.probe_later(switch.from, CATCH_UP_AGAIN * 10);
        }
        State::Demote { since, switch, unknown }
    }

    fn promote_target(&mut self, switch: Switch) -> State {
        let candidate = switch.to;
        self.ask(candidate, Step::Promote, PROMOTE);
        let order = switch.order;
        let goal = Goal { kind: GoalKind::Switch(switch), order, lineage: self.lineage(), floor: None };
        State::Promote { since: self.now, candidate, rest: Vec::new(), goal, unknown: None }
    }

    /// The target cannot lead: the old primary, which follows it and has everything, leads again. If that fails
    /// too, a failover decides.
    pub(super) fn switch_failed(&mut self, goal: Goal, why: &str) -> State {
        match goal.kind {
            GoalKind::Switch(mut switch) => {
                self.planned_after = self.now + PLANNED_FAILED;
                switch.why = format!("{} cannot lead: {why}", self.node(switch.to).name());
                State::Revert { since: self.now, why: switch.why.clone(), switch }
            }
            GoalKind::Rollback(_) | GoalKind::Failover | GoalKind::Begin | GoalKind::Adopt => {
                self.answer_order(goal.order, Err(why.to_owned()));
                self.block(format!("a planned switch failed and could not be undone: {why}"), true)
            }
        }
    }

    /// Nothing happened yet: lift the pause and go on as before.
    fn undo(&mut self, switch: Switch, why: String) -> State {
        if switch.paused_at.is_some() {
            self.ask(switch.from, Step::Unpause, FOLLOW);
        }
        self.ask(switch.from, Step::Probe, PROBE);
        State::Revert { since: self.now, switch, why }
    }

    pub(super) fn revert(&mut self, since: Instant, switch: Switch, why: String) -> State {
        let old = self.node(switch.from);
        match old.answered_since(since).map(|facts| facts.role) {
            Some(Role::Primary) if !self.is_out(switch.from, Kind::Unpause) => {
                self.tell(Level::Warn, format!("planned switch given up: {why}"));
                self.answer_order(switch.order, Err(format!("given up, nothing changed: {why}")));
                self.open();
                self.end();
                State::Steady
            }
            Some(Role::Replica) => {
                self.ask(switch.from, Step::Promote, PROMOTE);
                let candidate = switch.from;
                let order = switch.order;
                let goal =
                    Goal { kind: GoalKind::Rollback(switch), order, lineage: self.lineage(), floor: None };
                State::Promote { since: self.now, candidate, rest: Vec::new(), goal, unknown: None }
            }
            Some(Role::Primary) | None => {
                if old.is_down() || self.now >= since + DOUBT {
                    return self.lose(&switch);
                }
                self.wake_at(since + DOUBT);
                self.probe_later(switch.from, CATCH_UP_AGAIN * 10);
                State::Revert { since, switch, why }
            }
        }
    }

    /// The old primary died, or fell silent, while it was being switched from.
    fn is_lost(&self, switch: &Switch) -> bool {
        let old = self.node(switch.from);
        old.is_down() || old.silent_at(old.patience(&self.settings)) <= self.now
    }

    fn lose(&mut self, switch: &Switch) -> State {
        let name = self.node(switch.from).name();
        self.answer_order(
            switch.order,
            Err(format!("{name} was lost during the switch: a failover decides")),
        );
        self.tell(Level::Error, format!("{name} was lost during the switch"));
        self.hold(format!("{name} was lost during the switch"));
        self.probe_all();
        let trial = Trial { began: self.now, cause: Cause::Switch, order: None, to: None };
        State::Confirm { since: self.now, trial }
    }
}
