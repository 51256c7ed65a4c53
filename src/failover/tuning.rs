//! Settings of nodes that are changed at run time: which, what they were before, and when they are put back.

use std::time::Duration;

use crate::topology::NodeId;

use super::machine::{FOLLOW, Kind, Machine, VERIFY, words};
use super::promote::MIN_REPLICAS;
use super::record::Borrowed;
use super::state::{Spared, Switch};
use super::{Changes, Level, Outcome, SettingChanged, Step};

/// Of a replica whose disk takes nothing: whether it goes on.
const IGNORE_DISK: &str = "replica-ignore-disk-write-errors";

/// Between two attempts to put a setting back.
const PUT_BACK_AGAIN: Duration = Duration::from_secs(5);

/// A setting changed in one life of a node; the next life begins with redis.conf again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) run_id: String,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) before: String,
}

impl Machine {
    /// Settings that were changed and not put back, of all nodes.
    #[must_use]
    pub fn settings_changed(&self) -> Vec<SettingChanged> {
        let of_node = |node: &super::node::Node| {
            let id = node.id;
            let told = node.changed.iter().map(move |changed| SettingChanged {
                node: id,
                name: changed.name.clone(),
                value: changed.value.clone(),
                before: changed.before.clone(),
            });
            told.collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of_node).collect()
    }

    /// A step changed settings. `run_id` is the life in which it did, where the step came to know.
    pub(super) fn note_changes(&mut self, id: NodeId, run_id: Option<String>, changes: Changes) {
        let node = self.node_mut(id);
        let known = || node.facts.as_ref().map(|facts| facts.run_id.clone()).unwrap_or_default();
        let run_id = run_id.unwrap_or_else(known);
        for SettingChanged { name, value, before, .. } in changes.tuned {
            match node.changed.iter_mut().find(|known| known.run_id == run_id && known.name == name) {
                Some(known) => known.value = value,
                None => node.changed.push(Changed { run_id: run_id.clone(), name, value, before }),
            }
        }
        node.changed.retain(|known| !changes.restored.contains(&known.name));
        // At once, whatever goes on: a proxy that ends in the middle of it would leave the node so.
        let intent = self.recorded.as_ref().and_then(|record| record.intent.clone());
        self.write_record(intent);
    }

    /// What is to be put back some day, and must not be forgotten with the proxy's life.
    pub(super) fn borrowed(&self) -> Vec<Borrowed> {
        let of_node = |node: &super::node::Node| {
            let name = node.name();
            let kept = node.changed.iter().filter(|changed| changed.is_borrowed());
            kept.map(|changed| changed.clone().into_record(name.clone())).collect::<Vec<_>>()
        };
        let of_gone = |gone: &super::declare::Gone| {
            let kept = gone.changed.iter().filter(|changed| changed.is_borrowed());
            kept.map(|changed| changed.clone().into_record(gone.name.clone())).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of_node).chain(self.gone.iter().flat_map(of_gone)).collect()
    }

    /// Puts back what need not be otherwise any more: `min-replicas-to-write`, lowered so that a primary could write alone, once it
    /// is not alone; and a replica's patience with its disk, once that takes something again.
    pub(super) fn put_back(&mut self, id: NodeId) {
        let due = self.due_back(id);
        if due.is_empty() || self.is_out(id, Kind::Restore) || self.is_out(id, Kind::Tune) {
            return;
        }
        if let Some(again) = self.node(id).put_back_again {
            if self.now < again {
                return self.wake_at(again);
            }
        } else if self.group.primary == Some(id) && due.iter().any(|(name, _)| name == MIN_REPLICAS) {
            let text = format!("{} has a replica again: {MIN_REPLICAS} put back", self.node(id).name());
            self.tell(Level::Info, text);
        }
        self.ask(id, Step::Restore(due), FOLLOW);
    }

    fn due_back(&self, id: NodeId) -> Vec<(String, String)> {
        let node = self.node(id);
        let Some(facts) = node.answered() else { return Vec::new() };
        let replid = &self.group.replid;
        let alone = self.degraded || !self.others(id).any(|other| other.is_in_step(replid));
        let due = |changed: &&Changed| match changed.name.as_str() {
            MIN_REPLICAS => self.group.primary != Some(id) || !alone,
            IGNORE_DISK => !facts.cannot_persist,
            _ => false,
        };
        node.changed
            .iter()
            .filter(due)
            .map(|changed| (changed.name.clone(), changed.before.clone()))
            .collect()
    }

    /// An attempt to put settings back ended.
    pub(super) fn put_back_ended(&mut self, id: NodeId, outcome: &Outcome) {
        let failed = !matches!(outcome, Outcome::Done(_));
        let first = self.node(id).put_back_again.is_none();
        self.node_mut(id).put_back_again = failed.then_some(self.now + PUT_BACK_AGAIN);
        if failed && first {
            let (name, why) = (self.node(id).name(), words(outcome));
            self.tell(Level::Warn, format!("settings of {name} are not put back yet: {why}; tried again"));
        }
    }

    /// As a replica whose disk takes nothing a server from 7.0 on ends itself at the first write that it receives, and with it goes
    /// one who may be needed: it is told to go on. False while it is not known whether it will.
    pub(super) fn spare(&mut self, switch: &mut Switch) -> bool {
        let from = switch.from;
        if switch.spared == Spared::Asked
            && let Some(outcome) = self.answered(Some(from), Kind::Tune)
        {
            switch.spared = match outcome {
                Outcome::Done(_) => Spared::Set,
                failed => Spared::Refused(words(&failed)),
            };
        }
        let ends = |facts: &crate::topology::Replication| facts.cannot_persist && !goes_on(&facts.version);
        match switch.spared {
            Spared::Set | Spared::Refused(_) => true,
            Spared::Asked => false,
            Spared::Unasked if !self.node(from).facts.as_ref().is_some_and(|facts| ends(facts)) => true,
            Spared::Unasked => {
                // What another one ended with is none of this one's.
                self.answered(Some(from), Kind::Tune);
                if !self.is_out(from, Kind::Tune) {
                    switch.spared = Spared::Asked;
                    self.ask(from, Step::Tune(vec![(IGNORE_DISK.to_owned(), "yes".to_owned())]), VERIFY);
                }
                false
            }
        }
    }

    /// Why nothing would be gained by making a replica of the old primary, which then ends itself: writes would wait for it in vain.
    pub(super) fn would_be_missed(&self, switch: &Switch) -> Option<String> {
        let Spared::Refused(why) = &switch.spared else { return None };
        if self.node(switch.from).answered().is_some_and(|facts| facts.shutting_down) {
            // It goes either way.
            return None;
        }
        let left = self
            .others(switch.from)
            .filter(|node| node.id != switch.to && node.is_in_step(&self.group.replid));
        (left.count() < self.acknowledgements()).then(|| {
            let name = self.node(switch.from).name();
            format!("{name} would end itself as a replica, and writes wait for it ({IGNORE_DISK} is not set: {why})")
        })
    }
}

impl Changed {
    /// Changed for a time, not for the life of the node.
    fn is_borrowed(&self) -> bool {
        [MIN_REPLICAS, IGNORE_DISK].contains(&self.name.as_str())
    }

    fn into_record(self, node: String) -> Borrowed {
        Borrowed { node, run_id: self.run_id, name: self.name, value: self.value, before: self.before }
    }
}

impl From<Borrowed> for Changed {
    fn from(kept: Borrowed) -> Self {
        Self { run_id: kept.run_id, name: kept.name, value: kept.value, before: kept.before }
    }
}

/// Servers before 7.0 do not end themselves for their disk as replicas.
fn goes_on(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < 7)
}
