//! How slow nodes answer beside each other, as small numbers that the data path multiplies with what a node owes. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// PINGs whose shortest round trip stands for a node: what made the others longer passes by itself.
const KEPT: usize = 8;

/// Differences below this come from whoever else uses the machines.
const NOISE: Duration = Duration::from_millis(1);

/// Beyond this a node is as good as never taken beside a fast one.
const MOST: u64 = 1_000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Weights {
    /// The last round trips, by node.
    pings: Vec<VecDeque<Duration>>,
}

impl Weights {
    pub(super) fn new(nodes: usize) -> Self {
        Self { pings: vec![VecDeque::new(); nodes] }
    }

    /// A node answered PING after `took`.
    pub(super) fn note(&mut self, node: usize, took: Duration) {
        let pings = &mut self.pings[node];
        if pings.len() == KEPT {
            pings.pop_front();
        }
        pings.push_back(took);
    }

    /// By node: how many times as long as the fastest one it takes to answer, 1 for those that do not clearly take longer.
    pub(super) fn list(&self) -> impl Iterator<Item = u64> + '_ {
        let shortest = |pings: &VecDeque<Duration>| pings.iter().min().copied();
        let fastest = self.pings.iter().filter_map(shortest).min().unwrap_or_default();
        let unit = (fastest + NOISE).as_micros();
        let times = move |took: Duration| u64::try_from(took.as_micros() / unit).unwrap_or(MOST);
        self.pings.iter().map(move |pings| shortest(pings).map_or(1, times).clamp(1, MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(pings: &[&[u64]]) -> Vec<u64> {
        let mut weights = Weights::new(pings.len());
        for (node, pings) in pings.iter().enumerate() {
            pings.iter().for_each(|micros| weights.note(node, Duration::from_micros(*micros)));
        }
        weights.list().collect()
    }

    #[test]
    fn only_who_is_clearly_slower_weighs_more() {
        assert_eq!(weights(&[&[], &[]]), [1, 1], "nothing is known");
        assert_eq!(weights(&[&[100], &[900], &[1_900]]), [1, 1, 1], "that may be chance");
        assert_eq!(weights(&[&[100], &[40_000], &[3_000]]), [1, 36, 2]);
        assert_eq!(weights(&[&[30_000], &[40_000], &[]]), [1, 1, 1], "all are far");
        assert_eq!(weights(&[&[100], &[10_000_000]]), [1, MOST]);
    }

    #[test]
    fn the_shortest_of_the_last_few_counts() {
        assert_eq!(weights(&[&[100], &[300, 50_000, 50_000, 50_000]]), [1, 1], "a hiccup");
        let slow = [50_000; KEPT];
        assert_eq!(weights(&[&[100], &[&[300], &slow[..]].concat()]), [1, 45], "and now for good");
    }
}
