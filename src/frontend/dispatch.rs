//! One request: what it means, which lane it takes, whether it may go now.

use std::time::Instant;

use bytes::BytesMut;

use crate::backend::{Carries, Past, Pipeline};
use crate::command::{Class, Effect, Lane, classify};
use crate::durability::Demand;
use crate::error::Failure;
use crate::resp::{Request, RequestScanner};
use crate::routing::{Choice, Gate, ReadPolicy};
use crate::topology::NodeId;

use super::client::{ClientRef, Special};
use super::connection::{Connection, Step};
use super::cursor;
use super::large::Way;
use super::tag::tag_of;
use super::worker::{READ_SIZE, wake_at};

/// Requests from this size on are streamed on a connection of their own.
pub(super) const LARGE: u64 = 1 << 20;

/// A request on its way to a lane.
#[derive(Clone, Copy)]
pub(super) struct Dispatched<'a> {
    pub(super) request: Request<'a>,
    pub(super) class: Class,
    /// What its reply waits for.
    pub(super) demand: Demand,
    /// It may have been executed before.
    pub(super) resent: bool,
    /// When the client's wait began, if it began before now.
    pub(super) since: Option<Instant>,
}

impl Connection {
    /// Takes one request, or leaves it for later.
    pub(super) fn dispatch(&mut self, request: &Request<'_>, resent: bool, since: Option<Instant>) -> Step {
        if self.client.special.borrow().is_some() || self.client.session_reply.borrow().is_some() {
            return Step::Wait;
        }
        self.sent = None;
        let class = classify(request);
        self.client.live.looks_at(class.row);
        let demand = if self.worker.withholds { self.demand_of(&class, request) } else { Demand::NONE };
        let dispatched = Dispatched { request: *request, class, demand, resent, since };
        if matches!(class.lane, Lane::Owned | Lane::Own) && is_http(request) {
            // Redis takes these for a web page's attack on its port and says nothing. A node would close the connection at each try.
            self.client.doom("an HTTP request");
            return Step::Wait;
        }
        if self.judged
            && let Some(step) = self.judge(&dispatched)
        {
            return step;
        }
        if self.worker.restraint.get().is_any()
            && let Some(step) = self.restrained(&dispatched)
        {
            return step;
        }
        if self.worker.withholds
            && let Some(step) = self.hold_undurable(&dispatched)
        {
            return step;
        }
        if self.pinned.is_some() {
            return self.dispatch_pinned(&dispatched);
        }
        if request.raw().len() as u64 >= LARGE {
            match Way::of(&class, request, true) {
                Way::Streams => return self.pin(&dispatched),
                Way::Refused(failure) => return self.answer_failure(&failure),
                // As it would be were it small.
                Way::Owned(_) | Way::Quits | Way::Web => {}
            }
        }
        match class.lane {
            Lane::Shared if self.rewrites(&class) => self.hidden_command(&dispatched),
            Lane::Shared => self.send_shared(&dispatched),
            Lane::Scan => self.send_scan(&dispatched),
            Lane::Pubsub => self.send_pubsub(&dispatched),
            Lane::Script => self.send_script(&dispatched),
            Lane::ScriptCache => self.change_scripts(&dispatched),
            Lane::Session => self.session_command(&dispatched),
            Lane::Clients => self.client_command(&dispatched),
            Lane::Tracking if self.awaits_target(&dispatched) => Step::Wait,
            Lane::Owned => self.owned_command(&dispatched),
            Lane::Proxy => self.proxy_command(&dispatched),
            Lane::Transaction
            | Lane::Blocking
            | Lane::Wait
            | Lane::Subscribe
            | Lane::Monitor
            | Lane::ReplyMode
            | Lane::Tracking
            | Lane::Threaded
            | Lane::Own => self.pin(&dispatched),
        }
    }

    /// A request whose end has not arrived: one that will be large is judged and streamed from here on.
    pub(super) fn dispatch_partial(&mut self, scanner: &RequestScanner, bytes: &[u8]) -> Step {
        if scanner.known_len() < LARGE || self.pinned.is_some() {
            return Step::Taken;
        }
        if self.worker.restraint.get().paused {
            return self.pause();
        }
        self.dispatch_large(scanner, bytes)
    }

    /// Sends on a shared pipeline.
    pub(super) fn send_shared(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let class = &dispatched.class;
        if self.worker.is_stalled() {
            return self.pin(dispatched);
        }
        (self.spills, self.reads_at) = (false, None);
        // What is sent again goes to the primary: the replica that lost it may be chosen until it is found dead.
        let first = dispatched.since.is_none();
        let spreadable = first && class.effect == Effect::Read && !class.row.spec().primary_only;
        let mut pipeline =
            if spreadable { self.read_pipeline(dispatched) } else { self.primary_pipeline(class) };
        if let Ok(Some(found)) = &pipeline
            && let Some(error) = self.beyond_admission(found, &dispatched.request)
        {
            // A replica that wants a password does not answer for the primary.
            pipeline = self.primary_pipeline(class);
            if let Ok(Some(found)) = &pipeline
                && self.beyond_admission(found, &dispatched.request).is_some()
            {
                return self.ask_first(dispatched, error);
            }
        }
        match pipeline {
            Ok(Some(pipeline)) => {
                let step = self.send_on(&pipeline, dispatched);
                if step == Step::Taken {
                    if self.spills {
                        self.worker.spilled(&self.client);
                    }
                    if let Some(node) = self.reads_at {
                        self.reads_from(node);
                    }
                }
                step
            }
            Ok(None) => self.pin(dispatched),
            Err(step) => self.hold(step, dispatched.since),
        }
    }

    /// A read whose client is owed replies follows them: no wait, and at the primary it sees its own writes.
    fn read_pipeline(&mut self, dispatched: &Dispatched<'_>) -> Result<Option<Pipeline<ClientRef>>, Held> {
        let worker = self.worker.clone();
        let table = worker.current();
        let carries = carries(&dispatched.class);
        if worker.reads.policy == ReadPolicy::Primary && table.writable().is_some() {
            drop(table);
            return self.primary_pipeline(&dispatched.class);
        }
        let owes = self.client.lane.borrow().as_ref().filter(|lane| !lane.is_closed()).cloned();
        if owes.is_some() && (owes == self.primary || owes == self.scripts) {
            self.spills = self.client.spilled.get() > 0;
            drop(table);
            if self.spills && !worker.may_spill(&self.client) {
                return Err(Held);
            }
            return self.primary_pipeline(&dispatched.class);
        }
        let needed = self.needed(dispatched);
        let shows = |node| worker.shows(node, needed);
        let follows = owes.filter(|lane| lane.may_carry(carries) && shows(lane.target().node));
        match table.for_read(&worker.reads, worker.read_turn.get(), |node| worker.cost(node), shows) {
            Choice::Node(node) if Some(node) == table.primary => {
                worker.read_turn.set(node.slot() + 1);
                let spills = table.spills(&worker.reads);
                drop(table);
                if spills && !worker.may_spill(&self.client) {
                    return Err(Held);
                }
                self.spills = spills;
                self.primary_pipeline(&dispatched.class)
            }
            Choice::Node(node) => {
                let node = follows.as_ref().map_or(node, |lane| lane.target().node);
                worker.read_turn.set(node.slot() + 1);
                self.reads_at = Some(node);
                Ok(follows.or_else(|| self.open(node, carries)))
            }
            Choice::Hold => Err(Held),
        }
    }

    /// What follows a script that the client is still owed the reply of goes the same way, and need not wait for it.
    pub(super) fn primary_pipeline(&mut self, class: &Class) -> Result<Option<Pipeline<ClientRef>>, Held> {
        let node = match self.worker.current().for_primary() {
            Choice::Node(node) => node,
            Choice::Hold => return Err(Held),
        };
        if class.lane == Lane::Script {
            return Ok(self.script_pipeline(node));
        }
        if self.scripts.is_some() && self.owed_by_script().is_some() {
            return Ok(self.scripts.clone());
        }
        if let Some(known) = self.primary.as_ref().filter(|known| !known.is_closed()) {
            return Ok(Some(known.clone()));
        }
        self.primary = self.open(node, Carries::Anything);
        // A session command is asked as who the client may never become.
        if self.primary.is_some() && class.lane != Lane::Session {
            self.worker.warm(&self.target(node));
        }
        Ok(self.primary.clone())
    }

    /// The pipeline of the primary for this client's next script: the one that owes it replies, or one that does not keep
    /// others waiting.
    fn script_pipeline(&mut self, node: NodeId) -> Option<Pipeline<ClientRef>> {
        let now = self.worker.now();
        let free = |known: &Pipeline<ClientRef>| !known.is_closed() && !known.is_held_up(now);
        if self.owed_by_script().is_none() && !self.scripts.as_ref().is_some_and(free) {
            self.scripts = self.open(node, Carries::Scripts);
        }
        self.scripts.clone()
    }

    /// The pipeline for scripts at the primary, while it owes this client replies.
    fn owed_by_script(&self) -> Option<&Pipeline<ClientRef>> {
        let scripts = self.scripts.as_ref().filter(|scripts| !scripts.is_closed())?;
        let owes = self.client.owed.get() > 0 && self.client.lane.borrow().as_ref() == Some(scripts);
        owes.then_some(scripts)
    }

    fn open(&self, node: NodeId, carries: Carries) -> Option<Pipeline<ClientRef>> {
        let (identity, now) = (&self.session.identity, self.worker.now());
        self.worker.pools.pipeline(node, identity, carries, now, || self.target(node))
    }

    fn send_on(&mut self, pipeline: &Pipeline<ClientRef>, dispatched: &Dispatched<'_>) -> Step {
        let (client, request) = (&self.client, &dispatched.request);
        let len = request.raw().len();
        let owed = client.owed.get();
        if owed > 0 {
            let elsewhere = client.lane.borrow().as_ref().is_some_and(|lane| lane != pipeline);
            let limit = self.worker.settings.in_flight_per_client;
            let full =
                (client.in_flight.get() + len) as u64 > limit || owed >= client.window.get().requests();
            if elsewhere || full || client.special.borrow().is_some() {
                return Step::Wait;
            }
        } else if self.pinned.is_some() {
            return Step::Wait;
        }
        if !pipeline.has_room(len, client) {
            return Step::Wait;
        }
        if let Some(step) = self.hold_for_room(dispatched) {
            return step;
        }
        if self.gave_up() {
            return Step::Wait;
        }
        if owed == 0 {
            self.client.lane.replace(Some(pipeline.clone()));
        }
        self.forward(pipeline, dispatched);
        Step::Taken
    }

    fn forward(&mut self, pipeline: &Pipeline<ClientRef>, dispatched: &Dispatched<'_>) {
        let Dispatched { request, class, resent, since, .. } = dispatched;
        self.leave_queue();
        let (client, now) = (&self.client, self.worker.now());
        let past = Past { resent: *resent, waited: self.take_waited(*since) };
        let tag = tag_of(class.row, self.worker.spares && dispatched.demand.is_none());
        if self.worker.is_big(request.raw().len() as u64) {
            self.big_sent(dispatched, pipeline.target().node);
        }
        if !request.is_strict() {
            let mut multibulk = self.worker.multibulk.borrow_mut();
            multibulk.clear();
            request.write_multibulk(&mut multibulk);
            pipeline.send(client, tag, (&multibulk, 1), past, now);
            if multibulk.capacity() > READ_SIZE {
                *multibulk = BytesMut::new();
            }
        } else {
            pipeline.send(client, tag, (request.raw(), 1), past, now);
        }
        client.owed.set(client.owed.get() + 1);
        client.in_flight.set(client.in_flight.get() + request.raw().len());
        // Struck off by the row's effect, whatever the arguments made of it.
        let effect = class.row.spec().effect;
        if self.worker.is_waited_for(effect) {
            self.worker.writes_sent(pipeline.target().node, 1);
        }
        if effect == Effect::Write {
            self.touches(dispatched);
            self.session.wrote_in = pipeline.target().epoch;
        }
        self.worker.count_commands(class.row, pipeline.target().node, 1);
        self.sent = Some(class.row);
    }

    /// Sends with its one reply set apart: it waits for earlier replies, and later requests wait for it.
    pub(super) fn send_special(&mut self, dispatched: &Dispatched<'_>, special: Special) -> Step {
        if self.client.owed.get() > 0 {
            return Step::Wait;
        }
        let step = self.send_shared(dispatched);
        if step == Step::Taken && self.client.owed.get() == 1 {
            self.client.special.replace(Some(special));
        }
        step
    }

    fn send_scan(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let epoch = self.worker.epoch();
        match cursor::strip_request(&dispatched.request, epoch) {
            // Nothing to take off, and nothing to put on.
            Ok(_) if cursor::stamp(epoch) == 0 => self.send_shared(dispatched),
            Ok(bytes) => {
                let Some(scanner) = RequestScanner::of_kept(&bytes) else {
                    return self.answer_failure(&Failure::Unreadable);
                };
                let request = scanner.request(&bytes);
                self.send_special(&Dispatched { request, ..*dispatched }, Special::Cursor(epoch))
            }
            Err(of) => self.answer_failure(&Failure::Cursor { of, now: epoch }),
        }
    }

    /// Ends the wait of a request that is about to be sent; true when its client is gone. Clients that gave up have sent it
    /// again elsewhere: executing it here as well would be once too often.
    pub(super) fn gave_up(&self) -> bool {
        // What was refused is held until its node has taken it.
        let keeps_back = self.client.keeps_back();
        let waited = if keeps_back { None } else { self.worker.unhold(&self.client) };
        if let Some(waited) = waited {
            self.client.waited.set(self.client.waited.get().saturating_add(waited));
        }
        let gone = (keeps_back || waited.is_some()) && self.client.writer.peer_closed();
        if gone {
            self.client.doom("gone while its request was held");
        }
        gone
    }

    /// Microseconds that the request which is sent now has waited: since then, or else in the holds that have just ended.
    pub(super) fn take_waited(&self, since: Option<Instant>) -> u32 {
        let held = self.client.waited.take();
        let Some(since) = since else { return held };
        let waited = self.worker.now().saturating_duration_since(since);
        u32::try_from(waited.as_micros()).unwrap_or(u32::MAX)
    }

    /// The request waits for a node that may take it, or is told that the hold is over.
    pub(super) fn hold(&mut self, _held: Held, since: Option<Instant>) -> Step {
        let now = self.worker.now();
        let hold = self.worker.settings.hold;
        let outage = match self.worker.current().gate {
            Gate::Hold { since } => Some(since),
            Gate::Open => None,
        };
        // Writes may go, so this is a read that no replica may answer; its wait is its own.
        let waits = self.client.held_since.get();
        let begun = outage.or(since).or(waits);
        if begun.is_some_and(|begun| now.saturating_duration_since(begun) >= hold) {
            self.worker.unhold(&self.client);
            return self.answer_failure(&match outage {
                Some(_) => Failure::HoldExpired { hold },
                None => Failure::NoReplica { hold },
            });
        }
        if outage.is_none() {
            self.wake_when_over(waits.unwrap_or(now) + hold);
        }
        self.worker.hold(&self.client);
        Step::Wait
    }

    /// The client is woken when its wait will have been too long.
    pub(super) fn wake_when_over(&mut self, over: Instant) {
        if self.woken_at.replace(over) != Some(over) {
            wake_at(&self.client, over);
        }
    }

    fn is_hold_over(&self, since: Option<Instant>) -> bool {
        let begun = match self.worker.current().gate {
            Gate::Hold { since } => Some(since),
            Gate::Open => since,
        };
        let hold = self.worker.settings.hold;
        begun.is_some_and(|begun| self.worker.now().saturating_duration_since(begun) >= hold)
    }

    /// What a request that is to be sent again is told instead when it waited for as long as a hold lasts: for a connection
    /// to the primary, though attempts go on and who asks later may get one, or for a primary. The latter is said by
    /// [`Self::hold`], except to a write that may have been executed before.
    pub(super) fn given_up(&self, request: &Request<'_>, resent: bool, since: Instant) -> Option<Failure> {
        let worker = &self.worker;
        let (hold, epoch) = (worker.settings.hold, worker.epoch());
        let unknown = resent && classify(request).effect == Effect::Write;
        let ambiguous = Failure::Ambiguous { from: epoch, to: epoch };
        let chosen = worker.current().for_primary();
        match chosen {
            Choice::Hold => (unknown && self.is_hold_over(Some(since))).then_some(ambiguous),
            Choice::Node(node) => {
                // An open pipeline takes it, whatever becomes of further connections.
                if self.primary.as_ref().is_some_and(Pipeline::is_open) {
                    return None;
                }
                let said = worker.pools.trouble(node).lasted(hold, worker.now())?;
                Some(if unknown { ambiguous } else { Failure::OutOfReach { hold, said } })
            }
        }
    }

    /// Answers with an error of the proxy's own, in its turn.
    pub(super) fn answer_failure(&mut self, failure: &Failure) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        self.leave_queue();
        self.answer_with(|client| client.fail(failure))
    }

    /// Answers with what `write` appends, in its turn.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut bytes::BytesMut)) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        self.leave_queue();
        self.answer_with(|client| write(&mut client.out.borrow_mut()))
    }

    /// The request at hand is answered by what is appended to the output.
    pub(super) fn answer_with(&self, write: impl FnOnce(&ClientRef)) -> Step {
        let before = self.client.out.borrow().len();
        write(&self.client);
        self.worker.trace_own(&self.client, &self.client.out.borrow()[before..]);
        Step::Taken
    }
}

/// No node may take the request now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held;

/// Whether it is a line of HTTP, which Redis knows by the same two words.
pub(super) fn is_http(request: &Request<'_>) -> bool {
    let name = request.name();
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Which pipelines a request may open.
fn carries(class: &Class) -> Carries {
    if class.lane == Lane::Script { Carries::Scripts } else { Carries::Anything }
}
