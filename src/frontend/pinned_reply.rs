//! What comes on a client's own connection: relayed to the client, struck off what is owed, until the connection may be
//! given back, must be closed, or stays.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::backend::{DialError, Piece};
use crate::command::{Lane, Spec, classify};
use crate::durability::Demand;
use crate::resp::{RequestScanner, encode};
use crate::routing::Gate;
use crate::session::{self, Verdict};

use super::connection::Connection;
use super::cursor::{self, Stamper};
use super::kept_back::JUDGEMENT;
use super::lane::{Line, PinnedLane, Rest};
use super::lane_loss::Loss;
use super::monitor_line;
use super::parity::has_changed;
use super::purpose::{After, Purpose, Sent};
use super::redo;
use super::worker::{Answered, Took};

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
    /// Moves bytes between the pinned connection and the client; true when something happened.
    pub(super) fn drive_pinned(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut lane) = self.pinned.take() else { return false };
        if matches!(lane.line, Line::Waiting(_)) {
            return self.reopen(lane);
        }
        if self.stands_back(&lane) {
            self.pinned = Some(lane);
            return false;
        }
        if lane.target.epoch != self.worker.epoch() && !self.hears_last_words(&mut lane) {
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
        let relayed = self.relay(&mut lane, cx);
        self.note_lane_writes(&mut lane);
        match relayed {
            Err(Ended::Lost) => {
                let lives = (lane.target.epoch, self.worker.generation(lane.target.node).unwrap_or_default());
                lane.ended_in = Some(lives);
                lane.closings.note(lives, self.worker.now());
                self.lane_lost(lane, Loss::Gone);
            }
            Err(Ended::Refused) => self.lane_lost(lane, Loss::Refused),
            Err(Ended::Doomed) => {
                self.can_not_hold(&lane, "what it held could not be set up on the new primary")
            }
            Ok(moved) => {
                self.settle_lane(lane);
                return moved;
            }
        }
        true
    }

    /// Whether its connection is looked at only when its turn has come: while the primary changes, the last words to thousands
    /// of clients come at once.
    fn stands_back(&self, lane: &PinnedLane) -> bool {
        let its_turn = self.client.its_turn.take();
        let table = self.worker.current();
        let changes = table.gate != Gate::Open || lane.target.epoch != table.epoch;
        let stands_back = changes && !its_turn && lane.is_parked() && matches!(lane.line, Line::Open(_));
        if stands_back {
            self.worker.returning.one(&self.client);
        }
        stands_back
    }

    fn relay(&mut self, lane: &mut PinnedLane, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut moved = false;
        loop {
            let Line::Open(mut pinned) = lane.take_line() else { return Ok(moved) };
            let waiting = pinned.unwritten();
            let written = pinned.poll_write(cx);
            moved |= pinned.unwritten() < waiting;
            let mut ended = None;
            let read = if written.is_ok() && !self.is_full() {
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
            if lane.is_owed_nothing() && self.after(lane) != After::Stays {
                return Ok(true);
            }
        }
    }

    fn take_piece(&mut self, lane: &mut PinnedLane, piece: &Piece<'_>) -> Result<(), Ended> {
        let piece = &known(lane, *piece);
        let (kind, bytes, last) = parts(piece);
        if let Some(rest) = lane.middle {
            self.take_further(lane, rest, bytes, last);
            return Ok(());
        }
        let is_line = lane.standing.modes().watches() && monitor_line::is_line(bytes);
        if lane.swallow > 0 && kind != b'>' && !is_line {
            return if last { Self::take_own(lane, kind) } else { Ok(()) };
        }
        if matches!(lane.purpose, Purpose::Wait(_)) && kind != b'>' && last {
            self.take_wait_reply(lane, bytes);
            return Ok(());
        }
        if kind == b'-' {
            self.worker.note_refusal(lane.target.node, bytes);
            let request = lane.sent.front().map_or(&[][..], |sent| &sent.request);
            self.worker.note_missing(lane.target.node, bytes, request);
        }
        if self.is_refused_parked(lane, bytes) {
            return Err(Ended::Refused);
        }
        if lane.leaves_at.is_some() && kind != b'>' {
            // What it executed is of an old epoch; a time that was over is over at the next primary too.
            return Err(if is_null(bytes) { Ended::Refused } else { Ended::Lost });
        }
        let verdict = match is_line {
            true if monitor_line::is_redholds(bytes) => Verdict::Drop,
            true => Verdict::Extra,
            // The words by which a frame is known stand in the first piece of a large one.
            false if lane.purpose.is_standing() => lane.standing.on_frame(bytes, self.session.identity.proto),
            false if kind == b'>' => Verdict::Extra,
            false => Verdict::Reply,
        };
        if !matches!(verdict, Verdict::Drop | Verdict::Extra) {
            lane.replied = bytes.len() as u64;
        }
        if !last {
            lane.middle = Some(match verdict {
                Verdict::Drop => Rest::Dropped,
                Verdict::Extra => Rest::Extra,
                _ => Rest::Reply,
            });
        }
        if lane.resubscribes && !lane.standing.subscriptions().resubscribes() {
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
        let before = out.len();
        match verdict {
            Verdict::Reply if last && answered_here(lane, kind) => {
                drop(out);
                if let Some(local) = self.strike(lane, bytes).and_then(|sent| sent.local) {
                    self.carry_out(*local, bytes);
                }
            }
            // The first piece of a large one.
            Verdict::Reply if !last && kind != b'-' && self.gathers(lane, bytes) => {
                lane.middle = Some(Rest::Kept)
            }
            Verdict::Reply if last && self.withholds(lane, bytes) => {
                drop(out);
                let sent = self.strike(lane, bytes);
                self.client.spread(
                    lane.target.node,
                    sent.map(|it| it.request).unwrap_or_default(),
                    Bytes::copy_from_slice(bytes),
                );
            }
            Verdict::Reply => {
                match lane.sent.front().map(|sent| sent.row.spec()) {
                    Some(spec) if spec.lane == Lane::Scan => cursor::stamp_reply(bytes, epoch, &mut out),
                    Some(spec) if spec.name == "hello" && last => {
                        let rewritten = session::rewrite_hello(bytes, self.client.id);
                        out.extend_from_slice(rewritten.as_deref().unwrap_or(bytes));
                    }
                    _ => out.extend_from_slice(redirected(lane, bytes).as_deref().unwrap_or(bytes)),
                }
                drop(out);
                self.withhold_pinned(lane, before, bytes, last);
                if last {
                    self.replied(lane, bytes);
                }
            }
            Verdict::Extra => out.extend_from_slice(redirected(lane, bytes).as_deref().unwrap_or(bytes)),
            Verdict::Drop => {}
            Verdict::Instead(instead) => {
                out.extend_from_slice(&instead);
                drop(out);
                self.strike(lane, &instead);
            }
            Verdict::Executed(executed) => {
                if executed.is_plain() {
                    out.extend_from_slice(bytes);
                } else {
                    let mut stamper = Stamper::new(executed, epoch, self.own_patterns());
                    stamper.feed(bytes, &mut out);
                    lane.stamper = Some(stamper);
                }
                drop(out);
                self.withhold_pinned(lane, before, bytes, last);
                if last {
                    self.executed(lane, bytes);
                }
            }
            Verdict::PlayAgain => return Err(Ended::Refused),
            Verdict::Refused => return Err(Ended::Doomed),
        }
        Ok(())
    }

    /// What was just added to the output behind `before` is the reply to the oldest request or its first piece, which came as
    /// `bytes`. If it says that a write was executed, it waits until that is safe. A transaction and a blocking command whose
    /// reply is null have executed nothing, and their reply waits where reads do.
    fn withhold_pinned(&self, lane: &mut PinnedLane, before: usize, bytes: &[u8], last: bool) {
        let Some(sent) = lane.sent.front_mut().filter(|sent| !sent.demand.is_none()) else { return };
        let spec = sent.row.spec();
        let nothing = is_null(bytes) && (spec.lane == Lane::Blocking || spec.name == "exec");
        let demand = match () {
            // A transaction that the server refused to begin queues nothing, whatever its client believes, and a script may say so too.
            () if bytes == b"+QUEUED\r\n" && lane.standing.transaction().queued().is_some() => return,
            () if bytes.starts_with(b"-") => {
                self.worker.demand_of_error(sent.demand, sent.row, bytes, sent.resent)
            }
            () if nothing => sent.demand.unchanged(&self.worker.settings.durability),
            () => sent.demand,
        };
        // A later piece does not tell what it is a piece of.
        sent.demand = demand;
        let len = self.client.out.borrow().len() - before;
        if demand.is_none() {
            return;
        }
        if last {
            self.client.withhold_for(demand, len, 1);
        } else {
            self.client.withhold_piece(demand, len, false);
        }
    }

    /// A whole reply to a request of the proxy's own.
    fn take_own(lane: &mut PinnedLane, kind: u8) -> Result<(), Ended> {
        if lane.swallowed(kind == b'-') { Err(Ended::Doomed) } else { Ok(()) }
    }

    /// Keeps a piece of a large reply that can only be looked at whole; true when it is one. One that is larger than a
    /// client may be owed closes the client, and nothing of it is handed on.
    fn gathers(&self, lane: &mut PinnedLane, piece: &[u8]) -> bool {
        let local = lane.sent.front_mut().and_then(|sent| sent.local.as_mut());
        let Some(begun) = local.and_then(|local| local.begun()) else { return false };
        if (begun.len() + piece.len()) as u64 > self.worker.settings.client_output {
            *begun = Vec::new();
            self.client.too_large();
        }
        if self.client.doomed.get().is_none() {
            begun.extend_from_slice(piece);
        }
        true
    }

    /// Hands on what was kept of a large reply, now that it is whole.
    fn gathered(&mut self, lane: &mut PinnedLane) {
        let Some(mut local) = self.strike(lane, b"").and_then(|sent| sent.local) else { return };
        let whole = local.begun().map(std::mem::take).unwrap_or_default();
        if self.client.doomed.get().is_none() {
            self.carry_out(*local, &whole);
        }
    }

    /// A further piece of a large reply goes where its first one went.
    fn take_further(&mut self, lane: &mut PinnedLane, rest: Rest, bytes: &[u8], last: bool) {
        if matches!(rest, Rest::Reply | Rest::Kept) {
            lane.replied += bytes.len() as u64;
        }
        if rest == Rest::Kept {
            self.gathers(lane, bytes);
            if last {
                lane.middle = None;
                self.gathered(lane);
            }
            return;
        }
        if rest != Rest::Dropped {
            let mut out = self.client.out.borrow_mut();
            let before = out.len();
            match &mut lane.stamper {
                Some(stamper) => stamper.feed(bytes, &mut out),
                None => out.extend_from_slice(bytes),
            }
            let len = out.len() - before;
            drop(out);
            let demand = lane.sent.front().map_or(Demand::NONE, |sent| sent.demand);
            if rest == Rest::Reply && !demand.is_none() {
                self.client.withhold_piece(demand, len, last);
            }
        }
        if last {
            lane.middle = None;
            if rest == Rest::Reply {
                self.executed(lane, b"");
            }
        }
    }

    /// Strikes off what was answered at length. If it was an EXEC, what it did to the connection is carried out.
    fn executed(&mut self, lane: &mut PinnedLane, reply: &[u8]) {
        self.strike(lane, reply);
        for request in lane.stamper.take().map(Stamper::left).unwrap_or_default() {
            self.accepted_anyhow(lane, &request, true);
        }
    }

    /// The oldest request was answered: it is counted, remembered if that took long, and may be sampled and traced. Who waited at the
    /// node for something to happen did so of his own accord. `reply`: empty where it came in pieces, so that it is no error.
    pub(super) fn strike(&self, lane: &mut PinnedLane, reply: &[u8]) -> Option<Sent> {
        let sent = lane.strike()?;
        let now = self.worker.now();
        let micros = now.saturating_duration_since(sent.since).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let parked = matches!(lane.purpose, Purpose::Blocking) || sent.row.spec().lane == Lane::Wait;
        if !parked {
            self.worker.metrics.backend_duration(lane.target.node.0, micros, 1);
        }
        self.worker.metrics.duration(sent.row.0, micros + u64::from(sent.waited), 1);
        if self.worker.is_slow(micros) && !parked {
            let (row, node, waited) = (sent.row, Some(lane.target.node), sent.waited);
            let took = Took { row, node, micros, waited, local: lane.local, now };
            self.worker.note_slow(&self.client, &took, || &sent.request);
        }
        let replied = std::mem::take(&mut lane.replied);
        if self.worker.is_big(replied) {
            self.big_answered(sent.row, lane.target.node, &sent.request, replied);
        }
        let sampler = &self.worker.pools.around().sampler;
        if !sampler.passes(1) {
            sampler.take(1, |_| self.worker.note_sampled(sent.row, &sent.request, self.session.identity.db));
        }
        let asked = !(sent.is_of_session() && sent.request.is_empty());
        if asked && self.worker.is_traced() {
            let Sent { row, since, waited, resent, .. } = sent;
            let answered = Answered { row, node: Some(lane.target.node), since, waited, resent, now };
            self.worker.trace(&self.client, &answered, reply);
        }
        Some(sent)
    }

    /// What is taken to be accepted, since nobody tells.
    pub(super) fn accepted_unheard(&mut self, requests: &[Bytes]) {
        let Some(mut lane) = self.pinned.take() else { return };
        requests.iter().for_each(|request| self.accepted_anyhow(&mut lane, request, false));
        self.pinned = Some(lane);
    }

    fn accepted_anyhow(&mut self, lane: &mut PinnedLane, request: &[u8], heard: bool) {
        match RequestScanner::of_kept(request) {
            Some(scanner) => {
                let spec = classify(&scanner.request(request)).row.spec();
                self.accepted(lane, spec, request, heard);
            }
            None => self.can_not_hold(lane, "what its transaction has set was too much to be kept"),
        }
    }

    /// Strikes the oldest request off, and notes what it has set.
    fn replied(&mut self, lane: &mut PinnedLane, reply: &[u8]) {
        let Some(sent) = self.strike(lane, reply) else { return };
        let spec = sent.row.spec();
        if spec.parity {
            if has_changed(reply) {
                self.spread_beside(lane, &sent.request);
            }
        } else if reply == b"+OK\r\n" || (spec.name == "hello" && matches!(reply.first(), Some(b'*' | b'%')))
        {
            self.accepted(lane, spec, &sent.request, true);
        }
    }

    /// The server has accepted the request, or, not `heard`, is taken to have.
    fn accepted(&mut self, lane: &mut PinnedLane, spec: &Spec, request: &[u8], heard: bool) {
        // Without a reply nobody knows that it was: who differs is found by comparison.
        if spec.parity && heard {
            return self.spread_beside(lane, request);
        }
        match spec.name {
            // Nobody is who he says without proof.
            "auth" | "hello" if !heard => lane.standing.forget(),
            "auth" | "hello" => {
                self.proved_on_lane(request);
                lane.note_names(&self.session.said);
            }
            "client|setname" | "client|setinfo" => self.named(lane, spec, request),
            "select" => {
                if let Some(db) = cursor::nth_word(request, 1).as_deref().and_then(session::parse_db) {
                    self.database_changed(db);
                }
            }
            "config|resetstat" => self.worker.marks.of(lane.target.node).own_calls().reset(),
            "client|pause" => self.worker.note_pause(lane.target.node, request),
            "client|unpause" => self.worker.note_unpause(lane.target.node),
            _ => lane.standing.accept(spec, request),
        }
    }

    /// The client has said on the connection who it is, and the server has agreed.
    fn named(&mut self, lane: &mut PinnedLane, spec: &Spec, request: &[u8]) {
        let said = &mut self.session.said;
        let word = |index: usize| cursor::nth_word(request, index).unwrap_or_default();
        let judged = match spec.name {
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
        (self.primary, self.scripts) = (None, None);
        self.register();
    }

    /// A parked request that the node will not wait for any more: it was not executed.
    fn is_refused_parked(&self, lane: &PinnedLane, frame: &[u8]) -> bool {
        let Some(row) = lane.sent.front().map(|sent| sent.row) else { return false };
        let now = self.worker.now();
        // From the first of them on, however often it was sent to wait elsewhere; who waited in between begins anew.
        let waited = now.duration_since(lane.since) >= JUDGEMENT;
        let since = self.client.unparked_since.get().filter(|_| !waited);
        let refused = matches!(lane.purpose, Purpose::Blocking)
            && (frame.starts_with(b"-UNBLOCKED force unblock")
                || redo::is_refusal(frame)
                || self.client.awaits_remedy(row, frame, since));
        if !refused {
            return false;
        }
        let since = since.unwrap_or(now);
        self.client.unparked_since.set(Some(since));
        now.duration_since(since) < self.worker.settings.hold
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
            self.client.unparked_since.set(None);
            self.client.end_keeping_back();
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
        match self.after(&lane) {
            After::Stays => {
                lane.purpose = Purpose::Standing;
                self.pinned = Some(lane);
            }
            After::Closes => {
                self.client.live.disown();
            }
            After::Returns => {
                told |= self.client.live.disown();
                if let Line::Open(pinned) = lane.take_line()
                    && pinned.is_quiet()
                    && !told
                {
                    self.worker.give_idle(pinned, lane.names().clone());
                }
                self.worker.blanks.give(lane);
            }
        }
    }
}

/// What tells of a redirection, by the ids that clients know.
fn redirected(lane: &PinnedLane, bytes: &[u8]) -> Option<Vec<u8>> {
    let row = lane.sent.front().map(|sent| sent.row);
    lane.redirection.get()?.told(row, bytes)
}

fn is_null(frame: &[u8]) -> bool {
    [b"*-1\r\n".as_slice(), b"$-1\r\n", b"_\r\n"].contains(&frame)
}

/// First byte of the reply, what came of it, whether it ends here.
fn parts<'a>(piece: &Piece<'a>) -> (u8, &'a [u8], bool) {
    match *piece {
        Piece::Frame { kind, bytes } => (kind, bytes, true),
        Piece::Part { kind, bytes, last } => (kind, bytes, last),
    }
}

/// What the client is told of a piece: no node sends it to another one.
fn known<'a>(lane: &PinnedLane, piece: Piece<'a>) -> Piece<'a> {
    let row = lane.sent.front().filter(|_| lane.swallow == 0 && lane.middle.is_none()).map(|sent| sent.row);
    match (piece, row) {
        (Piece::Frame { kind: b'-', bytes }, Some(row)) => {
            Piece::Frame { kind: b'-', bytes: redo::instead_of_redirect(row, bytes).unwrap_or(bytes) }
        }
        (piece, _) => piece,
    }
}

/// Whether the proxy does something in the server's place, whose reply begins with `kind`.
fn answered_here(lane: &PinnedLane, kind: u8) -> bool {
    let local = lane.sent.front().and_then(|sent| sent.local.as_ref());
    local.is_some_and(|local| kind != b'-' || local.replaces_errors())
}
