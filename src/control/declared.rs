//! Nodes that come to be declared, and that no longer are, while the thread runs.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::failover::Event;
use crate::topology::{Address, NODES_MAX, NodeSpec};

use super::NodeName;
use super::driver::{Driver, unseen};
use super::names::Seen;

/// Lists that wait; whoever has one waits for what comes of it.
const LISTS_MAX: usize = 4;

/// What the configuration says of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// `backend.nodes`
    pub nodes: Vec<NodeSpec>,
    /// Those of them that are names of several nodes.
    pub names: Vec<NodeName>,
}

impl Declared {
    /// All nodes: those of each name in its place, in the order of their addresses; one that was there before is not there twice.
    pub(super) fn all(&self) -> Vec<NodeSpec> {
        let mut all: Vec<NodeSpec> = Vec::new();
        for (position, spec) in self.nodes.iter().enumerate() {
            let addresses = match self.names.iter().find(|name| name.position == position) {
                Some(name) => name.addresses().collect(),
                None => vec![spec.address.clone()],
            };
            for address in addresses {
                if !all.iter().any(|node| node.address == address) {
                    all.push(NodeSpec { address, ..spec.clone() });
                }
            }
        }
        all
    }
}

/// A list, and who waits for what comes of it: what has changed, in one line, or why nothing has.
#[derive(Debug)]
pub(super) struct Declaration {
    declared: Declared,
    done: oneshot::Sender<Result<String, String>>,
}

/// Says what the nodes are from now on.
#[derive(Clone, Debug)]
pub struct Declarations(mpsc::Sender<Declaration>);

/// What reaches the thread.
pub(super) fn declarations() -> (Declarations, mpsc::Receiver<Declaration>) {
    let (sender, receiver) = mpsc::channel(LISTS_MAX);
    (Declarations(sender), receiver)
}

impl Declarations {
    /// Has these be the nodes, with the names of several among them looked up. Blocks, for as long as a name is looked up.
    ///
    /// # Errors
    /// Why not, in one sentence; nothing has changed then.
    pub fn declare(&self, declared: Declared) -> Result<String, String> {
        let (done, ended) = oneshot::channel();
        let sent = self.0.blocking_send(Declaration { declared, done });
        let ended = sent.ok().and_then(|()| ended.blocking_recv().ok());
        ended.unwrap_or_else(|| Err("the control thread has ended".to_owned()))
    }
}

impl Driver {
    pub(super) fn redeclare(&mut self, declaration: Declaration) {
        let Declaration { mut declared, done } = declaration;
        let present = self.ends.declared.borrow().clone();
        let mut told = Vec::new();
        for name in &mut declared.names {
            if let Some(before) = present.names.iter().find(|before| before.address == name.address) {
                told.extend(name.follow_on(before, |address| self.needs(address)));
            }
        }
        let said = self.declare(&declared.all());
        if said.is_ok() {
            self.ends.declared.send_replace(declared.into());
            self.show_names(told);
        }
        // Whoever asked may have left.
        let _ = done.send(said);
    }

    /// Names were looked up again.
    pub(super) fn hear_names(&mut self, seen: &Seen) {
        let mut declared = Declared::clone(&self.ends.declared.borrow());
        let mut told = Vec::new();
        for name in &mut declared.names {
            // By name: the list may be another one since.
            let seen = seen.iter().find(|(address, _)| *address == name.address);
            let seen = seen.into_iter();
            told.extend(seen.flat_map(|(_, seen)| name.follow(seen, |address| self.needs(address))));
        }
        match self.declare(&declared.all()) {
            Ok(_) => drop(self.ends.declared.send_replace(declared.into())),
            Err(why) => told.push(format!("what names have come to stand for is not taken up yet: {why}")),
        }
        self.show_names(told);
    }

    /// Why a node stays one although its name does not stand for it any more.
    fn needs(&self, address: &Address) -> Option<&'static str> {
        let known = self.nodes.iter().find(|known| known.address == *address)?;
        match self.verdict.as_ref().and_then(|verdict| verdict.primary) {
            None => Some("may have to lead"),
            Some(primary) if primary == known.id => Some("leads"),
            Some(_) => self.lives(known.id).then_some("answers"),
        }
    }

    fn show_names(&mut self, told: Vec<String>) {
        if *self.moved != *told {
            told.iter().filter(|it| !self.moved.contains(it)).for_each(|sentence| warn!("{sentence}"));
            self.moved = told.into();
            self.status_due = true;
        }
    }

    /// These are the nodes from now on.
    ///
    /// # Errors
    /// See [`Machine::may_declare`](crate::failover::Machine::may_declare).
    fn declare(&mut self, specs: &[NodeSpec]) -> Result<String, String> {
        if specs.len() > NODES_MAX {
            return Err(format!("backend.nodes stand for {} nodes, {NODES_MAX} is the most", specs.len()));
        }
        let is_new = |spec: &&NodeSpec| !self.nodes.iter().any(|known| known.address == spec.address);
        let come = specs.iter().filter(is_new).count();
        if self.nodes.len() + come > NODES_MAX {
            // Each has to have an id that is nobody's who goes.
            return Err(format!(
                "{come} nodes come while {} are there, {NODES_MAX} at once is the most: take out some first",
                self.nodes.len()
            ));
        }
        let (nodes, last) = self.watched.name(specs);
        if nodes == self.brain.nodes {
            return Ok("the same nodes".to_owned());
        }
        self.machine.may_declare(&nodes)?;
        let mut before: BTreeMap<_, _> =
            std::mem::take(&mut self.nodes).into_iter().map(|known| (known.id, known)).collect();
        let mut added = Vec::new();
        for new in unseen(&nodes) {
            let stays = before.remove(&new.id).filter(|known| known.address == new.address);
            if stays.is_none() {
                added.push(new.address.to_string());
                self.absent.insert(new.id);
                self.gone.remove(&new.id);
            }
            self.nodes.push(stays.map_or(new.clone(), |known| super::NodeFacts { zone: new.zone, ..known }));
        }
        let removed: Vec<String> = before.values().map(|known| known.address.to_string()).collect();
        for (id, known) in before {
            self.weights.forget(id);
            self.absent.remove(&id);
            self.heard_at.remove(&id);
            self.gone.insert(id, known.address);
        }
        self.watched.declare(&nodes, last);
        self.brain.nodes.clone_from(&nodes);
        self.feed(Event::Declared(nodes));
        self.status_due = true;
        let said = told(&added, &removed);
        info!("backend.nodes: {said}");
        Ok(said)
    }
}

fn told(added: &[String], removed: &[String]) -> String {
    let list =
        |what: &str, nodes: &[String]| (!nodes.is_empty()).then(|| format!("{what} {}", nodes.join(", ")));
    let said: Vec<String> = list("added", added).into_iter().chain(list("removed", removed)).collect();
    if said.is_empty() { "zones, priorities or peer addresses".to_owned() } else { said.join("; ") }
}
