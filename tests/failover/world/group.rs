//! How the simulated nodes replicate, and what strikes them.

use redhold::failover::{Event, Order, OrderId};

use super::{Fault, Happening, Request, World, id};
use crate::model::{Following, Link, Write};

impl World {
    pub(super) fn replicate(&mut self, node: usize) {
        self.after(5_000, Happening::Replicate(node));
        let Following::Node(primary) = self.servers[node].following else {
            return;
        };
        if !self.servers[node].runs() {
            return;
        }
        match self.servers[node].link.clone() {
            Link::Down { retry } if retry <= self.now => self.connect(node, primary),
            Link::Copying { until } if until <= self.now => self.finish_copy(node, primary),
            Link::Up { closing: true } if self.servers[node].inbox.is_empty() => {
                self.servers[node].link = Link::Down { retry: self.now + 1_000 + 300_000 };
            }
            Link::Up { closing } => {
                let heard = !closing && self.reaches(node, primary) && self.servers[primary].runs();
                if heard && self.now > self.servers[node].last_io + 1_000_000 {
                    self.servers[node].last_io = self.now;
                }
                // repl-timeout
                if self.now > self.servers[node].last_io + 10_000_000 {
                    self.servers[node].inbox.clear();
                    self.servers[node].link = Link::Down { retry: self.now };
                }
            }
            Link::Down { .. } | Link::Copying { .. } => {}
        }
    }

    pub(super) fn connect(&mut self, node: usize, primary: usize) {
        let again = self.now + 500_000;
        let leads = &self.servers[primary];
        let ready = leads.runs() && leads.is_primary() && leads.loading_until <= self.now;
        if !ready || !self.reaches(node, primary) {
            self.servers[node].link = Link::Down { retry: again };
            return;
        }
        let lacking = leads.continuation(&self.servers[node].replid, self.servers[node].offset);
        let (replid, now) = (leads.replid.clone(), self.now);
        let replica = &mut self.servers[node];
        if let Some(lacking) = lacking {
            if replica.replid != replid {
                replica.replid2 = std::mem::replace(&mut replica.replid, replid);
                replica.second_offset = i64::try_from(replica.offset + 1).expect("offsets are small here");
            }
            replica.link = Link::Up { closing: false };
            replica.last_io = now;
            let arrival = now + self.pace.hop;
            replica.inbox.extend(lacking.into_iter().map(|write| (arrival, write)));
            self.wake(node);
        } else {
            let until = now + 20_000 + self.roll(200_000);
            self.servers[node].link = Link::Copying { until };
            self.servers[primary].sync_full += 1;
        }
    }

    pub(super) fn finish_copy(&mut self, node: usize, primary: usize) {
        let from = self.servers[primary].clone();
        if !from.runs() || !from.is_primary() || !self.reaches(node, primary) {
            self.servers[node].link = Link::Down { retry: self.now + 500_000 };
            return;
        }
        let now = self.now;
        let replica = &mut self.servers[node];
        replica.copy(&from);
        replica.link = Link::Up { closing: false };
        replica.last_io = now;
        replica.save();
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
        if self.servers[node].stopped {
            self.applying[node] = true;
            self.after(5_000, Happening::Apply(node));
            return;
        }
        self.servers[node].apply(now);
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

    pub(super) fn strike(&mut self, fault: Fault) {
        self.log.push(format!("{:>9} *** {fault:?}", self.now));
        self.struck = true;
        match fault {
            Fault::Kill(node) => self.kill(node),
            Fault::Boot(node, how) => {
                if !self.servers[node].up {
                    let (run_id, replid) = (self.name("run"), self.name("id"));
                    let now = self.now;
                    self.servers[node].boot(how, run_id, replid, now);
                }
            }
            Fault::Stop(node) => self.servers[node].stopped = self.servers[node].up,
            Fault::Continue(node) => {
                if self.servers[node].stopped {
                    self.servers[node].stopped = false;
                    self.unstick(node);
                }
            }
            Fault::Cut(one, other) => {
                self.cuts.insert((one.min(other), one.max(other)));
            }
            Fault::Heal(one, other) => self.heal(one, other),
            Fault::Reset(one, other) => {
                for (node, primary) in [(one, other), (other, one)] {
                    if node < self.servers.len() && self.servers[node].following == Following::Node(primary) {
                        self.servers[node].inbox.clear();
                        self.servers[node].link = Link::Down { retry: self.now + 200_000 };
                    }
                }
            }
            Fault::Order(to) => {
                let order = Order::Switchover { to: to.map(id) };
                self.tell(Event::Order { id: OrderId(self.now), order });
            }
            Fault::OtherBrain => {
                self.tell(Event::OtherBrain("sentinel".to_owned()));
                // What was begun before may still be brought to its end.
                let quiet = ["steady", "observe", "discover", "blocked"];
                let status = self.machine.status(self.instant());
                self.observing = quiet.contains(&status.phase);
            }
            Fault::Crash(length) => self.crash(length),
            Fault::Stall(length) => {
                self.stalled_until = self.now + length;
                self.after(length, Happening::Woken);
            }
        }
    }

    pub(super) fn kill(&mut self, node: usize) {
        if !self.servers[node].up {
            return;
        }
        self.servers[node].kill();
        self.disconnect(node);
        let lost: Vec<Request> = std::mem::take(&mut self.stuck[node]);
        let proxy = self.proxy();
        let connected = self.reaches(node, proxy);
        for slot in &mut self.out {
            if slot.is_some_and(|request| request.node == node && (connected || lost.contains(&request))) {
                *slot = None;
            }
        }
        if connected {
            let hop = self.hop();
            self.after(hop, Happening::Lost(node));
        }
    }

    pub(super) fn heal(&mut self, one: usize, other: usize) {
        self.cuts.remove(&(one.min(other), one.max(other)));
        let proxy = self.proxy();
        if other.max(one) == proxy {
            // Requests that never arrived, and replies that never came, end with their connection.
            let node = one.min(other);
            for slot in &mut self.out {
                if slot.is_some_and(|request| request.node == node) {
                    *slot = None;
                }
            }
            return;
        }
        for node in [one, other] {
            let arrival = self.now + 200;
            for entry in self.servers[node].inbox.iter_mut().filter(|(at, _)| *at == u64::MAX) {
                entry.0 = arrival;
            }
            self.wake(node);
        }
    }
}
