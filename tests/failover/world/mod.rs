//! Simulated nodes, network, writers and shell around one machine, in virtual time. One seed, one run.

mod faults;
mod links;
mod queue;
mod shell;
mod writers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redhold::failover::{
    ActionId, Durability, Event, Machine, Outcome, Record, Settings, Signal, Step, Verdict,
};
use redhold::topology::{Address, Health, NodeId, NodeSpec, Observation, numbered};

use crate::model::{Boot, Following, Server, Write};
use queue::Queue;

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
    /// That a primary started again does not show, nor that it holds less.
    HiddenRestart,
    /// Nor does that of a replica, which holds less than it once did.
    HiddenReplica,
    /// Replicas tell the same offset: who is declared first is chosen.
    OrderFirst,
    /// Replicas tell the offset that they had before the trouble began.
    CachedOffsets,
    /// The proxy's disk does not keep what was begun.
    NoIntent,
    /// Nobody asks how many replicas must be asked.
    NoQuorum,
    /// A replica that is told to let go of its primary only says that it did.
    NoSeal,
}

/// So long before a fault clients begin to write quickly.
const BEFORE: u64 = 200_000;
/// So long after a fault or a step of the machine they go on. Where nothing happens they write less, since that proves little.
const AFTER: u64 = 500_000;
/// So many times less.
const IDLE: u64 = 6;

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
    /// The primary is asked how many replicas have what it executed so far.
    Barrier(Request),
    /// It waits until its replicas, of which enough have applied so much, say so.
    Waits(Request, u64, u64),
    Covered(Request),
    Lost(usize),
    Deadline,
    Woken,
    Quiesced(ActionId, u64),
    /// The record is on the disk.
    Recorded(ActionId, Box<Record>),
    /// The proxy is started again.
    Started,
    Fault(Fault),
    /// A fault is near: clients write quickly.
    Hurry,
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
            | Self::Covered(_)
            | Self::Lost(_)
            | Self::Deadline
            | Self::Woken
            | Self::Quiesced(..)
            | Self::Recorded(..) => true,
            Self::Step(..)
            | Self::Replicate(_)
            | Self::Apply(_)
            | Self::WriteArrives(_)
            | Self::Barrier(_)
            | Self::Waits(..)
            | Self::Started
            | Self::Hurry
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
    pub(crate) acked: Vec<Write>,
    pub(crate) table: Option<Verdict>,
    pub(crate) promotions: u64,
    /// Nodes that died.
    pub(crate) kills: usize,
    pub(crate) log: Vec<String>,
    /// Whether the log is written.
    pub(crate) told: bool,
    /// `repl-timeout`
    pub(crate) replication_timeout: u64,
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
    queue: Queue<Happening>,
    dice: u64,
    /// By pair of nodes.
    cuts: Vec<bool>,
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
    /// By node: when its link is looked at next.
    ticks: Vec<u64>,
    /// By node: an application is due.
    applying: Vec<bool>,
    /// When the data path last told that the primary lives.
    heard: u64,
    /// From here on the planted bug is there.
    struck: bool,
    /// By node: the offset at that moment.
    cached: Vec<u64>,
    /// By node: it says that it let go of its primary, and did not.
    feigns: Vec<bool>,
    deadline: Option<u64>,
    /// Until then clients write quickly.
    hurried_until: u64,
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
                match (sealed, node) {
                    (true, _) => server.following = Following::Sealed,
                    (false, 0) => {}
                    (false, _) => server.follow(Following::Node(0), 0),
                }
                server.save();
                server
            })
            .collect();
        let mut world = Self {
            servers,
            machine: Machine::new(numbered(&specs), believed(&settings, bug), None, start).checked(),
            acked: Vec::new(),
            table: None,
            promotions: 0,
            kills: 0,
            log: Vec::new(),
            told: false,
            replication_timeout: 10_000_000,
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
            queue: Queue::new(),
            dice: seed ^ 0x9e37_79b9_7f4a_7c15,
            cuts: vec![false; (nodes + 1) * (nodes + 1)],
            out: vec![None; 2],
            stuck: vec![Vec::new(); nodes],
            writes: 0,
            names: 0,
            observing: false,
            stalled_until: 0,
            unread: Vec::new(),
            ticks: vec![u64::MAX; nodes],
            applying: vec![false; nodes],
            heard: 0,
            struck: false,
            cached: Vec::new(),
            feigns: vec![false; nodes],
            deadline: None,
            hurried_until: 0,
        };
        for node in 0..nodes {
            world.tick_at(node, 100);
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
        self.queue.retain(|happening| !happening.is_of_the_proxy());
        self.out.fill(None);
        self.unread.clear();
        (self.stalled_until, self.deadline, self.table) = (0, None, None);
        self.after(length, Happening::Started);
    }

    /// The proxy is started again.
    fn start(&mut self) {
        self.down = false;
        let settings = believed(&self.settings, self.bug);
        self.machine =
            Machine::new(numbered(&self.specs), settings, self.record.clone(), self.instant()).checked();
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
        self.after(wait.saturating_sub(BEFORE), Happening::Hurry);
        self.after(wait, Happening::Fault(fault));
    }

    /// Replicas that a write waits for.
    pub(crate) fn acknowledged_by(&self) -> usize {
        self.settings.durability.replicas
    }

    /// Lets everything happen until `end`.
    pub(crate) fn run(&mut self, end: u64) {
        while let Some((when, happening)) = self.queue.pop(end) {
            self.now = when;
            self.happen(happening);
        }
        self.now = end;
    }

    fn after(&mut self, wait: u64, happening: Happening) {
        self.queue.push(self.now + wait, happening);
    }

    /// Nobody reads the log of a run in which nothing is wrong.
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.told {
            self.log.push(format!("{:>9} {}", self.now, line()));
        }
    }

    fn hurry(&mut self) {
        self.hurried_until = self.now + BEFORE + AFTER;
    }

    fn hop(&mut self) -> u64 {
        let hop = self.pace.hop;
        hop / 2 + self.roll(hop)
    }

    fn reaches(&self, one: usize, other: usize) -> bool {
        !self.cuts[self.pair(one, other)]
    }

    fn pair(&self, one: usize, other: usize) -> usize {
        one.min(other) * (self.servers.len() + 1) + one.max(other)
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Look(node) => self.look(node),
            Happening::LookArrives(node) => self.look_arrives(node),
            Happening::Seen(node, health) => {
                let at = self.instant();
                self.tell(Event::Seen(Observation { node: id(node), began: at, at, health }));
                self.after(100_000, Happening::Look(node));
            }
            Happening::Step(id, node, step) => self.step(id, node, step),
            Happening::Answer(id, outcome) => self.tell(Event::Outcome { id, outcome }),
            Happening::Replicate(node) => self.replicate(node),
            Happening::Apply(node) => self.apply(node),
            Happening::Write(writer) => self.write(writer),
            Happening::WriteArrives(request) => self.write_arrives(request),
            Happening::Reply(request, done) => self.reply(request, done),
            Happening::Barrier(request) => self.barrier(request),
            Happening::Waits(request, offset, until) => self.waits(request, offset, until),
            Happening::Covered(request) => self.covered(request),
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
            Happening::Hurry => self.hurry(),
        }
    }
}

/// The settings as the machine has them.
fn believed(settings: &Settings, bug: Option<Bug>) -> Settings {
    let durability = if bug == Some(Bug::NoQuorum) { Durability::default() } else { settings.durability };
    Settings { durability, ..settings.clone() }
}

pub(crate) fn address(node: usize) -> Address {
    Address { host: format!("n{node}").into(), port: 6379 }
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(u16::try_from(node).expect("few nodes"))
}
