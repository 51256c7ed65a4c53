//! What a client's own connection leaves behind when it is lost, or when its epoch is over.

use std::time::Instant;

use bytes::BytesMut;

use crate::error::Failure;
use crate::resp::{Proto, encode};
use crate::routing::Gate;
use crate::session;

use super::connection::Connection;
use super::cursor;
use super::lane::{Line, PinnedLane};
use super::lost_request::LostRequest;
use super::parked;
use super::purpose::{Purpose, Sent};
use super::redo::{self, Redo, fate_of};

impl Connection {
    /// The connection is gone. `refused`: the node gave the work back because it is no primary.
    pub(super) fn lane_lost(&mut self, mut lane: Box<PinnedLane>, refused: bool) {
        self.client.note_write();
        self.worker.long_ended(self.client.id);
        self.client.live.unpark();
        if lane.middle == Some(true) {
            self.client.doom("a reply was cut off in its middle");
            return;
        }
        let unwritten = lane.unwritten_requests();
        let taken = std::mem::take(&mut lane.sent);
        let written = taken.len() - unwritten;
        let mut redos = Vec::new();
        let said = self.session.said.clone();
        let sayable = lane.begin_anew(&said);
        match &mut lane.purpose {
            Purpose::Large => return self.large_lost(&lane, !taken.is_empty() && unwritten == 0),
            Purpose::Wait(wait) => {
                self.client.out.borrow_mut().extend_from_slice(wait.nobody());
                return;
            }
            Purpose::Blocking => {
                let waited = Instant::now().duration_since(lane.since);
                redos.extend(taken.iter().map(|sent| parked_again(sent, waited, refused)));
            }
            Purpose::One { .. } | Purpose::Standing => {
                // The proxy's own question is asked again when it matters.
                let asked = |sent: &Sent| !(sent.is_of_session() && sent.request.is_empty());
                let owed = taken.iter().enumerate().filter(|(_, sent)| asked(sent));
                redos.extend(owed.map(|(at, sent)| self.fate(&lane, sent, at < written)));
            }
            Purpose::Transaction { transaction, clean } => {
                let recovery = transaction.recover(unwritten);
                *clean = false;
                lane.write(&recovery.replay);
                for (at, (fate, sent)) in recovery.fates.into_iter().zip(&taken).enumerate() {
                    redos.push(match fate {
                        session::Fate::SendAgain { request, .. } => {
                            Redo::again(&request, sent.resent, lane.since)
                        }
                        session::Fate::Answer(bytes) => Redo::Say(bytes.into()),
                        session::Fate::ByRetryClass => self.fate(&lane, sent, at < written),
                        session::Fate::Ambiguous => Redo::Answer(self.ambiguous(&lane)),
                    });
                }
            }
            Purpose::Subscribed(subscriptions) => {
                let again = subscriptions.recover();
                lane.write(&again.resubscribe);
                for (at, (bytes, sent)) in again.owed.iter().zip(&taken).enumerate() {
                    if let Some(bytes) = bytes {
                        lane.write(bytes);
                        lane.sent.push_back(sent.clone());
                    } else {
                        redos.push(self.fate(&lane, sent, at < written));
                    }
                }
                for _ in 0..redos.len() {
                    if let Purpose::Subscribed(subscriptions) = &mut lane.purpose {
                        subscriptions.drop_reply();
                    }
                }
            }
        }
        for redo in redos {
            self.client.redo.borrow_mut().lost(redo);
        }
        if !sayable {
            self.client.doom("what it has set on its connection was too much to be kept");
            return;
        }
        self.stand_again(lane, refused);
    }

    /// What the client held on the connection is asked for on the next one.
    fn stand_again(&mut self, mut lane: Box<PinnedLane>, refused: bool) {
        let purpose_stands = match &lane.purpose {
            Purpose::Transaction { transaction, .. } => transaction.is_pinned(),
            Purpose::Subscribed(subscriptions) => subscriptions.is_active(),
            Purpose::One { .. }
            | Purpose::Blocking
            | Purpose::Wait(_)
            | Purpose::Large
            | Purpose::Standing => false,
        };
        let stands = purpose_stands || lane.modes.stand();
        if !purpose_stands {
            lane.purpose = Purpose::Standing;
        }
        if lane.modes.tracks() {
            invalidate_all(self.session.identity.proto, &mut self.client.out.borrow_mut());
        }
        if !stands {
            return;
        }
        lane.tail = None;
        lane.since = Instant::now();
        // A node that refused is not asked again at full speed.
        if refused || lane.target.epoch == self.worker.epoch() {
            let client = self.client.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(super::client::REFUSED_PAUSE).await;
                client.wake();
            });
        }
        self.pinned = Some(lane);
    }

    /// Opens the next connection of a lane that stands without one; true when it could.
    pub(super) fn reopen(&mut self, mut lane: Box<PinnedLane>) -> bool {
        let paused = self.worker.now().duration_since(lane.since) < super::client::REFUSED_PAUSE;
        let target = self.primary_target();
        let reopened = match target {
            Some(target) if !(paused && target.epoch == lane.target.epoch) => {
                if let Line::Waiting(mut waiting) = lane.take_line() {
                    let of = lane.target.epoch;
                    if let Purpose::Transaction { transaction, .. } = &mut lane.purpose
                        && target.epoch != of
                    {
                        transaction.spoil(of, |requests| cursor::spoil(requests, of));
                        waiting = cursor::spoil(&waiting, of);
                    }
                    lane.line = self.dial(&target, waiting);
                }
                lane.target = target;
                self.worker.watch(&self.client);
                true
            }
            _ => {
                if let Gate::Hold { .. } = self.worker.current().gate {
                    self.worker.hold(&self.client);
                }
                false
            }
        };
        self.pinned = Some(lane);
        reopened
    }

    /// A large request passes through and is not kept: cut before its last byte it was not executed.
    fn large_lost(&mut self, lane: &PinnedLane, wholly_written: bool) {
        if lane.tail.is_some() {
            // The rest still comes in and belongs to nobody: only closing ends it.
            self.client.fail(&Failure::LargeCut);
            self.client.doom("a large request was cut off");
        } else if wholly_written {
            let ambiguous = self.ambiguous(lane);
            self.client.fail(&ambiguous);
        } else {
            self.client.fail(&Failure::LargeCut);
        }
    }

    fn fate(&self, lane: &PinnedLane, sent: &Sent, written: bool) -> Redo {
        let waited = Instant::now().duration_since(lane.since);
        if written {
            let (node, epoch) = (&lane.target.address, lane.target.epoch);
            let (row, request, resent) = (sent.row, &sent.request, sent.resent);
            self.worker.note_lost(&LostRequest { node, epoch, row, request, resent, waited });
        }
        if sent.request.is_empty() {
            return Redo::Answer(if written { self.ambiguous(lane) } else { Failure::LargeCut });
        }
        if !written {
            return Redo::again(&sent.request, sent.resent, lane.since);
        }
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
        Redo::refused(&left, b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n", sent.resent, now, now)
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
