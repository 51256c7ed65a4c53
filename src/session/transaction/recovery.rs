//! What becomes of a transaction whose connection is lost.

use bytes::Bytes;

use super::{ABORTED, QUEUED, Queue, Refusal, Sent, State, Transaction, Watch, Word};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const OK: &[u8] = b"+OK\r\n";

/// What is to be done after the pinned connection was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sent first on the new connection; [`Transaction::on_reply`] swallows its replies. Empty: nothing.
    pub replay: Vec<u8>,
    /// For each request whose reply the client is owed, oldest first.
    pub fates: Vec<Fate>,
}

/// What becomes of one owed reply. What is sent again goes through [`Transaction::on_request`] again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The request is sent again; its reply is the client's.
    SendAgain {
        /// As it was noted.
        word: Word,
        /// Its bytes.
        request: Bytes,
    },
    /// The client gets these bytes, when the replies before them were given.
    Answer(Vec<u8>),
    /// SUBSCRIBE or its like: this is sent again, for the names that are not confirmed yet.
    Subscribe(Vec<u8>),
    /// An ordinary request beside the transaction, of which no copy is kept here: as its retry class says.
    ByRetryClass,
    /// An EXEC whose outcome is unknown: `-AMBIGUOUS`. The transaction is over.
    Ambiguous,
}

impl Transaction {
    /// The pinned connection is lost. `unwritten`: of how many owed requests, counted from the newest, the last
    /// byte was never written.
    pub fn recover(&mut self, unwritten: usize) -> Recovery {
        self.swallow = 0;
        self.lost |= self.too_large;
        match &mut self.state {
            State::Watching(watch) => *watch = Watch::Lost,
            State::Queueing(queue) => {
                self.lost |= queue.refused;
                if queue.watch == Watch::Here {
                    queue.watch = Watch::Lost;
                }
            }
            State::Idle => {}
        }
        if self.refusal == Refusal::Told {
            self.refusal = Refusal::Past;
            return self.recover_open();
        }
        let written = self.owed.len().saturating_sub(unwritten);
        let ended = self.owed.iter().enumerate().any(|(index, sent)| match sent.word {
            Word::Exec => index < written,
            Word::Discard => true,
            _ => false,
        });
        if ended { self.recover_ended() } else { self.recover_open() }
    }

    /// What is played again goes to a primary of another epoch than `of`: cursors mean nothing there. `spoil` writes
    /// requests so that the server refuses theirs.
    pub fn spoil(&mut self, of: u64, spoil: impl Fn(&[u8]) -> Vec<u8>) {
        if let State::Queueing(queue) = &mut self.state {
            self.copy = vec![spoil(&self.copy.concat()).into()];
            let scans = queue.notes.iter_mut().filter(|(_, word, _)| *word == Word::Scan);
            scans.for_each(|(_, word, _)| *word = Word::Stale(of));
        }
    }

    /// EXEC was written, so its outcome is unknown, or DISCARD was sent, so nothing of it is executed.
    fn recover_ended(&mut self) -> Recovery {
        let refused = matches!(self.state, State::Queueing(Queue { refused: true, .. }));
        let mut inside = matches!(self.state, State::Queueing(_));
        let mut fates = Vec::with_capacity(self.owed.len());
        for Sent { word, request, .. } in std::mem::take(&mut self.owed) {
            fates.push(match (word, inside) {
                (Word::Exec, true) if refused => Fate::Answer(ABORTED.to_vec()),
                (Word::Exec, true) => Fate::Ambiguous,
                (Word::Multi | Word::Watch | Word::Unwatch, false) | (Word::Discard, true) => {
                    Fate::Answer(OK.to_vec())
                }
                (_, true) => Fate::Answer(QUEUED.to_vec()),
                (_, false) if request.is_empty() => Fate::ByRetryClass,
                (_, false) => Fate::SendAgain { word, request },
            });
            inside = inside_after(inside, word);
        }
        self.clear();
        Recovery { replay: Vec::new(), fates }
    }

    /// Nothing of the transaction was executed: what was answered is played again, the rest is sent again.
    fn recover_open(&mut self) -> Recovery {
        let mut replay = Vec::new();
        let mut inside = false;
        if let State::Queueing(queue) = &mut self.state {
            inside = true;
            if self.too_large {
                (queue.count, queue.notes) = (0, Vec::new());
            }
            replay.extend(MULTI);
            self.copy.iter().for_each(|request| replay.extend(request));
            self.swallow = 1 + queue.count;
        }
        let mut fates = Vec::with_capacity(self.owed.len());
        for Sent { word, request, left } in std::mem::take(&mut self.owed) {
            self.noted -= left.len();
            self.kept = self.kept.saturating_sub(request.len());
            fates.push(match (word, inside) {
                (Word::Multi, _) => Fate::SendAgain { word, request: Bytes::from_static(MULTI) },
                (Word::Exec, _) => Fate::SendAgain { word, request: Bytes::from_static(EXEC) },
                (_, true) if request.is_empty() => Fate::Answer(QUEUED.to_vec()),
                (_, false) if request.is_empty() => Fate::ByRetryClass,
                _ => Fate::SendAgain { word, request },
            });
            inside = inside_after(inside, word);
        }
        Recovery { replay, fates }
    }
}

fn inside_after(inside: bool, word: Word) -> bool {
    match word {
        Word::Multi => true,
        Word::Exec | Word::Discard | Word::Reset => false,
        _ => inside,
    }
}
