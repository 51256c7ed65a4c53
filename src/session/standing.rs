//! All that stands on one connection of a client's own: modes, subscriptions, the transaction. Pure.
//!
//! The shell tells in order what it sends ([`Standing::on_request`]), asks of every frame that comes what it is
//! ([`Standing::on_frame`]), and tells what turned out to be accepted ([`Standing::accept`]). When the connection is lost,
//! [`Standing::begin_anew`] says what makes another one as it was.

use bytes::{Bytes, BytesMut};

use crate::command::{Class, Lane, Spec};
use crate::resp::{Proto, Request, RequestScanner};

use super::modes::Modes;
use super::subscriptions::{Frame, Subscriptions, Verb};
use super::transaction::{self, Executed, Fate, Step, Transaction, Word};

/// How a request is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// Its reply is owed.
    Owed,
    /// Nobody will tell what became of it. These requests, empty where they were too much to be kept, are taken to be
    /// accepted by it: the shell carries out what they mean to it.
    Silent(Vec<Bytes>),
    /// Not at all; [`Standing::unsent_answer`] has its reply once nothing is owed.
    Not,
}

/// What a frame of the connection is to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply to the oldest owed request: handed on.
    Reply,
    /// Handed on; belongs to no request.
    Extra,
    /// Dropped; belongs to no request of the client.
    Drop,
    /// The client gets these bytes in place of the reply.
    Instead(Vec<u8>),
    /// EXEC's reply, and where in it to look.
    Executed(Executed),
    /// The node refused what it would have to execute as primary: the connection is given up.
    PlayAgain,
    /// What the client held can not be held here.
    Refused,
}

/// What to do about a connection that was lost, once what stood there is asked for again.
#[derive(Debug)]
pub struct Anew {
    /// Confirmations of modes, the first that come.
    pub confirmations: u32,
    /// Of each request whose reply is owed, oldest first.
    pub fates: Vec<Fate>,
    /// Sent behind what is sent again: replies were wanted before it and are not since.
    pub silence: Option<&'static [u8]>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Standing {
    modes: Modes,
    subscriptions: Subscriptions,
    transaction: Transaction,
    /// The connection may be unlike a new one.
    touched: bool,
    /// It is not known what was set.
    unknown: bool,
}

impl Standing {
    /// As it was before anything stood, with the room that it has.
    pub fn clear(&mut self) {
        self.transaction.clear();
        self.subscriptions.clear();
        let (transaction, subscriptions) =
            (std::mem::take(&mut self.transaction), std::mem::take(&mut self.subscriptions));
        *self = Self { transaction, subscriptions, ..Self::default() };
    }

    /// Notes a request that is about to be sent as `bytes`. `stale`: the epoch of its cursor, which is not the present one.
    pub fn on_request(
        &mut self,
        class: &Class,
        request: &Request<'_>,
        bytes: &Bytes,
        stale: Option<u64>,
        proto: Proto,
    ) -> Send {
        let spec = class.row.spec();
        let queueing = self.transaction.is_queueing();
        let word = match stale {
            Some(of) => Word::Stale(of),
            // Refused, whatever it is.
            None if self.is_confined(proto) => Word::Other,
            // A refused EXEC ends its transaction all the same.
            None if !class.arity_ok && spec.name != "exec" => Word::Other,
            None => Word::of(spec),
        };
        // What no lane knows, or one that is not shared.
        let odd = word == Word::Unknown || (word == Word::Beyond && class.lane == Lane::Own);
        self.touched |= odd || (word == Word::Stateful && !queueing);
        let wanted = request.arg(2);
        let obeyed = spec.name == "client|reply" && self.obeys_reply(wanted, proto);
        let verb = if class.lane == Lane::Subscribe { Verb::of(request.name()) } else { None };
        let names = request.args().skip(1);
        // Who monitors already is not answered.
        let again = class.lane == Lane::Monitor && class.arity_ok && !queueing && self.modes.watches();
        if self.modes.on_request(obeyed.then_some(wanted)) {
            if again {
                return Send::Silent(Vec::new());
            }
            if self.transaction.on_request(word, bytes) == transaction::Send::Answer {
                return Send::Not;
            }
            self.subscriptions.on_request(verb.filter(|_| !queueing), names);
            return Send::Owed;
        }
        if spec.name == "client|reply" || (queueing && verb.is_some() && request.len() != 2) {
            // In a queue the server refuses it, and the whole.
            self.transaction.refuse();
        } else if queueing || matches!(class.lane, Lane::Transaction) {
            return Send::Silent(self.transaction.on_silent(word, bytes));
        } else if let Some(verb) = verb {
            self.subscriptions.on_silent(verb, names);
        } else if word == Word::Stateful {
            return Send::Silent(vec![bytes.clone()]);
        }
        Send::Silent(Vec::new())
    }

    /// Notes an ordinary request that is not sent; whether Redis would have answered it.
    pub fn is_answered(&mut self) -> bool {
        self.modes.on_request(None)
    }

    /// Whether a request must wait for the replies that are owed: whether they end or begin a transaction decides where it
    /// belongs or how it is answered.
    #[must_use]
    pub fn must_wait(&self, class: &Class) -> bool {
        match class.lane {
            _ if self.transaction.ends() => true,
            Lane::Subscribe => self.transaction.begins(),
            // Whether it is answered depends on whether another one before it was accepted.
            Lane::Monitor => self.transaction.owes(),
            // Whether CLIENT REPLY is taken, and by whom it is refused, depends on what is subscribed.
            Lane::ReplyMode if self.modes.is_loud() => self.subscriptions.are_unsettled(),
            Lane::Transaction if self.modes.is_loud() => self.subscriptions.are_unsettled(),
            Lane::Transaction => self.transaction.owes(),
            _ => false,
        }
    }

    /// The reply to a request that was not to be sent. The transaction is over, the connection is not as any other.
    pub fn unsent_answer(&mut self, proto: Proto) -> Vec<u8> {
        self.touched = true;
        self.transaction.exec_answer(proto)
    }

    /// The server has accepted `request`, which is empty when it was too large to be kept.
    pub fn accept(&mut self, spec: &Spec, request: &[u8]) {
        self.modes.on_accepted(spec, request);
        // As a request of its own it has confirmations.
        if spec.lane == Lane::Subscribe
            && let Some(scanner) = RequestScanner::of_kept(request)
            && let Some(verb) = Verb::of(scanner.request(request).name())
        {
            self.subscriptions.on_executed(verb, scanner.request(request).args().skip(1));
        }
    }

    /// Something was set of which it is not known what it did.
    pub fn forget(&mut self) {
        self.unknown = true;
    }

    /// Judges a frame, or the first piece of a large one.
    pub fn on_frame(&mut self, frame: &[u8], proto: Proto) -> Verdict {
        // Lines only come to what is played again, once all is subscribed again.
        let replays = self.transaction.is_replaying()
            && !self.subscriptions.resubscribes()
            && matches!(frame.first(), Some(b'+' | b'-'));
        if !replays {
            match self.subscriptions.on_frame(frame, proto) {
                Frame::Message | Frame::Confirmation => return Verdict::Extra,
                Frame::Swallow => return Verdict::Drop,
                Frame::Refused => return Verdict::Refused,
                Frame::Settled | Frame::Reply => {}
            }
        }
        match self.transaction.on_reply(frame, proto) {
            Step::Forward => Verdict::Reply,
            Step::Swallow => Verdict::Drop,
            Step::PlayAgain => Verdict::PlayAgain,
            Step::Answer(bytes) => {
                self.touched = true;
                Verdict::Instead(bytes)
            }
            Step::Executed(executed) => {
                self.touched |= !executed.left.is_empty();
                Verdict::Executed(executed)
            }
        }
    }

    /// The connection is lost. Appends what makes another one as it was; `None`: that can not be said. `owed`: replies are.
    /// `unwritten`: of how many of those requests, counted from the newest, the last byte was never written.
    pub fn begin_anew(
        &mut self,
        owed: bool,
        unwritten: usize,
        proto: Proto,
        out: &mut BytesMut,
    ) -> Option<Anew> {
        let silent = !self.modes.is_loud();
        // What is owed was sent while replies were wanted: that they are no more comes behind it.
        let silence = if owed { self.modes.lift_silence() } else { None };
        let subscribed = self.subscriptions.stand();
        // Who is subscribed may not ask for silence (RESP2), or would before its replies came; nor would it be known then
        // what is refused.
        let unsayable =
            silent && (self.transaction.stands() || (subscribed && (owed || proto == Proto::Resp2)));
        if self.unknown || unsayable {
            return None;
        }
        self.touched = true;
        let confirmations = self.modes.replay(out)?;
        let again = self.subscriptions.recover();
        out.extend_from_slice(&again.resubscribe);
        self.modes.replay_silence(out);
        let recovery = self.transaction.recover(unwritten);
        out.extend_from_slice(&recovery.replay);
        // The first may have had a reply already, which asks for all to be done again.
        let ahead = recovery.fates.len().saturating_sub(again.owed.len());
        let owed = std::iter::repeat_n(None, ahead).chain(again.owed);
        let fates = recovery.fates.into_iter().zip(owed);
        let fates = fates.map(|(fate, bytes)| bytes.map_or(fate, Fate::Subscribe)).collect();
        Some(Anew { confirmations, fates, silence })
    }

    /// What was to be sent again is answered with an error of the proxy's own. `ended`: an EXEC was among it.
    pub fn abandon(&mut self, ended: bool) {
        if ended {
            self.transaction.clear();
        } else {
            self.transaction.abandon();
        }
    }

    /// What is played again goes to a primary of another epoch than `of`; see [`Transaction::spoil`].
    pub fn spoil(&mut self, of: u64, spoil: impl Fn(&[u8]) -> Vec<u8>) {
        self.transaction.spoil(of, spoil);
    }

    /// The transaction was answered without the server, where it may still be open.
    pub fn leave_transaction(&mut self) {
        self.touched = true;
        self.transaction.clear();
    }

    /// Whether the client needs the connection.
    #[must_use]
    pub fn stands(&self) -> bool {
        // Who the client is there may be known to the server alone.
        self.unknown || self.modes.stand() || self.subscriptions.stand() || self.transaction.is_pinned()
    }

    /// Whether the client needs the connection for what is set there, or is taken to be.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.modes.stand() || self.subscriptions.holds_any() || self.transaction.queued().is_some()
    }

    /// Whether the connection may be unlike a new one.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Whether replies are counted here, so that the client must not do without any.
    #[must_use]
    pub fn counts_replies(&self) -> bool {
        self.transaction.stands() || self.subscriptions.stand()
    }

    /// Whether the server does what CLIENT REPLY with this word says, as it is sent.
    #[must_use]
    pub fn obeys_reply(&self, wanted: &[u8], proto: Proto) -> bool {
        if wanted.eq_ignore_ascii_case(b"on") {
            !self.transaction.is_queueing() && !self.is_confined(proto)
        } else {
            !self.counts_replies()
        }
    }

    /// A subscriber in RESP2 may only subscribe, PING, RESET and QUIT.
    #[must_use]
    pub fn is_confined(&self, proto: Proto) -> bool {
        proto == Proto::Resp2 && self.subscriptions.stand()
    }

    /// What the client has switched on or off.
    #[must_use]
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// What it is subscribed to.
    #[must_use]
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// The transaction that stands.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}

#[cfg(test)]
mod tests;
