//! WATCH, MULTI, EXEC and DISCARD on a pinned connection, and what becomes of them when the connection is lost.
//!
//! Redis itself checks each command as it queues it; what is kept here is a copy, so that a transaction whose EXEC
//! was not sent can be played to the next primary and nobody notices. The shell tells what it sent
//! ([`Transaction::on_request`]) and what came back ([`Transaction::on_reply`]); after a loss it asks for a
//! [`Recovery`]. Behind an EXEC or a DISCARD it sends nothing more before that one's reply.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::error::Failure;
use crate::resp::{Proto, encode};

mod executed;
mod recovery;
mod word;

pub use executed::Executed;
pub use recovery::{Fate, Recovery};
pub use word::Word;

/// Most bytes of queued commands that are kept; a larger transaction can not be played again.
pub const COPY_MAX: usize = 1 << 20;

/// Room for so many requests without a reply is kept for what comes next.
pub const ROOM: usize = 64;

const OK: &[u8] = b"+OK\r\n";
const QUEUED: &[u8] = b"+QUEUED\r\n";
const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const REFUSED: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// How a request of a transaction is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// On the pinned connection.
    Forward,
    /// Not at all: it is an EXEC that can no longer be executed. As soon as nothing is owed before it,
    /// [`Transaction::exec_answer`] has its reply.
    Answer,
}

/// What the shell does with a reply of the pinned connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Handed to the client.
    Forward,
    /// Belongs to a request that was played again: dropped.
    Swallow,
    /// Handed to the client: EXEC's array, and what it changed.
    Executed(Executed),
    /// Dropped; the client gets these bytes in its place. The transaction is over, the connection not clean.
    Answer(Vec<u8>),
    /// Dropped: the node refused because it leads no more, and nothing was executed. The shell gives the connection
    /// up and asks for a [`Recovery`].
    PlayAgain,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Neither WATCH nor MULTI stands.
    #[default]
    Idle,
    /// Keys are watched.
    Watching(Watch),
    /// MULTI was answered.
    Queueing(Queue),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// No key.
    #[default]
    Nothing,
    /// On the present connection.
    Here,
    /// On a connection that was lost: whether a key changed can not be known any more.
    Lost,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Queue {
    watch: Watch,
    /// Redis refused a command and will refuse EXEC.
    refused: bool,
    /// Commands that were answered with QUEUED.
    count: usize,
    /// Those among them for whose sake EXEC's reply is read, with their requests when these leave state.
    notes: Vec<(usize, Word, Bytes)>,
}

/// A transaction that a node refused as a whole is played again once in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Refusal {
    #[default]
    None,
    /// The shell was told to play again and has not yet asked how.
    Told,
    Past,
}

impl Queue {
    fn push(&mut self, sent: Sent, copy: &mut Vec<Bytes>) {
        if !sent.request.is_empty() {
            copy.push(sent.request);
        }
        let noted = match sent.word {
            Word::Scan | Word::Listed(_) | Word::Stale(_) | Word::Stateful => true,
            Word::Beyond => !sent.left.is_empty(),
            _ => false,
        };
        if noted {
            self.notes.push((self.count, sent.word, sent.left));
        }
        self.count += 1;
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Sent {
    word: Word,
    /// The request, unless the copy is too large; empty for an ordinary request beside the transaction.
    request: Bytes,
    /// The request again, when it is to be queued and leaves state, here or beyond the connection.
    left: Bytes,
}

/// One client's transaction, from the first WATCH or MULTI to EXEC, DISCARD, UNWATCH or RESET.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    state: State,
    /// Sent and not yet answered.
    owed: VecDeque<Sent>,
    /// Requests that were answered with QUEUED, unless they are too large together.
    copy: Vec<Bytes>,
    /// Replies to come for requests of a replay.
    swallow: usize,
    /// Bytes kept in `owed` and in `copy`.
    kept: usize,
    /// Bytes of requests that leave state, here or on every node.
    noted: usize,
    /// More than [`COPY_MAX`] would have had to be kept, so nothing is.
    too_large: bool,
    /// A connection was lost on which something stood that is too large to be played again, or was refused.
    lost: bool,
    refusal: Refusal,
}

impl Transaction {
    /// Whether the client's requests belong on its pinned connection.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.state != State::Idle || !self.owed.is_empty()
    }

    /// Whether Redis will queue the next request rather than execute it, once it has read all that was sent.
    #[must_use]
    pub fn is_queueing(&self) -> bool {
        self.standing().0
    }

    /// Requests that were answered with QUEUED; `None` outside MULTI.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        match &self.state {
            State::Queueing(queue) => Some(queue.count),
            State::Idle | State::Watching(_) => None,
        }
    }

    /// Notes a request that the client sent while it is pinned, or that pins it, and says how to send it.
    /// `request`: its bytes as they go on the wire.
    pub fn on_request(&mut self, word: Word, request: &Bytes) -> Send {
        debug_assert!(
            !self.owed.iter().any(|sent| matches!(sent.word, Word::Exec | Word::Discard)),
            "nothing is sent behind an EXEC or DISCARD"
        );
        if word == Word::Exec && self.is_doomed() {
            return Send::Answer;
        }
        let ordinary = matches!(
            word,
            Word::Other
                | Word::Scan
                | Word::Listed(_)
                | Word::Stale(_)
                | Word::Stateful
                | Word::Beyond
                | Word::Unknown
        );
        let (queueing, mut left) = (self.is_queueing(), Bytes::new());
        if queueing && matches!(word, Word::Stateful | Word::Beyond) && self.noted + request.len() <= COPY_MAX
        {
            self.noted += request.len();
            left = request.clone();
        }
        let request = if ordinary && !queueing { Bytes::new() } else { self.keep(request) };
        self.owed.push_back(Sent { word, request, left });
        Send::Forward
    }

    /// As [`Self::on_request`], of a request to which no reply will come: it is taken to be accepted. Nothing is owed. The
    /// requests of which EXEC has left state, empty where they were too much to be kept.
    pub fn on_silent(&mut self, word: Word, request: &Bytes) -> Vec<Bytes> {
        if self.on_request(word, request) == Send::Answer {
            self.clear();
            return Vec::new();
        }
        let Some(sent) = self.owed.pop_back() else { return Vec::new() };
        let mut executed = Executed::default();
        match (word, &mut self.state) {
            (Word::Exec, State::Queueing(queue)) => {
                let queue = std::mem::take(queue);
                if !queue.refused {
                    executed = Executed::of(queue);
                }
                self.state = State::Idle;
            }
            (Word::Discard | Word::Reset, State::Queueing(_)) => self.state = State::Idle,
            (Word::Multi | Word::Watch, State::Queueing(_)) => self.refuse(),
            (_, State::Queueing(queue)) => queue.push(sent, &mut self.copy),
            (_, State::Idle | State::Watching(_)) => self.on_reply_outside(word, OK),
        }
        if !self.is_pinned() {
            self.clear();
        }
        executed.left.into_iter().map(|(_, request)| request).collect()
    }

    /// Whether keys are watched or requests queued once Redis has read all that was sent.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.standing() != (false, Watch::Nothing)
    }

    /// Replies to come belong to what is played again.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.swallow > 0
    }

    /// Whether the last request without a reply may end the transaction.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.owed.back().is_some_and(|sent| matches!(sent.word, Word::Exec | Word::Discard))
    }

    /// Whether MULTI is not answered yet.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.owed.iter().any(|sent| sent.word == Word::Multi)
    }

    /// Whether any reply is owed.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Takes the reply to the oldest owed request, or its first bytes. The whole of an error is always needed.
    pub fn on_reply(&mut self, head: &[u8], proto: Proto) -> Step {
        if self.swallow > 0 {
            self.swallow -= 1;
            if head.starts_with(b"-") {
                self.refuse();
            }
            return Step::Swallow;
        }
        let Some(sent) = self.owed.pop_front() else { return Step::Forward };
        let step = if matches!(self.state, State::Queueing(_)) {
            self.on_reply_inside(sent, head, proto)
        } else {
            self.on_reply_outside(sent.word, head);
            Step::Forward
        };
        if !self.is_pinned() {
            self.clear();
        }
        step
    }

    /// The reply to an EXEC that is not sent, once nothing is owed before it. The transaction is over and its
    /// connection, on which MULTI may stand, not clean.
    pub fn exec_answer(&mut self, proto: Proto) -> Vec<u8> {
        let answer = match &self.state {
            State::Queueing(Queue { refused: true, .. }) => ABORTED.to_vec(),
            State::Queueing(Queue { watch: Watch::Lost, .. }) => null_array(proto),
            State::Queueing(_) | State::Idle | State::Watching(_) => too_large(),
        };
        self.clear();
        answer
    }

    /// Something of it was answered with an error of the proxy's own: EXEC will be refused, as Redis does after an
    /// error while it queues.
    pub fn abandon(&mut self) {
        if matches!(self.state, State::Queueing(_)) {
            self.refuse();
            self.lost = true;
        }
    }

    /// RESET ended everything, or the client is gone. Only room is kept.
    pub fn clear(&mut self) {
        let (mut owed, mut copy) = (std::mem::take(&mut self.owed), std::mem::take(&mut self.copy));
        owed.clear();
        owed.shrink_to(ROOM);
        copy.clear();
        copy.shrink_to(ROOM);
        *self = Self { owed, copy, ..Self::default() };
    }

    /// What stands once Redis has read all that was sent: whether MULTI does, and what is watched.
    fn standing(&self) -> (bool, Watch) {
        let now = match &self.state {
            State::Idle => (false, Watch::Nothing),
            State::Watching(watch) => (false, *watch),
            State::Queueing(queue) => (true, queue.watch),
        };
        self.owed.iter().fold(now, |(inside, watch), sent| match (sent.word, inside) {
            (Word::Multi, _) => (true, watch),
            (Word::Watch, false) if watch == Watch::Nothing => (false, Watch::Here),
            (Word::Exec | Word::Discard, true) | (Word::Unwatch, false) | (Word::Reset, _) => {
                (false, Watch::Nothing)
            }
            _ => (inside, watch),
        })
    }

    /// EXEC can not be sent: it would not execute what the client queued, or not under the client's condition.
    #[must_use]
    pub fn is_doomed(&self) -> bool {
        let (inside, watch) = self.standing();
        inside && (watch == Watch::Lost || self.lost)
    }

    fn keep(&mut self, request: &Bytes) -> Bytes {
        self.too_large |= self.kept + request.len() > COPY_MAX;
        if self.too_large {
            self.kept = 0;
            self.owed.iter_mut().for_each(|sent| sent.request = Bytes::new());
            self.copy = Vec::new();
            return Bytes::new();
        }
        self.kept += request.len();
        request.clone()
    }

    fn on_reply_outside(&mut self, word: Word, head: &[u8]) {
        if head.starts_with(b"-") {
            return;
        }
        let watch = if let State::Watching(watch) = self.state { watch } else { Watch::Nothing };
        match word {
            Word::Multi => {
                self.copy.clear();
                self.state = State::Queueing(Queue { watch, ..Queue::default() });
            }
            Word::Watch if watch == Watch::Nothing => self.state = State::Watching(Watch::Here),
            Word::Unwatch | Word::Reset => self.state = State::Idle,
            _ => {}
        }
    }

    fn on_reply_inside(&mut self, sent: Sent, head: &[u8], proto: Proto) -> Step {
        if sent.word == Word::Exec {
            return self.on_exec_reply(sent, head, proto);
        }
        let exec_is_owed = self.owed.iter().any(|sent| sent.word == Word::Exec);
        let State::Queueing(queue) = &mut self.state else { return Step::Forward };
        match head.strip_prefix(b"-") {
            None if head == QUEUED => queue.push(sent, &mut self.copy),
            // DISCARD or RESET, which Redis never queues.
            None => self.state = State::Idle,
            Some(error) if leads_no_more(error) && !exec_is_owed && self.may_play_again() => {
                self.owed.push_front(sent);
                return Step::PlayAgain;
            }
            // Redis forgives a nested MULTI and Valkey does not. The difference matters only after a loss, and then
            // it is right for both to refuse the whole.
            Some(_) => self.refuse(),
        }
        Step::Forward
    }

    fn on_exec_reply(&mut self, exec: Sent, head: &[u8], proto: Proto) -> Step {
        let State::Queueing(queue) = std::mem::take(&mut self.state) else { return Step::Forward };
        if head.strip_prefix(REFUSED).is_some_and(leads_no_more) {
            if queue.watch != Watch::Nothing {
                return Step::Answer(null_array(proto));
            }
            if self.may_play_again() {
                self.state = State::Queueing(queue);
                self.owed.push_front(exec);
                return Step::PlayAgain;
            }
        }
        if head.starts_with(b"*") && head != b"*-1\r\n" {
            Step::Executed(Executed::of(queue))
        } else {
            Step::Forward
        }
    }

    /// EXEC will be refused.
    pub(super) fn refuse(&mut self) {
        if let State::Queueing(queue) = &mut self.state {
            queue.refused = true;
        }
    }

    fn may_play_again(&mut self) -> bool {
        let may = self.refusal == Refusal::None && !self.too_large;
        if may {
            self.refusal = Refusal::Told;
        }
        may
    }
}

/// Whether an error, without its sign, is a node's that leads no more or not yet. Such a node executed nothing.
fn leads_no_more(error: &[u8]) -> bool {
    [&b"READONLY "[..], b"LOADING ", b"MASTERDOWN "].iter().any(|code| error.starts_with(code))
}

fn null_array(proto: Proto) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    encode::null_array(&mut bytes, proto);
    bytes.to_vec()
}

fn too_large() -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let reason = "the connection to the primary was lost and more than 1 MiB was queued";
    encode::error(&mut bytes, &Failure::TransactionLost { reason }.to_string());
    bytes.to_vec()
}

#[cfg(test)]
mod tests;
