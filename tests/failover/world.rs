//! Simulated nodes, network, writers and shell around one machine, in virtual time. One seed, one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use redhold::failover::{
    Action, ActionId, Event, Machine, Order, OrderId, Outcome, Record, Settings, Signal, Step, Verdict,
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
    Fault(Fault),
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
    pub(crate) record: Option<Record>,
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
            machine: Machine::new(&specs, settings, None, start),
            acked: BTreeSet::new(),
            table: None,
            promotions: 0,
            log: Vec::new(),
            violations: Vec::new(),
            now: 0,
            orders: Vec::new(),
            record: None,
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
            world.after(1_000 * node as u64, Happening::Look(node));
            world.after(100, Happening::Replicate(node));
        }
        for writer in 0..world.out.len() {
            world.after(2_000, Happening::Write(writer));
        }
        world.drain();
        world
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
                self.record = Some(*record);
                self.after(1_000, Happening::Answer(id, Outcome::Done(None)));
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
                let whom = whom.expect("nobody is told to follow a stranger");
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

    // Replication.

    fn replicate(&mut self, node: usize) {
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

    fn connect(&mut self, node: usize, primary: usize) {
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

    fn finish_copy(&mut self, node: usize, primary: usize) {
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
    fn wake(&mut self, node: usize) {
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

    fn apply(&mut self, node: usize) {
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
    fn spread(&mut self, primary: usize, write: Write) {
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

    // Writers.

    fn write(&mut self, writer: usize) {
        let think = self.pace.think;
        let pause = think / 2 + self.roll(think);
        self.after(pause, Happening::Write(writer));
        if self.out[writer].is_some() {
            return;
        }
        let Some(table) = self.table.as_ref().filter(|table| table.held_since.is_none()) else {
            return;
        };
        let Some(node) = table.primary.map(NodeId::index) else {
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

    fn write_arrives(&mut self, request: Request) {
        let (node, proxy) = (request.node, self.proxy());
        let server = &self.servers[node];
        if !self.reaches(node, proxy) {
            return;
        }
        if !server.up {
            self.out[request.writer] = None;
            self.after(500, Happening::Lost(node));
            return;
        }
        if server.stopped || (server.is_primary() && server.paused_until > self.now) {
            self.stuck[node].push(request);
            return;
        }
        self.execute(request);
    }

    fn execute(&mut self, request: Request) {
        let node = request.node;
        let done = self.servers[node].write(request.write, self.now);
        if done {
            self.spread(node, request.write);
        }
        let hop = self.hop();
        self.after(hop, Happening::Reply(request, done));
    }

    fn reply(&mut self, request: Request, done: bool) {
        let proxy = self.proxy();
        if !self.reaches(request.node, proxy) {
            return;
        }
        if self.out[request.writer] == Some(request) {
            self.out[request.writer] = None;
            if done {
                self.acked.insert(request.write);
            }
            if !done {
                let signal = Signal::Refused("READONLY".to_owned());
                self.tell(Event::Signal { node: id(request.node), signal });
            } else if self.now > self.heard + 50_000 {
                self.heard = self.now;
                self.tell(Event::Signal { node: id(request.node), signal: Signal::Alive });
            }
        }
    }

    fn unstick(&mut self, node: usize) {
        for request in std::mem::take(&mut self.stuck[node]) {
            self.execute(request);
        }
    }

    // Faults.

    fn strike(&mut self, fault: Fault) {
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
            Fault::Stall(length) => {
                self.stalled_until = self.now + length;
                self.after(length, Happening::Woken);
            }
        }
    }

    fn kill(&mut self, node: usize) {
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

    fn heal(&mut self, one: usize, other: usize) {
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

pub(crate) fn address(node: usize) -> Address {
    Address { host: format!("n{node}"), port: 6379 }
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(u16::try_from(node).expect("few nodes"))
}
