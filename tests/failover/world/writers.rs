//! Clients that write by the published table, and believe only replies of its epoch.

use redhold::failover::{Event, Signal};
use redhold::topology::NodeId;

use super::{Happening, IDLE, Request, World, id};
use crate::model::Write;

/// `durability.timeout`
const WAIT: u64 = 200_000;

impl World {
    pub(super) fn write(&mut self, writer: usize) {
        let idle = self.now > self.hurried_until;
        let think = self.pace.think * if idle { IDLE } else { 1 };
        let pause = think / 2 + self.roll(think);
        self.after(pause, Happening::Write(writer));
        if self.out[writer].is_some() {
            return;
        }
        let Some(table) = self.table.as_ref().filter(|table| table.held_since.is_none()) else {
            return;
        };
        let Some(node) = table.primary.map(NodeId::slot) else {
            return;
        };
        self.writes += 1;
        let request = Request {
            writer,
            write: self.writes,
            node,
            epoch: table.epoch,
            generation: table.generations[node],
        };
        self.out[writer] = Some(request);
        let hop = self.hop();
        self.after(hop, Happening::WriteArrives(request));
    }

    pub(super) fn write_arrives(&mut self, request: Request) {
        let (node, proxy) = (request.node, self.proxy());
        if !self.reaches(node, proxy) {
            return;
        }
        if !self.servers[node].up {
            self.out[request.writer] = None;
            self.after(500, Happening::Lost(node));
            return;
        }
        if self.servers[node].stopped || self.pauses(node) {
            self.stuck[node].push(request);
            return;
        }
        self.execute(request);
    }

    pub(super) fn execute(&mut self, request: Request) {
        let node = request.node;
        let done = self.take(node, request.write).is_ok();
        let hop = self.hop();
        self.after(hop, Happening::Reply(request, done));
    }

    /// Whether a write on this node waits for the end of a pause.
    pub(crate) fn pauses(&self, node: usize) -> bool {
        let server = &self.servers[node];
        server.is_primary() && server.paused_until > self.now
    }

    /// A client's write on a node that runs and is not paused.
    pub(crate) fn take(&mut self, node: usize, write: Write) -> Result<(), &'static str> {
        let attached = self.attached(node).len();
        self.servers[node].write(write, self.now, attached)?;
        self.spread(node, write);
        Ok(())
    }

    pub(super) fn reply(&mut self, request: Request, done: bool) {
        let proxy = self.proxy();
        if !self.reaches(request.node, proxy) {
            return;
        }
        if self.out[request.writer] == Some(request) {
            if done
                && self.settings.durability.replicas > 0
                && self.table.as_ref().is_some_and(|table| !table.degraded)
            {
                let hop = self.hop();
                self.after(hop, Happening::Barrier(request));
            } else {
                self.out[request.writer] = None;
                if done {
                    self.acked.push(request.write);
                }
            }
            if !done {
                let signal = Signal::Refused("READONLY".to_owned());
                self.tell(Event::Signal { node: id(request.node), signal });
            } else if self.now > self.heard + 50_000 {
                self.heard = self.now;
                let signal = Signal::Alive { at: self.instant() };
                self.tell(Event::Signal { node: id(request.node), signal });
            }
        }
    }

    /// SPUBLISH, which ends where everything lies that was executed before, and WAIT.
    pub(super) fn barrier(&mut self, request: Request) {
        let (node, proxy) = (request.node, self.proxy());
        if !self.servers[node].up {
            self.out[request.writer] = None;
        } else if self.reaches(node, proxy) {
            let (offset, until) = (self.servers[node].offset, self.now + WAIT);
            self.waits(request, offset, until);
        }
    }

    pub(super) fn waits(&mut self, request: Request, offset: u64, until: u64) {
        let (node, proxy) = (request.node, self.proxy());
        if self.out[request.writer] != Some(request) || !self.servers[node].up {
            return;
        }
        let has =
            |replica: &&usize| self.reaches(node, **replica) && self.servers[**replica].offset >= offset;
        let acknowledged = self.attached(node).iter().filter(has).count();
        let speaks =
            self.servers[node].runs() && self.servers[node].is_primary() && self.reaches(node, proxy);
        let hop = self.hop();
        if speaks && acknowledged >= self.settings.durability.replicas {
            self.after(2 * hop, Happening::Covered(request));
        } else if speaks && self.now >= until {
            // NOTDURABLE
            self.out[request.writer] = None;
        } else {
            self.after(3_000, Happening::Waits(request, offset, until));
        }
    }

    /// Never can two primaries have their writes acknowledged by as many replicas as these wait for.
    pub(super) fn check_acknowledgers(&mut self) {
        let wanted = self.settings.durability.replicas;
        let acknowledges = |node: &usize| {
            let server = &self.servers[*node];
            let hears = |replica: &&usize| self.servers[**replica].up && self.reaches(*node, **replica);
            server.up && server.is_primary() && self.attached(*node).iter().filter(hears).count() >= wanted
        };
        if wanted > 0 && (0..self.servers.len()).filter(acknowledges).count() > 1 {
            self.violations.push("two primaries have enough replicas to acknowledge writes".to_owned());
        }
    }

    pub(super) fn covered(&mut self, request: Request) {
        if self.out[request.writer] == Some(request) && self.reaches(request.node, self.proxy()) {
            self.out[request.writer] = None;
            self.acked.push(request.write);
        }
    }

    pub(super) fn unstick(&mut self, node: usize) {
        for request in std::mem::take(&mut self.stuck[node]) {
            self.execute(request);
        }
    }
}
