//! What a client's own connection leaves behind when it is lost, or when its epoch is over.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

use crate::error::Failure;
use crate::resp::{Proto, encode};
use crate::session;

use super::connection::Connection;
use super::lane::{PinnedLane, Rest};
use super::parked;
use super::pinned_hold::TOO_LATE;
use super::pinned_lane::nobody;
use super::purpose::{Purpose, Sent, Silence};
use super::redo::{self, Redo, fate_of};

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
        self.worker.long_ended(self.client.id);
        self.client.live.unpark();
        if matches!(lane.middle, Some(Rest::Extra | Rest::Reply)) {
            self.client.doom("a reply was cut off in its middle");
            return;
        }
        let unwritten = lane.unwritten_requests();
        let taken = lane.take_sent();
        let written = taken.len() - unwritten;
        let mut redos = Vec::new();
        match &mut lane.purpose {
            Purpose::Large => {
                let written = !taken.is_empty() && lane.unwritten() == 0;
                return self.large_lost(&lane, written, loss);
            }
            Purpose::Wait { aof } => {
                self.client.out.borrow_mut().extend_from_slice(nobody(*aof));
                return;
            }
            Purpose::Blocking => {
                let waited = Instant::now().duration_since(lane.since);
                let refused = matches!(loss, Loss::Refused);
                redos.extend(taken.iter().map(|sent| parked_again(sent, waited, refused)));
            }
            Purpose::One { .. } | Purpose::Standing(_) | Purpose::Silent(_) => {
                redos.extend(taken.iter().enumerate().map(|(at, sent)| self.fate(&lane, sent, at < written)));
            }
            Purpose::Transaction { .. } => {
                self.transaction_lost(&mut lane, &taken, unwritten, &loss, &mut redos)
            }
            Purpose::Subscribed(_) => self.subscriptions_lost(&mut lane, &taken, written, &loss, &mut redos),
        }
        if let Purpose::Silent(silence) = &mut lane.purpose
            && !redos.is_empty()
            && let Some(request) = silence.request()
        {
            // What is owed was sent while replies were wanted: the mode comes behind it.
            *silence = Silence::Over;
            redos.push(Redo::again(request, false, lane.since));
            lane.take_line();
            lane.stood = true;
        }
        for (at, mut redo) in redos.into_iter().enumerate() {
            if let (Redo::Send { .. }, Loss::Never(failure)) = (&redo, &loss)
                && at < taken.len()
            {
                redo = Redo::Answer(failure.clone());
            }
            if matches!(redo, Redo::Send { .. }) && at < written {
                self.worker.metrics.reissued(1);
            }
            self.client.redo.borrow_mut().lost(redo);
        }
        self.stand_again(lane, &loss);
    }

    /// What was subscribed to is asked for again, and what was to be when the connection was lost.
    fn subscriptions_lost(
        &self,
        lane: &mut PinnedLane,
        taken: &VecDeque<Sent>,
        written: usize,
        loss: &Loss,
        redos: &mut Vec<Redo>,
    ) {
        let Purpose::Subscribed(subscriptions) = &mut lane.purpose else { return };
        let again = subscriptions.recover();
        if let Loss::Never(failure) = loss {
            subscriptions.abandon();
            redos.extend(taken.iter().map(|_| Redo::Answer(failure.clone())));
        }
        lane.take_line();
        lane.write(&again.resubscribe);
        if let Loss::Never(_) = loss {
            return;
        }
        for (at, (bytes, sent)) in again.owed.iter().zip(taken).enumerate() {
            if let Some(bytes) = bytes {
                lane.owe(sent.clone(), bytes.len());
                lane.write(bytes);
            } else {
                redos.push(self.fate(lane, sent, at < written));
            }
        }
        if let Purpose::Subscribed(subscriptions) = &mut lane.purpose {
            redos.iter().for_each(|_| subscriptions.drop_reply());
        }
    }

    /// What becomes of a transaction whose connection is lost.
    fn transaction_lost(
        &self,
        lane: &mut PinnedLane,
        taken: &VecDeque<Sent>,
        unwritten: usize,
        loss: &Loss,
        redos: &mut Vec<Redo>,
    ) {
        let Purpose::Transaction { transaction, clean } = &mut lane.purpose else { return };
        let recovery = transaction.recover(unwritten);
        *clean = false;
        let mut ended = false;
        if let Loss::Never(_) = loss {
            ended = taken.iter().any(|sent| sent.row.spec().name == "exec");
            if ended {
                transaction.clear();
            } else {
                transaction.abandon();
            }
        }
        lane.take_line();
        lane.write(&recovery.replay);
        let written = taken.len() - unwritten;
        for (at, (fate, sent)) in recovery.fates.into_iter().zip(taken).enumerate() {
            redos.push(match fate {
                session::Fate::SendAgain { .. } if ended && sent.row.spec().name == "exec" => {
                    Redo::Answer(Failure::TransactionLost { reason: TOO_LATE })
                }
                session::Fate::SendAgain { request, .. } => Redo::again(&request, sent.resent, lane.since),
                session::Fate::Answer(bytes) => Redo::Say(bytes.into()),
                session::Fate::ByRetryClass => self.fate(lane, sent, at < written),
                session::Fate::Ambiguous => Redo::Answer(self.ambiguous(lane)),
            });
        }
    }

    /// What the client held on the connection is asked for on the next one.
    fn stand_again(&mut self, mut lane: Box<PinnedLane>, loss: &Loss) {
        let stands = match &mut lane.purpose {
            Purpose::Transaction { transaction, .. } => transaction.is_pinned(),
            Purpose::Subscribed(subscriptions) => {
                lane.resubscribes = subscriptions.resubscribes();
                subscriptions.is_active()
            }
            Purpose::Standing(standing) if !standing.over && !standing.setup.is_empty() => {
                let setup = std::mem::take(&mut standing.setup);
                if standing.tracks {
                    invalidate_all(self.session.identity.proto, &mut self.client.out.borrow_mut());
                }
                lane.take_line();
                lane.write(&setup);
                lane.swallow = 1;
                if let Purpose::Standing(standing) = &mut lane.purpose {
                    standing.setup = setup;
                }
                true
            }
            Purpose::Silent(silence) => match silence.request() {
                Some(request) => {
                    lane.take_line();
                    lane.write(request);
                    true
                }
                None => lane.stood,
            },
            Purpose::One { .. }
            | Purpose::Blocking
            | Purpose::Wait { .. }
            | Purpose::Large
            | Purpose::Standing(_) => false,
        };
        if !stands {
            return;
        }
        lane.tail = None;
        (lane.stood, lane.unopened, lane.stamper, lane.middle) = (true, None, None, None);
        // A node that refused is not asked again at full speed.
        if matches!(loss, Loss::Refused) || lane.target.epoch == self.worker.epoch() {
            self.retry_lane(&mut lane, super::client::REFUSED_PAUSE);
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
        if sent.request.is_empty() {
            return Redo::Answer(if written { self.ambiguous(lane) } else { Failure::LargeCut });
        }
        if !written {
            return Redo::again(&sent.request, sent.resent, lane.since);
        }
        let waited = Instant::now().duration_since(sent.since);
        let fate = fate_of(&sent.request, &self.worker.retry_rules(), sent.resent, waited);
        redo::after_loss(fate, &sent.request, lane.since, &self.ambiguous(lane), &lane.target.address)
    }

    fn ambiguous(&self, lane: &PinnedLane) -> Failure {
        let from = lane.target.epoch;
        Failure::Ambiguous { from, to: self.worker.epoch().max(from) }
    }
}

/// While parked nothing is executed: the request waits for the rest of its time elsewhere.
fn parked_again(sent: &Sent, waited: std::time::Duration, refused: bool) -> Redo {
    let left = parked::remaining(&sent.request, sent.row, waited);
    let now = Instant::now();
    if refused {
        Redo::refused(&left, b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n", now)
    } else {
        Redo::again(&left, false, now)
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
