//! The loop that joins eyes, brain and hands: events in, decisions drained, the routing table published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use crate::failover::{
    Action, ActionId, Changes, Event, Level, Machine, Note, OrderId, Outcome, Phase, Signal, Step, Verdict,
};
use crate::routing::{Gate, NodeRoute, Publisher, RoutingTable};
use crate::topology::{Address, Answer, Marks, NodeId, NodeSpec, Order, Placed, find};

use super::actuator::{Performed, perform};
use super::black_box::BlackBox;
use super::brains::Greeted;
use super::capture::capture;
use super::caught_up::CaughtUp;
use super::coordinator::Coordinator;
use super::declared::{Declaration, Declared};
use super::link::Dial;
use super::monitor::{Heard, Pace};
use super::names::Seen;
use super::parity::Warm;
use super::quarantine::Quarantine;
use super::watched::Watched;
use super::weights::Weights;
use super::yielding::{Brain, Regaining, Will, Yielding, changes_something};
use super::{NodeFacts, ParityReport, Quarantined, Status};

/// Longest wait of the loop; what comes later than this says how long the thread was stalled.
const BEAT: Duration = Duration::from_millis(100);

/// A stall longer than this discards outstanding timeouts: it was us, not the nodes.
const STALL: Duration = Duration::from_millis(500);

/// The snapshot for people is remade no more often than this, but after every note.
const STATUS_BEAT: Duration = Duration::from_millis(50);

/// An episode under way when the proxy stops is brought to its end for at most this long.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Other brains that are told apart by name; whoever may publish can call himself as he likes.
pub(super) const BRAINS_MAX: usize = 16;

/// How long a new primary is waited for to have its scripts: an application that meets one that is missing can load it.
const WARMING: Duration = Duration::from_millis(20);

/// How long a planned change of primary waits for the nodes to be compared.
const COMPARISON: Duration = Duration::from_millis(500);

/// Between two looks at the writes in flight.
const QUIESCE_BEAT: Duration = Duration::from_millis(1);
/// Workers have so long to notice that writes are held.
const QUIESCE_LEAST: Duration = Duration::from_micros(250);

/// Whom the driver talks with.
pub(super) struct Ends {
    pub(super) heard: mpsc::Receiver<Heard>,
    pub(super) signals: mpsc::Receiver<(NodeId, Signal)>,
    pub(super) orders: mpsc::Receiver<Placed>,
    /// Closed: the thread is to end.
    pub(super) wills: mpsc::Receiver<Will>,
    pub(super) publisher: Publisher,
    pub(super) status: watch::Sender<Arc<Status>>,
    pub(super) pace: watch::Sender<Pace>,
    pub(super) greets: watch::Sender<Greeted>,
    pub(super) parity: Parity,
    /// What names of several nodes stand for.
    pub(super) names: mpsc::Receiver<Seen>,
    /// Lists of nodes that are to be.
    pub(super) declarations: mpsc::Receiver<Declaration>,
    /// The last one that came to be.
    pub(super) declared: watch::Sender<Arc<Declared>>,
}

/// The task that brings every node what it has to have.
pub(super) struct Parity {
    /// Who has it.
    pub(super) reported: watch::Receiver<Arc<ParityReport>>,
    /// Has the nodes compared at once.
    pub(super) compare: mpsc::Sender<oneshot::Sender<()>>,
    /// Brings every script to a node that is about to lead.
    pub(super) warm: mpsc::Sender<Warm>,
}

/// The state of the loop.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) watched: Watched,
    pub(super) marks: Arc<Marks>,
    pub(super) ends: Ends,
    pub(super) coordinator: Box<dyn Coordinator>,
    quarantine: Quarantine,
    quarantined: Quarantined,
    /// In the order of ids.
    pub(super) nodes: Vec<NodeFacts>,
    /// Nobody answered there, or not with INFO. One that is only silent may still have its connections.
    pub(super) absent: BTreeSet<NodeId>,
    /// When each last answered.
    pub(super) heard_at: BTreeMap<NodeId, Instant>,
    pub(super) gone: BTreeMap<NodeId, Address>,
    /// In what names of nodes are not followed, one sentence each.
    pub(super) moved: Arc<[String]>,
    pub(super) verdict: Option<Verdict>,
    /// How many times writes were held, and whether the last time was part of a planned switch.
    holds: (u64, bool),
    pub(super) steps: JoinSet<StepEnd>,
    /// Those of them that change something, a node or the record.
    pub(super) changing: BTreeSet<ActionId>,
    /// Orders that wait for the nodes to be compared.
    preparing: JoinSet<Placed>,
    pub(super) answers: BTreeMap<OrderId, oneshot::Sender<Answer>>,
    /// Orders that are over and whose ends are told once the snapshot for people shows them.
    answered: Vec<(oneshot::Sender<Answer>, Answer)>,
    last_order: u64,
    pub(super) caught_up: CaughtUp,
    pub(super) weights: Weights,
    black_box: BlackBox,
    pub(super) other_brains: Vec<String>,
    status_at: Instant,
    pub(super) status_due: bool,
    /// Who waits to be told that nothing is decided here any more.
    pub(super) yielding: Option<Yielding>,
    /// It was taken back in vain.
    pub(super) regaining: Option<Regaining>,
    pub(super) brain: Brain,
}

/// An action that ended.
pub(super) struct StepEnd {
    id: ActionId,
    node: Option<NodeId>,
    outcome: Outcome,
    changes: Changes,
}

/// What a turn of the loop woke up for.
enum Woken {
    Heard(Heard),
    Signal(NodeId, Signal),
    Ended(StepEnd),
    Ordered(Placed),
    Prepared(Placed),
    Time,
    Wanted(Will),
    Declared(Declaration),
    Named(Seen),
    Stop,
}

impl Driver {
    pub(super) fn new(
        (coordinator, machine): (Box<dyn Coordinator>, Machine),
        brain: Brain,
        watched: Watched,
        marks: Arc<Marks>,
        quarantine: Quarantine,
        ends: Ends,
    ) -> Self {
        Self {
            machine,
            watched,
            marks,
            ends,
            coordinator,
            quarantine,
            quarantined: Quarantined::default(),
            nodes: unseen(&brain.nodes),
            absent: brain.nodes.iter().map(|(id, _)| *id).collect(),
            heard_at: BTreeMap::new(),
            gone: BTreeMap::new(),
            moved: Arc::default(),
            verdict: None,
            holds: (0, false),
            steps: JoinSet::new(),
            changing: BTreeSet::new(),
            preparing: JoinSet::new(),
            answers: BTreeMap::new(),
            answered: Vec::new(),
            last_order: 0,
            caught_up: CaughtUp::default(),
            weights: Weights::default(),
            black_box: BlackBox::new(Instant::now()),
            other_brains: Vec::new(),
            status_at: Instant::now(),
            status_due: true,
            yielding: None,
            regaining: None,
            brain,
        }
    }

    /// Runs until it is told to stop. Every branch of the wait is cancel-safe: it only takes from a queue.
    pub(super) async fn run(mut self) {
        self.feed(Event::Tick { late: false });
        let mut stop_by: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if stop_by.is_some_and(|by| now >= by || !is_acting(self.machine.phase())) {
                break;
            }
            let wake = self.machine.next_deadline().unwrap_or(now + BEAT).min(now + BEAT);
            let woken = self.wait(wake, stop_by.is_some()).await;
            let stalled = Instant::now().saturating_duration_since(wake);
            if stalled > STALL {
                warn!(stalled_ms = millis(stalled), "the control thread was stalled");
                self.feed(Event::Tick { late: true });
            }
            self.hear_parity();
            match woken {
                Woken::Heard(heard) => self.take(heard, stalled > STALL),
                Woken::Signal(node, signal) => self.feed(Event::Signal { node, signal }),
                Woken::Ended(end) => self.settle(end),
                Woken::Ordered(placed) => self.prepare(placed),
                Woken::Prepared(placed) => self.order(placed),
                Woken::Time => self.feed(Event::Tick { late: false }),
                Woken::Wanted(will) => self.heed(will),
                Woken::Declared(declaration) => self.redeclare(declaration),
                Woken::Named(seen) => self.hear_names(&seen),
                Woken::Stop => stop_by = Some(Instant::now() + STOP_PATIENCE),
            }
            self.try_to_yield();
            self.try_to_regain();
            self.show();
        }
        info!("the control thread ends");
    }

    async fn wait(&mut self, wake: Instant, stopping: bool) -> Woken {
        tokio::select! {
            will = self.ends.wills.recv(), if !stopping => will.map_or(Woken::Stop, Woken::Wanted),
            Some(Ok(end)) = self.steps.join_next() => Woken::Ended(end),
            Some(Ok(placed)) = self.preparing.join_next() => Woken::Prepared(placed),
            Some(heard) = self.ends.heard.recv() => Woken::Heard(heard),
            Some((node, signal)) = self.ends.signals.recv() => Woken::Signal(node, signal),
            Some(placed) = self.ends.orders.recv() => Woken::Ordered(placed),
            Some(seen) = self.ends.names.recv() => Woken::Named(seen),
            Some(declaration) = self.ends.declarations.recv() => Woken::Declared(declaration),
            () = tokio::time::sleep_until(wake.into()) => Woken::Time,
        }
    }

    /// Lets the machine decide, and does what it wants, before anything else happens.
    pub(super) fn feed(&mut self, event: Event) {
        self.machine.handle(event, Instant::now());
        while let Some(action) = self.machine.next_action() {
            self.carry_out(action);
        }
        let pace = if is_acting(self.machine.phase()) { Pace::Fast } else { Pace::Ordinary };
        self.ends.pace.send_if_modified(|before| std::mem::replace(before, pace) != pace);
    }

    fn carry_out(&mut self, action: Action) {
        self.changing.extend(changes_something(&action));
        match action {
            Action::Publish(verdict) => self.publish(verdict),
            Action::Tell(note) => self.tell(&note),
            Action::Answer { id, result } => {
                if let Some(answer) = self.answers.remove(&id) {
                    self.answered.push((answer, result));
                    self.status_due = true;
                }
            }
            Action::Step { id, node, step, within } => {
                let Some(dial) = self.dial(node) else { return };
                debug!(node = %dial.address, ?step, "step");
                // The last step before writes are let go.
                let warmed = (step == Step::Verify).then(|| self.warm(node));
                self.steps.spawn(async move {
                    let warmed = tokio::time::timeout(WARMING, async { warmed?.await.ok() });
                    let (performed, _) = tokio::join!(perform(dial, step, within), warmed);
                    let Performed { outcome, changes } = performed;
                    StepEnd { id, node: Some(node), outcome, changes }
                });
            }
            Action::Capture { id, node, part, within } => {
                let Some(dial) = self.dial(node) else { return };
                let quarantine = self.quarantine.clone();
                self.steps.spawn(async move {
                    let captured = tokio::time::timeout(within, capture(&dial, &part, &quarantine)).await;
                    let outcome = captured.map_or(Outcome::Unknown, Outcome::Captured);
                    StepEnd { id, node: Some(node), outcome, changes: Changes::default() }
                });
            }
            Action::Record { id, record } => {
                let agreed = self.coordinator.propose(record);
                self.steps.spawn(async move { StepEnd::plain(id, written_outcome(agreed.await)) });
            }
            Action::Quiesce { id, within } => {
                let (marks, primary) =
                    (self.marks.clone(), self.verdict.as_ref().and_then(|now| now.primary));
                self.steps.spawn(async move { StepEnd::plain(id, quiesce(&marks, primary, within).await) });
            }
        }
    }

    /// `None`: it is no longer declared, and the machine awaits nothing of it.
    fn dial(&self, node: NodeId) -> Option<Dial> {
        find(&self.watched.dials(), node).cloned()
    }

    /// Has every script brought to a node; ends when it has them.
    fn warm(&self, node: NodeId) -> oneshot::Receiver<()> {
        let (done, warmed) = oneshot::channel();
        let _ = self.ends.parity.warm.try_send(Warm { node, done });
        warmed
    }

    fn publish(&mut self, verdict: Verdict) {
        // Both have the declared nodes in the order of ids.
        let nodes = self.nodes.iter().enumerate().map(|(at, known)| NodeRoute {
            id: known.id,
            address: known.address.clone(),
            zone: known.zone.clone(),
            readable: verdict.readable[at],
            generation: verdict.generations[at],
            run_id: known_run_id(&verdict.run_ids[at]),
        });
        let gate = verdict.held_since.map_or(Gate::Open, |since| Gate::Hold { since });
        let was_open = self.verdict.as_ref().is_some_and(|last| last.held_since.is_none());
        if was_open && verdict.held_since.is_some() {
            self.holds = (self.holds.0 + 1, self.machine.phase().is_planned());
        }
        let table = RoutingTable {
            epoch: verdict.epoch,
            primary: verdict.primary,
            gate,
            holds: self.holds.0,
            planned: self.holds.1,
            degraded: verdict.degraded,
            remedy: verdict.remedy,
            nodes: nodes.collect(),
        };
        self.verdict = Some(verdict);
        self.note_attached();
        self.ends.publisher.publish(table);
        self.status_due = true;
    }

    fn tell(&mut self, note: &Note) {
        let (phase, since_ms, text) = (note.phase, millis(note.since), note.text.as_str());
        match note.level {
            Level::Info => info!(phase, since_ms, "{text}"),
            Level::Warn => warn!(phase, since_ms, "{text}"),
            Level::Error => error!(phase, since_ms, "{text}"),
        }
        self.status_due = true;
    }

    /// What the nodes lack weighs when one of them is chosen.
    fn hear_parity(&mut self) {
        if self.ends.parity.reported.has_changed().unwrap_or(false) {
            let report = self.ends.parity.reported.borrow_and_update().clone();
            let lacking = report.nodes.iter().map(|(node, parity)| (*node, parity.lacks.clone()));
            self.feed(Event::Compared(lacking.collect()));
            self.status_due = true;
        }
    }

    /// Before a planned change of primary the nodes are compared: who lacks what the primary has is to be known.
    fn prepare(&mut self, placed: Placed) {
        let compare = match placed.order {
            Order::Switchover { .. } => self.ends.parity.compare.clone(),
            Order::Failover { .. } | Order::Adopt { .. } => return self.order(placed),
        };
        self.preparing.spawn(async move {
            let (done, compared) = oneshot::channel();
            if compare.try_send(done).is_ok() {
                let _ = tokio::time::timeout(COMPARISON, compared).await;
            }
            placed
        });
    }

    fn order(&mut self, placed: Placed) {
        self.last_order += 1;
        let id = OrderId(self.last_order);
        info!(order = ?placed.order, "ordered");
        self.answers.insert(id, placed.answer);
        self.feed(Event::Order { id, order: placed.order });
    }

    fn settle(&mut self, end: StepEnd) {
        self.changing.remove(&end.id);
        if let Some(node) = end.node.filter(|_| end.changes != Changes::default()) {
            // The step's own facts tell the node's life: the monitor may not have seen it yet.
            let run_id = match &end.outcome {
                Outcome::Done(Some(facts)) => Some(facts.run_id.clone()),
                _ => None,
            };
            self.feed(Event::Changed { node, run_id, changes: end.changes });
        }
        if let Outcome::Captured(captured) = &end.outcome {
            self.quarantined.add(captured);
            self.black_box.captured(captured, &self.machine.status(Instant::now()).episodes);
        }
        debug!(id = end.id.0, outcome = ?end.outcome, "step ended");
        self.feed(Event::Outcome { id: end.id, outcome: end.outcome });
    }

    /// Replaces the snapshot for people, when it is due.
    fn show(&mut self) {
        let now = Instant::now();
        if !self.status_due && now.saturating_duration_since(self.status_at) < STATUS_BEAT {
            return;
        }
        self.status_due = false;
        self.status_at = now;
        let mut machine = self.machine.status(now);
        let closed = self.black_box.note(now, self.marks.tolls.take(), &mut machine.episodes);
        if machine.other_brain.is_none() {
            self.other_brains.clear();
        }
        self.ends.status.send_replace(Arc::new(Status {
            at: now,
            at_wall: SystemTime::now(),
            machine,
            nodes: self.nodes.clone(),
            gone: self.gone.clone(),
            settings_changed: self.machine.settings_changed(),
            other_brains: self.other_brains.clone(),
            quarantined: self.quarantined,
            parity: self.ends.parity.reported.borrow().clone(),
            moved: self.moved.clone(),
        }));
        if let Some(note) = closed {
            self.tell(&note);
        }
        // Whoever ordered something and asks right afterwards is to find it done.
        for (answer, result) in self.answered.drain(..) {
            let _ = answer.send(result);
        }
    }
}

impl StepEnd {
    fn plain(id: ActionId, outcome: Outcome) -> Self {
        Self { id, node: None, outcome, changes: Changes::default() }
    }
}

fn known_run_id(run_id: &str) -> Option<Arc<str>> {
    (!run_id.is_empty()).then(|| run_id.into())
}

/// The nodes before anyone looked.
pub(super) fn unseen(nodes: &[(NodeId, NodeSpec)]) -> Vec<NodeFacts> {
    let unseen = |(id, spec): &(NodeId, NodeSpec)| NodeFacts {
        id: *id,
        address: spec.address.clone(),
        zone: spec.zone.clone(),
        facts: None,
        seen: None,
        ping: None,
        error: None,
    };
    nodes.iter().map(unseen).collect()
}

/// States in which the machine waits for facts and outcomes: every millisecond counts, and stopping would leave
/// the group half changed.
pub(super) fn is_acting(phase: Phase) -> bool {
    match phase {
        Phase::Steady | Phase::Blocked | Phase::Observe | Phase::Discover => false,
        Phase::Suspect
        | Phase::Confirm
        | Phase::Drain
        | Phase::Seal
        | Phase::Select
        | Phase::Promote
        | Phase::Verify
        | Phase::Release
        | Phase::Intend
        | Phase::Quiesce
        | Phase::Pause
        | Phase::CatchUp
        | Phase::Demote
        | Phase::Revert => true,
    }
}

/// Waits until no write is in flight on `primary`, and a moment at least: a worker that read the table before it was replaced may be
/// about to send. One that takes longer than that meets the pause which comes next, and is refused after it. The first beat is spent
/// awake, since clients wait and a timer's grain is as long as all the rest of a switch.
async fn quiesce(marks: &Marks, primary: Option<NodeId>, within: Duration) -> Outcome {
    let Some(primary) = primary else {
        return Outcome::Done(None);
    };
    let begun = Instant::now();
    loop {
        let waited = begun.elapsed();
        let in_flight = marks.of(primary).writes_in_flight.load(Ordering::Relaxed);
        if in_flight == 0 && waited >= QUIESCE_LEAST {
            return Outcome::Done(None);
        }
        if waited >= within {
            return Outcome::Failed(format!("{in_flight} writes are still in flight"));
        }
        if waited < QUIESCE_BEAT {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(QUIESCE_BEAT).await;
        }
    }
}

fn written_outcome(written: Result<std::io::Result<()>, oneshot::error::RecvError>) -> Outcome {
    match written {
        Ok(Ok(())) => Outcome::Done(None),
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Unknown,
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
