//! What must be true after every event, whatever happened. Checked in debug builds, and where a test asks for it.

use crate::topology::position;

use super::machine::{Kind, Machine};
use super::{Phase, Verdict};

impl Machine {
    /// Checks itself in release builds too: it panics when it contradicts itself.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checks = true;
        self
    }

    /// Panics when the machine contradicts itself.
    pub(super) fn check_invariants(&self) {
        if !self.checks {
            return;
        }
        assert_eq!(self.phase, self.state.phase(), "the phase is the state's");
        let promotes = self.pending.values().filter(|pending| pending.kind == Kind::Promote).count();
        assert!(promotes <= 1, "never two promotions in flight");
        assert!(
            promotes == 0 || !matches!(self.phase, Phase::Observe | Phase::Steady),
            "nobody is promoted in {}",
            self.phase.name()
        );
        assert!(
            !matches!(self.phase, Phase::Steady) || (self.held.is_none() && self.group.primary.is_some()),
            "a steady group has a primary, and its writes go"
        );
        assert!(
            matches!(self.phase, Phase::Steady | Phase::Observe | Phase::Intend) || self.held.is_some(),
            "writes wait in {}",
            self.phase.name()
        );
    }

    /// Panics when the phase `from` must not become `to`.
    pub(super) fn check_transition(&self, from: Phase, to: Phase) {
        assert!(!self.checks || from.allowed(to), "{} -> {}", from.name(), to.name());
    }

    /// Panics when `next` must not follow what was published before.
    pub(super) fn check_publication(&self, next: &Verdict) {
        let Some(last) = self.published.as_ref().filter(|_| self.checks) else {
            return;
        };
        assert!(next.epoch >= last.epoch, "epochs only grow");
        assert!(
            next.epoch > last.epoch || last.primary.is_none() || next.primary == last.primary,
            "one primary per epoch: {last:?} -> {next:?}"
        );
        assert!(next.held_since.is_some() || next.primary.is_some(), "writes only go to somebody");
        assert_eq!(next.readable.len(), self.nodes.len());
        let primary = next.primary.and_then(|primary| position(&self.nodes, primary));
        let seen = primary.and_then(|primary| Some((primary, self.nodes[primary].facts.as_ref()?)));
        assert!(
            next.held_since.is_some()
                || seen.is_none_or(|(primary, facts)| next.run_ids[primary] == facts.run_id),
            "writes only go to the process that was looked at last"
        );
    }
}
