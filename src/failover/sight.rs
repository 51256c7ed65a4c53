//! What events say of the nodes, before any state looks at it.

use crate::topology::{Address, Health, NodeId, Observation, Role};

use super::machine::{Machine, PROBE};
use super::node::look;
use super::{Level, Phase, Signal, Step};

impl Machine {
    /// Takes a look of the monitor. A node that no configuration names is no node.
    pub(super) fn see(&mut self, seen: &Observation) {
        if !self.is_declared(seen.node) {
            return;
        }
        let node = self.node_mut(seen.node);
        // Looks at one node follow each other: only the first after a change can have been asked before it.
        if std::mem::take(&mut node.skip_look) && matches!(seen.health, Health::Answered(_)) {
            node.alive_at = node.alive_at.max(seen.at);
        } else {
            look(node, &seen.health, seen.began, seen.at);
        }
    }

    /// Takes a hint of the data path.
    pub(super) fn sense(&mut self, id: NodeId, signal: Signal) {
        if !self.is_declared(id) {
            return;
        }
        let now = self.now;
        let node = self.node_mut(id);
        match signal {
            Signal::Alive { at } => {
                if at > node.alive_at {
                    node.alive_at = at.min(now);
                    node.dead = false;
                }
            }
            Signal::LongRequest(busy) => {
                // What explained the silence has ended: the silence is counted from now, not from before it.
                if node.busy && !busy {
                    node.alive_at = node.alive_at.max(now);
                }
                node.busy = busy;
            }
            Signal::Paused(length) => {
                let until = now + length;
                node.paused_until = Some(node.paused_until.map_or(until, |before| before.max(until)));
            }
            // A server that closes an idle connection is not a failing server: ask before anyone waits.
            Signal::Lost => {
                if self.group.primary == Some(id) {
                    self.probe_all();
                } else {
                    self.ask(id, Step::Probe, PROBE);
                }
            }
            Signal::Late => self.ask(id, Step::Probe, PROBE),
            Signal::Refused(text) => {
                node.alive_at = now;
                // A script may have said it: what the node says to PING counts.
                self.ask(id, Step::Probe, PROBE);
                if text.starts_with("NOREPLICAS") && self.group.primary == Some(id) {
                    self.wants_replicas();
                }
            }
        }
    }

    /// Another brain was heard: this one only observes from the next quiet moment on.
    pub(super) fn hear(&mut self, who: String) {
        match &mut self.other_brain {
            Some((_, heard)) => *heard = self.now,
            None => {
                let text = format!("another brain decides here: {who}; only observing from now on");
                self.tell(Level::Warn, text);
                self.other_brain = Some((who, self.now));
            }
        }
    }

    /// Draws from all facts what no single look says: who is in sync, who is called how, how far the primary is.
    pub(super) fn learn(&mut self) {
        self.learn_addresses();
        self.give_up_hung();
        if matches!(self.phase, Phase::Steady | Phase::Observe) {
            self.learn_primary();
        }
        let replid = self.group.replid.clone();
        if self.group.primary.is_none() || replid.is_empty() {
            return;
        }
        let mut followed = false;
        for node in &mut self.nodes {
            if node.is_caught_up(&replid) {
                let run_id = node.facts.as_ref().map(|facts| facts.run_id.clone());
                if node.in_sync != run_id {
                    node.in_sync = run_id;
                }
            }
            if node.is_in_step(&replid) {
                node.deposed = false;
                followed = true;
            }
        }
        if followed {
            self.group.parent.clear();
        }
        let primary = self.group.primary;
        let all_caught_up = || {
            self.nodes.iter().filter(|node| Some(node.id) != primary).all(|node| node.is_caught_up(&replid))
        };
        if !self.undeclared.is_empty() && all_caught_up() {
            self.undeclared.clear();
        }
    }

    /// Reads in flight to a replica that hangs are not waited for any longer than its silence is.
    fn give_up_hung(&mut self) {
        for position in 0..self.nodes.len() {
            let node = &self.nodes[position];
            if node.dead || self.group.primary == Some(node.id) {
                continue;
            }
            let silent = node.silent_at(node.patience(&self.settings));
            if silent > self.now {
                self.wake_at(silent);
            } else {
                let node = &mut self.nodes[position];
                node.dead = true;
                node.generation += 1;
            }
        }
    }

    /// The decided primary's progress, while it is in no doubt.
    fn learn_primary(&mut self) {
        let Some(primary) = self.group.primary else {
            return;
        };
        let seen_at = self.node(primary).seen_at;
        let Some(facts) = self.node(primary).answered().filter(|facts| facts.role == Role::Primary).cloned()
        else {
            return;
        };
        if facts.replid != self.group.replid && !self.group.replid.is_empty() {
            // A primary that had no replica for `repl-backlog-ttl` takes a new id by itself.
            self.tell(Level::Info, format!("{} took a new replication id", self.node(primary).name()));
            self.trace.clear();
        }
        self.take_facts(&facts);
        self.strangers = self.count_strangers(&facts);
        self.node_mut(primary).in_sync = Some(facts.run_id.clone());
        if self.trace.add(seen_at, facts.offset) {
            self.nodes.iter_mut().for_each(|node| node.measure(facts.offset));
        }
    }

    /// A primary is called as its replicas call it, a replica as its primary lists it.
    fn learn_addresses(&mut self) {
        let mut learned: Vec<(NodeId, Address)> = Vec::new();
        for primary in &self.nodes {
            let Some(facts) = primary.answered().filter(|facts| facts.role == Role::Primary) else {
                continue;
            };
            for replica in self.nodes.iter().filter(|node| node.is_in_step(&facts.replid)) {
                // In a chain the address is another replica's.
                let address = replica.facts.as_ref().and_then(|facts| facts.primary.clone());
                if let Some(address) =
                    address.filter(|address| !self.others(primary.id).any(|node| node.is_called(address)))
                {
                    learned.push((primary.id, address));
                }
                let port = replica.facts.as_ref().map_or(0, |facts| facts.port);
                let mut named =
                    facts.replicas.iter().map(|(address, _)| address).filter(|address| address.port == port);
                if let (Some(address), None) = (named.next(), named.next()) {
                    learned.push((replica.id, address.clone()));
                }
            }
        }
        for (node, address) in learned {
            let node = self.node_mut(node);
            if node.learned.as_ref() != Some(&address) {
                node.learned = Some(address);
            }
        }
    }
}
