//! Who has what every node has to have. Decides, never acts; `now` and what nodes said come as arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::topology::NodeId;

use super::change::{Change, Name};
use super::compare::{Difference, compare, evicts_unseen, lacks};
use super::courier::End;
use super::ledger::Ledger;
use super::report::{NodeParity, ParityReport};
use super::snapshot::Snapshot;

/// Between two comparisons when nothing happens.
const MINUTE: Duration = Duration::from_secs(60);

/// After a change, and after a repair, nodes are compared so soon; many changes in a row are compared once.
const SETTLE: Duration = Duration::from_millis(200);

/// A difference is told when it is still there so much later: what is replicated, or on its way, is none.
const CONFIRM: Duration = Duration::from_secs(1);

/// A node that does not take a repair is given it so often in a row, and then once a minute.
const REPAIRS_MAX: u32 = 3;

/// Refusals that are told of one node; the oldest go.
const REFUSALS_MAX: usize = 8;

/// What a node that takes no scripts refuses.
const LOADS: &str = "SCRIPT LOAD";

/// A change that a node refused.
#[derive(Debug)]
struct Refusal {
    told: String,
    words: String,
    /// What was to be changed; none: what is never compared.
    names: Vec<Name>,
}

impl Refusal {
    /// Whether nodes that agree in all that these names stand for, as far as they tell, show that it is settled.
    fn is_settled(&self, primary: &Snapshot, node: &Snapshot) -> bool {
        !self.names.is_empty() && self.names.iter().all(|name| primary.tells(name) && node.tells(name))
    }
}

/// What is known of one node.
#[derive(Debug, Default)]
struct Node {
    name: String,
    up: bool,
    run_id: Option<String>,
    refused: Vec<Refusal>,
    /// Why it may lack something; the first reason.
    behind: Option<String>,
    /// Changes up to this number were compared with the primary's.
    checked: u64,
    repairs: u32,
    /// What was found twice; `None`: never compared, or it went away since.
    differences: Option<Vec<Difference>>,
    /// What was found once.
    suspected: Vec<Difference>,
    /// What makes it a bad primary.
    lacks: Option<String>,
}

/// One comparison: whom to ask, and for which settings beside the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) primary: NodeId,
    pub(super) asked: Vec<NodeId>,
    pub(super) settings: Vec<String>,
    /// Number of the last change before it.
    number: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Keeper {
    nodes: BTreeMap<NodeId, Node>,
    ledger: Ledger,
    primary: Option<NodeId>,
    due: Instant,
    /// Reads go to replicas.
    spreads_reads: bool,
    advice: Vec<String>,
}

impl Keeper {
    /// For nodes that come to be [declared](Self::declare).
    pub(super) fn new(spreads_reads: bool, now: Instant) -> Self {
        Self {
            nodes: BTreeMap::new(),
            ledger: Ledger::default(),
            primary: None,
            due: now,
            spreads_reads,
            advice: vec![],
        }
    }

    /// These are the nodes from now on, with their names; what is known of those that stay stays known.
    pub(super) fn declare(&mut self, nodes: impl Iterator<Item = (NodeId, String)>) {
        let mut before = std::mem::take(&mut self.nodes);
        let known = |(id, name): (NodeId, String)| {
            let stays = before.remove(&id).filter(|node| node.name == name);
            (id, stays.unwrap_or(Node { name, ..Node::default() }))
        };
        self.nodes = nodes.map(known).collect();
    }

    /// Takes what is known of the group: who leads, and by node whether it answers and as which process.
    pub(super) fn look<'a>(
        &mut self,
        primary: Option<NodeId>,
        seen: impl Iterator<Item = (NodeId, bool, Option<&'a str>)>,
        now: Instant,
    ) {
        let mut soon = primary != self.primary;
        for (id, up, run_id) in seen {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            soon |= up && !node.up;
            if node.up && !up {
                (node.differences, node.suspected, node.lacks) = (None, Vec::new(), None);
            }
            node.up = up;
            if run_id.is_some() && node.run_id.as_deref() != run_id {
                if node.run_id.is_some() {
                    node.refused.clear();
                    node.miss("what was changed before it was started again");
                    soon = true;
                }
                node.run_id = run_id.map(str::to_owned);
            }
        }
        self.primary = primary;
        // Whoever leads is what the others are compared with.
        if let Some(node) = primary.and_then(|id| self.nodes.get_mut(&id)) {
            node.behind = None;
        }
        if soon {
            self.due = self.due.min(now);
        }
    }

    /// `by` accepted a change from a client: who is to be told.
    pub(super) fn accepted(&mut self, by: NodeId, change: &Change, now: Instant) -> Vec<NodeId> {
        // Scripts are not compared: an application that loads its own with each connection hastens nothing.
        if change.scripting.is_none() {
            self.ledger.note(change);
            self.due = self.due.min(now + SETTLE);
        }
        self.nodes.keys().copied().filter(|node| *node != by).collect()
    }

    /// An errand ended.
    pub(super) fn ended(&mut self, node: NodeId, change: &Arc<Change>, end: &End) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        if *end == End::Missed {
            return node.miss(&change.told);
        }
        // What it refused before it has now.
        node.refused.retain(|refusal| refusal.told != change.told);
        if let End::Refused(words) = end {
            node.refused.truncate(REFUSALS_MAX - 1);
            let (told, words) = (change.told.clone(), harmless(words));
            node.refused.insert(0, Refusal { told, words, names: change.names.clone() });
        }
    }

    /// A node has scripts, or refused them.
    pub(super) fn scripts_ended(&mut self, node: NodeId, end: &End) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        match end {
            End::Done => node.refused.retain(|refusal| refusal.told != LOADS),
            End::Refused(words) => {
                node.refused.retain(|refusal| refusal.told != LOADS);
                let (told, words) = (LOADS.to_owned(), harmless(words));
                node.refused.insert(0, Refusal { told, words, names: Vec::new() });
            }
            // They are said again.
            End::Missed => {}
        }
    }

    /// Everybody but `by` may have missed something.
    pub(super) fn missed(&mut self, by: Option<NodeId>, what: &str, now: Instant) {
        for (_, node) in self.nodes.iter_mut().filter(|(id, _)| Some(**id) != by) {
            node.miss(what);
        }
        self.due = self.due.min(now + SETTLE);
    }

    /// When the next comparison is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Somebody wants to know now.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.due = now;
    }

    /// Something is to be said again soon.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.due = self.due.min(now + CONFIRM);
    }

    /// A comparison begins, if there is anybody to compare with.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Round> {
        let primary = self.primary.filter(|id| self.nodes.get(id).is_some_and(|node| node.up));
        self.due = now + if primary.is_some() { MINUTE } else { CONFIRM };
        let asked = self.nodes.iter().filter(|(_, node)| node.up).map(|(id, _)| *id).collect();
        let (settings, number) = (self.ledger.settings(), self.ledger.changes());
        Some(Round { primary: primary?, asked, settings, number })
    }

    /// A comparison ended: what is to be said to whom. `except`: settings that the proxy itself has changed on nodes.
    pub(super) fn compared(
        &mut self,
        round: &Round,
        found: &BTreeMap<NodeId, Snapshot>,
        except: &[String],
        now: Instant,
    ) -> Vec<(NodeId, Change)> {
        let reference = found.get(&round.primary).filter(|_| self.primary == Some(round.primary));
        let Some(reference) = reference.filter(|_| round.number == self.ledger.changes()) else {
            // What was read is older than what clients changed meanwhile.
            self.due = self.due.min(now + SETTLE);
            return Vec::new();
        };
        // Who is told to follow another one closes its connections, the one that asks among them.
        if found.len() < round.asked.len() {
            self.due = self.due.min(now + CONFIRM);
        }
        self.advise(reference);
        let mut repairs = Vec::new();
        let leads = self.nodes.get(&round.primary).map_or_else(String::new, |node| node.name.clone());
        for (id, snapshot) in found {
            let Some(node) = self.nodes.get_mut(id).filter(|node| node.up) else { continue };
            if *id == round.primary {
                node.differences = Some(Vec::new());
                (node.lacks, node.suspected) = (None, Vec::new());
                node.refused.retain(|refusal| refusal.names.is_empty());
                continue;
            }
            let after = if node.behind.is_some() { 0 } else { node.checked };
            let due = self.ledger.repairs(after, reference, snapshot);
            if due.is_empty() {
                node.behind = None;
                (node.checked, node.repairs) = (round.number, 0);
                if self.ledger.repairs(0, reference, snapshot).is_empty() {
                    node.refused.retain(|refusal| !refusal.is_settled(reference, snapshot));
                }
            } else {
                node.repairs += 1;
                if node.repairs <= REPAIRS_MAX {
                    self.due = self.due.min(now + SETTLE);
                }
                repairs.extend(due.into_iter().map(|change| (*id, change)));
            }
            node.lacks = lacks(reference, snapshot);
            let differ = compare((&leads, reference), (&node.name, snapshot), except);
            if node.note(differ) {
                self.due = self.due.min(now + CONFIRM);
            }
        }
        repairs
    }

    fn advise(&mut self, reference: &Snapshot) {
        let replicas = self.nodes.len() > 1 && self.spreads_reads;
        let found = evicts_unseen(reference).filter(|_| replicas);
        self.advice = found.iter().map(Difference::sentence).collect();
    }

    /// What people are shown.
    pub(super) fn report(&self) -> ParityReport {
        let of = |node: &Node| {
            let refused = node.refused.iter().map(|it| format!("refused {}: {}", it.told, it.words));
            let differences = node.differences.iter().flatten().map(Difference::sentence);
            let behind = node.behind.iter().map(|what| format!("missed {what}"));
            let faults: Vec<String> = refused.chain(behind).chain(differences).collect();
            let known = node.up && (node.differences.is_some() || !faults.is_empty());
            NodeParity { in_parity: known.then_some(faults.is_empty()), faults, lacks: node.lacks.clone() }
        };
        let nodes = self.nodes.iter().map(|(id, node)| (*id, of(node))).collect();
        ParityReport { nodes, advice: self.advice.clone() }
    }
}

impl Node {
    fn miss(&mut self, what: &str) {
        self.behind.get_or_insert_with(|| what.to_owned());
        self.repairs = 0;
    }

    /// Keeps what was found; true when some of it has to be seen once more.
    fn note(&mut self, differ: Vec<Difference>) -> bool {
        let known = self.differences.take().unwrap_or_default();
        let (told, new): (Vec<_>, Vec<_>) =
            differ.into_iter().partition(|it| known.contains(it) || self.suspected.contains(it));
        self.differences = Some(told);
        self.suspected = new;
        !self.suspected.is_empty()
    }
}

/// A server repeats the word that it does not understand, which may be a password: what it quotes is left out.
fn harmless(words: &str) -> String {
    match words.split_once('\'') {
        Some((before, rest)) => {
            let after = rest.rsplit_once('\'').map_or("", |(_, after)| after);
            format!("{before}'…'{after}")
        }
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests;
