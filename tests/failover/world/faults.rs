//! What strikes the simulated group.

use redhold::failover::{Event, Order, OrderId};

use super::{Fault, Happening, Request, World, id};
use crate::model::{Following, Link};

impl World {
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.note(|| format!("*** {fault:?}"));
        if !self.struck {
            self.struck = true;
            self.cached = self.servers.iter().map(|server| server.offset).collect();
        }
        self.hurry();
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
                    self.greet(node);
                }
            }
            Fault::Cut(one, other) => {
                let pair = self.pair(one, other);
                self.cuts[pair] = true;
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
        self.nudge();
    }

    pub(super) fn kill(&mut self, node: usize) {
        if !self.servers[node].up {
            return;
        }
        self.kills += 1;
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
        let pair = self.pair(one, other);
        self.cuts[pair] = false;
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
