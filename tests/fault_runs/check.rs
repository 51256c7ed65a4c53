//! What a node holds of a load, beside what its clients were told. Read from the node directly.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::{Outcome, Verdict};
use crate::support::{Client, Value};

/// Keys that are asked for at once.
const PAGE: usize = 500;

/// What a node holds, by connection: the numbers of its SETs, and of its RPUSHes in their order.
#[derive(Clone, Debug, Default)]
pub struct Held {
    sets: Vec<Vec<usize>>,
    lists: Vec<Vec<usize>>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledged, and not there.
    pub lost: u64,
    /// Refused, and there.
    pub phantom: u64,
    /// There twice.
    pub duplicate: u64,
    /// There after what was sent later.
    pub disordered: u64,
}

impl Held {
    pub fn read(client: &mut Client, run: u32, outcome: &Outcome) -> Self {
        let mut held = Self::default();
        for (number, requests) in outcome.requests.iter().enumerate() {
            let numbers: Vec<usize> = (0..requests.len()).step_by(2).collect();
            let mut sets = Vec::new();
            for page in numbers.chunks(PAGE) {
                let mut words = vec!["MGET".to_owned()];
                words.extend(page.iter().map(|n| format!("{run}:set:{number}:{n}")));
                let found = client.cmd(&words);
                let there =
                    page.iter().zip(found.items()).filter(|(n, value)| **value == Value::bulk(n.to_string()));
                sets.extend(there.map(|(n, _)| *n));
            }
            let list = client.call(&format!("LRANGE {run}:list:{number} 0 -1"));
            let parse = |item: &Value| item.text().and_then(|text| text.parse().ok()).expect("a number");
            held.lists.push(list.items().iter().map(parse).collect());
            held.sets.push(sets);
        }
        held
    }

    /// What was acknowledged and is not there: connections and numbers.
    pub fn lost(&self, outcome: &Outcome) -> Vec<(usize, usize)> {
        let mut lost = Vec::new();
        for (connection, requests) in outcome.requests.iter().enumerate() {
            let there: BTreeSet<usize> =
                self.lists[connection].iter().chain(&self.sets[connection]).copied().collect();
            let acknowledged =
                requests.iter().enumerate().filter(|(_, request)| request.verdict == Verdict::Acknowledged);
            lost.extend(acknowledged.map(|(n, _)| (connection, n)).filter(|(_, n)| !there.contains(n)));
        }
        lost
    }

    pub fn judge(&self, outcome: &Outcome) -> Faults {
        let mut faults = Faults::default();
        for ((requests, sets), list) in outcome.requests.iter().zip(&self.sets).zip(&self.lists) {
            let mut times: BTreeMap<usize, u64> = BTreeMap::new();
            list.iter().chain(sets).for_each(|n| *times.entry(*n).or_default() += 1);
            faults.duplicate += times.values().map(|count| count - 1).sum::<u64>();
            faults.disordered += list.windows(2).filter(|two| two[0] > two[1]).count() as u64;
            for (n, request) in requests.iter().enumerate() {
                match request.verdict {
                    Verdict::Acknowledged => faults.lost += u64::from(!times.contains_key(&n)),
                    Verdict::Refused(_) | Verdict::Unsent => {
                        faults.phantom += u64::from(times.contains_key(&n))
                    }
                    Verdict::Ambiguous | Verdict::Dropped | Verdict::Undurable => {}
                }
            }
        }
        faults
    }

    /// With one acknowledged write gone, one there twice and one out of its order: a check that does not see it sees nothing.
    /// `None`: too little is left to take anything away.
    pub fn damaged(&self) -> Option<Self> {
        let mut damaged = self.clone();
        let list = damaged.lists.iter_mut().find(|list| list.len() > 4)?;
        list.swap(0, 1);
        list.push(list[list.len() - 1]);
        damaged.sets.iter_mut().find(|sets| !sets.is_empty())?.remove(0);
        Some(damaged)
    }
}

impl Faults {
    /// Whether `damaged` shows what was done to it.
    pub fn are_seen(&self, damaged: &Self) -> bool {
        damaged.lost == self.lost + 1
            && damaged.duplicate == self.duplicate + 1
            && damaged.disordered == self.disordered + 1
    }
}
