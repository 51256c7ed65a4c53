//! Simulated nodes, network, writers and shell around one machine, in virtual time. One seed, one run.

mod group;
mod writers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use redhold::failover::{
    Action, ActionId, Captured, Event, Machine, Outcome, Record, Settings, Signal, Step, Verdict,
};
use redhold::topology::{Address, Health, NodeId, NodeSpec, Observation, Replication};

use crate::model::{Boot, Following, Link, Server, Write};

/// A defect put in on purpose, which the properties must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Replicas claim at once that their link is down: nobody waits for them.
    NoDrain,
    /// Replicas tell the opposite of how far they are: the stalest is chosen.
    StalestFirst,
    /// A replica claims to be further than it is: a switch does not wait for it.
    NoCatchUp,
    /// Replies of connections of an older epoch are believed.
    StaleReplies,
    /// A restart does not show.
    HiddenRestart,
    /// The proxy's disk does not keep what was begun.
    NoIntent,
}

/// Something that happens to the world, as the plan of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(usize),
    Boot(usize, Boot),
    Stop(usize),
    Continue(usize),
    /// Nothing passes between the two; the proxy is node number `nodes`.
    Cut(usize, usize),
    Heal(usize, usize),
    /// The connection is reset once.
    Reset(usize, usize),
    Order(Option<usize>),
    OtherBrain,
    /// The proxy itself stands still for so long.
    Stall(u64),
    /// kill -9 of the proxy; it is started again after so long, with the record that its disk holds.
    Crash(u64),
}

#[derive(Clone, Debug)]
enum Happening {
    Look(usize),
    LookArrives(usize),
    Seen(usize, Health),
    Step(ActionId, usize, Step),
    Answer(ActionId, Outcome),
    Replicate(usize),
    Apply(usize),
    Write(usize),
    WriteArrives(Request),
    Reply(Request, bool),
    Lost(usize),
    Deadline,
    Woken,
    Quiesced(ActionId, u64),
    /// The record is on the disk.
    Recorded(ActionId, Box<Record>),
    /// The proxy is started again.
    Started,
    Fault(Fault),
}

impl Happening {
    /// It dies with the proxy. A step that was sent already arrives.
    fn is_of_the_proxy(&self) -> bool {
        match self {
            Self::Look(_)
            | Self::LookArrives(_)
            | Self::Seen(..)
            | Self::Answer(..)
            | Self::Write(_)
            | Self::Reply(..)
            | Self::Lost(_)
            | Self::Deadline
            | Self::Woken
            | Self::Quiesced(..)
            | Self::Recorded(..) => true,
            Self::Step(..)
            | Self::Replicate(_)
            | Self::Apply(_)
            | Self::WriteArrives(_)
            | Self::Started
            | Self::Fault(_) => false,
        }
    }
}

/// A write on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    writer: usize,
    write: Write,
    node: usize,
    epoch: u64,
    generation: u64,
}

/// How quick this run's world is, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) hop: u64,
    pub(crate) apply: u64,
    pub(crate) think: u64,
}

/// Everything.
pub(crate) struct World {
    pub(crate) servers: Vec<Server>,
    pub(crate) machine: Machine,
    pub(crate) acked: BTreeSet<Write>,
    pub(crate) table: Option<Verdict>,
    pub(crate) promotions: u64,
    pub(crate) log: Vec<String>,
    pub(crate) violations: Vec<String>,
    pub(crate) now: u64,
    pub(crate) orders: Vec<Result<String, String>>,
    /// What the proxy's disk holds.
    pub(crate) record: Option<Record>,
    /// By epoch: who was published as its primary, in any life of the proxy.
    pub(crate) led: BTreeMap<u64, NodeId>,
    specs: Vec<NodeSpec>,
    settings: Settings,
    /// Until it is started again there is no proxy.
    down: bool,
    pace: Pace,
    bug: Option<Bug>,
    start: Instant,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    dice: u64,
    cuts: BTreeSet<(usize, usize)>,
    /// By writer: its request that is out.
    out: Vec<Option<Request>>,
    /// Requests that wait in the socket of a stopped node.
    stuck: Vec<Vec<Request>>,
    writes: u64,
    names: u64,
    observing: bool,
    stalled_until: u64,
    /// Events that wait until the stall is over.
    unread: Vec<Event>,
    /// By node: an application is due.
    applying: Vec<bool>,
    /// When the data path last told that the primary lives.
    heard: u64,
    /// From here on the planted bug is there.
    struck: bool,
    deadline: Option<u64>,
}

impl World {
    pub(crate) fn new(
        nodes: usize,
        seed: u64,
        pace: Pace,
        settings: Settings,
        bug: Option<Bug>,
        sealed: bool,
    ) -> Self {
        let start = Instant::now();
        let specs: Vec<NodeSpec> = (0..nodes)
            .map(|node| NodeSpec {
                address: address(node),
                peer_address: None,
                zone: String::new(),
                priority: 100,
            })
            .collect();
        let servers = (0..nodes)
            .map(|node| {
                let mut server = Server::new(format!("run{node}"), format!("id{node}"));
                server.following = match (sealed, node) {
                    (true, _) => Following::Sealed,
                    (false, 0) => Following::Nobody,
                    (false, _) => Following::Node(0),
                };
                server.save();
                server
            })
            .collect();
        let mut world = Self {
            servers,
            machine: Machine::new(&specs, settings.clone(), None, start),
            acked: BTreeSet::new(),
            table: None,
            promotions: 0,
            log: Vec::new(),
            violations: Vec::new(),
            now: 0,
            orders: Vec::new(),
            record: None,
            led: BTreeMap::new(),
            specs,
            settings,
            down: false,
            pace,
            bug,
            start,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            dice: seed ^ 0x9e37_79b9_7f4a_7c15,
            cuts: BTreeSet::new(),
            out: vec![None; 2],
            stuck: vec![Vec::new(); nodes],
            writes: 0,
            names: 0,
            observing: false,
            stalled_until: 0,
            unread: Vec::new(),
            applying: vec![false; nodes],
            heard: 0,
            struck: false,
            deadline: None,
        };
        for node in 0..nodes {
            world.after(100, Happening::Replicate(node));
        }
        world.begin();
        world
    }

    /// The proxy begins to look at the nodes, and clients to write.
    fn begin(&mut self) {
        for node in 0..self.servers.len() {
            self.after(1_000 * node as u64, Happening::Look(node));
        }
        for writer in 0..self.out.len() {
            self.after(2_000, Happening::Write(writer));
        }
        self.drain();
    }

    /// kill -9 of the proxy: nothing that it waited for is heard by anybody.
    pub(crate) fn crash(&mut self, length: u64) {
        if self.down {
            return;
        }
        self.down = true;
        self.happenings.retain(|_, happening| !happening.is_of_the_proxy());
        self.out.fill(None);
        self.unread.clear();
        (self.stalled_until, self.deadline, self.table) = (0, None, None);
        self.after(length, Happening::Started);
    }

    /// The proxy is started again.
    fn start(&mut self) {
        self.down = false;
        self.machine = Machine::new(&self.specs, self.settings.clone(), self.record.clone(), self.instant());
        self.begin();
    }

    /// splitmix64
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub(crate) fn at(&mut self, when: u64, fault: Fault) {
        let wait = when.saturating_sub(self.now);
        self.after(wait, Happening::Fault(fault));
    }

    /// Lets everything happen until `end`.
    pub(crate) fn run(&mut self, end: u64) {
        while let Some(Reverse((when, sequence))) = self.queue.peek().copied() {
            if when > end {
                break;
            }
            self.queue.pop();
            self.now = when;
            if let Some(happening) = self.happenings.remove(&sequence) {
                self.happen(happening);
            }
        }
        self.now = end;
    }

    fn after(&mut self, wait: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + wait, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn hop(&mut self) -> u64 {
        let hop = self.pace.hop;
        hop / 2 + self.roll(hop)
    }

    fn reaches(&self, one: usize, other: usize) -> bool {
        !self.cuts.contains(&(one.min(other), one.max(other)))
    }

    fn proxy(&self) -> usize {
        self.servers.len()
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}-{}", self.names)
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    // The machine and its shell.

    fn tell(&mut self, event: Event) {
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

    fn drain(&mut self) {
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

    fn perform(&mut self, action: Action) {
        match action {
            Action::Step { id, node, step, within } => {
                if step == Step::Promote {
                    self.promotions += 1;
                    if self.observing {
                        self.violations.push("a node was promoted while another brain decides".to_owned());
                    }
                }
                self.log.push(format!("{:>9} {step:?} on {}", self.now, node.0));
                let node = node.index();
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
            Action::Tell(note) => self.log.push(format!("{:>9} {}: {}", self.now, note.phase, note.text)),
        }
    }

    fn publish(&mut self, verdict: Verdict) {
        self.log.push(format!(
            "{:>9} publish epoch {} primary {:?} {}",
            self.now,
            verdict.epoch,
            verdict.primary,
            if verdict.held_since.is_some() { "held" } else { "open" }
        ));
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
    }

    // What happens.

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Look(node) => self.look(node),
            Happening::LookArrives(node) => self.look_arrives(node),
            Happening::Seen(node, health) => {
                let seen = Observation { node: id(node), at: self.instant(), health };
                self.tell(Event::Seen(seen));
                self.after(100_000, Happening::Look(node));
            }
            Happening::Step(id, node, step) => self.step(id, node, step),
            Happening::Answer(id, outcome) => self.tell(Event::Outcome { id, outcome }),
            Happening::Replicate(node) => self.replicate(node),
            Happening::Apply(node) => self.apply(node),
            Happening::Write(writer) => self.write(writer),
            Happening::WriteArrives(request) => self.write_arrives(request),
            Happening::Reply(request, done) => self.reply(request, done),
            Happening::Lost(node) => self.tell(Event::Signal { node: id(node), signal: Signal::Lost }),
            Happening::Deadline => {
                if self.stalled_until <= self.now && self.deadline.is_some_and(|due| due <= self.now) {
                    self.deadline = None;
                    self.tell(Event::Tick { late: false });
                }
            }
            Happening::Woken => {
                self.tell(Event::Tick { late: true });
                for event in std::mem::take(&mut self.unread) {
                    self.tell(event);
                }
            }
            Happening::Quiesced(id, until) => {
                if self.out.iter().all(Option::is_none) {
                    self.tell(Event::Outcome { id, outcome: Outcome::Done(None) });
                } else if self.now >= until {
                    self.tell(Event::Outcome { id, outcome: Outcome::Failed("writes in flight".to_owned()) });
                } else {
                    self.after(500, Happening::Quiesced(id, until));
                }
            }
            Happening::Recorded(id, record) => {
                let intent = record.intent.clone().filter(|_| self.bug != Some(Bug::NoIntent));
                self.record = Some(Record { intent, ..*record });
                self.tell(Event::Outcome { id, outcome: Outcome::Done(None) });
            }
            Happening::Started => self.start(),
            Happening::Fault(fault) => self.strike(fault),
        }
    }

    fn info(&mut self, node: usize) -> Replication {
        let attached = (0..self.servers.len())
            .filter(|other| {
                let replica = &self.servers[*other];
                replica.following == Following::Node(node) && matches!(replica.link, Link::Up { .. })
            })
            .collect();
        let mut facts = self.servers[node].info(self.now, address, attached);
        let replica = !self.servers[node].is_primary();
        match self.bug.filter(|_| self.struck) {
            Some(Bug::NoDrain) if replica => facts.link_up = false,
            Some(Bug::StalestFirst) if replica => facts.offset = 1_000_000 - facts.offset,
            Some(Bug::NoCatchUp) if replica && !facts.sealed => facts.offset += 1_000,
            Some(Bug::HiddenRestart) => {
                facts.run_id = format!("run{node}");
                facts.offset = facts.offset.max(1_000_000);
            }
            Some(_) | None => {}
        }
        facts
    }

    fn look(&mut self, node: usize) {
        let hop = self.hop();
        self.after(hop, Happening::LookArrives(node));
    }

    fn look_arrives(&mut self, node: usize) {
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

    fn step(&mut self, id: ActionId, node: usize, step: Step) {
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
        self.after(hop, Happening::Answer(id, outcome));
    }

    fn do_step(&mut self, node: usize, step: Step) -> Outcome {
        let now = self.now;
        match step {
            Step::Probe | Step::Tune(_) | Step::Restore(_) => {}
            Step::Seal => self.turn(node, Following::Sealed),
            Step::Promote => {
                let replid = self.name("promoted");
                if !self.servers[node].is_primary() {
                    self.disconnect(node);
                }
                self.servers[node].promote(replid);
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

    /// REPLICAOF: also ends the connections of those who follow this node.
    fn turn(&mut self, node: usize, whom: Following) {
        if self.servers[node].following != whom {
            self.disconnect(node);
        }
        let now = self.now;
        self.servers[node].follow(whom, now);
    }

    fn disconnect(&mut self, node: usize) {
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
    }
}

pub(crate) fn address(node: usize) -> Address {
    Address { host: format!("n{node}"), port: 6379 }
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(u16::try_from(node).expect("few nodes"))
}
