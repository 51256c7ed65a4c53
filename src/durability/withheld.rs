//! Which bytes of one client's output wait for a barrier. They stay where they are in the output, so that later replies
//! queue behind them.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::Level;

/// The barrier that a reply waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose barriers are counted.
    pub level: Level,
    /// See [`Barriers`](super::Barriers).
    pub number: u64,
    /// The reply says nothing of a change: see [`Demand`](super::Demand).
    pub reads: bool,
}

/// What is said in the place of a reply that nobody vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Instead<'a> {
    /// Of one that tells of a change.
    pub write: &'a [u8],
    /// Of one that tells of none.
    pub read: &'a [u8],
}

/// How many replies were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Of those that tell of a change.
    pub writes: u32,
    /// Of the others.
    pub reads: u32,
}

impl Ticket {
    /// What covers this ticket covers the other. Whether they tell of a change does not matter to it.
    fn covers(self, other: Self) -> bool {
        self.level == other.level && self.number >= other.number
    }
}

/// Replies back to back that wait for the same barrier.
#[derive(Debug)]
struct Mark {
    /// Bytes before it that wait for nothing but the marks before it.
    gap: usize,
    len: usize,
    replies: u32,
    /// `None`: the end of the reply has not come.
    ticket: Option<Ticket>,
}

/// See the module's text. The output itself is the caller's, who tells of everything that is taken from its front.
#[derive(Debug, Default)]
pub struct Withheld {
    marks: VecDeque<Mark>,
    /// Bytes of the output up to the end of the last mark.
    spanned: usize,
}

impl Withheld {
    /// How many of `total` bytes of output may be written.
    #[inline]
    #[must_use]
    pub fn writable(&self, total: usize) -> usize {
        self.marks.front().map_or(total, |first| first.gap)
    }

    /// So many bytes were written and are no part of the output any more.
    #[inline]
    pub fn wrote(&mut self, count: usize) {
        if let Some(first) = self.marks.front_mut() {
            first.gap -= count;
            self.spanned -= count;
        }
    }

    /// The last `len` of `total` bytes are `replies` whole replies that wait for `ticket`.
    pub fn withhold(&mut self, total: usize, len: usize, replies: u32, ticket: Ticket) {
        let gap = total - len - self.spanned;
        self.spanned = total;
        match self.marks.back_mut() {
            Some(last) if gap == 0 && last.ticket == Some(ticket) => {
                last.len += len;
                last.replies += replies;
            }
            _ => self.marks.push_back(Mark { gap, len, replies, ticket: Some(ticket) }),
        }
    }

    /// The last `len` of `total` bytes are a piece of one reply, whose end comes with `ticket`.
    pub fn withhold_piece(&mut self, total: usize, len: usize, ticket: Option<Ticket>) {
        let gap = total - len - self.spanned;
        self.spanned = total;
        match self.marks.back_mut() {
            Some(last) if last.ticket.is_none() => {
                last.len += gap + len;
                last.ticket = ticket;
            }
            _ => self.marks.push_back(Mark { gap, len, replies: 1, ticket }),
        }
    }

    /// Whether the last reply that waits is waiting for `ticket`, or for a later one.
    #[must_use]
    pub fn ends_with(&self, ticket: Ticket) -> bool {
        self.marks.back().and_then(|last| last.ticket).is_some_and(|last| last.covers(ticket))
    }

    /// Bytes of a reply whose end has not come.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.marks.back().filter(|last| last.ticket.is_none()).map_or(0, |last| last.len)
    }

    /// The end of the unfinished reply will not come: the client gets nothing of it.
    pub fn cut_unfinished(&mut self, output: &mut BytesMut) {
        let Some(last) = self.marks.back().filter(|last| last.ticket.is_none()) else { return };
        let (gap, len) = (last.gap, last.len);
        self.marks.pop_back();
        let end = output.split_off(self.spanned);
        output.truncate(self.spanned - len);
        output.unsplit(end);
        self.spanned -= gap + len;
    }

    /// What waits for `ticket` may be written once what stands before it may.
    pub fn release(&mut self, ticket: Ticket) {
        let mut freed = 0;
        self.marks.retain_mut(|mark| {
            mark.gap += std::mem::take(&mut freed);
            let waits = !mark.ticket.is_some_and(|other| ticket.covers(other));
            if !waits {
                freed = mark.gap + mark.len;
            }
            waits
        });
        self.spanned -= freed;
    }

    /// As `release`, with `instead` in the place of each reply; returns how many there were.
    pub fn replace(&mut self, ticket: Ticket, instead: Instead<'_>, output: &mut BytesMut) -> Replaced {
        self.replace_where(|other| ticket.covers(other), instead, output)
    }

    /// Puts `instead` in the place of each whole reply that waits; `reads`: only of those that tell of no change. Returns how
    /// many there were.
    pub fn give_up(&mut self, reads: bool, instead: Instead<'_>, output: &mut BytesMut) -> Replaced {
        self.replace_where(|ticket| ticket.reads || !reads, instead, output)
    }

    fn replace_where(
        &mut self,
        takes: impl Fn(Ticket) -> bool,
        instead: Instead<'_>,
        output: &mut BytesMut,
    ) -> Replaced {
        let mut replaced = Replaced::default();
        if !self.marks.iter().any(|mark| mark.ticket.is_some_and(&takes)) {
            return replaced;
        }
        let mut anew = BytesMut::with_capacity(output.len());
        let (mut at, mut freed, mut spanned) = (0, 0, 0);
        self.marks.retain_mut(|mark| {
            anew.extend_from_slice(&output[at..at + mark.gap]);
            at += mark.gap;
            mark.gap += std::mem::take(&mut freed);
            let reply = &output[at..at + mark.len];
            at += mark.len;
            if let Some(other) = mark.ticket.filter(|ticket| takes(*ticket)) {
                let (text, count) = match other.reads {
                    true => (instead.read, &mut replaced.reads),
                    false => (instead.write, &mut replaced.writes),
                };
                (0..mark.replies).for_each(|_| anew.extend_from_slice(text));
                freed = mark.gap + text.len() * mark.replies as usize;
                *count += mark.replies;
                return false;
            }
            anew.extend_from_slice(reply);
            spanned += mark.gap + mark.len;
            true
        });
        anew.extend_from_slice(&output[at..]);
        *output = anew;
        self.spanned = spanned;
        replaced
    }

    /// The output is gone.
    pub fn clear(&mut self) {
        self.marks.clear();
        self.spanned = 0;
    }
}

#[cfg(test)]
mod tests;
