//! A client with a connection of its own: taking one and sending on it.
//!
//! The lane belongs to the client's task. What comes back is in `pinned_reply.rs`, who waits in `pinned_hold.rs`, what a
//! loss means in `lane_loss.rs`.

use std::time::Instant;

use bytes::BytesMut;

use crate::backend::{Busy, DialError, Pinned, Target};
use crate::command::{Class, Effect, Lane};
use crate::durability::Level;
use crate::error::Failure;
use crate::resp::Request;
use crate::routing::Choice;
use crate::session::{Names, Send};
use crate::topology::NodeId;

use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::cursor;
use super::dispatch::{Dispatched, Held};
use super::lane::{Line, PinnedLane};
use super::lent::Counted;
use super::purpose::{After, Purpose, Sent};
use super::worker::wake_at;

/// With this much unwritten towards the node no more is taken from the client.
pub(super) const SEND_PAUSE: usize = 256 << 10;

/// Requests without a reply on one pinned connection; the next one waits.
const OWED_MAX: usize = 1024;

/// Redis 8.2 does not answer a proof that fails behind a reply that it has not sent yet; the next reply would be taken for it.
fn proves(class: &Class) -> bool {
    class.lane == Lane::Session && matches!(class.row.spec().name, "auth" | "hello")
}

impl Connection {
    /// Gives the client a connection of its own for this request.
    pub(super) fn pin(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let purpose = Purpose::of(&dispatched.class, &dispatched.request);
        if let Purpose::Wait(wait) = &purpose
            && self.wrote_elsewhere()
        {
            return self.answer(|out| out.extend_from_slice(wait.nobody()));
        }
        match self.take_lane(purpose, dispatched.since) {
            Err(step) => step,
            Ok(lane) => {
                if matches!(lane.purpose, Purpose::Wait(_)) {
                    return self.begin_wait(lane, dispatched);
                }
                self.note_own(&lane);
                if dispatched.class.lane != Lane::Session {
                    self.worker.warm(&lane.target);
                }
                self.pinned = Some(lane);
                self.send_pinned(dispatched)
            }
        }
    }

    /// The connection is open, or serves something else now: by the id that it has at the server who waits can be
    /// unblocked, and invalidations redirected.
    pub(super) fn note_own(&self, lane: &PinnedLane) {
        let Some(id) = lane.server_id() else { return };
        self.client.live.own(id);
        if matches!(lane.purpose, Purpose::Blocking | Purpose::Wait(_)) {
            self.client.live.park(id);
        }
    }

    /// What becomes of the connection when nothing is owed: one that invalidations are redirected to stays.
    pub(super) fn after(&self, lane: &PinnedLane) -> After {
        if self.client.live.is_redirected_to() { After::Stays } else { lane.after() }
    }

    pub(super) fn take_lane(
        &mut self,
        purpose: Purpose,
        since: Option<Instant>,
    ) -> Result<Box<PinnedLane>, Step> {
        let Some(target) = self.primary_target() else {
            self.leave_queue();
            return Err(self.hold(Held, since));
        };
        let counted = self.await_turn(target.node)?;
        if self.gave_up() {
            return Err(Step::Wait);
        }
        Ok(self.lane_to(target, purpose, since, counted))
    }

    /// A lane to `target`, over a connection that waited for it or one that is being opened.
    pub(super) fn lane_to(
        &self,
        target: Target,
        purpose: Purpose,
        since: Option<Instant>,
        counted: Counted,
    ) -> Box<PinnedLane> {
        let (worker, names) = (&self.worker, &self.session.said);
        let (line, told) = match worker.idle_to(target.node).take(&target, names) {
            Some((pinned, told)) => (Line::Open(pinned), told),
            None => {
                let busy = purpose.when_busy();
                // What is sent again was on another connection of its own before.
                let line = if since.is_some() {
                    self.dial_again(&target, busy, Vec::new())
                } else {
                    self.dial(&target, busy, Vec::new())
                };
                (line, Names::default())
            }
        };
        worker.watch(&self.client);
        let since = since.unwrap_or_else(|| worker.now());
        let mut lane = PinnedLane::new(line, target, purpose, since, counted).known_as(told);
        lane.introduce(names);
        worker.blanks.place(lane)
    }

    /// The right to one of the connections that are lent, or the wait for it.
    fn await_turn(&self, node: NodeId) -> Result<Counted, Step> {
        let (worker, client) = (&self.worker, &self.client);
        let (most, hold, now) = (worker.pinned_max(node), worker.settings.hold, worker.now());
        let turn = Counted::take(&worker.shared, most, (client.id, &client.live), now, hold);
        client.queues.set(turn.is_err());
        turn.map_err(|since| {
            if now >= since + hold {
                self.leave_queue();
                client.fail(&Failure::NoConnection { pinned_max: most });
                return Step::Taken;
            }
            if now == since {
                wake_at(client, since + hold);
            }
            Step::Wait
        })
    }

    /// The request waits for no connection of its own any more: it goes, or was answered, another way. Those behind it
    /// would wait for its turn to pass.
    pub(super) fn leave_queue(&self) {
        if self.client.queues.replace(false) {
            self.worker.shared.lent.leave(self.client.id);
        }
    }

    /// Where a connection of this client's own would lead now; `None` while writes are held.
    pub(super) fn primary_target(&self) -> Option<Target> {
        let Choice::Node(node) = self.worker.current().for_primary() else { return None };
        Some(self.target(node))
    }

    /// A connection to `node` for this client, under the present table, which has just named it.
    pub(super) fn target(&self, node: NodeId) -> Target {
        let table = self.worker.current();
        let route = table.node(node).expect("the present table has named it");
        Target {
            node,
            address: route.address.clone(),
            run_id: route.run_id.clone(),
            epoch: table.epoch,
            identity: self.session.identity.clone(),
        }
    }

    pub(super) fn dial(&self, target: &Target, busy: Busy, waiting: Vec<u8>) -> Line {
        let pools = &self.worker.pools;
        let opening = Pinned::open(target.clone(), pools.around().clone(), busy);
        let trouble = pools.trouble(target.node).clone();
        let opening = async move {
            let delay = trouble.delay();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let opened = opening.await;
            let failed = if let Err(DialError::Io(error)) = &opened { Some(error) } else { None };
            trouble.note(failed, Instant::now());
            opened
        };
        Line::Opening(Box::pin(opening), waiting)
    }

    /// As [`Self::dial`], for a connection in place of one that was lost.
    pub(super) fn dial_again(&self, target: &Target, busy: Busy, waiting: Vec<u8>) -> Line {
        match self.dial(target, busy, waiting) {
            Line::Opening(opening, waiting) => {
                let patience = self.worker.pools.around().settings.connect_timeout;
                Line::Opening(Box::pin(self.worker.returning.in_turn(opening, patience)), waiting)
            }
            line => line,
        }
    }

    /// A request of a client that has a connection of its own.
    pub(super) fn dispatch_pinned(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let Some(lane) = self.pinned.as_ref() else { return Step::Wait };
        if !lane.purpose.is_standing() || lane.unwritten() > SEND_PAUSE || lane.sent.len() >= OWED_MAX {
            return Step::Wait;
        }
        let proving = |sent: &Sent| matches!(sent.row.spec().name, "auth" | "hello");
        if self.worker.users.any() && lane.sent.back().is_some_and(proving) {
            // Who it is then decides what may follow.
            return Step::Wait;
        }
        let name = dispatched.request.name();
        let ends = name.eq_ignore_ascii_case(b"reset") || name.eq_ignore_ascii_case(b"quit");
        if ends && dispatched.class.arity_ok {
            // They end what the connection was for; what came before is answered first, and written where nobody answers.
            let unwritten = lane.unwritten() > 0 && !matches!(lane.line, Line::Waiting(_));
            if !lane.is_owed_nothing() || unwritten {
                return Step::Wait;
            }
            self.pinned = None;
            return self.session_command(dispatched);
        }
        if dispatched.class.lane == Lane::Proxy && self.executes_here() {
            return self.proxy_command(dispatched);
        }
        if self.worker.users.any()
            && proves(&dispatched.class)
            && let Some(step) = self.judge_proof(dispatched)
        {
            return step;
        }
        if let Some(step) = self.hold_pinned(dispatched) {
            return step;
        }
        if dispatched.class.lane == Lane::Tracking && self.awaits_target(dispatched) {
            return Step::Wait;
        }
        if !self.may_send_kept(dispatched) {
            return Step::Wait;
        }
        if dispatched.class.lane == Lane::Wait
            && let Some(step) = self.wait_on_kept(dispatched)
        {
            return step;
        }
        self.send_pinned(dispatched)
    }

    /// Whether a request is answered as on a connection that nothing stands on: by a node that knows who asks, not in a transaction, nor
    /// where a subscriber may say little.
    fn executes_here(&mut self) -> bool {
        let Some(lane) = self.pinned.as_ref() else { return true };
        let (standing, proto) = (&lane.standing, self.session.identity.proto);
        let is_plain = !standing.transaction().is_queueing()
            && standing.modes().is_loud()
            && !standing.is_confined(proto);
        let is_known = matches!(&lane.line, Line::Open(pinned) if pinned.is_admitted());
        if is_plain && is_known {
            self.admitted();
        }
        is_plain && is_known
    }

    /// False while replies have to come first. On a connection that the client keeps for modes alone, what may block parks
    /// as on any other.
    fn may_send_kept(&mut self, dispatched: &Dispatched<'_>) -> bool {
        let Some(mut lane) = self.pinned.take() else { return true };
        let owed_nothing = lane.is_owed_nothing();
        let waits = lane.standing.must_wait(&dispatched.class)
            || (!owed_nothing && proves(&dispatched.class) && !lane.standing.transaction().is_queueing());
        if owed_nothing {
            lane.since = dispatched.since.unwrap_or_else(|| self.worker.now());
        }
        let parks = dispatched.class.lane == Lane::Blocking
            && lane.standing.modes().is_loud()
            && !lane.standing.counts_replies();
        if parks && owed_nothing && !waits {
            lane.purpose = Purpose::Blocking;
            self.note_own(&lane);
        }
        self.pinned = Some(lane);
        !waits && (!parks || owed_nothing)
    }

    fn send_pinned(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let Dispatched { request, class, demand, resent, .. } = dispatched;
        let proto = self.session.identity.proto;
        let queueing = self.pinned.as_ref().is_some_and(|lane| lane.standing.transaction().is_queueing());
        if class.lane == Lane::Script {
            self.worker.note_script(class.row, request);
        }
        let asked = self.asked_instead(dispatched, queueing);
        let waited = self.take_waited(dispatched.since);
        let is_big = self.worker.is_big(request.raw().len() as u64);
        let Some(lane) = self.pinned.as_mut() else { return Step::Wait };
        if self.worker.spares && class.row.spec().name == "multi" && !queueing {
            lane.block = Level::Async;
        } else if self.worker.spares && queueing {
            lane.block = lane.block.max(demand.level);
        }
        let (mut bytes, mut stale) = (lane.keep(request), None);
        let (mut local, mut original) = (None, None);
        if class.lane == Lane::Scan && lane.purpose.is_one() {
            original = cursor::restore_request(&bytes, lane.target.epoch).map(BytesMut::freeze);
        } else if class.lane == Lane::Scan {
            let (sent, of) = strip_scan(request, lane.target.epoch);
            original = Some(std::mem::replace(&mut bytes, sent.freeze()));
            stale = of;
        } else if let Some(asked) = asked {
            original = Some(std::mem::replace(&mut bytes, asked.bytes().freeze()));
            local = asked.local.map(Box::new);
        }
        if let Some(of) = stale.filter(|_| !queueing) {
            local = Some(Box::new(Local::Stale(Failure::Cursor { of, now: lane.target.epoch })));
        }
        // Parked is not in flight.
        let parks = class.lane == Lane::Blocking;
        let writes = self.worker.is_waited_for(class.effect) && !parks && lane.executes(class.row);
        let send = match lane.purpose {
            Purpose::Standing => lane.standing.on_request(class, request, &bytes, stale, proto),
            _ => Send::Owed,
        };
        let (node, epoch) = (lane.target.node, lane.target.epoch);
        self.worker.touches_on(lane, dispatched, matches!(send, Send::Owed));
        match send {
            Send::Owed => {
                // What is sent again is what the client sent.
                lane.write(&bytes);
                let sent = Sent::new(original.unwrap_or(bytes), class.row, self.worker.now());
                lane.owe(Sent { resent: *resent, waited, writes, demand: *demand, local, ..sent }, 0);
            }
            Send::Silent(accepted) => {
                lane.write(&bytes);
                self.accepted_unheard(&accepted);
            }
            Send::Not if !lane.sent.is_empty() => return Step::Wait,
            Send::Not => {
                let answer = lane.standing.unsent_answer(proto);
                self.client.out.borrow_mut().extend_from_slice(&answer);
                self.leave_transaction();
                return Step::Taken;
            }
        }
        if is_big {
            self.big_sent(dispatched, node);
        }
        if class.effect == Effect::Write {
            self.session.wrote_in = epoch;
        }
        if class.row.spec().long {
            self.worker.long_begun(self.client.id, node, class.row);
        }
        self.worker.count_commands(class.row, node, 1);
        Step::Taken
    }

    /// What goes to the server in place of the request. What concerns the client table must not reach the proxy's own
    /// connection, except in MULTI, where the server has to execute it.
    fn asked_instead(&self, dispatched: &Dispatched<'_>, queueing: bool) -> Option<Asked> {
        let Dispatched { request, class, .. } = dispatched;
        // What has a connection for itself alone was put into the server's words before one was looked for.
        let one = self.pinned.as_ref().is_some_and(|lane| lane.purpose.is_one());
        let asked = (class.lane == Lane::Clients && !queueing && !one).then(|| self.client_asked(request));
        let asked = asked.or_else(|| self.proof_asked(request).filter(|_| proves(class) && !one));
        let asked = asked.or_else(|| self.owned_asked(dispatched, queueing).filter(|_| !one));
        let asked = asked.or_else(|| self.redirect_asked(dispatched));
        let asked = asked.or_else(|| self.uncounted_asked(dispatched));
        let asked = asked.or_else(|| self.hidden_asked(dispatched, queueing));
        asked.or_else(|| self.pubsub_asked(dispatched).filter(|_| !queueing))
    }
}

/// A request of the SCAN family with the server's own cursor in it; with the epoch of its cursor when that is another one.
fn strip_scan(request: &Request<'_>, epoch: u64) -> (BytesMut, Option<u64>) {
    match cursor::strip_request(request, epoch) {
        Ok(stripped) => (stripped, None),
        // Refused by the server in its place among the replies, EXEC's too: it is no number.
        Err(of) => {
            let mut bytes = BytesMut::new();
            cursor::refuse(request, of, &mut bytes);
            (bytes, Some(of))
        }
    }
}
