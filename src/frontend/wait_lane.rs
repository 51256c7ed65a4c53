//! WAIT and WAITAOF: on a connection lent for the one request, behind a barrier.
//!
//! A server speaks of what the connection that asks has replicated, and the client's writes went over others. So a
//! message is published on that connection first: it moves the replication offset and lies behind every earlier write.
//! Where the client's user may not publish it, barrier and WAIT go over a connection of the proxy's own user, provided
//! that the client's user may WAIT: what the server refuses the client, it is told in the server's words.

use bytes::Bytes;

use crate::backend::Target;
use crate::session::Names;

use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::lane::{Line, PinnedLane};
use super::purpose::{Purpose, Sent};

/// The barrier as a sharded message, which pattern subscribers never see.
pub(super) const SHARDED: &[u8] = b"*3\r\n$8\r\nSPUBLISh\r\n$17\r\n__redhold:barrier\r\n$0\r\n\r\n";

/// The barrier where the server has no sharded messages (before 7.0).
pub(super) const PLAIN: &[u8] = b"*3\r\n$7\r\nPUBLISh\r\n$17\r\n__redhold:barrier\r\n$0\r\n\r\n";

/// Whether the user may WAIT at all: answered at once, whatever the replicas do.
pub(super) const MAY_WAIT: &[u8] = b"*3\r\n$4\r\nWAIt\r\n$2\r\n-1\r\n$1\r\n0\r\n";
const MAY_WAIT_AOF: &[u8] = b"*4\r\n$7\r\nWAITAOf\r\n$1\r\n0\r\n$1\r\n0\r\n$1\r\n0\r\n";

/// A longer request is none that a server accepts: it goes without a barrier and comes back refused.
pub(super) const REQUEST_MAX: usize = 256;

/// One WAIT under way.
#[derive(Debug)]
pub(super) struct Wait {
    /// WAITAOF answers with two numbers.
    aof: bool,
    /// On a connection of the proxy's own user.
    by_proxy: bool,
    stage: Stage,
    /// What has to be done before anything more comes.
    next: Option<Next>,
}

#[derive(Debug)]
enum Stage {
    /// A barrier and the question whether the user may WAIT are on their way.
    Asked { barrier: &'static [u8] },
    /// The barrier was answered, the question not yet.
    Judged { barrier: &'static [u8], passage: Passage },
    /// A barrier that passed here before is on its way, the request behind it.
    Trusted,
    /// The barrier has passed, the request is on its way.
    Waiting,
}

/// How a barrier was answered.
#[derive(Debug)]
pub(super) enum Passage {
    Passed,
    /// No such command.
    Unknown,
    /// The user may not.
    Forbidden,
    /// The server's state forbids it, in these words.
    Failed(Bytes),
}

/// What follows from a reply.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The next reply decides.
    Read,
    /// This barrier is tried.
    Ask(&'static [u8]),
    /// The barrier has passed: the request is sent.
    Send(&'static [u8]),
    /// The same as the proxy's own user.
    Elsewhere,
    /// What was trusted is not so any more: from the beginning, on another connection.
    Anew,
    /// The reply is the client's.
    HandOn,
    /// This is.
    Say(Bytes),
    /// Nobody vouches for the writes.
    Nobody,
}

impl Wait {
    pub(super) fn new(aof: bool) -> Self {
        Self { aof, by_proxy: false, stage: Stage::Waiting, next: None }
    }

    /// What WAIT or WAITAOF answers when no replica is known to have a write.
    pub(super) fn nobody(&self) -> &'static [u8] {
        if self.aof { b"*2\r\n:0\r\n:0\r\n" } else { b":0\r\n" }
    }

    /// The answer when a connection was refused, unless it is the client's own affair.
    pub(super) fn unopened_answer(&self) -> Option<&'static [u8]> {
        self.by_proxy.then(|| self.nobody())
    }

    /// Judges a reply on the lane. Pure.
    fn on_reply(&mut self, frame: &[u8]) -> Next {
        let forbidden = frame.starts_with(b"-NOPERM ");
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Asked { barrier } => {
                self.stage = Stage::Judged { barrier, passage: Passage::of(frame) };
                Next::Read
            }
            Stage::Judged { .. } if forbidden || frame.starts_with(b"-NOAUTH ") => {
                if self.by_proxy {
                    Next::Nobody
                } else {
                    Next::HandOn
                }
            }
            Stage::Judged { barrier, passage } => match passage {
                Passage::Passed => Next::Send(barrier),
                Passage::Unknown if barrier == SHARDED => Next::Ask(PLAIN),
                _ if self.by_proxy => Next::Nobody,
                Passage::Unknown | Passage::Forbidden => Next::Elsewhere,
                Passage::Failed(error) => Next::Say(error),
            },
            Stage::Trusted if matches!(Passage::of(frame), Passage::Passed) => Next::Read,
            Stage::Trusted => Next::Anew,
            Stage::Waiting if self.by_proxy && forbidden => Next::Nobody,
            Stage::Waiting => Next::HandOn,
        }
    }
}

impl Passage {
    pub(super) fn of(frame: &[u8]) -> Self {
        if frame.starts_with(b":") {
            Self::Passed
        } else if frame.starts_with(b"-NOPERM ") {
            Self::Forbidden
        } else if frame.starts_with(b"-ERR unknown command") {
            Self::Unknown
        } else {
            Self::Failed(Bytes::copy_from_slice(frame))
        }
    }
}

impl Connection {
    /// Sends a WAIT, or what has to come before it, on a connection taken for it.
    pub(super) fn begin_wait(&mut self, mut lane: Box<PinnedLane>, dispatched: &Dispatched<'_>) -> Step {
        let Dispatched { request, class, resent, .. } = dispatched;
        let (bytes, waited) = (lane.keep(request), self.take_waited(dispatched.since));
        let len = bytes.len();
        let sent = Sent::new(bytes, class.row, self.worker.now());
        lane.owe(Sent { resent: *resent, waited, ..sent }, len);
        self.worker.count_commands(class.row, lane.target.node, 1);
        self.begin_barrier(&mut lane);
        self.pinned = Some(lane);
        Step::Taken
    }

    /// Whether the client's last write was sent to an earlier primary: whether it is in the history of this one is not
    /// known, so nobody vouches for it.
    pub(super) fn wrote_elsewhere(&self) -> bool {
        (1..self.worker.epoch()).contains(&self.session.wrote_in)
    }

    /// A WAIT on a connection that the client keeps; `None`: it may be sent.
    pub(super) fn wait_on_kept(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let lane = self.pinned.as_ref()?;
        if lane.standing.transaction().is_queueing() {
            return None;
        }
        if !lane.is_owed_nothing() {
            return Some(Step::Wait);
        }
        let purpose = Purpose::of(&dispatched.class, &dispatched.request);
        // A subscriber in RESP2 is refused, and who wants no replies gets none: the server does both.
        let refused = lane.standing.is_confined(self.session.identity.proto);
        if let Purpose::Wait(wait) = &purpose
            && lane.standing.modes().is_loud()
            && !refused
            && self.wrote_elsewhere()
        {
            return Some(self.answer(|out| out.extend_from_slice(wait.nobody())));
        }
        let mut lane = self.pinned.take()?;
        self.barrier_on_kept(&mut lane);
        self.pinned = Some(lane);
        None
    }

    /// The client's writes of before went over other connections than the one that it keeps. Nothing is owed. A barrier
    /// that is refused leaves the server to speak of this connection alone.
    fn barrier_on_kept(&self, lane: &mut PinnedLane) {
        let standing = &lane.standing;
        let (modes, confined) = (standing.modes(), standing.is_confined(self.session.identity.proto));
        if modes.is_loud() && !modes.watches() && !confined && !standing.transaction().stands() {
            lane.swallow += 1;
            lane.write(SHARDED);
        }
    }

    fn begin_barrier(&self, lane: &mut PinnedLane) {
        self.note_own(lane);
        let trusted = match &lane.line {
            Line::Open(pinned) => pinned.barrier(),
            Line::Opening(..) | Line::Waiting(_) => None,
        };
        match trusted {
            Some(barrier) => {
                lane.write(barrier);
                send_request(lane, Stage::Trusted);
            }
            None => ask(lane, SHARDED),
        }
    }

    /// A reply on the lane of a WAIT.
    pub(super) fn take_wait_reply(&self, lane: &mut PinnedLane, frame: &[u8]) {
        let Purpose::Wait(wait) = &mut lane.purpose else { return };
        let mut out = self.client.out.borrow_mut();
        let before = out.len();
        match wait.on_reply(frame) {
            Next::Read => return,
            Next::HandOn => out.extend_from_slice(frame),
            Next::Say(error) => out.extend_from_slice(&error),
            Next::Nobody => {
                tracing::debug!(node = %lane.target.address, "the proxy's own user may not publish a barrier or WAIT");
                out.extend_from_slice(wait.nobody());
            }
            next @ (Next::Ask(_) | Next::Send(_) | Next::Elsewhere | Next::Anew) => {
                wait.next = Some(next);
                return;
            }
        }
        drop(out);
        self.strike(lane, &self.client.out.borrow()[before..]);
    }

    /// Does what the last reply asked for; called with the connection in its place.
    pub(super) fn wait_goes_on(&self, lane: &mut PinnedLane) {
        let Purpose::Wait(wait) = &mut lane.purpose else { return };
        match wait.next.take() {
            Some(Next::Ask(barrier)) => ask(lane, barrier),
            Some(Next::Send(barrier)) => {
                if let Line::Open(pinned) = &mut lane.line {
                    pinned.note_barrier(barrier);
                }
                send_request(lane, Stage::Waiting);
            }
            Some(Next::Elsewhere) => {
                wait.by_proxy = true;
                let identity = self.worker.control.identity();
                self.change_line(lane, Target { identity, ..lane.target.clone() }, true);
            }
            Some(Next::Anew) => self.change_line(lane, lane.target.clone(), false),
            _ => {}
        }
    }

    /// Begins once more on another connection; the present one is given back when it is as it was.
    fn change_line(&self, lane: &mut PinnedLane, target: Target, clean: bool) {
        let told = self.client.live.unpark() | self.client.live.disown();
        if let Line::Open(pinned) = lane.take_line()
            && clean
            && !told
            && pinned.is_quiet()
        {
            self.worker.give_idle(pinned, lane.names().clone());
        }
        // The proxy's own user works for many: its connections are called after nobody.
        let own = target.identity != self.session.identity;
        let names = if own { Names::default() } else { self.session.said.clone() };
        let (line, told) =
            match clean.then(|| self.worker.idle_to(target.node).take(&target, &names)).flatten() {
                Some((pinned, told)) => (Line::Open(pinned), told),
                None => (self.dial(&target, lane.purpose.when_busy(), Vec::new()), Names::default()),
            };
        lane.line = line;
        lane.target = target;
        lane.note_names(&told);
        lane.introduce(&names);
        self.begin_barrier(lane);
    }
}

fn ask(lane: &mut PinnedLane, barrier: &'static [u8]) {
    let Purpose::Wait(wait) = &mut lane.purpose else { return };
    wait.stage = Stage::Asked { barrier };
    let question = if wait.aof { MAY_WAIT_AOF } else { MAY_WAIT };
    lane.write(barrier);
    lane.write(question);
}

fn send_request(lane: &mut PinnedLane, stage: Stage) {
    if let Purpose::Wait(wait) = &mut lane.purpose {
        wait.stage = stage;
    }
    let request = lane.sent.front().map(|sent| sent.request.clone()).unwrap_or_default();
    lane.write(&request);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, RequestScanner, Scan, encode};

    const NOPERM: &[u8] = b"-NOPERM No permissions to access a channel\r\n";

    fn asked(by_proxy: bool, barrier: &'static [u8]) -> Wait {
        Wait { aof: false, by_proxy, stage: Stage::Asked { barrier }, next: None }
    }

    fn after(mut wait: Wait, replies: [&[u8]; 2]) -> Next {
        assert_eq!(wait.on_reply(replies[0]), Next::Read);
        wait.on_reply(replies[1])
    }

    #[test]
    fn what_goes_before_a_wait_is_one_whole_request_of_our_own_each() {
        for request in [SHARDED, PLAIN, MAY_WAIT, MAY_WAIT_AOF] {
            let mut scanner = RequestScanner::default();
            let limits = Limits { authenticated: true, ..Limits::default() };
            assert_eq!(scanner.scan(request, &limits), Ok(Scan::Complete { len: request.len() }));
            assert!(encode::is_own_name(scanner.request(request).name()));
        }
    }

    #[test]
    fn the_request_is_sent_behind_a_barrier_that_passed_and_behind_no_other() {
        let unknown: &[u8] = b"-ERR unknown command `SPUBLISh`, with args beginning with: \r\n";
        assert_eq!(after(asked(false, SHARDED), [b":0\r\n", b":1\r\n"]), Next::Send(SHARDED));
        assert_eq!(after(asked(false, SHARDED), [unknown, b":1\r\n"]), Next::Ask(PLAIN));
        assert_eq!(after(asked(false, PLAIN), [b":3\r\n", b":1\r\n"]), Next::Send(PLAIN));
        assert_eq!(after(asked(false, SHARDED), [NOPERM, b":1\r\n"]), Next::Elsewhere);
        assert_eq!(after(asked(false, PLAIN), [unknown, b":1\r\n"]), Next::Elsewhere);
        let busy: &[u8] = b"-BUSY Redis is busy\r\n";
        assert_eq!(after(asked(false, SHARDED), [busy, busy]), Next::Say(Bytes::from_static(busy)));
    }

    #[test]
    fn who_may_not_wait_is_told_by_the_server() {
        let refused: &[u8] = b"-NOPERM this user has no permissions to run the 'wait' command\r\n";
        assert_eq!(after(asked(false, SHARDED), [b":0\r\n", refused]), Next::HandOn);
        assert_eq!(after(asked(false, SHARDED), [NOPERM, refused]), Next::HandOn);
        let missing: &[u8] = b"-NOAUTH Authentication required.\r\n";
        assert_eq!(after(asked(false, SHARDED), [missing, missing]), Next::HandOn);
    }

    #[test]
    fn what_the_proxys_own_user_may_not_is_no_affair_of_the_client() {
        assert_eq!(after(asked(true, SHARDED), [NOPERM, b":1\r\n"]), Next::Nobody);
        assert_eq!(after(asked(true, SHARDED), [b":0\r\n", NOPERM]), Next::Nobody);
        let mut waiting = Wait { stage: Stage::Waiting, ..asked(true, SHARDED) };
        assert_eq!(waiting.on_reply(NOPERM), Next::Nobody);
        assert_eq!(waiting.on_reply(b"-ERR timeout is negative\r\n"), Next::HandOn);
    }

    #[test]
    fn trust_ends_with_a_refusal() {
        let trusted = || Wait { stage: Stage::Trusted, ..asked(false, SHARDED) };
        let mut wait = trusted();
        assert_eq!(wait.on_reply(b":0\r\n"), Next::Read);
        assert_eq!(wait.on_reply(b":2\r\n"), Next::HandOn);
        assert_eq!(trusted().on_reply(NOPERM), Next::Anew);
    }
}
