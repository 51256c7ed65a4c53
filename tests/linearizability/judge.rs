//! Whether a history of reads and writes is linearizable, in little more than the time that sorting takes.
//!
//! Keys are independent, and values are unique, so that it is known which write each read read. All operations on one value form a
//! cluster, and a linearization can keep each cluster together. A cluster's zone lies between the earliest return and the latest call
//! in it; a write of which nobody knows returns at the end of time. A zone is *forward* when the earliest return comes first: the
//! value has to be the current one all through it. It is *backward* when all operations were under way at once: one instant of it is
//! enough. A history is linearizable if and only if no read returned before its write was called, no two forward zones overlap, and
//! no backward zone lies within a forward one (Gibbons and Korach, Testing Shared Memories, SIAM Journal on Computing 26(4), 1997).

use std::collections::BTreeMap;

use crate::history::{Kind, Operation};

/// Why no single register could have given a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A value was read that nobody wrote, or that was refused.
    Unwritten { key: usize, value: u64 },
    /// A value was read before it was written.
    Early { key: usize, value: Option<u64> },
    /// Each was read or written after the other had been.
    Interleaved { key: usize, values: [Option<u64>; 2] },
}

/// All operations on one value; `None` is the value of a key that is not there.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    value: Option<u64>,
    written: bool,
    write_called: u64,
    earliest_return: u64,
    latest_call: u64,
}

impl Cluster {
    /// The value that was there before everything.
    const NOTHING: Self = Self { value: None, written: true, earliest_return: 0, ..Self::new(None) };

    const fn new(value: Option<u64>) -> Self {
        Self { value, written: false, write_called: 0, earliest_return: u64::MAX, latest_call: 0 }
    }

    fn add(&mut self, operation: &Operation) {
        if let Kind::Write(_) = operation.kind {
            (self.written, self.write_called) = (true, operation.called);
        }
        self.earliest_return = self.earliest_return.min(operation.returned.unwrap_or(u64::MAX));
        self.latest_call = self.latest_call.max(operation.called);
    }

    fn is_forward(&self) -> bool {
        self.earliest_return < self.latest_call
    }
}

pub fn judge(history: &[Operation]) -> Result<(), Violation> {
    let mut keys: BTreeMap<usize, BTreeMap<Option<u64>, Cluster>> = BTreeMap::new();
    for operation in history {
        let value = match operation.kind {
            Kind::Write(value) => Some(value),
            Kind::Read(value) => value,
        };
        let clusters =
            keys.entry(operation.key).or_insert_with(|| BTreeMap::from([(None, Cluster::NOTHING)]));
        clusters.entry(value).or_insert(Cluster::new(value)).add(operation);
    }
    keys.into_iter().try_for_each(|(key, clusters)| judge_key(key, clusters.into_values().collect()))
}

fn judge_key(key: usize, clusters: Vec<Cluster>) -> Result<(), Violation> {
    for cluster in &clusters {
        if let (false, Some(value)) = (cluster.written, cluster.value) {
            return Err(Violation::Unwritten { key, value });
        }
        if cluster.earliest_return < cluster.write_called {
            return Err(Violation::Early { key, value: cluster.value });
        }
    }
    let (mut forward, backward): (Vec<_>, Vec<_>) = clusters.into_iter().partition(Cluster::is_forward);
    forward.sort_by_key(|cluster| cluster.earliest_return);
    let interleaved =
        |one: &Cluster, other: &Cluster| Violation::Interleaved { key, values: [one.value, other.value] };
    if let Some(two) = forward.windows(2).find(|two| two[1].earliest_return < two[0].latest_call) {
        return Err(interleaved(&two[0], &two[1]));
    }
    for within in &backward {
        let before = forward.partition_point(|cluster| cluster.earliest_return < within.latest_call);
        if let Some(around) = before.checked_sub(1).map(|index| &forward[index])
            && within.earliest_return < around.latest_call
        {
            return Err(interleaved(around, within));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line: `w 1 10-20` writes 1 from 10 to 20, `r 1 …` reads 1, `r - …` finds nothing; `10-` never returned.
    fn history(lines: &[&str]) -> Vec<Operation> {
        let parse = |line: &&str| {
            let mut words = line.split(' ');
            let mut word = || words.next().expect("three words");
            let (kind, value, span) = (word(), word().parse().ok(), word());
            let (called, returned) = span.split_once('-').expect("from-to");
            let kind = if kind == "w" { Kind::Write(value.expect("a value")) } else { Kind::Read(value) };
            Operation {
                key: 0,
                kind,
                called: called.parse().expect("a number"),
                returned: returned.parse().ok(),
            }
        };
        lines.iter().map(parse).collect()
    }

    #[test]
    fn what_a_register_could_have_given_is_accepted() {
        for lines in [
            &["r - 1-2", "w 1 3-4", "r 1 5-6"][..],
            // Both orders of two writes at once.
            &["w 1 1-10", "w 2 1-10", "r 1 11-12"],
            &["w 1 1-10", "w 2 1-10", "r 2 11-12"],
            // Seen while it is under way.
            &["w 1 1-100", "r 1 5-6", "r 1 7-8"],
            // Nobody knows, and it shows late, or never.
            &["w 1 1-2", "w 2 3-", "r 1 4-5", "r 2 6-7", "r 2 8-9"],
            &["w 1 1-2", "w 2 3-", "r 1 4-5", "w 3 6-7", "r 3 8-9"],
        ] {
            assert_eq!(judge(&history(lines)), Ok(()), "{lines:?}");
        }
    }

    #[test]
    fn what_no_register_gives_is_named() {
        let interleaved = |one, other| Violation::Interleaved { key: 0, values: [one, other] };
        for (lines, violation) in [
            // Stale, after a whole write.
            (&["w 1 1-2", "w 2 3-4", "r 1 5-6"][..], interleaved(Some(1), Some(2))),
            (&["w 1 1-2", "r - 3-4"], interleaved(None, Some(1))),
            // Back and forth.
            (&["w 1 1-10", "w 2 1-10", "r 1 11-12", "r 2 13-14", "r 1 15-16"], interleaved(Some(1), Some(2))),
            // Seen, then gone: what a failover does to what was not yet held by enough.
            (&["w 1 1-2", "w 2 3-", "r 2 4-5", "r 1 6-7"], interleaved(Some(1), Some(2))),
            (&["r 1 1-2", "w 1 3-4"], Violation::Early { key: 0, value: Some(1) }),
            (&["w 1 1-2", "r 9 3-4"], Violation::Unwritten { key: 0, value: 9 }),
        ] {
            assert_eq!(judge(&history(lines)), Err(violation), "{lines:?}");
        }
    }

    #[test]
    fn keys_do_not_disturb_each_other() {
        let mut one = history(&["w 1 1-2", "w 2 3-4"]);
        one.extend(history(&["r - 5-6"]).into_iter().map(|operation| Operation { key: 1, ..operation }));
        assert_eq!(judge(&one), Ok(()));
    }
}
