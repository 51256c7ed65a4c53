//! What becomes of a primary that serves and is not well: one whose disk fails, that lacks replicas, or that is slow.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Remedy, Role};

use super::machine::Machine;
use super::node::{Node, Rejoin, Sight};
use super::{Level, Mode, Phase, SlowPrimary};

/// A primary that has not refused a write for want of replicas for so long is taken not to refuse any.
const WANT: Duration = Duration::from_secs(1);

/// The other nodes have so long to say whether they follow.
const JUDGED: Duration = Duration::from_millis(200);

/// A primary counts a replica that was attached by then.
const COUNTED: Duration = Duration::from_secs(1);

/// Between two switches away from a slow primary, whichever node it is: where it is the load that slows it, the next one is as slow.
const SLOW_AGAIN: Duration = Duration::from_secs(600);

/// A primary that takes longer to answer is not switched away from: the steps of a switch would not end in time, and a switch that is
/// lost half way is a failover.
const SLOW_MAX: Duration = Duration::from_millis(150);

/// The primary refuses writes with NOREPLICAS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Since when.
    since: Instant,
    /// When it was last told.
    told: Instant,
    /// Until then replicas that are being attached may come to count.
    hope: Option<Instant>,
}

impl Machine {
    /// PING was answered.
    pub(super) fn time(&mut self, id: NodeId, took: Duration, explained: bool) {
        if !self.is_declared(id) || self.settings.slow_primary == SlowPrimary::Off {
            return;
        }
        let before = self.gauge.slow(id);
        let node = self.node(id);
        let run_id = node.facts.as_ref().map_or("", |facts| facts.run_id.as_str());
        if node.timed != run_id {
            // What another process took says nothing of this one.
            let run_id = run_id.to_owned();
            self.gauge.forget(id);
            self.node_mut(id).timed = run_id;
        }
        self.gauge.note(id, took, explained, self.now);
        let name = self.node(id).name();
        match (before, self.gauge.slow(id)) {
            (None, Some(slow)) => {
                let (takes, took) = (millis(slow.takes), millis(slow.took));
                let text = format!("{name} is slow: it answers PING after {takes} ms, {took} ms as a rule");
                self.tell(Level::Warn, text);
            }
            (Some(_), None) => self.tell(Level::Info, format!("{name} is not slow any more")),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// What is wrong with a node that serves, in few words.
    pub(super) fn ails(&self, node: &Node) -> Option<String> {
        if node.answered()?.cannot_persist {
            return Some("its disk takes nothing, and it takes no write (MISCONF)".to_owned());
        }
        let slow = self.gauge.slow(node.id)?;
        Some(format!("is slow: PING takes {} ms, {} ms as a rule", millis(slow.takes), millis(slow.took)))
    }

    /// Why another node should lead, and whether that is only for its being slow.
    pub(super) fn reason_to_leave(&self, primary: NodeId) -> Option<(String, bool)> {
        let facts = self.node(primary).answered()?;
        if facts.shutting_down {
            return Some(("is shutting down".to_owned(), false));
        }
        if facts.cannot_persist {
            return Some(("cannot write to its disk (MISCONF)".to_owned(), false));
        }
        let slow =
            self.gauge.slow(primary).filter(|_| self.settings.slow_primary == SlowPrimary::Switchover)?;
        let may = self.slow_after <= self.now && slow.takes <= SLOW_MAX;
        may.then(|| (format!("is slow ({} ms)", millis(slow.takes)), true))
    }

    /// A switch for a slow primary is tried now, and not again soon.
    pub(super) fn leaves_slow(&mut self) {
        self.slow_after = self.now + SLOW_AGAIN;
    }

    /// The primary refused a write for want of replicas: do the others say that they follow it?
    pub(super) fn wants_replicas(&mut self) {
        let now = self.now;
        match &mut self.want {
            Some(want) => want.told = now,
            None => {
                self.want = Some(Want { since: now, told: now, hope: None });
                self.probe_all();
            }
        }
    }

    /// Looks whether what the primary lacks is on its way.
    pub(super) fn watch_want(&mut self) {
        let Some(mut want) = self.want else { return };
        let Some(primary) = self.group.primary.filter(|_| self.now < want.told + WANT) else {
            self.want = None;
            return;
        };
        if self.others(primary).any(|node| self.is_coming(node, primary)) {
            want.hope = Some(self.now + COUNTED);
        }
        self.want = Some(want);
        let over = want.since + self.settings.hold;
        for due in [Some(want.told + WANT), Some(want.since + JUDGED), Some(over), want.hope] {
            due.into_iter().for_each(|due| self.wake_at(due));
        }
    }

    /// A replica that is being attached to the primary, or is about to be.
    fn is_coming(&self, node: &Node, primary: NodeId) -> bool {
        let Some(facts) = node.answered() else { return false };
        let told = !matches!(node.rejoin, Rejoin::Idle { .. });
        // Redis itself tries again every second, and does not end well where nobody can be reached.
        let tries = facts.role == Role::Replica
            && !facts.link_up
            && facts.primary.as_ref().is_some_and(|whom| self.node(primary).is_called(whom))
            && node.link_down_since.is_some_and(|since| self.now < since + self.settings.hold);
        told || tries || facts.syncing || self.is_to_follow(node.id, primary)
    }

    /// What becomes of what the primary refuses.
    pub(super) fn remedy(&self) -> Remedy {
        let Some(primary) = self.group.primary else { return Remedy::Unjudged };
        let rests = matches!(self.phase, Phase::Steady | Phase::Observe);
        if self.node(primary).facts.as_ref().is_some_and(|facts| facts.cannot_persist) {
            return if rests { Remedy::Nowhere } else { Remedy::UnderWay };
        }
        let Some(want) = self.want else { return Remedy::Unjudged };
        let over = self.now >= want.since + self.settings.hold;
        if over || self.settings.mode != Mode::Auto || self.phase == Phase::Observe {
            return Remedy::Nowhere;
        }
        let judged = self.now >= want.since + JUDGED
            || self.others(primary).all(|node| {
                node.seen_at >= want.since && !matches!(node.sight, Sight::Unseen | Sight::Silent)
            });
        match want.hope {
            Some(hope) if self.now < hope => Remedy::UnderWay,
            Some(_) | None if judged => Remedy::Nowhere,
            Some(_) | None => Remedy::Unjudged,
        }
    }
}

/// With one digit behind the point.
fn millis(length: Duration) -> String {
    format!("{:.1}", length.as_secs_f64() * 1e3)
}
