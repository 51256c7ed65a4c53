//! A client's own lane while no primary takes writes, or no connection is to be had: who waits, how long, what is said.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::backend::Busy;
use crate::error::Failure;
use crate::resp::encode;
use crate::routing::Gate;
use crate::telemetry::ErrorKind;

use super::connection::{Connection, Step};
use super::cursor;
use super::dispatch::Dispatched;
use super::kept_back::REFUSED_PAUSE;
use super::lane::{Line, PinnedLane, Unopened};
use super::lane_loss::Loss;
use super::parked;
use super::purpose::Purpose;
use super::session::Session;
use super::worker::wake_at;

/// Why an EXEC was not sent that waited for all of the hold.
pub(super) const TOO_LATE: &str = "no primary took it in time";

/// … and one that nobody could have called safe.
const UNDURABLE: &str = "durability.mode can not be kept, or too few replicas follow the primary";

/// Between two attempts to connect, doubled from [`REFUSED_PAUSE`] on with each that fails.
const PAUSE_MAX: Duration = Duration::from_millis(640);

impl Connection {
    /// Whether the request has to wait, or was answered because it had waited long enough; `None`: it may be sent.
    pub(super) fn hold_pinned(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let Dispatched { class, request, .. } = dispatched;
        let lane = self.pinned.as_ref()?;
        let proto = self.session.identity.proto;
        let gate = self.worker.current().gate;
        let holds = matches!(gate, Gate::Hold { .. });
        let waits = match class.row.spec().name {
            // Answered without the server.
            "exec" if lane.standing.transaction().is_doomed() => false,
            // Changes what is answered at all, so that it can not wait for an answer.
            "client|reply" if lane.standing.obeys_reply(request.arg(2), proto) => false,
            _ if matches!(lane.line, Line::Waiting(_)) => true,
            _ => holds && self.worker.is_waited_for(class.effect) && lane.executes(class.row),
        };
        if !waits {
            if self.gave_up() {
                return Some(Step::Wait);
            }
            return None;
        }
        let Some(failure) = self.overdue(lane) else {
            if holds {
                self.worker.hold(&self.client);
            }
            return Some(Step::Wait);
        };
        self.worker.unhold(&self.client);
        Some(self.refuse_pinned(dispatched, &failure))
    }

    /// What is to be said to whoever waits on this lane, when it is time.
    fn overdue(&self, lane: &PinnedLane) -> Option<Failure> {
        let (hold, now) = (self.worker.settings.hold, self.worker.now());
        let is_over = |since: Instant| now.saturating_duration_since(since) >= hold;
        match self.worker.current().gate {
            Gate::Hold { since } => is_over(since).then_some(Failure::HoldExpired { hold }),
            Gate::Open => {
                let Unopened { since, said, .. } = lane.unopened.as_ref()?;
                is_over(*since).then(|| Failure::OutOfReach { hold, said: said.clone() })
            }
        }
    }

    /// Answers a request that is not sent, where Redis would answer.
    pub(super) fn refuse_pinned(&mut self, dispatched: &Dispatched<'_>, failure: &Failure) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Some(lane) = self.pinned.as_mut() else { return Step::Wait };
        let name = dispatched.class.row.spec().name;
        if !lane.standing.is_answered() {
            if lane.standing.transaction().stands() {
                self.client.doom("a part of its transaction was not sent, and it wants no replies");
            } else if !lane.standing.modes().is_off() {
                // The server has yet to leave one reply out.
                let mut skipped = BytesMut::new();
                encode::own_command(&mut skipped, &[b"PING"]);
                lane.write(&skipped);
            }
            return Step::Taken;
        }
        if !lane.standing.transaction().is_queueing() {
            self.client.fail(failure);
            return Step::Taken;
        }
        match name {
            "exec" => {
                self.leave_transaction();
                let reason = match failure {
                    Failure::Undurable(_) => UNDURABLE,
                    _ => TOO_LATE,
                };
                self.client.fail(&Failure::TransactionLost { reason });
            }
            "discard" => {
                self.leave_transaction();
                encode::simple(&mut self.client.out.borrow_mut(), "OK");
            }
            _ => {
                lane.standing.abandon(false);
                self.client.fail(failure);
            }
        }
        Step::Taken
    }

    /// Opens the next connection of a lane that is without one; true when something happened.
    pub(super) fn reopen(&mut self, mut lane: Box<PinnedLane>) -> bool {
        let moved = lane.target.epoch != self.worker.epoch();
        if !lane.is_owed_nothing() {
            if moved && lane.unopened.is_some() {
                // It was written for another epoch.
                self.lane_lost(lane, Loss::Gone);
                return true;
            }
            if let Some(failure) = self.overdue(&lane) {
                self.lane_lost(lane, Loss::Never(failure));
                return true;
            }
        }
        let Some(target) = self.primary_target() else {
            self.worker.wake_with_table(&self.client);
            self.pinned = Some(lane);
            return false;
        };
        if !moved && lane.retry_at.is_some_and(|at| self.worker.now() < at) {
            self.pinned = Some(lane);
            return false;
        }
        if matches!(lane.purpose, Purpose::Blocking) && lane.unopened.is_some() {
            shorten(&mut lane, &self.session, self.worker.now());
        }
        if moved {
            lane.unopened = None;
        }
        let mut waiting = if let Line::Waiting(waiting) = lane.take_line() { waiting } else { Vec::new() };
        let of = lane.target.epoch;
        if lane.standing.transaction().stands() && target.epoch != of {
            lane.standing.spoil(of, |requests| cursor::spoil(requests, of));
            waiting = cursor::spoil(&waiting, of);
        }
        // What the client holds or waits for is not given up because a script runs there now.
        let busy = if lane.purpose.is_one() && !lane.stood { lane.purpose.when_busy() } else { Busy::Waits };
        lane.line = self.dial_again(&target, busy, waiting);
        (lane.target, lane.retry_at) = (target, None);
        lane.count_writes(true);
        self.worker.watch(&self.client);
        self.pinned = Some(lane);
        true
    }

    /// No connection was to be had: all stays as it is, and another attempt is made after a pause.
    pub(super) fn lane_unopened(&mut self, mut lane: Box<PinnedLane>, error: &std::io::Error) {
        if matches!(lane.purpose, Purpose::Wait(_)) {
            return self.lane_lost(lane, Loss::Gone);
        }
        let now = self.worker.now();
        if let Line::Opening(_, waiting) = lane.take_line() {
            lane.line = Line::Waiting(waiting);
        }
        lane.count_writes(false);
        lane.ended_in = None;
        let (since, tries) = lane.unopened.as_ref().map_or((now, 0), |before| (before.since, before.tries));
        let tries = tries + 1;
        lane.unopened = Some(Unopened { since, tries, said: error.to_string() });
        let pause = (REFUSED_PAUSE * 2_u32.saturating_pow((tries - 1).min(8))).min(PAUSE_MAX);
        let rest = (since + self.worker.settings.hold).saturating_duration_since(now);
        self.retry_lane(&mut lane, if rest.is_zero() { pause } else { pause.min(rest) });
        self.pinned = Some(lane);
    }

    /// The next attempt is made after `pause`.
    pub(super) fn retry_lane(&self, lane: &mut PinnedLane, pause: Duration) {
        let at = Instant::now() + pause;
        lane.retry_at = Some(at);
        wake_at(&self.client, at);
    }

    /// A connection was opened; false when the client can not be kept.
    pub(super) fn lane_opened(&self, lane: &mut PinnedLane) -> bool {
        lane.unopened = None;
        // Until now nothing was asked of the node.
        let now = self.worker.now();
        for sent in &mut lane.sent {
            let micros = now.saturating_duration_since(sent.since).as_micros();
            sent.waited = sent.waited.saturating_add(u32::try_from(micros).unwrap_or(u32::MAX));
            sent.since = now;
        }
        self.note_own(lane);
        let lives = (lane.target.epoch, self.worker.generation(lane.target.node).unwrap_or_default());
        let ended_in = lane.ended_in.take();
        if !lane.standing.subscriptions().stand() || ended_in != Some(lives) {
            return true;
        }
        // Redis closes a subscriber that is too slow. Messages are lost then, which only a closed connection tells.
        self.closed_by_its_node(lane, "a subscription ended with its connection (too slow a reader?)");
        false
    }

    /// The node refused the client's user, database or protocol: what it said is the answer to all that is owed. What
    /// the client held elsewhere can not be held here, and a client that went on would not know.
    pub(super) fn lane_refused(&mut self, mut lane: Box<PinnedLane>, error: &Bytes) {
        self.worker.long_ended(self.client.id);
        self.client.live.unpark();
        self.client.live.disown();
        let sent = lane.take_sent();
        let answer = match &lane.purpose {
            Purpose::Wait(wait) => wait.unopened_answer().unwrap_or(error),
            _ => error,
        };
        for sent in &sent {
            if sent.is_of_session() {
                self.session_replied(error);
            } else {
                self.client.out.borrow_mut().extend_from_slice(answer);
            }
        }
        if lane.tail.is_some() {
            // The rest of it still comes in and belongs to nobody.
            self.client.doom("the connection of a large request was refused");
        } else if lane.stood || lane.standing.is_set() {
            let said = String::from_utf8_lossy(error);
            tracing::warn!(
                client = self.client.id,
                node = %lane.target.address,
                said = said.trim_end(),
                "client closed: the node refuses it, and what it held can not be held any more"
            );
            self.worker.metrics.error(ErrorKind::NodeRefused);
            self.client.doom("the node refuses what was accepted elsewhere");
        }
    }
}

/// A parked request is to wait only for the rest of its time, wherever it waits.
fn shorten(lane: &mut PinnedLane, session: &Session, now: Instant) {
    let waited = now.saturating_duration_since(lane.since);
    let Some(sent) = lane.sent.front_mut() else { return };
    let left = Bytes::from(parked::remaining(&sent.request, sent.row, waited));
    sent.request = left.clone();
    lane.since = now;
    lane.begin_anew(&session.said, session.identity.proto, 0, 0);
    lane.write(&left);
    let end = lane.bytes;
    lane.sent.iter_mut().for_each(|sent| sent.end = end);
}
