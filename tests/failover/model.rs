//! A redis-server as far as the machine leans on it: histories and offsets, what is received but not yet applied,
//! partial and full synchronisation, sealing, pausing, promotion, restarts. Time is in microseconds.
//! `tests/conformance` compares it, and the links in `world/links.rs`, with real servers of every version.
//!
//! Simpler than a server on purpose: every write takes the same number of bytes, and neither PING nor SELECT nor REPLCONF
//! GETACK stands in the stream; what a node writes that never had a replica is not counted; backlogs never run over; a disk holds what SAVE or a full copy put there, and there is no
//! append-only file; every attached replica counts for `min-replicas-to-write`, however late it is.
//! A replica of 6.2.5 that is paused counts what it has not applied; that is left out.

use std::collections::VecDeque;

use redhold::topology::{Address, Replication, Role};

/// Bytes of the replication stream that one write takes.
pub(crate) const WRITE: u64 = 10;
/// Writes that a replica has read from its socket at most, before it applies them.
const READ_AHEAD: usize = 4;

/// One write, known by its number.
pub(crate) type Write = u64;

/// What a node follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// It is a primary.
    Nobody,
    /// `replicaof 127.0.0.1 0`
    Sealed,
    /// This node.
    Node(usize),
}

/// The connection of a replica to its primary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Link {
    Down {
        retry: u64,
    },
    /// A full copy is under way and done at `until`.
    Copying {
        until: u64,
    },
    /// `closing`: the other end is gone; what arrived is still applied.
    Up {
        closing: bool,
    },
}

/// Which server it is, as far as the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Redis 6.2.5: INFO does not tell what was read; REPLICAOF ends the connections of a node's own replicas; a primary
    /// that starts again forgets its history; a pause does not hold the stream of the primary.
    Six,
    /// Redis 7.0 and later, Valkey.
    Seven,
}

/// What a node can give to replicas that lack a little.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    /// The offset at which it begins.
    from: u64,
    /// Oldest first, [`WRITE`] bytes each.
    writes: Vec<Write>,
}

/// What a node's disk holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    data: Vec<Write>,
    /// Of which history, and up to where. Without replicas there is none.
    history: Option<(String, u64)>,
}

/// How a node comes up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    /// As a primary of its own, with what the disk holds.
    Plain,
    /// As a primary of its own, without anything.
    PlainEmpty,
    /// Following the sealing address, with what the disk holds.
    Sealed,
    /// Following the sealing address, without anything.
    SealedEmpty,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    pub(crate) stopped: bool,
    pub(crate) run_id: String,
    pub(crate) following: Following,
    pub(crate) link: Link,
    pub(crate) replid: String,
    pub(crate) replid2: String,
    pub(crate) second_offset: i64,
    pub(crate) offset: u64,
    pub(crate) data: Vec<Write>,
    /// None as long as it had neither replicas nor a primary.
    pub(crate) backlog: Option<Backlog>,
    /// A replica that knows at which place of which history it stands, and asks to go on there.
    pub(crate) placed: bool,
    /// Writes in the socket: on their way until the instant, then received, not yet applied.
    pub(crate) inbox: VecDeque<(u64, Write)>,
    pub(crate) paused_until: u64,
    pub(crate) loading_until: u64,
    pub(crate) last_io: u64,
    pub(crate) sync_full: u64,
    pub(crate) sync_partial: u64,
    /// `min-replicas-to-write`
    pub(crate) needed: usize,
    pub(crate) release: Release,
    saved: Saved,
}

impl Server {
    pub(crate) fn new(run_id: String, replid: String) -> Self {
        Self {
            up: true,
            stopped: false,
            run_id,
            following: Following::Nobody,
            link: Link::Down { retry: 0 },
            replid,
            replid2: String::new(),
            second_offset: -1,
            offset: 0,
            data: Vec::new(),
            backlog: None,
            placed: false,
            inbox: VecDeque::new(),
            paused_until: 0,
            loading_until: 0,
            last_io: 0,
            sync_full: 0,
            sync_partial: 0,
            needed: 0,
            release: Release::Seven,
            saved: Saved::default(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.up && !self.stopped
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.following == Following::Nobody
    }

    /// What INFO says at `now`.
    pub(crate) fn info(
        &self,
        now: u64,
        name: impl Fn(usize) -> Address,
        replicas: Vec<usize>,
    ) -> Replication {
        let read = self.inbox.iter().take_while(|(at, _)| *at <= now).take(READ_AHEAD).count() as u64;
        Replication {
            run_id: self.run_id.clone(),
            version: match self.release {
                Release::Six => "6.2.5",
                Release::Seven => "7.0.15",
            }
            .to_owned(),
            role: if self.is_primary() { Role::Primary } else { Role::Replica },
            primary: match self.following {
                Following::Node(node) => Some(name(node)),
                Following::Nobody | Following::Sealed => None,
            },
            sealed: self.following == Following::Sealed,
            link_up: !self.is_primary() && matches!(self.link, Link::Up { .. }),
            last_io_seconds: Some((now / 1_000_000).saturating_sub(self.last_io / 1_000_000)),
            syncing: matches!(self.link, Link::Copying { .. }),
            loading: self.loading_until > now,
            replid: self.replid.clone(),
            replid2: self.replid2.clone(),
            second_offset: self.second_offset,
            // What INFO says of a replica that stands nowhere.
            offset: if self.is_primary() || self.placed { self.offset } else { 1 },
            read_offset: (self.release != Release::Six).then_some(self.offset + read * WRITE),
            replicas: replicas.into_iter().map(|node| (name(node), true)).collect(),
            keys: self.data.len() as u64,
            sync_full: self.sync_full,
            ..Replication::default()
        }
    }

    /// A client's write, with so many replicas attached; or the first word of the refusal.
    pub(crate) fn write(&mut self, write: Write, now: u64, attached: usize) -> Result<(), &'static str> {
        if self.loading_until > now {
            return Err("LOADING");
        }
        if !self.is_primary() {
            return Err("READONLY");
        }
        if attached < self.needed {
            return Err("NOREPLICAS");
        }
        self.execute(write);
        Ok(())
    }

    fn execute(&mut self, write: Write) {
        self.data.push(write);
        if let Some(backlog) = &mut self.backlog {
            backlog.writes.push(write);
            self.offset += WRITE;
        }
    }

    /// From 7.0 on a pause holds the stream of the primary, too.
    pub(crate) fn holds_stream(&self, now: u64) -> bool {
        self.paused_until > now && self.release != Release::Six
    }

    /// Applies the next received write, if there is one, and returns it.
    pub(crate) fn apply(&mut self, now: u64) -> Option<Write> {
        let ready =
            self.runs() && !self.holds_stream(now) && self.inbox.front().is_some_and(|(at, _)| *at <= now);
        let (_, write) = if ready { self.inbox.pop_front() } else { None }?;
        self.execute(write);
        self.last_io = now;
        Some(write)
    }

    /// REPLICAOF somebody or the sealing address: what was received and not applied is thrown away.
    pub(crate) fn follow(&mut self, whom: Following, now: u64) {
        if self.following == whom {
            return;
        }
        if self.is_primary() {
            self.placed = true;
            self.keep_backlog();
        }
        self.lose_link(now, now);
        self.following = whom;
    }

    /// What was received and not applied is thrown away. When a pause held it, the place in the history is, too.
    pub(crate) fn lose_link(&mut self, now: u64, retry: u64) {
        if self.holds_stream(now) && !self.inbox.is_empty() {
            self.placed = false;
        }
        self.inbox.clear();
        self.link = Link::Down { retry };
    }

    /// REPLICAOF NO ONE: likewise, and the history takes a new name.
    pub(crate) fn promote(&mut self, replid: String) {
        if self.is_primary() {
            return;
        }
        self.following = Following::Nobody;
        self.placed = false;
        self.inbox.clear();
        self.link = Link::Down { retry: 0 };
        self.rename(replid);
    }

    /// The history goes on under another name from here on.
    fn rename(&mut self, replid: String) {
        self.replid2 = std::mem::replace(&mut self.replid, replid);
        self.second_offset = i64::try_from(self.offset + 1).expect("offsets are small here");
    }

    fn keep_backlog(&mut self) {
        let from = self.offset;
        self.backlog.get_or_insert_with(|| Backlog { from, writes: Vec::new() });
    }

    /// What a restart will find.
    pub(crate) fn save(&mut self) {
        let told = if self.is_primary() { self.backlog.is_some() } else { self.placed };
        let history = told.then(|| (self.replid.clone(), self.offset));
        self.saved = Saved { data: self.data.clone(), history };
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        self.up = false;
        self.stopped = false;
        self.inbox.clear();
        self.link = Link::Down { retry: 0 };
    }

    /// A new process; `replid` is the name of its own history should it need one.
    pub(crate) fn boot(&mut self, how: Boot, run_id: String, replid: String, now: u64) {
        let mut fresh =
            Self { release: self.release, loading_until: now + 20_000, ..Self::new(run_id, replid) };
        if matches!(how, Boot::Sealed | Boot::SealedEmpty) {
            fresh.following = Following::Sealed;
        }
        if matches!(how, Boot::Plain | Boot::Sealed) {
            fresh.saved = std::mem::take(&mut self.saved);
            fresh.data.clone_from(&fresh.saved.data);
            fresh.remember();
        }
        *self = fresh;
    }

    /// Takes up the history that the disk tells of.
    fn remember(&mut self) {
        let Some((replid, offset)) = self.saved.history.clone() else { return };
        if self.is_primary() && self.release == Release::Six {
            return;
        }
        self.offset = offset;
        if self.is_primary() {
            let own = std::mem::replace(&mut self.replid, replid);
            self.rename(own);
        } else {
            self.replid = replid;
            self.placed = true;
        }
        self.keep_backlog();
    }

    /// The writes that a replica lacks, if PSYNC may continue.
    pub(crate) fn continuation(&self, replica: &Server) -> Option<Vec<Write>> {
        let (backlog, offset) = (self.backlog.as_ref()?, replica.offset);
        let ours = replica.replid == self.replid
            || (replica.replid == self.replid2
                && i64::try_from(offset + 1).is_ok_and(|next| next <= self.second_offset));
        if !replica.placed || !ours || offset < backlog.from || offset > self.offset {
            return None;
        }
        let skip = usize::try_from((offset - backlog.from) / WRITE).expect("backlogs are small here");
        Some(backlog.writes[skip..].to_vec())
    }

    /// The first replica of a node that never had one: a history begins.
    pub(crate) fn begin_history(&mut self, replid: String) {
        if self.backlog.is_none() {
            self.replid = replid;
            (self.replid2, self.second_offset) = (String::new(), -1);
            self.keep_backlog();
        }
    }

    /// Goes on in the history of another node, which may have taken a new name: true then.
    pub(crate) fn go_on(&mut self, replid: &str) -> bool {
        let renamed = self.replid != replid;
        if renamed {
            self.rename(replid.to_owned());
        }
        self.keep_backlog();
        renamed
    }

    /// A full copy of `from` arrives.
    pub(crate) fn copy(&mut self, from: &Server) {
        self.data.clone_from(&from.data);
        self.replid.clone_from(&from.replid);
        (self.replid2, self.second_offset) = (String::new(), -1);
        self.offset = from.offset;
        self.backlog = None;
        self.keep_backlog();
        self.placed = true;
        self.inbox.clear();
    }
}
