//! Who leads at the start: found, remembered, or begun. And which changes from outside are clean.

use std::time::{Duration, Instant};

use crate::topology::{NodeId, Replication, Role};

use super::candidate::Reason;
use super::machine::{Kind, Machine, PROBE};
use super::node::{Node, Sight};
use super::state::{Cause, Goal, GoalKind, State, Trial};
use super::{EmptyPrimary, Intent, Level, Mode, OnNoQuorum, Step};

/// While nobody is known, every node is asked again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// Until then nobody is told that answers are missing.
const FIRST_ANSWERS: Duration = Duration::from_millis(500);

/// A brain that was not heard for this long has left: Sentinels and proxies greet every two seconds, and connections with
/// their names are looked for every ten while one was found.
const BRAIN_QUIET: Duration = Duration::from_secs(30);

/// What the nodes together say at a start without a record.
enum Finding {
    /// This one leads already.
    Leads(NodeId),
    /// Nobody holds anything: this one may begin.
    Begins(NodeId),
    /// Neither; why.
    Unclear(String),
}

impl Machine {
    /// Nobody was decided in this life.
    pub(super) fn discover(&mut self, since: Instant) -> State {
        if self.must_observe() {
            return self.go_observe();
        }
        self.wake_at(self.now + AGAIN);
        if let Some(recorded) = self.remembered() {
            return self.resume(since, recorded);
        }
        match self.survey() {
            Finding::Leads(node) => {
                self.begin(false);
                self.tell(
                    Level::Info,
                    format!("{} leads and the others follow it: adopted", self.node(node).name()),
                );
                self.adopt(node)
            }
            Finding::Begins(node) if self.settings.mode == Mode::Auto => {
                self.begin(false);
                let name = self.node(node).name();
                self.tell(Level::Info, format!("all nodes are empty: {name}, the first declared, begins"));
                self.lead(node, GoalKind::Begin, Vec::new())
            }
            Finding::Begins(node) => {
                let name = self.node(node).name();
                self.wait(since, format!("all nodes are empty; order it: redhold adopt {name}"))
            }
            Finding::Unclear(why) => self.wait(since, why),
        }
    }

    /// The recorded primary, if it is still declared.
    pub(super) fn remembered(&self) -> Option<NodeId> {
        let record = self.memory.as_ref()?;
        self.nodes.iter().find(|node| node.name() == record.primary).map(|node| node.id)
    }

    /// Stays; says why once, when it is not just the first answers that are still coming in.
    fn wait(&mut self, since: Instant, why: String) -> State {
        let told = since + FIRST_ANSWERS;
        if self.now >= told && self.told != why {
            self.tell(Level::Warn, why.clone());
            self.told.clone_from(&why);
        }
        self.wake_at(told);
        if self.held.as_ref().is_none_or(|(_, said)| *said != why) {
            self.hold(why);
        }
        State::Discover { since }
    }

    fn survey(&self) -> Finding {
        let missing: Vec<String> =
            self.nodes.iter().filter(|node| node.answered().is_none()).map(Node::says).collect();
        if !missing.is_empty() {
            return Finding::Unclear(format!("waiting for every node to answer: {}", missing.join("; ")));
        }
        let all = || self.nodes.iter().filter_map(|node| Some((node, node.answered()?)));
        if all().any(|(_, facts)| facts.loading) {
            return self.unclear("waiting for a node to load its data");
        }
        let is_blank = |facts: &Replication| {
            facts.keys == 0 && (facts.sealed || (facts.role == Role::Primary && facts.replicas.is_empty()))
        };
        let mut leaders = all().filter(|(_, facts)| facts.role == Role::Primary && !is_blank(facts));
        match (leaders.next(), leaders.next()) {
            (Some((leader, led)), None) => {
                let loyal = |(node, facts): (&Node, &Replication)| {
                    node.id == leader.id || node.is_in_step(&led.replid) || is_blank(facts)
                };
                if all().all(loyal) {
                    Finding::Leads(leader.id)
                } else {
                    self.unclear("not every other node follows the primary")
                }
            }
            (None, _) if all().all(|(_, facts)| is_blank(facts)) => match all().next() {
                Some((first, facts)) if facts.role == Role::Primary => Finding::Leads(first.id),
                Some((first, _)) => Finding::Begins(first.id),
                None => self.unclear("no node is declared"),
            },
            (None, _) => self.unclear("no node is a primary, and some hold data"),
            (Some(_), Some(_)) => self.unclear("more than one primary holds data"),
        }
    }

    fn unclear(&self, why: &str) -> Finding {
        Finding::Unclear(format!("{why}: {}; to decide: redhold adopt NODE", self.everyone()))
    }

    /// What each node says, in one line.
    pub(super) fn everyone(&self) -> String {
        self.nodes.iter().map(Node::says).collect::<Vec<_>>().join("; ")
    }

    /// A primary that leads already becomes the decided one, as a new epoch, and writes go.
    pub(super) fn adopt(&mut self, node: NodeId) -> State {
        let goal = Goal { kind: GoalKind::Begin, order: None, lineage: Vec::new(), floor: None };
        State::Release { primary: node, goal }
    }

    /// Orders `node` to lead.
    pub(super) fn lead(&mut self, node: NodeId, kind: GoalKind, lineage: Vec<String>) -> State {
        self.ask(node, Step::Promote, super::machine::PROMOTE);
        let goal = Goal { kind, order: None, lineage, floor: None };
        State::Promote { since: self.now, candidate: node, rest: Vec::new(), goal, unknown: None }
    }

    /// A record names the primary: believe it as far as the nodes do not say otherwise.
    fn resume(&mut self, since: Instant, recorded: NodeId) -> State {
        let patience = since + self.settings.timeout;
        let unknown = |node: &Node| matches!(node.sight, Sight::Unseen | Sight::Silent);
        if self.nodes.iter().any(unknown) && self.now < patience {
            self.wake_at(patience);
            return State::Discover { since };
        }
        let Some(record) = self.memory.take() else {
            return State::Discover { since };
        };
        self.group.primary = Some(recorded);
        self.group.replid.clone_from(&record.replid);
        self.group.fork_offset = record.fork_offset;
        self.group.empty = record.empty;
        self.group.run_id = self.node(recorded).in_sync.clone().unwrap_or_default();
        if let Some(intent) = &record.intent {
            return self.finish(recorded, intent);
        }
        let heir = self.heir();
        if let (None, Some(facts)) = (heir, self.node(recorded).answered().cloned()) {
            let known = facts.run_id == self.group.run_id || facts.replid == record.replid;
            if facts.role == Role::Primary && known && !facts.loading {
                self.take_facts(&facts);
                let name = self.node(recorded).name();
                self.tell(Level::Info, format!("{name} leads as recorded in epoch {}", self.group.epoch));
                self.open();
                return State::Steady;
            }
        }
        let trial = Trial { began: self.now, cause: Cause::Missing, order: None, to: None };
        self.begin_trial(trial)
    }

    /// An earlier life was replacing the primary. Whom it promoted leads, since clients may have written there already; when it
    /// got nowhere, the recorded one goes on. The number of the epoch that was begun is not given a second time to anybody else.
    fn finish(&mut self, recorded: NodeId, intent: &Intent) -> State {
        (self.resuming, self.half_made) = (true, Some(self.group.replid.clone()));
        let name = self.node(recorded).name();
        let whom = match intent {
            Intent::Failover => String::new(),
            Intent::Switch(to) => format!(" by {to}"),
        };
        self.begin(false);
        self.tell(Level::Warn, format!("{name} was being replaced{whom} when the proxy ended"));
        if self.heir().is_none() {
            self.group.epoch += 1;
            let well = self.node(recorded).answered().is_some_and(|facts| {
                facts.role == Role::Primary && facts.run_id == self.group.run_id && !facts.loading
            });
            if well {
                self.tell(Level::Info, format!("{name} still leads"));
                // It may have been told to pause.
                self.node_mut(recorded).paused = true;
                return self.adopt(recorded);
            }
            self.go_down_the_branch();
        }
        let trial = Trial { began: self.now, cause: Cause::Missing, order: None, to: None };
        self.begin_trial(trial)
    }

    /// Whom an earlier life promoted leads no more, but those who followed it name the history that it began: they hold what was
    /// written there.
    fn go_down_the_branch(&mut self) {
        let ours = self.group.replid.clone();
        // A branch whose head is a primary that answers is nobody's to inherit.
        let led = |replid: &String| {
            let mut answers = self.nodes.iter().filter_map(Node::answered);
            answers.any(|facts| facts.role == Role::Primary && facts.replid == *replid)
        };
        let branch = self.nodes.iter().filter_map(Node::answered).find(|facts| {
            facts.role == Role::Replica && !facts.loading && facts.replid2 == ours && !led(&facts.replid)
        });
        if let Some(branch) = branch.map(|facts| facts.replid.clone()) {
            self.group.replid = branch;
            self.group.parent = ours;
        }
    }

    /// A primary whose history continues ours, when no node that answers contradicts it: it was promoted by
    /// someone else, or by ourselves in an earlier life. The old primary must follow it, be sealed, or be dead, unless our own
    /// intent explains it.
    pub(super) fn heir(&self) -> Option<NodeId> {
        let ours = &self.group.replid;
        let old = self.group.primary?;
        let mut heirs = self.others(old).filter(|node| {
            node.answered().is_some_and(|facts| {
                facts.role == Role::Primary && !facts.loading && facts.replid2 == *ours && !ours.is_empty()
            })
        });
        let (Some(heir), None) = (heirs.next(), heirs.next()) else {
            return None;
        };
        if self.resuming {
            return Some(heir.id);
        }
        let facts = heir.facts.as_ref()?;
        // What started again may have branched off from what its disk remembered.
        let seen = self.nodes.iter().filter_map(Node::answered).filter(|facts| facts.replid == *ours);
        let most = seen.map(|facts| facts.offset).max().unwrap_or(0).max(self.group.offset);
        let whole = u64::try_from(facts.second_offset).is_ok_and(|next| next > most);
        if heir.in_sync.as_ref() != Some(&facts.run_id) && !whole {
            return None;
        }
        let led = facts.replid.clone();
        let agrees = |node: &Node| match &node.sight {
            Sight::Answered => node.facts.as_ref().is_some_and(|facts| {
                let points = facts.primary.as_ref().is_some_and(|address| heir.is_called(address));
                facts.sealed
                    || facts.role == Role::Replica && (points || (facts.link_up && facts.replid == led))
            }),
            Sight::Down { .. } => true,
            Sight::Refused(_) => false,
            Sight::Unseen | Sight::Silent => {
                node.id == old && node.silent_at(node.patience(&self.settings)) <= self.now
            }
        };
        self.others(heir.id).all(agrees).then_some(heir.id)
    }

    /// Follows a clean change of primary that someone else made.
    pub(super) fn follow_heir(&mut self, heir: NodeId) -> State {
        let name = self.node(heir).name();
        let text = if self.resuming {
            format!("{name} was promoted for it and leads")
        } else {
            format!("{name} was made primary from outside and continues our history: followed")
        };
        self.tell(Level::Warn, text);
        self.adopt(heir)
    }

    /// The primary, when it restarted and nobody can hold more than is seen: every other node restarted too, is in step with it,
    /// holds nothing, or was away already when the trouble began.
    fn restarted_group(&self, began: Instant) -> Option<NodeId> {
        let primary = self.group.primary?;
        // What it says is about to change.
        let facts = self.node(primary).answered_since(began).filter(|_| !self.is_out(primary, Kind::Seal))?;
        let restarted = |node: &Node| {
            node.facts.as_ref().is_some_and(|facts| node.in_sync.as_ref() != Some(&facts.run_id))
        };
        if facts.loading || (self.group.run_id == facts.run_id && facts.replid == self.group.replid) {
            return None;
        }
        // One that is away may hold more where writes wait for replicas.
        let settled = self.settings.durability.replicas == 0;
        let away = |node: &Node| {
            settled && node.answered().is_none() && node.alive_at + self.settings.timeout < began
        };
        let accounted = |node: &Node| {
            away(node)
                || self.settings.on_no_quorum == OnNoQuorum::Proceed
                || node.answered().is_some_and(|one| {
                    !one.loading && (restarted(node) || node.is_in_step(&facts.replid) || one.keys == 0)
                })
        };
        self.others(primary).all(accounted).then_some(primary)
    }

    /// Who may lead again after the primary restarted and no replica can take over; why not, otherwise.
    pub(super) fn revival(&self, began: Instant) -> Option<NodeId> {
        let primary = self.restarted_group(began)?;
        let facts = self.node(primary).answered()?;
        let holder =
            |node: &Node| node.answered().is_some_and(|one| one.keys > 0 && one.replid != facts.replid);
        let worthy = facts.keys > 0
            || self.group.empty
            || self.settings.empty_primary == EmptyPrimary::Accept
            || !self.others(primary).any(holder);
        worthy.then_some(primary)
    }

    /// How far in the group's history a primary is that restarted: a server goes on in the history that it saved when it boots
    /// sealed, and branches off it otherwise. A position in another history is one of before. `None`: it does not say (a
    /// server that starts from its append-only file forgets both).
    fn restored(&self, facts: &Replication, lineage: &[String]) -> Option<u64> {
        let saved = match facts.role {
            Role::Replica => (&facts.replid, facts.offset),
            Role::Primary => (
                &facts.replid2,
                u64::try_from(facts.second_offset).map_or(0, |second| second.saturating_sub(1)),
            ),
        };
        let holds_nothing = facts.keys == 0 && !self.group.empty;
        match saved {
            (replid, offset) if lineage.contains(replid) => Some(offset),
            (_, offset) => (offset > 0 || holds_nothing).then_some(0),
        }
    }

    /// The whole group restarted, and somebody came back with more of the history than the primary: these may lead after all.
    pub(super) fn pardon(&mut self, began: Instant) -> bool {
        let lineage = self.lineage();
        let Some(primary) = self.restarted_group(began) else {
            return false;
        };
        let facts = self.node(primary).answered();
        let empty = !self.group.empty && facts.is_some_and(|facts| facts.keys == 0);
        let accepted = empty && self.settings.empty_primary == EmptyPrimary::Accept;
        let restored = facts.and_then(|facts| self.restored(facts, &lineage));
        let Some(restored) = restored.filter(|_| !accepted) else {
            return false;
        };
        // Beside an empty primary only those count that were attached to it: what a sealed one had saved may be old.
        let holds_more = |node: &Node| {
            node.answered().is_some_and(|other| {
                let ours = other.replid == self.group.replid;
                // What it holds beyond the fork is what the group gave up.
                let shared = if ours { other.offset } else { other.offset.min(self.group.fork_offset) };
                shared > restored && other.keys > 0 && !(empty && other.sealed)
            })
        };
        let pardoned: Vec<NodeId> = self
            .others(primary)
            .filter(|node| node.ineligible(&lineage, began) == Some(Reason::Restarted) && holds_more(node))
            .map(|node| node.id)
            .collect();
        for id in &pardoned {
            let node = self.node_mut(*id);
            let (offset, run_id) =
                node.facts.as_ref().map_or((0, None), |facts| (facts.offset, Some(facts.run_id.clone())));
            node.in_sync = run_id;
            let (name, other) = (self.node(*id).name(), self.node(primary).name());
            self.tell(
                Level::Warn,
                format!(
                    "{name} restarted too, and holds more than {other}: offset {offset} against {restored}"
                ),
            );
        }
        !pardoned.is_empty()
    }

    /// The restarted primary leads again.
    pub(super) fn revive(&mut self, primary: NodeId) -> State {
        let node = self.node(primary);
        let (name, facts) = (node.name(), node.facts.clone().unwrap_or_default());
        let lost = if facts.keys == 0 && !self.group.empty {
            "empty: nobody holds the data any more"
        } else {
            "with the data it has"
        };
        self.tell(Level::Warn, format!("{name} restarted and leads again {lost}"));
        if facts.role == Role::Primary {
            return self.adopt(primary);
        }
        self.lead(primary, GoalKind::Begin, vec![self.group.replid.clone(), facts.replid])
    }

    /// Whether this machine may only look on.
    pub(super) fn must_observe(&self) -> bool {
        self.other_brain.is_some() || self.yielded || self.settings.mode == Mode::Off
    }

    pub(super) fn go_observe(&mut self) -> State {
        self.tell(Level::Info, "observing: the roles seen are followed, nothing is promoted".to_owned());
        State::Observe { since: self.now }
    }

    /// Routes to the node that its role and a majority of the replicas that answer agree on.
    pub(super) fn observe(&mut self, since: Instant) -> State {
        for position in 0..self.nodes.len() {
            if self.nodes[position].sight == Sight::Unseen {
                let node = self.nodes[position].id;
                self.ask(node, Step::Probe, PROBE);
            }
        }
        match self.agreed() {
            Some(leader) => {
                self.observe_leader(leader);
                if self.is_alone() {
                    return State::Steady;
                }
            }
            None if !self.must_observe() && self.group.primary.is_some() => {
                // Given back, and whoever led does not now: what became of him is found out as ever.
                let trial = Trial { began: self.now, cause: Cause::Missing, order: None, to: None };
                return self.begin_trial(trial);
            }
            None if self.held.is_none() && !self.only_waits() => {
                self.begin(false);
                let why = format!("no primary is agreed on: {}", self.everyone());
                self.tell(Level::Warn, why.clone());
                self.hold(why);
            }
            None => {}
        }
        if self.held.is_some() || self.only_waits() {
            // Whoever replaces a primary may be too busy to greet, or not be heard from here.
            if let Some((_, heard)) = &mut self.other_brain {
                *heard = self.now;
            }
        }
        State::Observe { since }
    }

    /// The primary that is followed does not answer at the moment, and has not been silent for long enough to be given up.
    fn only_waits(&mut self) -> bool {
        let Some(primary) = self.group.primary.map(|primary| self.node(primary)) else {
            return false;
        };
        let given_up = primary.silent_at(primary.patience(&self.settings));
        if primary.sight != Sight::Silent || given_up <= self.now {
            return false;
        }
        self.wake_at(given_up);
        true
    }

    /// The other brain was not heard for [`BRAIN_QUIET`], in which it could have been, or gave back what was yielded to it: this one
    /// decides again.
    fn is_alone(&mut self) -> bool {
        if !self.must_observe() {
            self.tell(Level::Info, "deciding again".to_owned());
            return true;
        }
        let quiet = match &self.other_brain {
            Some((_, heard)) if !self.yielded && self.settings.mode != Mode::Off => *heard + BRAIN_QUIET,
            Some(_) | None => return false,
        };
        if quiet > self.now {
            self.wake_at(quiet);
            return false;
        }
        let (who, _) = self.other_brain.take().unwrap_or_else(|| (String::new(), self.now));
        self.tell(
            Level::Warn,
            format!("{who} was not heard for {} s: deciding again", BRAIN_QUIET.as_secs()),
        );
        true
    }

    fn observe_leader(&mut self, leader: NodeId) {
        let run_id = self.node(leader).facts.as_ref().map(|facts| facts.run_id.clone()).unwrap_or_default();
        let known = self.group.primary == Some(leader) && self.group.run_id == run_id;
        if known && self.held.is_none() {
            return;
        }
        if !known {
            self.decide(leader);
        }
        let name = self.node(leader).name();
        self.tell(
            Level::Info,
            format!("{name} leads by its role and its replicas, epoch {}", self.group.epoch),
        );
        self.open();
        self.end();
    }

    /// The one primary that most of the answering replicas follow.
    fn agreed(&self) -> Option<NodeId> {
        let answers = || self.nodes.iter().filter_map(|node| Some((node, node.answered()?)));
        let replicas = answers().filter(|(_, facts)| facts.role == Role::Replica).count();
        let followers =
            |leader: &Replication| answers().filter(|(node, _)| node.is_in_step(&leader.replid)).count();
        let mut leaders = answers()
            .filter(|(_, facts)| facts.role == Role::Primary && !facts.loading)
            .filter(|(_, facts)| followers(facts) * 2 > replicas || replicas == 0);
        match (leaders.next(), leaders.next()) {
            (Some((leader, _)), None) => Some(leader.id),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }
}
