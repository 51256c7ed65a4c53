//! Which nodes have been given the proxy's own users. Decides, never acts.

use std::sync::Arc;

use crate::topology::NodeId;

use super::change::Change;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Introductions {
    changes: Vec<Arc<Change>>,
    /// By node, the process that was told.
    told: Vec<Option<String>>,
}

impl Introductions {
    /// By these requests, for so many nodes.
    pub(super) fn new(requests: &[Vec<Vec<u8>>], nodes: usize) -> Self {
        let changes = requests.iter().map(|words| Arc::new(Change::to_introduce(words.clone()))).collect();
        Self { changes, told: vec![None; nodes] }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Change>> {
        self.changes.clone()
    }

    /// `node` answers as the process `run_id`: what it is to be told, once.
    pub(super) fn due(&mut self, node: NodeId, run_id: &str) -> Vec<Arc<Change>> {
        let Some(told) = self.told.get_mut(node.index()) else { return Vec::new() };
        if self.changes.is_empty() || told.as_deref() == Some(run_id) {
            return Vec::new();
        }
        *told = Some(run_id.to_owned());
        self.changes.clone()
    }

    /// Whether `node` has it is not known. True when it is one of these, which are then to be said again.
    pub(super) fn missed(&mut self, node: NodeId, change: &Arc<Change>) -> bool {
        let own = self.changes.iter().any(|it| Arc::ptr_eq(it, change));
        if own && let Some(told) = self.told.get_mut(node.index()) {
            *told = None;
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
        let mut introductions = Introductions::new(&[words.to_vec()], 2);
        let (a, b) = (NodeId(0), NodeId(1));
        let first = introductions.due(a, "one");
        assert_eq!(format!("{first:?}"), "[Change(ACL SETUSER app)]");
        assert!(introductions.due(a, "one").is_empty());
        assert_eq!((introductions.due(b, "one").len(), introductions.due(a, "two").len()), (1, 1));
        assert!(introductions.missed(a, &first[0]));
        assert_eq!((introductions.due(a, "two").len(), introductions.due(b, "one").len()), (1, 0));
        let other = Arc::new(Change::to_set("timeout", "0"));
        assert!(!introductions.missed(a, &other) && introductions.due(a, "two").is_empty());
        assert!(Introductions::new(&[], 2).due(a, "one").is_empty());
    }
}
