//! Channels, patterns and shard channels that one client holds on its own connection to the primary, and what is to
//! be said on the next primary so that the client notices nothing but the messages that were lost.
//!
//! A request of the SUBSCRIBE family has one confirmation for each name, not one reply; messages come in between. In
//! RESP2 all three look like arrays. The shell tells in order what it sent ([`Subscriptions::on_request`]) and asks of
//! every frame that comes what it is ([`Subscriptions::on_frame`]).

use std::collections::{BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::command::is_reserved;
use crate::resp::{Proto, encode};

use super::frame::{bulk, elements};
use super::transaction::ROOM;

/// Requests without replies whose confirmations may still come. Beyond them the oldest are forgotten: a server that is
/// so far behind with them confirms none (before 7.0).
const SILENT_MAX: usize = 1024;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SUBSCRIBE
    Channel,
    /// PSUBSCRIBE
    Pattern,
    /// SSUBSCRIBE
    Shard,
}

/// A command of the SUBSCRIBE family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// Of what.
    pub kind: Kind,
    /// `false`: UNSUBSCRIBE, PUNSUBSCRIBE or SUNSUBSCRIBE.
    pub adds: bool,
}

impl Verb {
    const ALL: [(&'static str, Self); 6] = [
        ("subscribe", Self { kind: Kind::Channel, adds: true }),
        ("psubscribe", Self { kind: Kind::Pattern, adds: true }),
        ("ssubscribe", Self { kind: Kind::Shard, adds: true }),
        ("unsubscribe", Self { kind: Kind::Channel, adds: false }),
        ("punsubscribe", Self { kind: Kind::Pattern, adds: false }),
        ("sunsubscribe", Self { kind: Kind::Shard, adds: false }),
    ];

    /// The verb of this name, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        let is_it = |text: &str| text.as_bytes().eq_ignore_ascii_case(name);
        Self::ALL.iter().find(|(text, _)| is_it(text)).map(|(_, verb)| *verb)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, verb)| *verb == self).map_or("", |(name, _)| name)
    }
}

/// What a frame of the subscriber's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Belongs to no request: a message or another push. Handed to the client.
    Message,
    /// One confirmation of several that the oldest owed request has. Handed to the client.
    Confirmation,
    /// The last confirmation of the oldest owed request, or its error. Handed to the client.
    Settled,
    /// The reply to the oldest owed request, an ordinary one. Handed to the client.
    Reply,
    /// Of a request that was ours, or of a reserved channel: dropped.
    Swallow,
    /// A request that was ours is refused: what the client held can not be held here. The client is closed, as
    /// messages that silently stay away would be worse.
    Refused,
}

#[derive(Debug, PartialEq, Eq)]
enum Owed {
    /// Confirmations: for each of these names, or for all that are held then.
    Names {
        verb: Verb,
        names: VecDeque<Vec<u8>>,
    },
    All {
        verb: Verb,
    },
    /// No reply was wanted: these names may be confirmed all the same, as servers do since 7.0, and belong to no request.
    Silent {
        verb: Verb,
        names: Vec<Vec<u8>>,
    },
    /// One reply to an ordinary request.
    Reply,
}

/// What to do on the next connection; see [`Subscriptions::recover`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// Sent first; its confirmations will be swallowed. Empty: nothing.
    pub resubscribe: Vec<u8>,
    /// For each owed request, oldest first: the bytes to send for the client, `None` for an ordinary request, of
    /// which no copy is kept here and whose retry class decides. Whatever is sent is noted anew.
    pub owed: Vec<Option<Vec<u8>>>,
}

/// One client's subscriptions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    shards: BTreeSet<Vec<u8>>,
    owed: VecDeque<Owed>,
    /// Confirmations to come for what is subscribed again.
    swallow: usize,
    held_bytes: usize,
}

impl Subscriptions {
    /// Whether the client needs its own connection: something is subscribed, or will be.
    #[must_use]
    pub fn stand(&self) -> bool {
        self.holds_any() || self.swallow > 0 || self.are_unsettled()
    }

    /// Whether the reply that is owed to a request decides what is subscribed.
    #[must_use]
    pub fn are_unsettled(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Names { .. } | Owed::All { .. }))
    }

    /// Whether confirmations of what is subscribed again are to come.
    #[must_use]
    pub fn resubscribes(&self) -> bool {
        self.swallow > 0
    }

    /// Whether anything is subscribed, as the server confirmed.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Channels and patterns, and shard channels: the `sub`, `psub` and `ssub` of CLIENT LIST.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.channels.len(), self.patterns.len(), self.shards.len()]
    }

    /// Bytes of all names held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Notes a request that was sent on the connection: `verb` and its names, or no verb for an ordinary request.
    pub fn on_request<'a>(&mut self, verb: Option<Verb>, names: impl IntoIterator<Item = &'a [u8]>) {
        let Some(verb) = verb else {
            self.owed.push_back(Owed::Reply);
            return;
        };
        let names: VecDeque<Vec<u8>> = names.into_iter().map(<[u8]>::to_vec).collect();
        self.owed.push_back(if names.is_empty() { Owed::All { verb } } else { Owed::Names { verb, names } });
    }

    /// As [`Self::on_request`], of a request to which no reply was wanted: it is taken to be accepted.
    pub fn on_silent<'a>(&mut self, verb: Verb, names: impl IntoIterator<Item = &'a [u8]>) {
        let mut names: Vec<Vec<u8>> = names.into_iter().map(<[u8]>::to_vec).collect();
        if names.is_empty() {
            names = self.held(verb.kind).iter().cloned().collect();
        }
        names.iter().for_each(|name| self.apply(verb, Some(name)));
        if self.owed.len() >= SILENT_MAX {
            let oldest = self.owed.iter().position(|owed| matches!(owed, Owed::Silent { .. }));
            oldest.and_then(|at| self.owed.remove(at));
        }
        self.owed.push_back(Owed::Silent { verb, names });
    }

    /// EXEC has executed a request with this verb and these names.
    pub fn on_executed<'a>(&mut self, verb: Verb, names: impl IntoIterator<Item = &'a [u8]>) {
        names.into_iter().for_each(|name| self.apply(verb, Some(name)));
    }

    /// Says what a whole frame is, and keeps account of it.
    pub fn on_frame(&mut self, frame: &[u8], proto: Proto) -> Frame {
        let mut words = elements(frame).map(bulk);
        let (first, second, third) = (words.next().flatten(), words.next(), words.next().flatten());
        let pushes = frame.starts_with(b">");
        // In RESP2 only a subscriber is sent messages, and a subscriber is sent no other such array.
        let of_subscriber = pushes || (proto == Proto::Resp2 && self.holds_any());
        if let Some(verb) = first.filter(|_| second.is_some()).and_then(Verb::of)
            && (pushes || proto == Proto::Resp2)
            && (of_subscriber || !matches!(self.owed.front(), Some(Owed::Reply)) || self.swallow > 0)
        {
            return self.on_confirmation(verb, second.flatten());
        }
        match first {
            Some(b"message" | b"smessage") if of_subscriber => return Frame::Message,
            Some(b"pmessage") if of_subscriber => {
                let reserved = third.is_some_and(is_reserved);
                return if reserved { Frame::Swallow } else { Frame::Message };
            }
            _ if pushes => return Frame::Message,
            _ => {}
        }
        if self.swallow > 0 {
            return Frame::Refused;
        }
        // What was to be confirmed before this reply has been.
        while matches!(self.owed.front(), Some(Owed::Silent { .. })) {
            self.owed.pop_front();
        }
        match self.owed.pop_front() {
            None | Some(Owed::Silent { .. }) => Frame::Message,
            Some(Owed::Reply) => Frame::Reply,
            Some(Owed::Names { .. } | Owed::All { .. }) => Frame::Settled,
        }
    }

    /// The connection is lost: what to send on the next one. Nothing is owed any more.
    pub fn recover(&mut self) -> Again {
        let mut resubscribe = BytesMut::new();
        self.swallow = 0;
        for (kind, held) in
            [(Kind::Channel, &self.channels), (Kind::Pattern, &self.patterns), (Kind::Shard, &self.shards)]
        {
            // One name a request: a refusal then costs one confirmation, and no request is too large to be shared.
            for name in held {
                encode::own_command(&mut resubscribe, &[Verb { kind, adds: true }.name().as_bytes(), name]);
            }
            self.swallow += held.len();
        }
        let request = |verb: Verb, names: &VecDeque<Vec<u8>>| {
            let names = names.iter().map(Vec::as_slice);
            let words: Vec<&[u8]> = std::iter::once(verb.name().as_bytes()).chain(names).collect();
            let mut bytes = BytesMut::new();
            encode::command(&mut bytes, &words);
            bytes.to_vec()
        };
        let owed = std::mem::take(&mut self.owed).into_iter().filter_map(|owed| match owed {
            Owed::Silent { .. } => None,
            Owed::Reply => Some(None),
            Owed::All { verb } => Some(Some(request(verb, &VecDeque::new()))),
            Owed::Names { verb, names } => Some(Some(request(verb, &names))),
        });
        Again { resubscribe: resubscribe.to_vec(), owed: owed.collect() }
    }

    /// RESET ended everything, or the client is gone. Only room is kept.
    pub fn clear(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        owed.clear();
        owed.shrink_to(ROOM);
        *self = Self { owed, ..Self::default() };
    }

    fn on_confirmation(&mut self, verb: Verb, name: Option<&[u8]>) -> Frame {
        if self.swallow > 0 && verb.adds {
            self.swallow -= 1;
            return Frame::Swallow;
        }
        if self.confirms_silent(verb, name) {
            return Frame::Message;
        }
        self.apply(verb, name);
        let settled = match self.owed.front_mut() {
            Some(Owed::Names { verb: owed, names }) if *owed == verb => {
                names.pop_front();
                names.is_empty()
            }
            Some(Owed::All { verb: owed }) if *owed == verb => self.held(verb.kind).is_empty(),
            // A server may take a shard channel away by itself, when its slot moves.
            _ => return Frame::Message,
        };
        if settled {
            self.owed.pop_front();
            return Frame::Settled;
        }
        Frame::Confirmation
    }

    /// Whether a confirmation belongs to a request to which no reply was wanted. Those before the one that it belongs to
    /// are not confirmed any more.
    fn confirms_silent(&mut self, verb: Verb, name: Option<&[u8]>) -> bool {
        let is_of = |owed: &Owed| match owed {
            Owed::Silent { verb: owed, names } => {
                *owed == verb && name.map_or(names.is_empty(), |name| names.iter().any(|known| known == name))
            }
            Owed::Names { verb: owed, .. } | Owed::All { verb: owed } => *owed == verb,
            Owed::Reply => false,
        };
        let ahead = self.owed.iter().take_while(|owed| matches!(owed, Owed::Silent { .. })).count();
        let Some(at) = self.owed.iter().take(ahead + 1).position(is_of) else { return false };
        self.owed.drain(..at);
        let Some(Owed::Silent { names, .. }) = self.owed.front_mut() else { return false };
        let known = names.iter().position(|known| Some(known.as_slice()) == name);
        known.map(|known| names.swap_remove(known));
        if names.is_empty() {
            self.owed.pop_front();
        }
        true
    }

    fn apply(&mut self, verb: Verb, name: Option<&[u8]>) {
        let Some(name) = name else { return };
        let held = self.held(verb.kind);
        if verb.adds && held.insert(name.to_vec()) {
            self.held_bytes += name.len();
        } else if !verb.adds && held.remove(name) {
            self.held_bytes -= name.len();
        }
    }

    fn held(&mut self, kind: Kind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }
}

#[cfg(test)]
mod tests;
