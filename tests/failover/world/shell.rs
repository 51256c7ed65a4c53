//! The machine's shell: what it asks for is carried out on the simulated nodes, what they answer is told to it.

use redhold::failover::{Action, ActionId, Captured, Event, Outcome, Step, Verdict};
use redhold::topology::{Health, Replication};

use super::{Bug, Happening, World, address};
use crate::model::Following;

impl World {
    pub(super) fn tell(&mut self, event: Event) {
        if self.down {
            return;
        }
        if self.stalled_until > self.now {
            self.unread.push(event);
            return;
        }
        let now = self.instant();
        self.machine.handle(event, now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(action) = self.machine.next_action() {
            self.perform(action);
        }
        let due = self.machine.next_deadline().map(|when| when.duration_since(self.start).as_micros() as u64);
        if due != self.deadline {
            self.deadline = due;
            if let Some(due) = due {
                self.after(due.saturating_sub(self.now), Happening::Deadline);
            }
        }
    }

    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Step { id, node, step, within } => {
                self.hurry();
                if step == Step::Promote {
                    self.promotions += 1;
                    if self.observing {
                        self.violations.push("a node was promoted while another brain decides".to_owned());
                    }
                }
                self.note(|| format!("{step:?} on {}", node.0));
                let node = node.slot();
                let hop = self.hop();
                self.after(hop, Happening::Step(id, node, step));
                let late = within.as_micros() as u64;
                self.after(late, Happening::Answer(id, Outcome::Unknown));
            }
            Action::Publish(verdict) => self.publish(verdict),
            Action::Record { id, record } => {
                let fsync = 500 + self.roll(4_000);
                self.after(fsync, Happening::Recorded(id, record));
            }
            Action::Capture { id, within, .. } => {
                let took = self.roll(within.as_micros() as u64);
                let unread = Outcome::Captured(Captured::Unread("simulated".to_owned()));
                self.after(took, Happening::Answer(id, unread));
            }
            Action::Quiesce { id, within } => {
                let until = self.now + within.as_micros() as u64;
                self.after(0, Happening::Quiesced(id, until));
            }
            Action::Answer { result, .. } => self.orders.push(result),
            Action::Tell(note) => self.note(|| format!("{}: {}", note.phase, note.text)),
        }
    }

    pub(super) fn publish(&mut self, verdict: Verdict) {
        self.note(|| {
            let state = if verdict.held_since.is_some() { "held" } else { "open" };
            format!("publish epoch {} primary {:?} {state}", verdict.epoch, verdict.primary)
        });
        // A connection that is given up takes its request along; whether it was executed is not known.
        for slot in &mut self.out {
            let given_up = slot.is_some_and(|request| {
                verdict.epoch != request.epoch || verdict.generations[request.node] != request.generation
            });
            if given_up && self.bug != Some(Bug::StaleReplies) {
                *slot = None;
            }
        }
        if let Some(primary) = verdict.primary.filter(|_| verdict.held_since.is_none()) {
            let before = *self.led.entry(verdict.epoch).or_insert(primary);
            if before != primary {
                let epoch = verdict.epoch;
                self.violations.push(format!("epoch {epoch} names node {} and node {}", before.0, primary.0));
            }
            if self.led.keys().any(|epoch| *epoch > verdict.epoch) {
                self.violations.push(format!("epoch {} follows {:?}", verdict.epoch, self.led));
            }
        }
        self.table = Some(verdict);
        self.check_acknowledgers();
    }

    pub(super) fn info(&mut self, node: usize) -> Replication {
        let mut facts = self.servers[node].info(self.now, address, self.attached(node));
        let replica = !self.servers[node].is_primary();
        match self.bug.filter(|_| self.struck) {
            Some(Bug::NoDrain) if replica => facts.link_up = false,
            Some(Bug::StalestFirst) if replica => facts.offset = 1_000_000 - facts.offset,
            Some(Bug::OrderFirst) if replica => (facts.offset, facts.read_offset) = (1_000_000, None),
            Some(Bug::CachedOffsets) if replica => {
                facts.offset = self.cached[node];
                facts.read_offset = facts.read_offset.map(|_| self.cached[node]);
            }
            Some(Bug::HiddenReplica) if node > 0 => facts.run_id = format!("run{node}"),
            Some(Bug::NoSeal) if replica && self.feigns[node] => {
                (facts.sealed, facts.link_up) = (true, false)
            }
            Some(Bug::NoCatchUp) if replica && !facts.sealed => facts.offset += 1_000,
            Some(Bug::HiddenRestart) if !replica => {
                facts.run_id = format!("run{node}");
                facts.offset = facts.offset.max(1_000_000);
            }
            Some(_) | None => {}
        }
        facts
    }

    pub(super) fn look(&mut self, node: usize) {
        let hop = self.hop();
        self.after(hop, Happening::LookArrives(node));
    }

    pub(super) fn look_arrives(&mut self, node: usize) {
        let hop = self.hop();
        let proxy = self.proxy();
        if !self.reaches(node, proxy) || self.servers[node].stopped {
            self.after(300_000, Happening::Seen(node, Health::Silent));
        } else if !self.servers[node].up {
            self.after(hop, Happening::Seen(node, Health::Down("Connection refused".to_owned())));
        } else {
            let facts = self.info(node);
            self.after(hop, Happening::Seen(node, Health::Answered(Box::new(facts))));
        }
    }

    pub(super) fn step(&mut self, id: ActionId, node: usize, step: Step) {
        let proxy = self.proxy();
        if !self.reaches(node, proxy) || self.servers[node].stopped {
            return;
        }
        let hop = self.hop();
        if !self.servers[node].up {
            let down = Outcome::Down("Connection refused".to_owned());
            return self.after(hop, Happening::Answer(id, down));
        }
        let loading = self.servers[node].loading_until > self.now;
        if loading && step != Step::Probe {
            let refused = Outcome::Failed("LOADING Redis is loading the dataset in memory".to_owned());
            return self.after(hop, Happening::Answer(id, refused));
        }
        let outcome = self.do_step(node, step);
        self.check_acknowledgers();
        self.after(hop, Happening::Answer(id, outcome));
    }

    fn do_step(&mut self, node: usize, step: Step) -> Outcome {
        let now = self.now;
        match step {
            Step::Probe | Step::Tune(_) | Step::Restore(_) => {}
            Step::Seal if self.bug == Some(Bug::NoSeal) => self.feigns[node] = true,
            Step::Seal => self.turn(node, Following::Sealed),
            Step::Promote => {
                self.feigns[node] = false;
                self.turn(node, Following::Nobody);
            }
            Step::Verify => {
                if !self.servers[node].is_primary() {
                    return Outcome::Failed(
                        "READONLY You can't write against a read only replica.".to_owned(),
                    );
                }
            }
            Step::Follow { primary, .. } => {
                let whom = (0..self.servers.len()).find(|other| address(*other) == primary);
                let whom = whom.expect("nobody is told to follow a node outside the group");
                self.feigns[node] = false;
                self.turn(node, Following::Node(whom));
            }
            Step::Pause(length) => self.servers[node].paused_until = now + length.as_micros() as u64,
            Step::Unpause => {
                self.servers[node].paused_until = 0;
                self.unstick(node);
            }
        }
        Outcome::Done(Some(Box::new(self.info(node))))
    }
}
