//! How many replicas must be asked before one of them may lead without loss, and for how long the primary may lack replicas.
//!
//! A write that the primary acknowledged with `w` of `n` replicas is held by at least one of any `n - w + 1` of them. So the
//! furthest of that many has every such write, provided that each still holds what it once acknowledged: it was not
//! started again since it was last in sync, and takes nothing more from the old primary.

use std::time::Instant;

use crate::topology::{Address, NodeId, Replication};

use super::candidate::{Ranking, Reason};
use super::machine::{Machine, VERIFY};
use super::node::Node;
use super::promote::MIN_REPLICAS;
use super::state::{Goal, GoalKind};
use super::{Level, Mode, OnNoQuorum, Step};

/// Of `voters` replicas that may acknowledge, how many must be asked when a write waits for `acknowledgements` of them. 0: none, since
/// no write waits for anybody, or none can ever have been acknowledged.
#[must_use]
pub fn required(voters: usize, acknowledgements: usize) -> usize {
    if acknowledgements == 0 { 0 } else { (voters + 1).saturating_sub(acknowledgements) }
}

impl Machine {
    /// Replicas that a write waits for at present; 0: none.
    pub(super) fn acknowledgements(&self) -> usize {
        if self.degraded { 0 } else { self.settings.durability.replicas }
    }

    /// Replicas that the primary has and no configuration names: WAIT counts them, and nobody here can ask them. Where several nodes
    /// have one port nobody knows who is called how, so an entry with the port of a declared replica in step is taken for it.
    pub(super) fn count_strangers(&self, facts: &Replication) -> usize {
        let called = |node: &Node| facts.replicas.iter().any(|(address, _)| node.is_called(address));
        let mut nameless: Vec<u16> = self
            .nodes
            .iter()
            .filter(|node| node.is_in_step(&facts.replid) && !called(node))
            .filter_map(|node| Some(node.facts.as_ref()?.port))
            .collect();
        let unknown = |address: &Address| !self.nodes.iter().any(|node| node.is_called(address));
        let entries = facts.replicas.iter().filter(|(address, _)| unknown(address));
        let strange = entries.filter(|(address, _)| {
            let declared = nameless.iter().position(|port| *port == address.port);
            declared.map(|position| nameless.swap_remove(position)).is_none()
        });
        strange.count()
    }

    /// Everybody who may have acknowledged a write.
    fn voters(&self) -> usize {
        self.nodes.len() - 1 + self.strangers + self.undeclared.len()
    }

    /// Whether a promotion must be proven to lose nothing that was acknowledged.
    fn is_strict(&self, ordered: bool) -> bool {
        self.acknowledgements() > 0 && !ordered && self.settings.on_no_quorum == OnNoQuorum::Hold
    }

    /// Why too few speak for all who may have acknowledged a write; `distrust` says why one cannot be relied on.
    pub(super) fn lacks_quorum(
        &self,
        ordered: bool,
        distrust: impl Fn(&Node) -> Option<String>,
    ) -> Option<String> {
        if !self.is_strict(ordered) {
            return None;
        }
        let (required, voters) = (required(self.voters(), self.acknowledgements()), self.voters());
        let mut trusted = 0;
        let mut others = Vec::new();
        for node in self.nodes.iter().filter(|node| Some(node.id) != self.group.primary) {
            match distrust(node) {
                None => trusted += 1,
                Some(why) => others.push(format!("{} {why}", node.name())),
            }
        }
        if trusted >= required {
            return None;
        }
        let unknown = voters.saturating_sub(trusted + others.len());
        if unknown > 0 {
            others.push(format!("{unknown} more not declared"));
        }
        Some(format!(
            "to lose no acknowledged write {required} of {voters} replicas are needed, and {trusted} can be relied on: {}; to \
             decide: redhold failover --force",
            others.join("; ")
        ))
    }

    /// Strikes from `ranking` whoever may lack a write that was acknowledged; why nobody is left.
    pub(super) fn demand_all_acknowledged(
        &self,
        ranking: &mut Ranking,
        goal: &mut Goal,
        sealed: &[NodeId],
        since: Instant,
    ) -> Result<(), String> {
        if goal.kind != GoalKind::Failover || !self.is_strict(goal.order.is_some()) {
            return Ok(());
        }
        let distrust = |node: &Node| match node.untrusted(&goal.lineage, since) {
            Some(reason) => Some(reason.to_string()),
            None => (!sealed.contains(&node.id)).then(|| "was not sealed".to_owned()),
        };
        let floor = match goal.floor {
            // Chosen among enough of them before, by this very attempt.
            Some(floor) => floor,
            None => match self.lacks_quorum(false, distrust) {
                Some(why) => return Err(why),
                None => {
                    let trusted =
                        sealed.iter().map(|id| self.node(*id)).filter(|node| distrust(node).is_none());
                    trusted.filter_map(|node| Some(node.facts.as_ref()?.offset)).max().unwrap_or(0)
                }
            },
        };
        let offset = |id: NodeId| self.node(id).facts.as_ref().map_or(0, |facts| facts.offset);
        for id in ranking.order.extract_if(.., |id| offset(*id) < floor) {
            ranking.losers.retain(|(loser, _)| *loser != id);
            ranking.losers.push((id, Reason::Behind { bytes: floor - offset(id) }));
        }
        goal.floor = (!ranking.order.is_empty()).then_some(floor);
        Ok(())
    }

    /// Whether `primary` lacks replicas that writes have to wait for.
    pub(super) fn lacks_acknowledgers(&self, primary: NodeId) -> bool {
        let facts = self.node(primary).facts.as_ref();
        let attached = facts.map_or(0, |facts| facts.replicas.iter().filter(|(_, online)| *online).count());
        attached < self.acknowledgements()
    }

    /// For how long the primary has lacked replicas that writes have to wait for, and what comes of it.
    pub(super) fn watch_acknowledgers(&mut self) {
        let (durability, Some(primary)) = (self.settings.durability, self.group.primary) else { return };
        if durability.replicas == 0 || durability.degrade_after.is_zero() {
            return;
        }
        if self.node(primary).answered().is_none() {
            return;
        }
        let attached = self.others(primary).filter(|node| node.is_in_step(&self.group.replid)).count();
        let name = self.node(primary).name();
        if attached >= durability.replicas {
            self.alone_since = None;
            if std::mem::take(&mut self.degraded) {
                self.tell(
                    Level::Warn,
                    format!("{name} has enough replicas again ({attached}): writes wait for them"),
                );
            }
            return;
        }
        let due = *self.alone_since.get_or_insert(self.now) + durability.degrade_after;
        if due > self.now {
            return self.wake_at(due);
        }
        if !std::mem::replace(&mut self.degraded, true) {
            let (wanted, after) = (durability.replicas, durability.degrade_after.as_millis());
            self.tell(
                Level::Error,
                format!("{name} has had {attached} of {wanted} replicas for {after} ms: writes wait for none until they are back"),
            );
        }
        let refuses = self.node(primary).facts.as_ref().is_some_and(|facts| facts.good_replicas == Some(0));
        if refuses && self.settings.mode == Mode::Auto && !self.must_observe() {
            let pair = (MIN_REPLICAS.to_owned(), "0".to_owned());
            self.ask(primary, Step::Tune(vec![pair]), VERIFY);
        }
    }
}
