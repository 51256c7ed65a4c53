//! Which scripts each node has, as far as this proxy brought or saw them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::topology::NodeId;

use super::scripts::{Digest, Script, Scripts, digest_of};

/// Bytes of scripts that a node is given in one go: it serves nobody while it compiles them.
const BATCH: usize = 256 << 10;

/// A node that is about to lead is given so much at most; the last used scripts first.
const TO_LEAD_MAX: usize = 256 << 10;

/// One process of a node.
#[derive(Debug, Default)]
struct Shelf {
    run_id: String,
    has: BTreeSet<Digest>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shelves {
    scripts: Scripts,
    nodes: BTreeMap<NodeId, Shelf>,
}

impl Shelves {
    /// With scripts of so many bytes at most.
    pub(super) fn new(limit: u64) -> Self {
        Self { scripts: Scripts::new(limit), nodes: BTreeMap::new() }
    }

    fn of(&mut self, node: NodeId) -> &mut Shelf {
        self.nodes.entry(node).or_default()
    }

    /// The node is this process; true when it was another one, which had what this one lacks.
    pub(super) fn look(&mut self, node: NodeId, run_id: &str) -> bool {
        let shelf = self.of(node);
        let restarted = shelf.run_id != run_id;
        if restarted {
            *shelf = Shelf { run_id: run_id.to_owned(), has: BTreeSet::new() };
        }
        restarted
    }

    /// EVAL said a body; true when nodes are to be brought it.
    pub(super) fn seen(&mut self, body: &Arc<[u8]>) -> bool {
        self.scripts.seen(digest_of(body), body)
    }

    /// A node has accepted SCRIPT LOAD; the others are told the same.
    pub(super) fn loaded(&mut self, by: NodeId, body: &[u8]) {
        let digest = digest_of(body);
        self.scripts.loaded(digest, body.into());
        self.brought(by, digest);
    }

    /// A node has it.
    pub(super) fn brought(&mut self, node: NodeId, digest: Digest) {
        self.of(node).has.insert(digest);
    }

    /// Whether a node has these is not known.
    pub(super) fn lost(&mut self, node: NodeId, scripts: &[Script]) {
        let has = &mut self.of(node).has;
        has.retain(|digest| !scripts.iter().any(|(lost, _)| lost == digest));
    }

    /// A client asked a node for it in vain; true when nodes are to be brought it.
    pub(super) fn missed(&mut self, node: NodeId, digest: Digest) -> bool {
        self.of(node).has.remove(&digest);
        self.scripts.asked(digest)
    }

    /// All nodes forget everything.
    pub(super) fn flush(&mut self) {
        self.scripts.flush();
        self.nodes.values_mut().for_each(|shelf| shelf.has.clear());
    }

    /// What every node should have and this one lacks, in goes; it counts as brought.
    pub(super) fn due(&mut self, node: NodeId) -> Vec<Vec<Script>> {
        let missing = self.missing(node, false);
        self.bring(node, missing)
    }

    /// What a node lacks that is about to lead, as far as there is time for it; it counts as brought.
    pub(super) fn due_to_lead(&mut self, node: NodeId) -> Vec<Vec<Script>> {
        let mut missing = self.missing(node, true);
        let mut bytes = 0;
        missing.retain(|(_, body)| {
            bytes += body.len();
            bytes <= TO_LEAD_MAX
        });
        self.bring(node, missing)
    }

    fn missing(&mut self, node: NodeId, used: bool) -> Vec<Script> {
        self.scripts.missing(&self.nodes.entry(node).or_default().has, used)
    }

    fn bring(&mut self, node: NodeId, scripts: Vec<Script>) -> Vec<Vec<Script>> {
        let has = &mut self.of(node).has;
        has.extend(scripts.iter().map(|(digest, _)| *digest));
        // What was forgotten here need not be known of any node.
        if has.len() > HAS_MAX {
            has.clear();
        }
        let (mut goes, mut bytes): (Vec<Vec<Script>>, usize) = (Vec::new(), 0);
        for script in scripts {
            bytes += script.1.len();
            match goes.last_mut().filter(|_| bytes <= BATCH) {
                Some(go) => go.push(script),
                None => {
                    bytes = script.1.len();
                    goes.push(vec![script]);
                }
            }
        }
        goes
    }
}

/// Scripts that are known of one node; beyond them all are brought once more.
const HAS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn shelves() -> Shelves {
        let mut shelves = Shelves::new(16 << 20);
        assert!(shelves.look(A, "a") && shelves.look(B, "b") && !shelves.look(A, "a"));
        shelves
    }

    fn counts(goes: &[Vec<Script>]) -> Vec<usize> {
        goes.iter().map(Vec::len).collect()
    }

    #[test]
    fn each_process_is_brought_once_what_it_lacks() {
        let mut shelves = shelves();
        shelves.loaded(A, b"return 1");
        assert!(!shelves.seen(&b"return 2".as_slice().into()));
        assert_eq!((counts(&shelves.due(A)), counts(&shelves.due(B))), (vec![], vec![1]));
        assert!(shelves.due(B).is_empty());
        assert_eq!(counts(&shelves.due_to_lead(B)), [1], "what only EVAL said");
        assert!(shelves.due_to_lead(B).is_empty());
        assert!(shelves.look(B, "b again"));
        assert_eq!(counts(&shelves.due_to_lead(B)), [2]);
        let digest = digest_of(b"return 1");
        assert!(shelves.missed(B, digest), "somebody flushed it there");
        let goes = shelves.due(B);
        assert_eq!(counts(&goes), [1]);
        shelves.lost(B, &goes[0]);
        assert_eq!(counts(&shelves.due(B)), [1]);
        shelves.flush();
        assert!(shelves.due_to_lead(B).is_empty());
    }

    #[test]
    fn a_node_is_not_kept_busy_for_long() {
        let mut shelves = shelves();
        for n in 0..8_u8 {
            shelves.loaded(A, &vec![n; 100 << 10]);
        }
        assert_eq!(counts(&shelves.due_to_lead(B)), [2]);
        assert_eq!(counts(&shelves.due(B)), [2, 2, 2]);
        shelves.loaded(A, &vec![9; BATCH + 1]);
        assert_eq!(counts(&shelves.due(B)), [1]);
    }
}
