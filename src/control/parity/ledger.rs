//! What clients changed, by name: what a node that was away has to be brought, and nothing else. Pure.

use std::collections::BTreeMap;

use super::change::{Change, Name};
use super::compare::is_same_user;
use super::snapshot::Snapshot;

/// Names that are remembered; the one that was changed longest ago goes. A node that is away then gets the others only, and
/// what is left shows as a difference.
const NAMES_MAX: usize = 1024;

/// How a name was last changed.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Number of the change among all.
    number: u64,
    /// It was deleted.
    deleted: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    names: BTreeMap<Name, Last>,
    changes: u64,
}

impl Ledger {
    /// Number of the last change; the first one has 1.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// A client changed something.
    pub(super) fn note(&mut self, change: &Change) {
        self.changes += 1;
        for name in &change.names {
            self.names.insert(name.clone(), Last { number: self.changes, deleted: change.deletes });
        }
        while self.names.len() > NAMES_MAX {
            let oldest = self.names.iter().min_by_key(|(_, last)| last.number);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.names.remove(&oldest);
        }
    }

    /// Settings among the names.
    pub(super) fn settings(&self) -> Vec<String> {
        let setting = |name: &Name| match name {
            Name::Setting(name) => Some(name.clone()),
            Name::User(_) => None,
        };
        self.names.keys().filter_map(setting).collect()
    }

    /// What has to be said to `node` so that it has of the names changed after change number `after` what `primary` has.
    /// A user that clients made is never taken from a node because the primary lost it.
    pub(super) fn repairs(&self, after: u64, primary: &Snapshot, node: &Snapshot) -> Vec<Change> {
        let due = self.names.iter().filter(|(_, last)| last.number > after);
        due.filter_map(|(name, last)| repair(name, *last, primary, node)).collect()
    }
}

fn repair(name: &Name, last: Last, primary: &Snapshot, node: &Snapshot) -> Option<Change> {
    match name {
        Name::Setting(name) => {
            let (wanted, found) = (primary.settings.get(name)?, node.settings.get(name)?);
            (wanted != found).then(|| Change::to_set(name, wanted))
        }
        Name::User(name) => {
            let (ours, theirs) = (primary.users.as_ref()?.get(name), node.users.as_ref()?.get(name));
            match (ours, theirs) {
                (Some(wanted), Some(found)) if is_same_user(wanted, found) => None,
                (Some(wanted), _) => Some(Change::to_give(name, wanted)),
                (None, Some(_)) if last.deleted => Some(Change::to_delete(name)),
                (None, _) => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(timeout: &str, users: &[(&str, &str)]) -> Snapshot {
        let rules = |text: &str| text.split(' ').map(str::to_owned).collect();
        Snapshot {
            settings: [("timeout".to_owned(), timeout.to_owned())].into(),
            users: Some(users.iter().map(|(name, text)| ((*name).to_owned(), rules(text))).collect()),
            ..Snapshot::default()
        }
    }

    fn said(changes: &[Change]) -> Vec<String> {
        let line = |change: &Change| {
            let words: Vec<_> = change.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            words.join(" ")
        };
        changes.iter().map(line).collect()
    }

    #[test]
    fn a_node_is_brought_what_clients_changed_and_nothing_else() {
        let mut ledger = Ledger::default();
        let (primary, node) =
            (snapshot("5", &[("app", "on #1"), ("b", "on")]), snapshot("0", &[("old", "on")]));
        assert!(ledger.repairs(0, &primary, &node).is_empty());
        for change in [Change::to_set("timeout", "5"), Change::to_give("app", &[]), Change::to_delete("old")]
        {
            ledger.note(&change);
        }
        let expected = ["CONFIG SET timeout 5", "ACL SETUSER app reset on #1", "ACL DELUSER old"];
        assert_eq!(said(&ledger.repairs(0, &primary, &node)), expected);
        assert_eq!(said(&ledger.repairs(2, &primary, &node)), ["ACL DELUSER old"]);
        assert_eq!(ledger.settings(), ["timeout"]);
        assert!(ledger.repairs(0, &primary, &primary).is_empty());
    }

    #[test]
    fn what_the_primary_lost_is_taken_from_nobody() {
        let mut ledger = Ledger::default();
        ledger.note(&Change::to_give("app", &[]));
        assert!(ledger.repairs(0, &snapshot("0", &[]), &snapshot("0", &[("app", "on")])).is_empty());
    }

    #[test]
    fn the_names_are_bounded_and_the_oldest_goes() {
        let mut ledger = Ledger::default();
        for n in 0..NAMES_MAX + 2 {
            ledger.note(&Change::to_set(&format!("name-{n}"), "x"));
        }
        assert_eq!(ledger.names.len(), NAMES_MAX);
        assert!(!ledger.settings().contains(&"name-1".to_owned()));
        assert!(ledger.settings().contains(&"name-2".to_owned()));
    }
}
