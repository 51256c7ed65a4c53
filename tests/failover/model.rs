//! A redis-server as far as the machine leans on it: histories and offsets, what is received but not yet applied,
//! partial and full synchronisation, sealing, pausing, promotion, restarts. Time is in microseconds.

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

/// What a node's disk holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    data: Vec<Write>,
    replid: String,
    offset: u64,
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
    /// Offset from which on the backlog can answer a PSYNC.
    pub(crate) backlog_from: u64,
    /// Writes of the backlog, oldest first, each ending at a multiple of [`WRITE`] after `backlog_from`.
    pub(crate) backlog: Vec<Write>,
    /// Writes in the socket: on their way until the instant, then received, not yet applied.
    pub(crate) inbox: VecDeque<(u64, Write)>,
    pub(crate) paused_until: u64,
    pub(crate) loading_until: u64,
    pub(crate) last_io: u64,
    pub(crate) sync_full: u64,
    /// INFO tells `slave_read_repl_offset` (6.2.6 and later).
    pub(crate) tells_read: bool,
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
            backlog_from: 0,
            backlog: Vec::new(),
            inbox: VecDeque::new(),
            paused_until: 0,
            loading_until: 0,
            last_io: 0,
            sync_full: 0,
            tells_read: true,
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
            version: if self.tells_read { "7.0.15" } else { "6.2.5" }.to_owned(),
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
            offset: self.offset,
            read_offset: self.tells_read.then_some(self.offset + read * WRITE),
            replicas: replicas.into_iter().map(|node| (name(node), true)).collect(),
            keys: self.data.len() as u64,
            sync_full: self.sync_full,
            ..Replication::default()
        }
    }

    /// A client's write; false when it is refused.
    pub(crate) fn write(&mut self, write: Write, now: u64) -> bool {
        if !self.is_primary() || self.loading_until > now {
            return false;
        }
        self.execute(write);
        true
    }

    fn execute(&mut self, write: Write) {
        self.data.push(write);
        self.backlog.push(write);
        self.offset += WRITE;
    }

    /// Applies the next received write, if there is one; false otherwise.
    pub(crate) fn apply(&mut self, now: u64) -> bool {
        let ready = self.runs() && self.inbox.front().is_some_and(|(at, _)| *at <= now);
        if ready && let Some((_, write)) = self.inbox.pop_front() {
            self.execute(write);
            self.last_io = now;
        }
        ready
    }

    /// REPLICAOF somebody or the sealing address: what was received and not applied is thrown away.
    pub(crate) fn follow(&mut self, whom: Following, now: u64) {
        if self.following == whom {
            return;
        }
        self.following = whom;
        self.inbox.clear();
        self.link = Link::Down { retry: now };
    }

    /// REPLICAOF NO ONE: likewise, and the history takes a new name.
    pub(crate) fn promote(&mut self, replid: String) {
        if self.is_primary() {
            return;
        }
        self.following = Following::Nobody;
        self.inbox.clear();
        self.link = Link::Down { retry: 0 };
        self.replid2 = std::mem::replace(&mut self.replid, replid);
        self.second_offset = i64::try_from(self.offset + 1).expect("offsets are small here");
    }

    /// What a restart will find.
    pub(crate) fn save(&mut self) {
        self.saved = Saved { data: self.data.clone(), replid: self.replid.clone(), offset: self.offset };
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        self.up = false;
        self.stopped = false;
        self.inbox.clear();
    }

    /// A new process; `replid` is the name of its own history should it need one.
    pub(crate) fn boot(&mut self, how: Boot, run_id: String, replid: String, now: u64) {
        let (saved, tells_read) = (self.saved.clone(), self.tells_read);
        let mut fresh = Self { tells_read, loading_until: now + 20_000, ..Self::new(run_id, replid) };
        if matches!(how, Boot::Plain | Boot::Sealed) {
            fresh.data = saved.data.clone();
            fresh.offset = saved.offset;
            fresh.backlog_from = saved.offset;
            if how == Boot::Plain {
                fresh.replid2 = saved.replid.clone();
                fresh.second_offset = i64::try_from(saved.offset + 1).expect("offsets are small here");
            } else if !saved.replid.is_empty() {
                fresh.replid = saved.replid.clone();
            }
        }
        if matches!(how, Boot::Sealed | Boot::SealedEmpty) {
            fresh.following = Following::Sealed;
        }
        fresh.saved = saved;
        *self = fresh;
    }

    /// The writes that a replica lacks, if PSYNC may continue.
    pub(crate) fn continuation(&self, replid: &str, offset: u64) -> Option<Vec<Write>> {
        let ours = replid == self.replid
            || (replid == self.replid2
                && i64::try_from(offset + 1).is_ok_and(|next| next <= self.second_offset));
        if !ours || offset < self.backlog_from || offset > self.offset {
            return None;
        }
        let skip = usize::try_from((offset - self.backlog_from) / WRITE).expect("backlogs are small here");
        Some(self.backlog[skip..].to_vec())
    }

    /// A full copy of `from` arrives.
    pub(crate) fn copy(&mut self, from: &Server) {
        self.data.clone_from(&from.data);
        self.replid.clone_from(&from.replid);
        self.replid2.clone_from(&from.replid2);
        self.second_offset = from.second_offset;
        self.offset = from.offset;
        self.backlog_from = from.offset;
        self.backlog.clear();
        self.inbox.clear();
    }
}
