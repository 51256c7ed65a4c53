//! How slow nodes answer beside each other, as small numbers that the data path multiplies with what a node owes. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::topology::NodeId;

/// PINGs whose shortest round trip stands for a node: what made the others longer passes by itself.
const KEPT: usize = 8;

/// Differences below this come from whoever else uses the machines.
const NOISE: Duration = Duration::from_millis(1);

/// Beyond this a node is as good as never taken beside a fast one.
const MOST: u64 = 1_000;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// The last round trips, by node.
    pings: BTreeMap<NodeId, VecDeque<Duration>>,
}

impl Weights {
    /// A node answered PING after `took`.
    pub(super) fn note(&mut self, node: NodeId, took: Duration) {
        let pings = self.pings.entry(node).or_default();
        if pings.len() == KEPT {
            pings.pop_front();
        }
        pings.push_back(took);
    }

    /// A node has gone.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.pings.remove(&node);
    }

    /// How many times as long as the fastest one each node that was noted takes to answer, 1 for those that do not clearly take longer.
    pub(super) fn list(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let shortest = |pings: &VecDeque<Duration>| pings.iter().min().copied();
        let fastest = self.pings.values().filter_map(shortest).min().unwrap_or_default();
        let unit = (fastest + NOISE).as_micros();
        let times = move |took: Duration| u64::try_from(took.as_micros() / unit).unwrap_or(MOST);
        self.pings.iter().map(move |(node, pings)| (*node, shortest(pings).map_or(1, times).clamp(1, MOST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(pings: &[&[u64]]) -> Vec<u64> {
        let mut weights = Weights::default();
        for (node, pings) in (0..).map(NodeId).zip(pings) {
            pings.iter().for_each(|micros| weights.note(node, Duration::from_micros(*micros)));
        }
        weights.list().map(|(_, weight)| weight).collect()
    }

    #[test]
    fn only_who_is_clearly_slower_weighs_more() {
        assert!(weights(&[&[], &[]]).is_empty(), "nothing is known");
        assert_eq!(weights(&[&[100], &[900], &[1_900]]), [1, 1, 1], "that may be chance");
        assert_eq!(weights(&[&[100], &[40_000], &[3_000]]), [1, 36, 2]);
        assert_eq!(weights(&[&[30_000], &[40_000], &[]]), [1, 1], "all are far");
        assert_eq!(weights(&[&[100], &[10_000_000]]), [1, MOST]);
    }

    #[test]
    fn the_shortest_of_the_last_few_counts() {
        assert_eq!(weights(&[&[100], &[300, 50_000, 50_000, 50_000]]), [1, 1], "a hiccup");
        let slow = [50_000; KEPT];
        assert_eq!(weights(&[&[100], &[&[300], &slow[..]].concat()]), [1, 45], "and now for good");
    }
}
