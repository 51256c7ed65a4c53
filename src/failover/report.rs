//! The machine's status on demand.

use std::time::{Duration, Instant};

use super::machine::Machine;
use super::node::{Node, Rejoin, Sight};
use super::{NodeStatus, Phase, Status};

impl Machine {
    /// The present state's name.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Everything that is known, as of `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let readable = self.readable();
        Status {
            phase: self.phase.name(),
            epoch: self.group.epoch,
            primary: self.group.primary,
            held: self.held.clone(),
            degraded: self.degraded,
            tokens: self.budget.tokens(),
            other_brain: self.other_brain.as_ref().map(|(who, _)| who.clone()),
            yielded: self.yielded,
            nodes: self
                .nodes
                .iter()
                .zip(readable)
                .map(|(node, readable)| self.report(node, now, readable))
                .collect(),
            episodes: self.timeline.list(now, (self.group.epoch, self.group.primary)),
        }
    }

    fn report(&self, node: &Node, now: Instant, readable: bool) -> NodeStatus {
        let led = self.primary_facts();
        let leads = self.group.primary == Some(node.id);
        let lag_bytes = match (&node.facts, led) {
            (Some(facts), Some(led)) if !leads && facts.replid == led.replid => {
                Some(led.offset.saturating_sub(facts.offset))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        let fresh = now.checked_sub(self.settings.timeout).unwrap_or(now);
        let ineligible = if leads { None } else { node.ineligible(&self.lineage(), fresh) };
        let doing = match node.rejoin {
            Rejoin::Idle { .. } => None,
            Rejoin::Pausing => Some("its writes are being paused"),
            Rejoin::Capturing(_) => Some("what only it has is being read"),
            Rejoin::Following { .. } => Some("it is being told to follow the primary"),
            Rejoin::Unpausing => Some("its pause is being lifted"),
        };
        NodeStatus {
            node: node.id,
            role: node.facts.as_ref().map(|facts| facts.role),
            up: node.sight == Sight::Answered,
            silent_for: now.saturating_duration_since(node.alive_at),
            readable,
            lag_bytes,
            staleness: if leads { None } else { self.staleness(node).filter(|age| *age != Duration::MAX) },
            peer_address: node.peer(),
            ineligible: ineligible.map(|reason| reason.to_string()),
            remark: doing.map(str::to_owned).or_else(|| node.remark.clone()).or_else(|| self.ails(node)),
            slow: self.gauge.knows(node.id).then(|| self.gauge.slow(node.id).is_some()),
        }
    }
}
