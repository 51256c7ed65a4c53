//! The simulated side: a group without a proxy, in virtual time.

use std::collections::BTreeSet;

use redhold::failover::Settings;

use crate::model::{Boot, Following, Link, Release, WRITE, Write};
use crate::script::{Dice, NODES, Reply, Step};
use crate::support::{V6_2, Version};
use crate::world::{Fault, Pace, World};

/// Longer than all that a step sets going: three nodes in a row attach one after the other.
const SETTLED: u64 = 6_000_000;

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) follows: Following,
    pub(crate) link_up: bool,
    pub(crate) run_id: String,
    pub(crate) replid: String,
    pub(crate) replid2: String,
    pub(crate) second_offset: i64,
    pub(crate) offset: u64,
    pub(crate) replicas: Vec<usize>,
    pub(crate) sync_full: u64,
    pub(crate) sync_partial: u64,
    pub(crate) data: BTreeSet<Write>,
}

pub(crate) struct Twin {
    world: World,
    writes: Write,
    /// By node: clients that wait for the end of a pause, and the writes that they asked for.
    parked: Vec<Vec<Write>>,
    /// The node that took a write in the last step.
    wrote: Option<usize>,
    /// By node: how many copies it had given at its last write. A copy makes the next write begin with a SELECT.
    selected: Vec<Option<u64>>,
}

impl Twin {
    pub(crate) fn new(version: Version) -> Self {
        let pace = Pace { hop: 100, apply: 100, think: 10_000 };
        let mut world = World::new(NODES, 0, pace, Settings::default(), None, false);
        // There is no proxy: nobody looks at the nodes, and only the script writes.
        world.crash(u64::MAX / 2);
        world.replication_timeout = u64::MAX / 2;
        for server in &mut world.servers {
            server.release = if version == V6_2 { Release::Six } else { Release::Seven };
        }
        let mut twin = Self {
            world,
            writes: 0,
            parked: vec![Vec::new(); NODES],
            wrote: None,
            selected: vec![None; NODES],
        };
        twin.settle();
        twin.step(Step::Write(0));
        (0..NODES).for_each(|node| drop(twin.step(Step::Save(node))));
        twin
    }

    fn settle(&mut self) {
        let end = self.world.now + SETTLED;
        self.world.run(end);
    }

    /// A step that can be done now.
    pub(crate) fn choose(&self, dice: &mut Dice) -> Step {
        loop {
            let node = dice.roll(NODES);
            let other = (node + 1 + dice.roll(NODES - 1)) % NODES;
            let server = &self.world.servers[node];
            let runs = server.runs();
            let six = server.release == Release::Six;
            let paused = server.paused_until > 0;
            // In 6.2.5 a paused replica counts what it has not applied.
            let turns = runs && !(six && paused);
            // One that holds its stream may have applied the SELECT before a write, by which it is ahead of the model's.
            let held =
                self.world.servers.iter().any(|server| server.paused_until > 0 && !server.is_primary());
            let writes = runs && (!held || self.selected[node] == Some(server.sync_full));
            let goes = turns && self.world.servers[other].inbox.is_empty();
            // 6.2.5 forgets where it stood when the one dies whom it just asked for PSYNC, as one does each second that is refused.
            let follows = |other: &&crate::model::Server| other.following == Following::Node(node);
            let followers = self.world.servers.iter().filter(follows).count();
            let asked = six && followers > self.world.attached(node).len();
            let boots = [Boot::Plain, Boot::PlainEmpty, Boot::Sealed, Boot::SealedEmpty];
            let step = match dice.roll(24) {
                0..8 if writes => Step::Write(node),
                8..12 if goes => Step::Follow(node, other),
                12 if turns => Step::Seal(node),
                13..15 if runs => Step::Promote(node),
                15 if runs => Step::Stop(node),
                16 | 17 if server.stopped => Step::Continue(node),
                18 if server.up && !asked => Step::Kill(node),
                18..20 if !server.up => Step::Boot(node, boots[dice.roll(4)]),
                20 if runs => Step::Save(node),
                21 if runs && (server.is_primary() || !six) => Step::Pause(node),
                22 if runs && paused => Step::Unpause(node),
                23 if runs => Step::Need(node, dice.roll(3)),
                _ => continue,
            };
            return step;
        }
    }

    /// What clients are told.
    pub(crate) fn step(&mut self, step: Step) -> Vec<Reply> {
        self.wrote = None;
        if let Step::Follow(node, _) | Step::Seal(node) | Step::Promote(node) | Step::Boot(node, _) = step {
            self.selected[node] = None;
        }
        let mut replies = Vec::new();
        match step {
            Step::Write(node) => {
                self.writes += 1;
                replies.push(self.write(node, self.writes));
            }
            Step::Follow(node, other) => self.world.turn(node, Following::Node(other)),
            Step::Seal(node) => self.world.turn(node, Following::Sealed),
            Step::Promote(node) => self.world.turn(node, Following::Nobody),
            Step::Stop(node) => self.world.strike(Fault::Stop(node)),
            Step::Continue(node) => self.world.strike(Fault::Continue(node)),
            Step::Kill(node) => {
                self.parked[node].clear();
                self.world.strike(Fault::Kill(node));
            }
            Step::Boot(node, how) => self.world.strike(Fault::Boot(node, how)),
            Step::Save(node) => self.world.servers[node].save(),
            Step::Pause(node) => self.world.servers[node].paused_until = u64::MAX,
            Step::Unpause(node) => {
                self.world.servers[node].paused_until = 0;
                for write in std::mem::take(&mut self.parked[node]) {
                    replies.push(self.write(node, write));
                }
            }
            Step::Need(node, replicas) => self.world.servers[node].needed = replicas,
        }
        self.settle();
        replies
    }

    fn write(&mut self, node: usize, write: Write) -> Reply {
        if self.world.pauses(node) {
            self.parked[node].push(write);
            return Reply::Waits;
        }
        match self.world.take(node, write) {
            Ok(()) => {
                self.wrote = Some(node);
                self.selected[node] = Some(self.world.servers[node].sync_full);
                Reply::Written
            }
            Err(word) => Reply::Refused(word.to_owned()),
        }
    }

    /// The node that wrote in the last step, and how many replicas have its write.
    pub(crate) fn replicated(&self) -> Option<(usize, usize)> {
        let node = self.wrote?;
        let offset = self.world.servers[node].offset;
        let has = |replica: &&usize| {
            let replica = &self.world.servers[**replica];
            replica.runs() && replica.offset >= offset
        };
        Some((node, self.world.attached(node).iter().filter(has).count()))
    }

    /// What each node says that can answer.
    pub(crate) fn facts(&self) -> Vec<Option<Facts>> {
        (0..NODES).map(|node| self.world.servers[node].runs().then(|| self.fact(node))).collect()
    }

    fn fact(&self, node: usize) -> Facts {
        let server = &self.world.servers[node];
        let info = server.info(self.world.now, crate::world::address, Vec::new());
        Facts {
            follows: server.following,
            link_up: info.link_up && server.link == (Link::Up { closing: false }),
            run_id: info.run_id,
            replid: info.replid,
            replid2: info.replid2,
            second_offset: info.second_offset,
            // A replica that stands nowhere says 1.
            offset: info.offset / WRITE * WRITE,
            replicas: self.world.attached(node),
            sync_full: info.sync_full,
            sync_partial: server.sync_partial,
            data: server.data.iter().copied().collect(),
        }
    }
}
