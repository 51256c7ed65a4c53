//! Which nodes have been given the proxy's own users. Decides, never acts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::topology::NodeId;

use super::change::Change;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Introductions {
    changes: Vec<Arc<Change>>,
    /// By node, the process that was told.
    told: BTreeMap<NodeId, String>,
}

impl Introductions {
    /// By these requests.
    pub(super) fn new(requests: &[Vec<Vec<u8>>]) -> Self {
        let changes = requests.iter().map(|words| Arc::new(Change::to_introduce(words.clone()))).collect();
        Self { changes, told: BTreeMap::new() }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Change>> {
        self.changes.clone()
    }

    /// `node` answers as the process `run_id`: what it is to be told, once.
    pub(super) fn due(&mut self, node: NodeId, run_id: &str) -> Vec<Arc<Change>> {
        if self.changes.is_empty() || self.told.get(&node).is_some_and(|told| told == run_id) {
            return Vec::new();
        }
        self.told.insert(node, run_id.to_owned());
        self.changes.clone()
    }

    /// Another node has this id.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.told.remove(&node);
    }

    /// Whether `node` has it is not known. True when it is one of these, which are then to be said again.
    pub(super) fn missed(&mut self, node: NodeId, change: &Arc<Change>) -> bool {
        let own = self.changes.iter().any(|it| Arc::ptr_eq(it, change));
        if own {
            self.told.remove(&node);
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_told_once_and_again_when_it_may_have_missed_it() {
        let words = ["ACL", "SETUSER", "app", "#secret"].map(|word| word.as_bytes().to_vec());
        let mut introductions = Introductions::new(&[words.to_vec()]);
        let (a, b) = (NodeId(0), NodeId(1));
        let first = introductions.due(a, "one");
        assert_eq!(format!("{first:?}"), "[Change(ACL SETUSER app)]");
        assert!(introductions.due(a, "one").is_empty());
        assert_eq!((introductions.due(b, "one").len(), introductions.due(a, "two").len()), (1, 1));
        assert!(introductions.missed(a, &first[0]));
        assert_eq!((introductions.due(a, "two").len(), introductions.due(b, "one").len()), (1, 0));
        let other = Arc::new(Change::to_set("timeout", "0"));
        assert!(!introductions.missed(a, &other) && introductions.due(a, "two").is_empty());
        assert!(Introductions::new(&[]).due(a, "one").is_empty());
    }
}
