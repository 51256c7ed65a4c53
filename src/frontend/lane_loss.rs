//! What a client's own connection leaves behind when it is lost, or when its epoch is over.

use std::time::Instant;

use bytes::BytesMut;

use crate::error::Failure;
use crate::resp::{Proto, encode};
use crate::routing::Gate;
use crate::session;

use super::connection::Connection;
use super::lane::{Line, PinnedLane, Rest};
use super::parked;
use super::pinned_lane::nobody;
use super::purpose::{Purpose, Sent, Silence};
use super::redo::{self, Redo, fate_of};

impl Connection {
    /// The connection is gone. `refused`: the node gave the work back because it is no primary.
    pub(super) fn lane_lost(&mut self, mut lane: Box<PinnedLane>, refused: bool) {
        self.worker.long_ended(self.client.id);
        self.client.live.unpark();
        if matches!(lane.middle, Some(Rest::Extra | Rest::Reply)) {
            self.client.doom("a reply was cut off in its middle");
            return;
        }
        let unwritten = lane.unwritten_requests();
        let taken = std::mem::take(&mut lane.sent);
        let written = taken.len() - unwritten;
        let mut redos = Vec::new();
        match &mut lane.purpose {
            Purpose::Large => return self.large_lost(&lane, !taken.is_empty() && unwritten == 0),
            Purpose::Wait { aof } => {
                self.client.out.borrow_mut().extend_from_slice(nobody(*aof));
                return;
            }
            Purpose::Blocking => {
                let waited = Instant::now().duration_since(lane.since);
                redos.extend(taken.iter().map(|sent| parked_again(sent, waited, refused)));
            }
            Purpose::One { .. } | Purpose::Standing(_) => {
                redos.extend(taken.iter().enumerate().map(|(at, sent)| self.fate(&lane, sent, at < written)));
            }
            Purpose::Silent(_) => {}
            Purpose::Transaction { transaction, clean } => {
                let recovery = transaction.recover(unwritten);
                *clean = false;
                lane.take_line();
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
                lane.take_line();
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
        self.stand_again(lane, refused);
    }

    /// What the client held on the connection is asked for on the next one.
    fn stand_again(&mut self, mut lane: Box<PinnedLane>, refused: bool) {
        let stands = match &mut lane.purpose {
            Purpose::Transaction { transaction, .. } => transaction.is_pinned(),
            Purpose::Subscribed(subscriptions) => subscriptions.is_active(),
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
            Purpose::Silent(Silence::Off) => {
                lane.take_line();
                lane.write(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n");
                true
            }
            Purpose::One { .. }
            | Purpose::Blocking
            | Purpose::Wait { .. }
            | Purpose::Large
            | Purpose::Standing(_)
            | Purpose::Silent(_) => false,
        };
        if !stands {
            return;
        }
        (lane.tail, lane.middle, lane.stamper) = (None, None, None);
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
                if let Line::Waiting(waiting) = lane.take_line() {
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
        if sent.request.is_empty() {
            return Redo::Answer(if written { self.ambiguous(lane) } else { Failure::LargeCut });
        }
        if !written {
            return Redo::again(&sent.request, sent.resent, lane.since);
        }
        let waited = Instant::now().duration_since(lane.since);
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
