//! What the workers share with each other and with the acceptor. No ordinary request comes here.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::routing::OwnWrites;
use crate::topology::Marks;
use crate::users::{Meter, Rate};

use super::big_keys::{self, BigKeys, Biggest};
use super::entrance::Addresses;
use super::handed::HandOver;
use super::hot_keys::{self, HotKeys, Hottest};
use super::lent::Lent;
use super::memory::TotalMemory;
use super::notices::Notices;
use super::registry::Registry;
use super::settings::LimitsInForce;
use super::slow_log::SlowLog;
use super::written::Written;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Clients are served.
    NotYet = 0,
    /// They still are, and who asked to be told knows that the end comes.
    Announced = 1,
    /// Nobody comes in any more.
    Shut = 2,
    /// Clients go as soon as nothing is owed to them and they hold nothing.
    Draining = 3,
    /// The time is up: parked requests end as if theirs were, everybody goes.
    Over = 4,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: LimitsInForce,
    pub(super) marks: Arc<Marks>,
    pub(super) registry: Registry,
    /// Clients connected.
    pub(super) clients: AtomicUsize,
    /// … and how many of them each address has.
    pub(super) addresses: Addresses,
    /// What they take.
    pub(super) memory: TotalMemory,
    pub(super) lent: Lent,
    /// What was written, for reads that are to show it.
    pub(super) written: Written,
    /// What clients that asked for it are to be told.
    pub(super) notices: Notices,
    /// What users have sent whose rate is limited, by their place.
    pub(super) meters: Vec<Option<Meter>>,
    /// Requests that took long.
    pub(super) slow_log: Mutex<SlowLog>,
    /// What each worker has sampled.
    hot_keys: Mutex<Vec<Arc<Mutex<HotKeys>>>>,
    /// What was big at each worker.
    big_keys: Mutex<Vec<Arc<Mutex<BigKeys>>>>,
    /// How often each worker came round.
    turns: Mutex<Vec<Arc<AtomicU64>>>,
    hasher: RandomState,
    born: Instant,
    /// How far the end has come: see [`Ending`].
    pub(super) ending: AtomicU8,
    next_client: AtomicU64,
    /// How clients go to the process that takes over, once there is one.
    pub(super) heir: OnceLock<HandOver>,
    /// Process id of the one before, as long as clients of it may yet come; 0: none.
    pub(super) predecessor: Arc<AtomicU32>,
}

impl Shared {
    /// What all begin with.
    pub(super) fn new(
        marks: Arc<Marks>,
        own_writes: OwnWrites,
        slow_log: SlowLog,
        limits: LimitsInForce,
    ) -> Self {
        Self {
            limits,
            marks,
            registry: Registry::default(),
            clients: AtomicUsize::new(0),
            addresses: Addresses::default(),
            memory: TotalMemory::default(),
            lent: Lent::default(),
            written: Written::new(own_writes),
            notices: Notices::default(),
            meters: Vec::new(),
            slow_log: Mutex::new(slow_log),
            hot_keys: Mutex::default(),
            big_keys: Mutex::default(),
            turns: Mutex::default(),
            hasher: RandomState::new(),
            born: Instant::now(),
            ending: AtomicU8::new(Ending::NotYet as u8),
            next_client: AtomicU64::new(1),
            heir: OnceLock::new(),
            predecessor: Arc::default(),
        }
    }

    /// With users of these rates.
    pub(super) fn metering(mut self, rates: impl Iterator<Item = Option<Rate>>) -> Self {
        self.meters = rates.map(|rate| rate.map(|rate| Meter::new(rate, self.born))).collect();
        self
    }

    /// How far the end has come.
    pub(super) fn ending(&self) -> Ending {
        match self.ending.load(Ordering::Relaxed) {
            0 => Ending::NotYet,
            1 => Ending::Announced,
            2 => Ending::Shut,
            3 => Ending::Draining,
            _ => Ending::Over,
        }
    }

    /// Ids begin here: those before are another process's.
    pub(super) fn begin_ids_at(&self, first: u64) {
        self.next_client.fetch_max(first, Ordering::Relaxed);
    }

    /// The next one would be this.
    pub(super) fn ids_so_far(&self) -> u64 {
        self.next_client.load(Ordering::Relaxed)
    }

    /// Ids of clients begin at 1 and never return.
    pub(super) fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts for one more worker, which it keeps.
    pub(super) fn new_hot_keys(&self) -> Arc<Mutex<HotKeys>> {
        let counts = Arc::new(Mutex::new(HotKeys::new(self.hasher.clone(), self.born)));
        lock(&self.hot_keys).push(counts.clone());
        counts
    }

    /// What one more worker remembers of big requests and replies.
    pub(super) fn new_big_keys(&self) -> Arc<Mutex<BigKeys>> {
        let known = Arc::new(Mutex::new(BigKeys::new(self.hasher.clone(), self.born)));
        lock(&self.big_keys).push(known.clone());
        known
    }

    /// A count for one more worker, which it raises when it comes round.
    pub(super) fn new_turns(&self) -> Arc<AtomicU64> {
        let turns = Arc::default();
        lock(&self.turns).push(Arc::clone(&turns));
        turns
    }

    /// How often each worker that has begun came round.
    pub(super) fn turns(&self) -> Vec<u64> {
        lock(&self.turns).iter().map(|turns| turns.load(Ordering::Relaxed)).collect()
    }

    /// The `count` keys that were asked for most, of all workers.
    pub(super) fn hottest(&self, count: usize, now: Instant) -> Hottest {
        let copy = |counts: &Arc<Mutex<HotKeys>>| {
            let mut counts = lock(counts);
            counts.advance(now);
            counts.clone()
        };
        let workers: Vec<HotKeys> = lock(&self.hot_keys).iter().map(copy).collect();
        hot_keys::merged(&workers, count, now)
    }

    /// The `count` keys with the largest requests, and those with the largest replies, of all workers.
    pub(super) fn biggest(&self, count: usize, now: Instant) -> Biggest {
        let copy = |known: &Arc<Mutex<BigKeys>>| {
            let mut known = lock(known);
            known.advance(now);
            known.clone()
        };
        let workers: Vec<BigKeys> = lock(&self.big_keys).iter().map(copy).collect();
        big_keys::merged(&workers, count, now)
    }

    /// Forgets them.
    pub(super) fn forget_big_keys(&self, now: Instant) {
        lock(&self.big_keys).iter().for_each(|known| lock(known).reset(now));
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these; a poisoned one still holds whole values.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
