//! What the workers share with each other and with the acceptor. No ordinary request comes here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::topology::Marks;

use super::registry::Registry;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) marks: Arc<Marks>,
    pub(super) registry: Registry,
    /// Clients connected.
    pub(super) clients: AtomicUsize,
    /// Connections lent to single clients.
    pub(super) pinned: AtomicUsize,
    /// Once true, clients are let go as soon as nothing is owed to them.
    pub(super) draining: AtomicBool,
    next_client: AtomicU64,
}

impl Shared {
    pub(super) fn new(marks: Arc<Marks>) -> Self {
        Self {
            marks,
            registry: Registry::default(),
            clients: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            next_client: AtomicU64::new(1),
        }
    }

    /// Ids of clients begin at 1 and never return.
    pub(super) fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }
}
