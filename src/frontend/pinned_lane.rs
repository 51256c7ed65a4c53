//! A client with a connection of its own: taking one, sending on it, relaying what comes, giving it back.
//!
//! The lane belongs to the client's task, which writes to the connection, reads from it and decides at each reply
//! whether the connection may be given back, must be closed, or stays. What a loss means is in `lane_loss.rs`.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use crate::backend::{DialError, Piece, Pinned, Target};
use crate::command::{Effect, Lane};
use crate::error::Failure;
use crate::resp::{self, Request, Value, encode};
use crate::routing::Choice;
use crate::session::Names;
use crate::topology::NodeId;

use super::client_command::Local;
use super::connection::{Connection, Step};
use super::cursor::{self, Stamper};
use super::dispatch::{Dispatched, Held};
use super::lane::{Line, PinnedLane, Rest, Swallowed};
use super::lane_loss::Loss;
use super::lent::Counted;
use super::monitor_line;
use super::purpose::{After, Purpose, Sent, Verdict};
use super::worker::wake_at;

/// With this much unwritten output of the client its pinned connection is not read: the node feels the slow reader.
const OUTPUT_PAUSE: usize = 256 << 10;

/// With this much unwritten towards the node no more is taken from the client.
pub(super) const SEND_PAUSE: usize = 256 << 10;

/// Requests without a reply on one pinned connection; the next one waits.
const OWED_MAX: usize = 1024;

/// Why a lane can go no further.
enum Ended {
    /// The connection is gone.
    Lost,
    /// The node plays another role now; the connection is given up and the work done again.
    Refused,
    /// The client can not be kept.
    Doomed,
}

impl Connection {
    /// Gives the client a connection of its own for this request.
    pub(super) fn pin(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let purpose = Purpose::of(&dispatched.class, &dispatched.request);
        if let Purpose::Wait(wait) = &purpose
            && (1..self.worker.epoch()).contains(&self.session.wrote_in)
        {
            // Whether its writes are in the history of this primary is not known, so nobody vouches for them.
            return self.answer(|out| out.extend_from_slice(wait.nobody()));
        }
        match self.take_lane(purpose, dispatched.since) {
            Err(step) => step,
            Ok(mut lane) => {
                if matches!(lane.purpose, Purpose::Wait(_)) {
                    return self.begin_wait(lane, dispatched);
                }
                if matches!(lane.purpose, Purpose::Blocking) {
                    self.park(&mut lane);
                }
                self.pinned = Some(lane);
                self.send_pinned(dispatched)
            }
        }
    }

    /// Who waits can be unblocked by the id that the connection has at the server.
    pub(super) fn park(&self, lane: &mut PinnedLane) {
        match &lane.line {
            Line::Open(pinned) if pinned.server_id().is_some() => {
                pinned.server_id().inspect(|id| self.client.live.park(*id));
            }
            _ => {
                lane.ask_id();
            }
        }
    }

    pub(super) fn take_lane(
        &mut self,
        purpose: Purpose,
        since: Option<Instant>,
    ) -> Result<Box<PinnedLane>, Step> {
        let worker = self.worker.clone();
        let Some(target) = self.primary_target() else {
            worker.shared.lent.leave(self.client.id);
            return Err(self.hold(Held, since));
        };
        let counted = self.await_turn(target.node)?;
        if worker.unhold(&self.client) && self.client.writer.peer_closed() {
            // As on a shared connection: who gave up has sent it again elsewhere.
            self.client.doom("gone while its request was held");
            return Err(Step::Wait);
        }
        let names = &self.session.said;
        let (line, told) = match worker.idle.take(&target, names) {
            Some((pinned, told)) => (Line::Open(Box::new(pinned)), told),
            None => (self.dial(&target, Vec::new()), Names::default()),
        };
        worker.watch(&self.client);
        let since = since.unwrap_or_else(|| worker.now());
        let mut lane = PinnedLane::new(line, target, purpose, since, counted).known_as(told);
        lane.introduce(names);
        Ok(Box::new(lane))
    }

    /// The right to one of the connections that are lent, or the wait for it.
    fn await_turn(&self, node: NodeId) -> Result<Counted, Step> {
        let (worker, client) = (&self.worker, &self.client);
        let (most, hold, now) = (worker.pinned_max(node), worker.settings.hold, worker.now());
        Counted::take(&worker.shared, most, (client.id, &client.live), now, hold).map_err(|since| {
            if now >= since + hold {
                worker.shared.lent.leave(client.id);
                client.fail(&Failure::NoConnection { pinned_max: most });
                return Step::Taken;
            }
            if now == since {
                wake_at(client, since + hold);
            }
            Step::Wait
        })
    }

    /// Where a connection of this client's own would lead now; `None` while writes are held.
    pub(super) fn primary_target(&self) -> Option<Target> {
        let table = self.worker.current();
        let Choice::Node(node) = table.for_primary() else { return None };
        let address = table.nodes[node.index()].address.clone();
        Some(Target { node, address, epoch: table.epoch, identity: self.session.identity.clone() })
    }

    pub(super) fn dial(&self, target: &Target, waiting: Vec<u8>) -> Line {
        let pools = &self.worker.pools;
        let (trouble, opening) =
            (pools.trouble(target.node).clone(), Pinned::open(target.clone(), pools.around().clone()));
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

    /// A request of a client that has a connection of its own.
    pub(super) fn dispatch_pinned(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let Some(lane) = self.pinned.as_ref() else { return Step::Wait };
        if !lane.purpose.takes_more() || lane.unwritten() > SEND_PAUSE || lane.sent.len() >= OWED_MAX {
            return Step::Wait;
        }
        let name = dispatched.request.name();
        if name.eq_ignore_ascii_case(b"reset") || name.eq_ignore_ascii_case(b"quit") {
            // They end what the connection was for; what came before is answered first.
            if !lane.is_owed_nothing() {
                return Step::Wait;
            }
            self.pinned = None;
            return self.session_command(dispatched);
        }
        if let Some(step) = self.hold_pinned(dispatched) {
            return step;
        }
        if !self.may_change_purpose(dispatched) {
            return Step::Wait;
        }
        if dispatched.class.lane == Lane::Wait
            && let Some(mut lane) = self.pinned.take()
        {
            let owed = !lane.is_owed_nothing() && !lane.purpose.is_queueing();
            if !owed && !lane.purpose.is_queueing() {
                self.barrier_on_kept(&mut lane);
            }
            self.pinned = Some(lane);
            if owed {
                return Step::Wait;
            }
        }
        self.send_pinned(dispatched)
    }

    /// On a connection that the client keeps for what stands there, what it does next may have a purpose of its own. False
    /// while replies to what came before are owed.
    fn may_change_purpose(&mut self, dispatched: &Dispatched<'_>) -> bool {
        let Some(mut lane) = self.pinned.take() else { return true };
        let lanes = [Lane::Transaction, Lane::Blocking, Lane::Subscribe];
        let changes = matches!(lane.purpose, Purpose::Standing)
            && lane.modes.is_loud()
            && lanes.contains(&dispatched.class.lane);
        let may = !changes || lane.is_owed_nothing();
        if changes && may {
            lane.purpose = Purpose::of(&dispatched.class, &dispatched.request);
            lane.since = dispatched.since.unwrap_or_else(|| self.worker.now());
            if matches!(lane.purpose, Purpose::Blocking) {
                self.park(&mut lane);
            }
        }
        self.pinned = Some(lane);
        may
    }

    fn send_pinned(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let Dispatched { request, class, resent, .. } = dispatched;
        let proto = self.session.identity.proto;
        // What concerns the client table must not reach the proxy's own connection, except in MULTI, where the server
        // has to execute it.
        let queueing = self.pinned.as_ref().is_some_and(|lane| lane.purpose.is_queueing());
        let asked = (class.lane == Lane::Clients && !queueing).then(|| self.client_asked(request));
        let asked = asked.or_else(|| self.owned_asked(dispatched));
        let asked = asked.or_else(|| self.hidden_asked(dispatched, queueing));
        let asked = asked.or_else(|| self.pubsub_asked(dispatched).filter(|_| !queueing));
        let Some(lane) = self.pinned.as_mut() else { return Step::Wait };
        let (mut bytes, mut stale) = (BytesMut::new(), None);
        request.write_multibulk(&mut bytes);
        let (mut local, mut original) = (None, None);
        if class.lane == Lane::Scan {
            let (sent, of) = strip_scan(request, lane.target.epoch);
            original = Some(std::mem::replace(&mut bytes, sent).freeze());
            stale = of;
        } else if let Some(asked) = asked {
            original = Some(std::mem::replace(&mut bytes, asked.bytes()).freeze());
            local = asked.local.map(Box::new);
        }
        let bytes = bytes.freeze();
        if let Some(of) = stale.filter(|_| !queueing) {
            local = Some(Box::new(Local::Stale(Failure::Cursor { of, now: lane.target.epoch })));
        }
        let writes = class.effect == Effect::Write && lane.executes(class.row);
        // Behind EXEC and DISCARD nothing is sent before their reply: what follows may belong elsewhere.
        if let (Purpose::Transaction { .. }, Some(last)) = (&lane.purpose, lane.sent.back())
            && matches!(last.row.spec().name, "exec" | "discard")
        {
            return Step::Wait;
        }
        let spec = class.row.spec();
        let answered = match lane.purpose {
            Purpose::Standing => lane.modes.on_request(spec, request),
            _ => {
                lane.modes.touch(spec);
                true
            }
        };
        match lane.purpose.on_request(class, request, &bytes, stale) {
            Some(()) => {
                if answered {
                    // What is sent again is what the client sent.
                    let copy = original.unwrap_or_else(|| bytes.clone());
                    let sent = Sent::new(copy, class.row, self.worker.now());
                    lane.owe(Sent { resent: *resent, writes, local, ..sent }, bytes.len());
                }
                lane.write(&bytes);
            }
            None if !lane.sent.is_empty() => return Step::Wait,
            None => {
                let answer = lane.purpose.unsent_answer(proto);
                self.client.out.borrow_mut().extend_from_slice(&answer);
            }
        }
        let node = lane.target.node;
        if class.effect == Effect::Write {
            self.session.wrote_in = lane.target.epoch;
        }
        if class.row.spec().long {
            self.worker.long_begun(self.client.id, node, class.row);
        }
        self.worker.count_command(class.row, node);
        Step::Taken
    }

    /// Moves bytes between the pinned connection and the client; true when something happened.
    pub(super) fn drive_pinned(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut lane) = self.pinned.take() else { return false };
        if matches!(lane.line, Line::Waiting(_)) {
            return self.reopen(lane);
        }
        if lane.target.epoch != self.worker.epoch() {
            self.lane_lost(lane, Loss::Gone);
            return true;
        }
        match lane.poll_open(cx) {
            Poll::Pending => {
                self.pinned = Some(lane);
                return false;
            }
            Poll::Ready(Ok(false)) => {}
            Poll::Ready(Ok(true)) => {
                if !self.lane_opened(&mut lane) {
                    return true;
                }
            }
            Poll::Ready(Err(DialError::Refused(error))) => {
                self.lane_refused(lane, &error);
                return true;
            }
            Poll::Ready(Err(DialError::Io(error))) => {
                self.lane_unopened(lane, &error);
                return true;
            }
        }
        match self.relay(&mut lane, cx) {
            Err(Ended::Lost) => {
                lane.ended_in = Some((lane.target.epoch, self.worker.generation(lane.target.node)));
                self.lane_lost(lane, Loss::Gone);
            }
            Err(Ended::Refused) => self.lane_lost(lane, Loss::Refused),
            Err(Ended::Doomed) => self.client.doom("what it held could not be set up on the new primary"),
            Ok(moved) => {
                self.settle_lane(lane);
                return moved;
            }
        }
        true
    }

    fn relay(&mut self, lane: &mut PinnedLane, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = false;
        loop {
            let Line::Open(mut pinned) = lane.take_line() else { return Ok(moved) };
            let waiting = pinned.unwritten();
            let written = pinned.poll_write(cx);
            moved |= pinned.unwritten() < waiting;
            let mut ended = None;
            let read = if written.is_ok() && self.client.out.borrow().len() < OUTPUT_PAUSE {
                pinned.poll_read(cx, |piece| {
                    if ended.is_none() {
                        ended = self.take_piece(lane, &piece).err();
                    }
                })
            } else {
                Poll::Pending
            };
            lane.line = Line::Open(pinned);
            if let Some(ended) = ended {
                return Err(ended);
            }
            self.wait_goes_on(lane);
            if !matches!(lane.line, Line::Open(_)) {
                return Ok(true);
            }
            written.map_err(|_| Ended::Lost)?;
            match read {
                Poll::Ready(Ok(())) => moved = true,
                Poll::Ready(Err(_)) => return Err(Ended::Lost),
                Poll::Pending => return Ok(moved),
            }
            if lane.is_owed_nothing() && lane.purpose.after() != After::Stays {
                return Ok(true);
            }
        }
    }

    fn take_piece(&mut self, lane: &mut PinnedLane, piece: &Piece<'_>) -> Result<(), Ended> {
        let (kind, bytes, last) = parts(piece);
        if let Some(rest) = lane.middle {
            self.take_further(lane, rest, bytes, last);
            return Ok(());
        }
        if lane.swallow > 0 && kind != b'>' {
            return if last { self.take_own(lane, kind, bytes) } else { Ok(()) };
        }
        if matches!(lane.purpose, Purpose::Wait(_)) && kind != b'>' && last {
            self.take_wait_reply(lane, bytes);
            return Ok(());
        }
        if kind == b'-' {
            self.worker.note_refusal(lane.target.node, bytes);
        }
        let (proto, epoch) = (self.session.identity.proto, lane.target.epoch);
        if self.is_refused_parked(lane, bytes) {
            return Err(Ended::Refused);
        }
        let mut verdict = if lane.modes.watches() && monitor_line::is_line(bytes) {
            Verdict::Extra
        } else {
            lane.purpose.on_frame(kind, bytes, last, proto, epoch)
        };
        if verdict == Verdict::Extra && lane.modes.watches() && monitor_line::is_redholds(bytes) {
            verdict = Verdict::Drop;
        }
        if !last {
            lane.middle = Some(match verdict {
                Verdict::Drop => Rest::Dropped,
                Verdict::Extra => Rest::Extra,
                _ => Rest::Reply,
            });
        }
        if lane.resubscribes && !lane.purpose.resubscribes() {
            lane.resubscribes = false;
            self.worker.resubscribed();
        }
        self.hand_on(lane, verdict, piece)
    }

    /// Gives the client what it gets of a frame, or of the first piece of a large one.
    fn hand_on(&mut self, lane: &mut PinnedLane, verdict: Verdict, piece: &Piece<'_>) -> Result<(), Ended> {
        let (kind, bytes, last) = parts(piece);
        let epoch = lane.target.epoch;
        let mut out = self.client.out.borrow_mut();
        match verdict {
            Verdict::Reply if last && answered_here(lane, kind) => {
                drop(out);
                if let Some(local) = lane.strike().and_then(|sent| sent.local) {
                    self.carry_out(*local, bytes);
                }
            }
            Verdict::Reply => {
                match lane.sent.front().map(|sent| sent.row.spec().lane) {
                    Some(Lane::Scan) => cursor::stamp_reply(bytes, epoch, &mut out),
                    _ => out.extend_from_slice(bytes),
                }
                drop(out);
                if last {
                    self.replied(lane, bytes);
                }
            }
            Verdict::Extra => out.extend_from_slice(bytes),
            Verdict::Drop => {}
            Verdict::Instead(instead) => {
                out.extend_from_slice(&instead);
                lane.strike();
            }
            Verdict::Executed(database, scans, stale) => {
                if scans.is_empty() && stale.is_empty() {
                    out.extend_from_slice(bytes);
                } else {
                    let mut stamper = Stamper::new(scans, stale, epoch);
                    stamper.feed(bytes, &mut out);
                    lane.stamper = Some(stamper);
                }
                drop(out);
                if last {
                    lane.stamper = None;
                    lane.strike();
                }
                if let Some(db) = database {
                    self.database_changed(db);
                }
            }
            Verdict::PlayAgain => return Err(Ended::Refused),
            Verdict::Refused => return Err(Ended::Doomed),
        }
        Ok(())
    }

    /// A whole reply to a request of the proxy's own.
    fn take_own(&self, lane: &mut PinnedLane, kind: u8, reply: &[u8]) -> Result<(), Ended> {
        match lane.swallowed(kind == b'-') {
            Swallowed::Id => self.id_answered(lane, reply),
            Swallowed::Refusal => return Err(Ended::Doomed),
            Swallowed::Other => {}
        }
        Ok(())
    }

    /// The server said how it calls the connection, or refused to.
    fn id_answered(&self, lane: &mut PinnedLane, reply: &[u8]) {
        let Ok(Some((Value::Integer(id), _))) = resp::decode(reply) else { return };
        self.client.live.park(id);
        lane.server_id = Some(id);
    }

    /// A further piece of a large reply goes where its first one went.
    fn take_further(&mut self, lane: &mut PinnedLane, rest: Rest, bytes: &[u8], last: bool) {
        if rest != Rest::Dropped {
            let mut out = self.client.out.borrow_mut();
            match &mut lane.stamper {
                Some(stamper) => stamper.feed(bytes, &mut out),
                None => out.extend_from_slice(bytes),
            }
        }
        if last {
            (lane.middle, lane.stamper) = (None, None);
            if rest == Rest::Reply {
                lane.strike();
            }
        }
    }

    /// Strikes the oldest request off; a SELECT that was executed beside a transaction moves the session.
    fn replied(&mut self, lane: &mut PinnedLane, reply: &[u8]) {
        let Some(sent) = lane.strike() else { return };
        if reply != b"+OK\r\n" {
            return;
        }
        self.worker.note_pause(lane.target.node, &sent);
        lane.modes.on_accepted(sent.row.spec(), &sent.request);
        if matches!(sent.row.spec().name, "client|setname" | "client|setinfo") {
            self.named(lane, &sent);
        }
        if sent.row.spec().name == "select" {
            let word = cursor::nth_word(&sent.request, 1);
            if let Some(db) = word.as_deref().and_then(crate::session::parse_db) {
                self.database_changed(db);
                if let Purpose::Transaction { clean, .. } = &mut lane.purpose {
                    *clean = false;
                }
            }
        }
    }

    /// The client has said on the connection who it is, and the server has agreed.
    fn named(&mut self, lane: &mut PinnedLane, sent: &Sent) {
        let said = &mut self.session.said;
        let word = |index: usize| cursor::nth_word(&sent.request, index).unwrap_or_default();
        let judged = match sent.row.spec().name {
            "client|setname" => said.set_name(&word(2)),
            _ => said.set_info(&word(2), &word(3)),
        };
        if judged.is_ok() {
            lane.note_names(said);
            self.register();
        }
    }

    fn database_changed(&mut self, db: u32) {
        self.session.identity.db = db;
        self.primary = None;
        self.register();
    }

    /// A parked request that the node will not wait for any more: it was not executed.
    fn is_refused_parked(&self, lane: &PinnedLane, frame: &[u8]) -> bool {
        matches!(lane.purpose, Purpose::Blocking)
            && (frame.starts_with(b"-UNBLOCKED force unblock") || super::redo::is_refusal(frame))
            && self.worker.now().duration_since(lane.since) < self.worker.settings.hold
    }

    /// A parked request ends as if its time were over.
    pub(super) fn end_parked(&mut self) {
        let proto = self.session.identity.proto;
        if let Some(lane) = self.pinned.take()
            && matches!(lane.purpose, Purpose::Blocking)
            && let Some(sent) = lane.sent.front()
        {
            let mut out = self.client.out.borrow_mut();
            match sent.row.spec().name {
                "blmove" | "brpoplpush" => encode::null(&mut out, proto),
                _ => encode::null_array(&mut out, proto),
            }
        }
    }

    /// Nothing more is owed: the connection is given back, closed or kept, as its purpose says.
    fn settle_lane(&mut self, mut lane: Box<PinnedLane>) {
        let mut told = false;
        if lane.sent.is_empty() {
            self.client.note_write();
            self.worker.long_ended(self.client.id);
            if matches!(lane.purpose, Purpose::Blocking | Purpose::Wait(_)) {
                told = self.client.live.unpark();
            }
        }
        if !lane.is_owed_nothing() || lane.swallow > 0 || lane.middle.is_some() {
            self.pinned = Some(lane);
            return;
        }
        match lane.after() {
            After::Stays => {
                if lane.purpose.after() != After::Stays {
                    lane.purpose = Purpose::Standing;
                }
                self.pinned = Some(lane);
            }
            After::Closes => {}
            After::Returns => {
                if let Line::Open(mut pinned) = lane.take_line()
                    && pinned.is_quiet()
                    && !told
                {
                    lane.server_id.into_iter().for_each(|id| pinned.note_server_id(id));
                    self.worker.give_idle(*pinned, lane.names().clone());
                }
            }
        }
    }
}

/// First byte of the reply, what came of it, whether it ends here.
fn parts<'a>(piece: &Piece<'a>) -> (u8, &'a [u8], bool) {
    match *piece {
        Piece::Frame { kind, bytes } => (kind, bytes, true),
        Piece::Part { kind, bytes, last } => (kind, bytes, last),
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

/// Whether the proxy does something in the server's place, whose reply begins with `kind`.
fn answered_here(lane: &PinnedLane, kind: u8) -> bool {
    let local = lane.sent.front().and_then(|sent| sent.local.as_ref());
    local.is_some_and(|local| kind != b'-' || local.replaces_errors())
}
