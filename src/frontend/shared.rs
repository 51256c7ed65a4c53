//! What the workers share with each other and with the acceptor. No ordinary request comes here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::routing::OwnWrites;
use crate::topology::Marks;

use super::lent::Lent;
use super::notices::Notices;
use super::registry::Registry;
use super::written::Written;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Clients are served.
    NotYet = 0,
    /// They still are, and who asked to be told knows that the end comes.
    Announced = 1,
    /// Clients go as soon as nothing is owed to them and they hold nothing.
    Draining = 2,
    /// The time is up: parked requests end as if theirs were, everybody goes.
    Over = 3,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) marks: Arc<Marks>,
    pub(super) registry: Registry,
    /// Clients connected.
    pub(super) clients: AtomicUsize,
    pub(super) lent: Lent,
    /// What was written, for reads that are to show it.
    pub(super) written: Written,
    /// What clients that asked for it are to be told.
    pub(super) notices: Notices,
    /// How far the end has come: see [`Ending`].
    pub(super) ending: AtomicU8,
    next_client: AtomicU64,
}

impl Shared {
    pub(super) fn new(marks: Arc<Marks>, own_writes: OwnWrites) -> Self {
        Self {
            marks,
            registry: Registry::default(),
            clients: AtomicUsize::new(0),
            lent: Lent::default(),
            written: Written::new(own_writes),
            notices: Notices::default(),
            ending: AtomicU8::new(Ending::NotYet as u8),
            next_client: AtomicU64::new(1),
        }
    }

    /// How far the end has come.
    pub(super) fn ending(&self) -> Ending {
        match self.ending.load(Ordering::Relaxed) {
            0 => Ending::NotYet,
            1 => Ending::Announced,
            2 => Ending::Draining,
            _ => Ending::Over,
        }
    }

    /// Ids of clients begin at 1 and never return.
    pub(super) fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }
}
