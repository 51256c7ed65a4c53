//! Requests of a mebibyte and more: they pass through to a connection of their own and are never kept.
//!
//! What such a request is stands in its first bytes. What would be refused were it small is refused, and so is what the
//! proxy answers itself or has to keep a copy of; the rest of it is read and dropped.

use crate::command::{Class, Effect, Lane, classify_partial, is_container};
use crate::error::Failure;
use crate::resp::{Fed, Request, RequestScanner, encode};

use super::connection::{Connection, Step};
use super::dispatch::{LARGE, is_http};
use super::own;
use super::pinned_lane::SEND_PAUSE;
use super::purpose::{Purpose, Sent};
use super::restrained::is_refused;
use super::users::{Large, NO_KEY};

/// A longer word is no command's name, nor a subcommand's: nobody waits for its end.
const NAME_MAX: u64 = 64;

/// What is done with a large request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It goes through.
    Streams,
    /// Redhold owns it: refused unless the configuration passes it.
    Owned(Failure),
    /// It is refused.
    Refused(Failure),
    /// QUIT.
    Quits,
    /// A web page's attack: closed without a word.
    Web,
}

impl Way {
    /// Of a request of which these arguments are here; `whole`: all of them.
    pub(super) fn of(class: &Class, request: &Request<'_>, whole: bool) -> Self {
        match class.lane {
            Lane::Own | Lane::Owned if is_http(request) => Self::Web,
            Lane::Owned => Self::Owned(own::refusal(class, request)),
            // Which settings come behind is not known.
            _ if class.row.spec().name == "config|set" && !whole => Self::Owned(own::refusal(class, request)),
            Lane::Session if request.name().eq_ignore_ascii_case(b"quit") => Self::Quits,
            Lane::Shared
            | Lane::Script
            | Lane::ScriptCache
            | Lane::Blocking
            | Lane::Wait
            | Lane::Threaded
            | Lane::Own => Self::Streams,
            Lane::Session
            | Lane::Clients
            | Lane::Proxy
            | Lane::Scan
            | Lane::Pubsub
            | Lane::Transaction
            | Lane::Subscribe
            | Lane::Monitor
            | Lane::Tracking
            | Lane::ReplyMode => {
                let command = class.row.spec().name.to_ascii_uppercase().replace('|', " ");
                Self::Refused(Failure::TooLarge { command })
            }
        }
    }
}

/// Whether the words that say what a request is are here, or will not come.
fn is_named(scanner: &RequestScanner, request: &Request<'_>, class: &Class) -> bool {
    let here = match request.len() {
        0 => false,
        1 => !is_container(class.row),
        _ => true,
    };
    here || scanner.next_len().is_some_and(|len| len > NAME_MAX)
}

impl Connection {
    /// The beginning of a large request.
    pub(super) fn dispatch_large(&mut self, scanner: &RequestScanner, bytes: &[u8]) -> Step {
        let request = scanner.partial(bytes);
        let class = classify_partial(&request);
        if !is_named(scanner, &request, &class) {
            return Step::Taken;
        }
        self.client.live.looks_at(class.row);
        if self.worker.restraint.get().read_only && is_refused(&class) {
            return self.refuse_large(scanner, bytes, &Failure::ReadOnly);
        }
        match self.judge_large(&class, &request) {
            Large::Goes => {}
            Large::Waits if scanner.next_len().is_none_or(|len| len < LARGE) => return Step::Taken,
            Large::Waits => return self.refuse_large(scanner, bytes, &NO_KEY),
            Large::Refused(failure) => return self.refuse_large(scanner, bytes, &failure),
        }
        match Way::of(&class, &request, false) {
            Way::Streams => self.stream_large(scanner, bytes),
            Way::Owned(_) if self.passes_owned(&class) => self.stream_large(scanner, bytes),
            Way::Owned(failure) | Way::Refused(failure) => self.refuse_large(scanner, bytes, &failure),
            Way::Web => {
                self.client.doom("an HTTP request");
                Step::Wait
            }
            Way::Quits => {
                let step = self.answer(|out| encode::simple(out, "OK"));
                if step == Step::Taken {
                    self.client.doom("QUIT");
                }
                Step::Wait
            }
        }
    }

    /// The client is told at once; what still comes of the request is read and dropped.
    fn refuse_large(&mut self, scanner: &RequestScanner, bytes: &[u8], failure: &Failure) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Some((mut tail, from)) = scanner.tail() else { return Step::Taken };
        if matches!(tail.feed(&bytes[from..], &self.limits()), Ok(Fed::More)) {
            self.client.fail(failure);
            self.dropping = Some(Box::new(tail));
        }
        Step::Taken
    }

    /// Bytes of a refused request; `None` when there is none. Else how many were dropped.
    fn drop_on(&mut self, bytes: &[u8]) -> Option<(usize, Step)> {
        let mut tail = self.dropping.take()?;
        Some(match tail.feed(bytes, &self.limits()) {
            Ok(Fed::More) => {
                self.dropping = Some(tail);
                (bytes.len(), Step::Taken)
            }
            Ok(Fed::Frame { end }) => {
                self.client.live.took(1);
                self.metered = false;
                (end, Step::Taken)
            }
            Err(error) => {
                self.protocol_error(error);
                (0, Step::Wait)
            }
        })
    }

    /// The beginning of a large request: its bytes pass through from here on.
    fn stream_large(&mut self, scanner: &RequestScanner, bytes: &[u8]) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let Some((mut tail, from)) = scanner.tail() else { return Step::Taken };
        if !matches!(tail.feed(&bytes[from..], &self.limits()), Ok(Fed::More)) {
            return Step::Taken;
        }
        let class = crate::command::classify_partial(&scanner.partial(bytes));
        // Its keys may not have come.
        let demand = self.worker.demand_at_most(class.effect);
        match self.undurable(&class, demand) {
            None => {}
            Some(None) => {
                self.worker.hold(&self.client);
                return Step::Wait;
            }
            Some(Some(failure)) => {
                self.worker.unhold(&self.client);
                return self.refuse_large(scanner, bytes, &failure);
            }
        }
        match self.take_lane(Purpose::Large, None) {
            Err(Step::Wait) => Step::Wait,
            Err(Step::Taken) => {
                // It was refused, and the rest that still comes in belongs to nobody: only closing ends it.
                self.client.doom("a large request was refused");
                Step::Wait
            }
            Ok(mut lane) => {
                lane.begun = self.big_begun(scanner, bytes, lane.bytes);
                lane.write(bytes);
                // Counted from its beginning: a switch that cut it would be an error to its client.
                let writes = self.worker.is_waited_for(class.effect);
                if class.effect == Effect::Write {
                    lane.touched.add_anything();
                }
                let sent = Sent::new(bytes::Bytes::new(), class.row, self.worker.now());
                lane.owe(Sent { waited: self.take_waited(None), writes, demand, ..sent }, 0);
                lane.tail = Some(tail);
                self.pinned = Some(lane);
                Step::Taken
            }
        }
    }

    /// The client is in the middle of a large request.
    pub(super) fn is_streaming(&self) -> bool {
        self.pinned.as_ref().is_some_and(|lane| lane.tail.is_some())
    }

    /// Bytes of a large request on their way through; `None` when there is none. Else how many were taken.
    pub(super) fn stream_on(&mut self, bytes: &[u8]) -> Option<(usize, Step)> {
        if let Some(dropped) = self.drop_on(bytes) {
            return Some(dropped);
        }
        let limits = self.limits();
        let lane = self.pinned.as_mut()?;
        let mut tail = lane.tail.take()?;
        if bytes.is_empty() || lane.unwritten() > SEND_PAUSE {
            lane.tail = Some(tail);
            return Some((0, if bytes.is_empty() { Step::Taken } else { Step::Wait }));
        }
        let (taken, ended) = match tail.feed(bytes, &limits) {
            Ok(Fed::More) => (bytes.len(), false),
            Ok(Fed::Frame { end }) => (end, true),
            Err(error) => {
                // The node must not execute half of it: its connection goes, unanswered.
                self.pinned = None;
                error.write(&mut self.client.out.borrow_mut());
                self.client.doom("protocol error in a large request");
                return Some((0, Step::Wait));
            }
        };
        lane.write(&bytes[..taken]);
        self.metered &= !ended;
        if !ended {
            lane.tail = Some(tail);
            return Some((taken, Step::Taken));
        }
        if let Some(sent) = lane.sent.back_mut() {
            // How long its client took to send it says nothing of the node.
            sent.since = self.worker.now();
        }
        if let Some(mut lane) = self.pinned.take() {
            self.big_ended(&mut lane);
            self.pinned = Some(lane);
        }
        Some((taken, Step::Taken))
    }
}
