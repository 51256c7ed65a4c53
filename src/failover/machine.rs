//! The machine's frame: events in, actions out, deadlines; the states' own work stands in the files beside.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::topology::{Health, NodeId, NodeSpec, Replication, find, position};

use super::budget::Budget;
use super::declare::Gone;
use super::episode::Timeline;
use super::node::{Node, Sight, look};
use super::remedy::Want;
use super::slow::{Gauge, Slowness};
use super::state::State;
use super::verdict::Trace;
use super::{Action, ActionId, Event, Level, Note, OrderId, Outcome, Phase, Record, Settings, Step, Verdict};

/// Deadlines of single steps; `failover.md` §1.8.
pub(super) const PROBE: Duration = Duration::from_millis(200);
pub(super) const SEAL: Duration = Duration::from_millis(300);
pub(super) const PROMOTE: Duration = Duration::from_millis(500);
pub(super) const VERIFY: Duration = Duration::from_millis(500);
pub(super) const FOLLOW: Duration = Duration::from_millis(500);
/// Reading what only an old primary has, and writing it to a disk.
pub(super) const CAPTURE: Duration = Duration::from_secs(3);
/// Beyond a step's own deadline the machine stops waiting for the shell to tell.
const GRACE: Duration = Duration::from_millis(100);
/// A record that could not be written is tried again after this.
const RECORD_AGAIN: Duration = Duration::from_secs(5);

/// What kind of action is out; at most one of a kind per node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Probe,
    Seal,
    Promote,
    Verify,
    Follow,
    Pause,
    Capture,
    Unpause,
    Tune,
    Restore,
    Quiesce,
    Record,
}

/// An action that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) node: Option<NodeId>,
    pub(super) kind: Kind,
    pub(super) asked: Instant,
    pub(super) within: Duration,
    pub(super) until: Instant,
}

/// The answer to an action, until the state has looked at it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) node: Option<NodeId>,
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
}

/// The present decision.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) epoch: u64,
    pub(super) primary: Option<NodeId>,
    /// run_id of the primary when decided; empty: not known.
    pub(super) run_id: String,
    /// Its history.
    pub(super) replid: String,
    /// The history that it branched off when it was promoted, until somebody follows it: those who wait there hold
    /// everything up to the branch, and nobody but the primary holds more. Empty: none.
    pub(super) parent: String,
    /// The furthest offset seen of it.
    pub(super) offset: u64,
    pub(super) fork_offset: u64,
    /// No key was held when last seen.
    pub(super) empty: bool,
}

/// Decides who leads a group of nodes. Feed it with [`handle`](Self::handle), then drain
/// [`next_action`](Self::next_action), then come back by [`next_deadline`](Self::next_deadline) at the latest.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) nodes: Vec<Node>,
    pub(super) group: Group,
    pub(super) state: State,
    /// The state's name, also while its data is taken out to be worked on.
    pub(super) phase: Phase,
    pub(super) now: Instant,
    pub(super) queue: VecDeque<Action>,
    pub(super) pending: BTreeMap<ActionId, Pending>,
    pub(super) answer: Option<Answer>,
    last_id: u64,
    /// The earliest instant at which something changes by itself.
    wake: Option<Instant>,
    pub(super) held: Option<(Instant, String)>,
    /// Until then the hold does not count: a long request explains the silence.
    pub(super) explained_until: Option<Instant>,
    pub(super) published: Option<Verdict>,
    /// What was told last while nobody was known.
    pub(super) told: String,
    /// What was found at the start.
    pub(super) memory: Option<Record>,
    pub(super) recorded: Option<Record>,
    pub(super) record_after: Instant,
    /// An earlier life began to replace the primary, and this one has not decided anything yet.
    pub(super) resuming: bool,
    /// The history of which an earlier life may have promoted somebody: who turns up as such is nobody's primary.
    pub(super) half_made: Option<String>,
    pub(super) budget: Budget,
    pub(super) timeline: Timeline,
    /// Who else decides here, and when that was last heard, or could last not have been.
    pub(super) other_brain: Option<(String, Instant)>,
    /// Another process has taken over from this one.
    pub(super) yielded: bool,
    /// No planned switch by itself before this.
    pub(super) planned_after: Instant,
    pub(super) trace: Trace,
    /// Recorded as in sync, and not declared any more: they may hold what nobody else has until all who are declared have caught up.
    pub(super) undeclared: Vec<(String, String)>,
    /// Who is not declared, the longest gone first, [`NODES_MAX`](crate::topology::NODES_MAX) at most.
    pub(super) gone: VecDeque<Gone>,
    /// Nodes that came to be declared while the machine ran.
    pub(super) declared: u64,
    /// Replicas of the primary's that no configuration names, as of the last look at it.
    pub(super) strangers: usize,
    /// Since when the primary has lacked replicas that writes wait for.
    pub(super) alone_since: Option<Instant>,
    /// They wait for none until those are back.
    pub(super) degraded: bool,
    /// How long nodes take to answer.
    pub(super) gauge: Gauge,
    /// No switch away from a slow primary before this.
    pub(super) slow_after: Instant,
    /// The primary refuses writes for want of replicas.
    pub(super) want: Option<Want>,
    /// The order that is being carried out.
    pub(super) order: Option<OrderId>,
    /// It panics when it contradicts itself.
    pub(super) checks: bool,
}

impl Machine {
    /// A machine of these nodes, in the order of ids, that has seen nobody yet; `record` is what was kept of an earlier life.
    #[must_use]
    pub fn new(
        nodes: Vec<(NodeId, NodeSpec)>,
        settings: Settings,
        record: Option<Record>,
        now: Instant,
    ) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().map(|(id, spec)| Node::new(id, spec, now)).collect();
        let recorded = record.iter().flat_map(|record| record.run_ids.iter().cloned());
        let undeclared: Vec<_> =
            recorded.filter(|(address, _)| !nodes.iter().any(|node| node.name() == *address)).collect();
        let epoch = record.as_ref().map_or(0, |record| record.epoch);
        let gauge = Gauge::new(Slowness::of(settings.busy_timeout, settings.interval));
        let budget = Budget::new(settings.burst, settings.refill, now);
        let mut machine = Self {
            settings,
            nodes,
            group: Group { epoch, ..Group::default() },
            state: State::Discover { since: now },
            phase: Phase::Discover,
            now,
            queue: VecDeque::new(),
            pending: BTreeMap::new(),
            answer: None,
            last_id: 0,
            wake: Some(now),
            held: None,
            explained_until: None,
            published: None,
            told: String::new(),
            memory: None,
            recorded: None,
            record_after: now,
            resuming: false,
            half_made: None,
            budget,
            timeline: Timeline::default(),
            other_brain: None,
            yielded: false,
            planned_after: now,
            trace: Trace::default(),
            undeclared,
            gone: record.as_ref().map(Record::gone).unwrap_or_default(),
            declared: 0,
            strangers: 0,
            alone_since: None,
            degraded: false,
            gauge,
            slow_after: now,
            want: None,
            order: None,
            checks: cfg!(debug_assertions),
        };
        let mut nodes = std::mem::take(&mut machine.nodes);
        nodes.iter_mut().for_each(|node| machine.remember(node));
        (machine.nodes, machine.memory) = (nodes, record);
        machine.hold("no primary was found yet".to_owned());
        machine
    }

    /// Takes note of `event`, which happened at `now` at the latest, and decides. `now` never goes back.
    pub fn handle(&mut self, event: Event, now: Instant) {
        self.now = now.max(self.now);
        self.budget.grow(self.now);
        match event {
            Event::Seen(seen) => self.see(&seen),
            Event::Timed { node, took, explained } => self.time(node, took, explained),
            Event::Signal { node, signal } => self.sense(node, signal),
            Event::Outcome { id, outcome } => self.settle(id, outcome),
            Event::Changed { node, run_id, changes } => {
                if self.is_declared(node) {
                    self.note_changes(node, run_id, changes);
                }
            }
            Event::Order { id, order } => self.obey(id, order),
            Event::Compared(lacking) => {
                for (node, lacks) in lacking {
                    if self.is_declared(node) {
                        self.node_mut(node).lacks = lacks;
                    }
                }
            }
            Event::Declared(nodes) => self.declare(nodes),
            Event::OtherBrain(who) => self.hear(who),
            Event::Yielded(yielded) => {
                self.yielded = yielded;
                if !yielded {
                    // What was recorded meanwhile was recorded nowhere.
                    self.recorded = None;
                }
            }
            Event::Tick { late } => {
                if late {
                    self.forgive();
                }
            }
        }
        self.advance();
        self.expire();
        self.close_order();
        self.learn();
        self.publish();
        self.record();
        self.check_invariants();
    }

    /// The next thing to do; call until `None` before the next event.
    pub fn next_action(&mut self) -> Option<Action> {
        self.queue.pop_front()
    }

    /// When the machine wants a [`Event::Tick`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.until).chain(self.wake).min()
    }

    /// Lets the present state look at the world, as often as it leads to another.
    fn advance(&mut self) {
        self.wake = None;
        // A bound, not an expectation: the longest chain is Suspect … Promote.
        for _ in 0..16 {
            let from = self.phase;
            self.timeline.enter(self.now, from.name());
            let state = std::mem::replace(&mut self.state, State::Steady);
            self.state = self.work(state);
            self.phase = self.state.phase();
            if from == self.phase {
                break;
            }
            self.check_transition(from, self.phase);
            self.timeline.enter(self.now, self.phase.name());
        }
        self.answer = None;
    }

    fn work(&mut self, state: State) -> State {
        match state {
            State::Discover { since } => self.discover(since),
            State::Steady => self.steady(),
            State::Suspect { trial } => self.suspect(trial),
            State::Confirm { since, trial } => self.confirm(since, trial),
            State::Drain { since, trial, samples } => self.drain(since, trial, samples),
            State::Seal { since, targets, to, goal } => self.seal(since, targets, to, goal),
            State::Select { since, targets, to, goal } => self.select(since, &targets, to, goal),
            State::Promote { since, candidate, rest, goal, unknown } => {
                self.promote(since, candidate, rest, goal, unknown)
            }
            State::Verify { since, candidate, rest, goal, again, lowered } => {
                self.verify(since, candidate, rest, goal, again, lowered)
            }
            State::Release { primary, goal } => self.release(primary, &goal),
            State::Intend { since, switch } => self.intend(since, switch),
            State::Quiesce { switch } => self.quiesce(switch),
            State::Pause { switch } => self.pause(switch),
            State::CatchUp { since, switch } => self.catch_up(since, switch),
            State::Demote { since, switch, unknown } => self.demote(since, switch, unknown),
            State::Revert { since, switch, why } => self.revert(since, switch, why),
            State::Blocked { since, reason, sealed } => self.blocked(since, reason, sealed),
            State::Observe { since } => self.observe(since),
        }
    }

    /// Notes the outcome of an action and keeps it for the state.
    fn settle(&mut self, id: ActionId, outcome: Outcome) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        if let Some(node) = pending.node {
            self.look_back(node, &pending, &outcome);
            self.rejoined(node, pending.kind, &outcome);
            if pending.kind == Kind::Restore {
                self.put_back_ended(node, &outcome);
            }
        }
        if pending.kind == Kind::Record && outcome != Outcome::Done(None) {
            self.recorded = None;
            self.record_after = self.now + RECORD_AGAIN;
            self.tell(
                Level::Warn,
                format!("the record of epoch {} was not written: {}", self.group.epoch, words(&outcome)),
            );
        }
        self.answer = Some(Answer { node: pending.node, kind: pending.kind, outcome });
    }

    /// What an outcome says of the node itself. A probe sent before a step that changed the node may be
    /// answered after it: such old news is dropped.
    fn look_back(&mut self, node: NodeId, pending: &Pending, outcome: &Outcome) {
        let now = self.now;
        let changes = matches!(pending.kind, Kind::Seal | Kind::Promote | Kind::Follow);
        let node = self.node_mut(node);
        match outcome {
            Outcome::Done(Some(_)) if !changes && pending.asked < node.changed_at => node.alive_at = now,
            Outcome::Done(Some(facts)) => {
                let mut facts = facts.clone();
                if pending.kind != Kind::Probe {
                    // Only PING tells.
                    facts.cannot_persist = node
                        .facts
                        .as_ref()
                        .is_some_and(|before| before.run_id == facts.run_id && before.cannot_persist);
                }
                look(node, &Health::Answered(facts), pending.asked, now);
            }
            Outcome::Down(text) => look(node, &Health::Down(text.clone()), pending.asked, now),
            Outcome::Failed(text) if pending.kind == Kind::Probe => {
                look(node, &Health::Refused(text.clone()), pending.asked, now)
            }
            Outcome::Done(None) | Outcome::Captured(_) | Outcome::Failed(_) => node.alive_at = now,
            Outcome::Unknown => {}
        }
        if changes {
            node.changed_at = now;
            node.skip_look = true;
        }
    }

    /// Gives up actions that the shell did not answer in time.
    fn expire(&mut self) {
        let now = self.now;
        while let Some(id) = self.pending.iter().find(|(_, pending)| pending.until <= now).map(|(id, _)| *id)
        {
            self.settle(id, Outcome::Unknown);
            self.advance();
        }
    }

    /// After a stall of our own nobody was late but us: every timeout begins again.
    fn forgive(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            node.alive_at = now;
            if node.is_down() {
                node.sight = Sight::Unseen;
            }
        }
        for pending in self.pending.values_mut() {
            pending.until = now + pending.within + GRACE;
        }
        self.state.postpone(now);
        self.gauge.rest();
        self.tell(Level::Warn, "the proxy itself was stalled: timeouts begin again".to_owned());
    }

    // The kit of the states.

    pub(super) fn node(&self, node: NodeId) -> &Node {
        find(&self.nodes, node).expect("only declared nodes are spoken of")
    }

    pub(super) fn node_mut(&mut self, node: NodeId) -> &mut Node {
        let position = position(&self.nodes, node).expect("only declared nodes are spoken of");
        &mut self.nodes[position]
    }

    pub(super) fn is_declared(&self, node: NodeId) -> bool {
        position(&self.nodes, node).is_some()
    }

    /// All nodes but `one`.
    pub(super) fn others(&self, one: NodeId) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.id != one)
    }

    /// Wants to be looked at again at `when`, whatever happens. What is due already is being looked at.
    pub(super) fn wake_at(&mut self, when: Instant) {
        if when > self.now {
            self.wake = Some(self.wake.map_or(when, |wake| wake.min(when)));
        }
    }

    /// Orders a step, unless one of its kind is out on that node.
    pub(super) fn ask(&mut self, node: NodeId, step: Step, within: Duration) {
        let kind = match &step {
            Step::Probe => Kind::Probe,
            Step::Seal => Kind::Seal,
            Step::Promote => Kind::Promote,
            Step::Verify => Kind::Verify,
            Step::Follow { .. } => Kind::Follow,
            Step::Pause(_) => Kind::Pause,
            Step::Unpause => Kind::Unpause,
            Step::Tune(_) => Kind::Tune,
            Step::Restore(_) => Kind::Restore,
        };
        if !self.is_out(node, kind) {
            match kind {
                Kind::Pause => self.node_mut(node).paused = true,
                Kind::Unpause => self.node_mut(node).paused = false,
                Kind::Probe
                | Kind::Seal
                | Kind::Promote
                | Kind::Verify
                | Kind::Follow
                | Kind::Capture
                | Kind::Tune
                | Kind::Restore
                | Kind::Quiesce
                | Kind::Record => {}
            }
            let id = self.expect(Some(node), kind, within);
            self.queue.push_back(Action::Step { id, node, step, within });
        }
    }

    /// The primary writes again, if we paused it.
    pub(super) fn lift_pause(&mut self) {
        if let Some(primary) = self.group.primary.filter(|primary| self.node(*primary).paused) {
            self.ask(primary, Step::Unpause, FOLLOW);
        }
    }

    /// Registers an action that will be answered.
    pub(super) fn expect(&mut self, node: Option<NodeId>, kind: Kind, within: Duration) -> ActionId {
        self.last_id += 1;
        let id = ActionId(self.last_id);
        self.pending
            .insert(id, Pending { node, kind, asked: self.now, within, until: self.now + within + GRACE });
        id
    }

    pub(super) fn is_out(&self, node: NodeId, kind: Kind) -> bool {
        self.pending.values().any(|pending| pending.node == Some(node) && pending.kind == kind)
    }

    /// The answer that just came, if it is this one.
    pub(super) fn answered(&mut self, node: Option<NodeId>, kind: Kind) -> Option<Outcome> {
        self.answer.take_if(|answer| answer.node == node && answer.kind == kind).map(|answer| answer.outcome)
    }

    /// Asks every node how it is.
    pub(super) fn probe_all(&mut self) {
        for position in 0..self.nodes.len() {
            let node = self.nodes[position].id;
            self.ask(node, Step::Probe, PROBE);
        }
    }

    /// The primary's facts, when it answered.
    pub(super) fn primary_facts(&self) -> Option<&Replication> {
        self.group.primary.and_then(|primary| self.node(primary).answered())
    }

    pub(super) fn tell(&mut self, level: Level, text: String) {
        let note = Note { level, since: self.timeline.since(self.now), phase: self.phase.name(), text };
        self.timeline.note(&note);
        self.queue.push_back(Action::Tell(note));
    }

    /// Tells what the last change of primary left behind, be it over or not.
    pub(super) fn tell_after(&mut self, level: Level, text: String) {
        let since = self.timeline.since_change(self.now);
        let note = Note { level, since, phase: self.phase.name(), text };
        self.timeline.note_change(&note);
        self.queue.push_back(Action::Tell(note));
    }

    /// Holds writes from now on, or says anew why they are held.
    pub(super) fn hold(&mut self, reason: String) {
        let since = self.held.as_ref().map_or(self.now, |(since, _)| *since);
        self.held = Some((since, reason));
        self.timeline.hold(self.now, true);
        self.publish();
    }

    /// The hold counts from now on, if it does not yet.
    pub(super) fn count_hold(&mut self) {
        self.explained_until = self.explained_until.map(|until| until.min(self.now));
    }

    /// Lets writes go.
    pub(super) fn open(&mut self) {
        self.held = None;
        self.explained_until = None;
        self.timeline.hold(self.now, false);
        self.publish();
    }

    /// Begins an episode unless one goes on.
    pub(super) fn begin(&mut self, ordered: bool) {
        self.timeline.begin(self.now, ordered, (self.group.epoch, self.group.primary));
    }

    /// Ends the episode that goes on, if any.
    pub(super) fn end(&mut self) {
        self.timeline.end(self.now, (self.group.epoch, self.group.primary));
    }
}

/// An outcome in words.
pub(super) fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(_) | Outcome::Captured(_) => "done".to_owned(),
        Outcome::Failed(text) | Outcome::Down(text) => text.clone(),
        Outcome::Unknown => "no answer in time".to_owned(),
    }
}
