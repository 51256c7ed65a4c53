//! How the simulated nodes replicate.

use super::{Happening, World};
use crate::model::{Following, Link, Release, Write};

/// How often a link is looked at that is up, or cannot come up.
const LONG_TICK: u64 = 200_000;

impl World {
    pub(super) fn replicate(&mut self, node: usize) {
        if self.now != self.ticks[node] {
            return;
        }
        self.ticks[node] = u64::MAX;
        self.relink(node);
        let server = &self.servers[node];
        let next = match server.link {
            _ if !server.runs() || !matches!(server.following, Following::Node(_)) => LONG_TICK,
            Link::Down { retry: when } | Link::Copying { until: when } => when.saturating_sub(self.now),
            Link::Up { closing: true } => 5_000,
            Link::Up { closing: false } => LONG_TICK,
        };
        self.tick_at(node, self.now + next.clamp(5_000, LONG_TICK));
    }

    /// The link of a node is looked at no later than then.
    pub(super) fn tick_at(&mut self, node: usize, when: u64) {
        if when < self.ticks[node] {
            self.ticks[node] = when;
            self.after(when - self.now, Happening::Replicate(node));
        }
    }

    /// Something changed: every link is looked at soon.
    pub(super) fn nudge(&mut self) {
        for node in 0..self.servers.len() {
            let soon = self.now + self.roll(5_000);
            self.tick_at(node, soon);
        }
    }

    fn relink(&mut self, node: usize) {
        let Following::Node(primary) = self.servers[node].following else {
            return;
        };
        if !self.servers[node].runs() {
            return;
        }
        match self.servers[node].link.clone() {
            Link::Down { retry } if retry <= self.now => self.connect(node, primary),
            Link::Copying { until } if until <= self.now => self.finish_copy(node, primary),
            // A stream that is held is not read to its end.
            Link::Up { closing: true }
                if self.servers[node].inbox.is_empty() || self.servers[node].holds_stream(self.now) =>
            {
                let now = self.now;
                self.servers[node].lose_link(now, now + 301_000);
            }
            Link::Up { closing } => {
                let heard = !closing && self.reaches(node, primary) && self.servers[primary].runs();
                if heard && self.now > self.servers[node].last_io + 1_000_000 {
                    self.servers[node].last_io = self.now;
                }
                // repl-timeout
                if self.now > self.servers[node].last_io + self.replication_timeout {
                    let now = self.now;
                    self.servers[node].lose_link(now, now);
                }
            }
            Link::Down { .. } | Link::Copying { .. } => {}
        }
    }

    /// Whether a node gives its history to others: a primary, or a replica that is attached itself.
    fn feeds(&self, node: usize) -> bool {
        let server = &self.servers[node];
        let attached = server.is_primary() || server.link == (Link::Up { closing: false });
        server.runs() && attached && server.loading_until <= self.now
    }

    fn connect(&mut self, node: usize, primary: usize) {
        if !self.feeds(primary) || !self.reaches(node, primary) {
            self.servers[node].link = Link::Down { retry: self.now + 500_000 };
            return;
        }
        let now = self.now;
        let Some(lacking) = self.servers[primary].continuation(&self.servers[node]) else {
            let until = now + 20_000 + self.roll(200_000);
            let replid = self.name("id");
            let leads = &mut self.servers[primary];
            leads.begin_history(replid);
            leads.sync_full += 1;
            leads.save();
            self.servers[node].link = Link::Copying { until };
            self.servers[node].placed = false;
            return;
        };
        self.servers[primary].sync_partial += 1;
        let replid = self.servers[primary].replid.clone();
        let arrival = now + self.pace.hop;
        let replica = &mut self.servers[node];
        let renamed = replica.go_on(&replid);
        replica.link = Link::Up { closing: false };
        replica.last_io = now;
        replica.inbox.extend(lacking.into_iter().map(|write| (arrival, write)));
        if renamed {
            // Its own replicas must hear of the new name.
            self.disconnect(node);
        }
        self.wake(node);
    }

    /// A node goes on: who waits for it has some words to exchange with it first, and it has read its input before them.
    pub(super) fn greet(&mut self, node: usize) {
        let soon = self.now + 20_000;
        for other in self.servers.iter_mut().filter(|other| other.following == Following::Node(node)) {
            if let Link::Down { retry } = &mut other.link {
                *retry = soon;
            }
        }
    }

    fn finish_copy(&mut self, node: usize, primary: usize) {
        if !self.feeds(primary) || !self.reaches(node, primary) {
            self.servers[node].link = Link::Down { retry: self.now + 500_000 };
            return;
        }
        let (from, now) = (self.servers[primary].clone(), self.now);
        let replica = &mut self.servers[node];
        replica.copy(&from);
        replica.link = Link::Up { closing: false };
        replica.last_io = now;
        replica.save();
        self.disconnect(node);
    }

    /// REPLICAOF.
    pub(crate) fn turn(&mut self, node: usize, whom: Following) {
        let now = self.now;
        let server = &mut self.servers[node];
        if server.following == whom {
            return;
        }
        // A promoted node must tell its replicas the new name of the history.
        let parts = whom == Following::Nobody || server.release == Release::Six;
        if whom == Following::Nobody {
            let replid = self.name("promoted");
            self.servers[node].promote(replid);
        } else {
            server.follow(whom, now);
        }
        if parts {
            self.disconnect(node);
        }
        self.nudge();
    }

    /// Ends the connections of those who follow this node.
    pub(super) fn disconnect(&mut self, node: usize) {
        let retry = self.now + 1_000_000;
        for other in &mut self.servers {
            if other.following == Following::Node(node) {
                match &mut other.link {
                    Link::Up { closing } => *closing = true,
                    Link::Copying { .. } => other.link = Link::Down { retry },
                    Link::Down { .. } => {}
                }
            }
        }
        self.nudge();
    }

    /// The replicas that a node names.
    pub(crate) fn attached(&self, node: usize) -> Vec<usize> {
        let attached = |other: &usize| {
            let replica = &self.servers[*other];
            replica.following == Following::Node(node) && replica.link == (Link::Up { closing: false })
        };
        (0..self.servers.len()).filter(attached).collect()
    }

    /// Makes sure that what waits in the node's socket will be applied.
    pub(super) fn wake(&mut self, node: usize) {
        if self.applying[node] {
            return;
        }
        let Some((arrival, _)) = self.servers[node].inbox.front().filter(|(at, _)| *at != u64::MAX) else {
            return;
        };
        let wait = arrival.saturating_sub(self.now);
        let apply = self.pace.apply;
        let work = apply / 2 + self.roll(apply);
        self.applying[node] = true;
        self.after(wait + work, Happening::Apply(node));
    }

    pub(super) fn apply(&mut self, node: usize) {
        let now = self.now;
        self.applying[node] = false;
        if self.servers[node].stopped || self.servers[node].holds_stream(now) {
            self.applying[node] = true;
            self.after(5_000, Happening::Apply(node));
            return;
        }
        if let Some(write) = self.servers[node].apply(now) {
            self.spread(node, write);
        }
        self.wake(node);
    }

    /// A write was executed on `primary`: on to the replicas.
    pub(super) fn spread(&mut self, primary: usize, write: Write) {
        for node in 0..self.servers.len() {
            let attached = self.servers[node].following == Following::Node(primary)
                && self.servers[node].link == (Link::Up { closing: false });
            if !attached {
                continue;
            }
            let mut arrival = self.now + self.hop();
            if !self.reaches(node, primary) {
                // Waits in the sender's socket until the cut heals.
                arrival = u64::MAX;
            }
            let last = self.servers[node].inbox.back().map_or(0, |(at, _)| *at);
            self.servers[node].inbox.push_back((arrival.max(last), write));
            self.wake(node);
        }
    }
}
