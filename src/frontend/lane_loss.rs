//! What a client's own connection leaves behind when it is lost, when its epoch is over, or when none was to be had in time.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::command::RowId;
use crate::error::Failure;
use crate::resp::{Proto, encode};
use crate::session::Fate;
use crate::telemetry::ErrorKind;

use super::connection::Connection;
use super::kept_back::{REFUSED_PAUSE, Room};
use super::lane::{Line, PinnedLane, Rest};
use super::lost_request::LostRequest;
use super::parked;
use super::pinned_hold::TOO_LATE;
use super::purpose::{Purpose, Sent};
use super::redo::{self, Redo, fate_of};
use super::worker::wake_at;

const UNSAYABLE: &str = "what it has set on its connection is not known, or too much to be kept";

/// A primary that was demoted tells every client that it parked, thousands of them within a tenth of this; a connection on which
/// nothing was said by then is given up, and what was parked there may have been executed.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How a connection was lost.
#[derive(Debug)]
pub(super) enum Loss {
    /// It ended, or its epoch did.
    Gone,
    /// The node gave the work back because it is no primary.
    Refused,
    /// It was not to be had in time: what is owed is answered so, and was not executed.
    Never(Failure),
}

impl Connection {
    /// The connection is gone.
    pub(super) fn lane_lost(&mut self, mut lane: Box<PinnedLane>, loss: Loss) {
        self.client.note_write();
        self.note_lane_writes(&mut lane);
        self.worker.long_ended(self.client.id);
        self.client.live.unpark();
        self.worker.pools.doubt(lane.target.node, self.worker.now());
        if self.client.live.disown() {
            return self
                .can_not_hold(&lane, "invalidations of other clients were redirected to its connection");
        }
        if matches!(lane.middle, Some(Rest::Extra | Rest::Reply | Rest::Kept)) {
            self.client.cut_unfinished();
            self.client.doom("a reply was cut off in its middle");
            return;
        }
        let was_open = matches!(lane.line, Line::Open(_));
        let (unwritten, all_written) = (lane.unwritten_requests(), lane.unwritten() == 0);
        let taken = lane.take_sent();
        let written = taken.len() - unwritten;
        let proto = self.session.identity.proto;
        let Some(anew) = lane.begin_anew(&self.session.said, proto, taken.len(), unwritten) else {
            return self.can_not_hold(&lane, UNSAYABLE);
        };
        let mut redos = Vec::new();
        match &mut lane.purpose {
            Purpose::Large => return self.large_lost(&lane, !taken.is_empty() && all_written, loss),
            Purpose::Wait(wait) => {
                self.client.out.borrow_mut().extend_from_slice(wait.nobody());
                return;
            }
            Purpose::Blocking => {
                let waited = Instant::now().duration_since(lane.since);
                let refused = matches!(loss, Loss::Refused);
                if matches!(loss, Loss::Gone) {
                    taken.iter().take(written).for_each(|sent| self.worker.count_unanswered(sent.row));
                }
                // A node that lives and closed it may do so each time.
                let at_once = lane.target.epoch != self.worker.epoch();
                let again = |sent| parked_again(sent, waited, refused, at_once, &self.worker.room);
                redos.extend(taken.iter().map(again));
            }
            Purpose::One { .. } | Purpose::Overseer => {
                // The proxy's own question is asked again when it matters.
                let asked = |sent: &Sent| !(sent.is_of_session() && sent.request.is_empty());
                let owed = taken.iter().enumerate().filter(|(_, sent)| asked(sent));
                redos.extend(owed.map(|(at, sent)| self.fate(&lane, sent, at < written)));
            }
            Purpose::Standing => {
                self.standing_lost(&mut lane, &taken, anew.fates, written, &loss, &mut redos)
            }
        }
        for (at, mut redo) in redos.into_iter().enumerate() {
            let row = taken.get(at).map_or(RowId::UNKNOWN, |sent| sent.row);
            if let (Redo::Send { .. }, Loss::Never(failure)) = (&redo, &loss) {
                redo = Redo::answer(failure.clone(), row, lane.since);
            }
            if matches!(redo, Redo::Send { .. }) && at < written {
                self.worker.count_reissued();
            }
            self.client.redo.borrow_mut().lost(redo);
        }
        if let Some(request) = anew.silence {
            self.client.redo.borrow_mut().lost(Redo::again(request, false, lane.since));
        }
        if matches!(loss, Loss::Gone) && lane.closings.are_too_many() {
            let why = "its connection is closed again and again, with what stands there";
            return self.closed_by_its_node(&lane, why);
        }
        // Before it was open nothing was kept that it would have invalidated, or an earlier loss said so.
        if was_open && lane.standing.modes().tracks() {
            invalidate_all(proto, &mut self.client.out.borrow_mut());
        }
        self.stand_again(lane, &loss, anew.silence.is_some());
    }

    /// Whether a request that was parked when a planned change of primary ended its epoch is still waited for: its node is about to
    /// say that it was not executed, without which that would not be known.
    pub(super) fn hears_last_words(&self, lane: &mut PinnedLane) -> bool {
        let now = self.worker.now();
        if lane.leaves_at.is_none() {
            let open = matches!(lane.line, Line::Open(_)) && lane.unwritten() == 0 && lane.middle.is_none();
            let parked = matches!(lane.purpose, Purpose::Blocking) && !lane.sent.is_empty();
            let table = self.worker.current();
            if !(open && parked && table.planned && table.epoch == lane.target.epoch + 1) {
                return false;
            }
            let until = now + LAST_WORDS;
            wake_at(&self.client, until);
            lane.leaves_at = Some(until);
        }
        lane.leaves_at.is_some_and(|until| now < until)
    }

    /// What the client held is gone, and it would not know: it is closed.
    pub(super) fn can_not_hold(&self, lane: &PinnedLane, why: &'static str) {
        tracing::warn!(client = self.client.id, node = %lane.target.address, "client closed: {why}");
        self.worker.metrics.error(ErrorKind::NodeRefused);
        self.client.doom(why);
    }

    /// What the client held is not set up once more on its node, which lives.
    pub(super) fn closed_by_its_node(&self, lane: &PinnedLane, why: &'static str) {
        tracing::warn!(client = self.client.id, node = %lane.target.address, "client closed by its node: {why}");
        self.worker.metrics.error(ErrorKind::NodeClosed);
        self.client.doom(why);
    }

    /// A transaction was answered without its server, on which it is still open: that connection is given up, and what stands
    /// beside the transaction is set up on another one.
    pub(super) fn leave_transaction(&mut self) {
        let Some(mut lane) = self.pinned.take() else { return };
        lane.standing.leave_transaction();
        if !lane.standing.stands() {
            return;
        }
        let proto = self.session.identity.proto;
        if lane.begin_anew(&self.session.said, proto, 0, 0).is_none() {
            return self.can_not_hold(&lane, UNSAYABLE);
        }
        if lane.standing.modes().tracks() {
            invalidate_all(proto, &mut self.client.out.borrow_mut());
        }
        (lane.stood, lane.unopened, lane.stamper, lane.middle) = (true, None, None, None);
        self.pinned = Some(lane);
    }

    /// What becomes of requests on a connection on which something stood, in the order in which they were sent.
    fn standing_lost(
        &self,
        lane: &mut PinnedLane,
        taken: &VecDeque<Sent>,
        fates: Vec<Fate>,
        written: usize,
        loss: &Loss,
        redos: &mut Vec<Redo>,
    ) {
        let is_exec = |sent: &Sent| sent.row.spec().name == "exec";
        let never = matches!(loss, Loss::Never(_));
        if never {
            lane.standing.abandon(taken.iter().any(is_exec));
        }
        for (at, (fate, sent)) in fates.into_iter().zip(taken).enumerate() {
            redos.push(match fate {
                Fate::SendAgain { .. } if never && is_exec(sent) => {
                    Redo::answer(Failure::TransactionLost { reason: TOO_LATE }, sent.row, lane.since)
                }
                // As the client sent it, not as it went on the wire: it is judged and rewritten anew.
                Fate::SendAgain { request, .. } => {
                    let given = if sent.request.is_empty() { &request[..] } else { &sent.request[..] };
                    Redo::again(given, sent.resent, lane.since)
                }
                Fate::Subscribe(request) => Redo::again(&request, sent.resent, lane.since),
                Fate::Answer(bytes) => Redo::Say(bytes.into()),
                Fate::ByRetryClass => self.fate(lane, sent, at < written),
                Fate::Ambiguous => Redo::answer(self.ambiguous(lane), sent.row, lane.since),
            });
        }
    }

    /// What the client held on the connection is asked for on the next one. `mode`: what stands there is still to be said.
    fn stand_again(&mut self, mut lane: Box<PinnedLane>, loss: &Loss, mode: bool) {
        lane.purpose = Purpose::Standing;
        if !(lane.standing.stands() || mode) {
            return;
        }
        lane.tail = None;
        (lane.stood, lane.unopened, lane.stamper, lane.middle) = (true, None, None, None);
        // A node that refused is not asked again at full speed.
        if matches!(loss, Loss::Refused) || lane.target.epoch == self.worker.epoch() {
            self.retry_lane(&mut lane, REFUSED_PAUSE);
        }
        self.pinned = Some(lane);
    }

    /// A large request passes through and is not kept: cut before its last byte it was not executed.
    fn large_lost(&mut self, lane: &PinnedLane, wholly_written: bool, loss: Loss) {
        let failure = match loss {
            Loss::Never(failure) => failure,
            Loss::Gone | Loss::Refused if wholly_written && lane.tail.is_none() => self.ambiguous(lane),
            Loss::Gone | Loss::Refused => Failure::LargeCut,
        };
        self.client.fail(&failure);
        if lane.tail.is_some() {
            // The rest still comes in and belongs to nobody: only closing ends it.
            self.client.doom("a large request was cut off");
        }
    }

    fn fate(&self, lane: &PinnedLane, sent: &Sent, written: bool) -> Redo {
        let waited = Instant::now().duration_since(sent.since);
        if written {
            self.worker.count_unanswered(sent.row);
            let (node, epoch) = (&lane.target.address, lane.target.epoch);
            let (row, request, resent) = (sent.row, &sent.request, sent.resent);
            self.worker.note_lost(&LostRequest { node, epoch, row, request, resent, waited });
        }
        if sent.request.is_empty() {
            let failure = if written { self.ambiguous(lane) } else { Failure::LargeCut };
            return Redo::answer(failure, sent.row, lane.since);
        }
        if !written {
            return Redo::again(&sent.request, sent.resent, lane.since);
        }
        let fate = fate_of(&sent.request, &self.worker.retry_rules(), sent.resent, waited);
        let request = (sent.row, &sent.request[..]);
        redo::after_loss(fate, request, lane.since, &self.ambiguous(lane), &lane.target.address)
    }

    fn ambiguous(&self, lane: &PinnedLane) -> Failure {
        let from = lane.target.epoch;
        Failure::Ambiguous { from, to: self.worker.epoch().max(from) }
    }
}

/// While parked nothing is executed: the request waits for the rest of its time elsewhere.
fn parked_again(sent: &Sent, waited: Duration, refused: bool, at_once: bool, room: &Rc<Room>) -> Redo {
    let left = parked::remaining(&sent.request, sent.row, waited);
    let now = Instant::now();
    if refused {
        Redo::refused(&left, b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n", sent.resent, now, now, room)
    } else if at_once {
        Redo::again(&left, false, now)
    } else {
        Redo::again(&left, false, now).not_before(now + REFUSED_PAUSE)
    }
}

/// Tells a tracking client that everything it keeps may be stale.
fn invalidate_all(proto: Proto, out: &mut BytesMut) {
    if proto == Proto::Resp3 {
        encode::push_header(out, 2, proto);
        encode::bulk(out, b"invalidate");
        encode::null(out, proto);
    }
}
