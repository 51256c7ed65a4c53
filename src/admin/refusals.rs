//! Tells the log of orders that were refused: whoever reaches the endpoint can send as many as he likes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::telemetry::Brake;

use super::guard::Refusal;

/// Which of them the log was told of. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<Brakes>>);

#[derive(Debug, Default)]
struct Brakes {
    /// By whose token it was, of those that are known: one line does not hide another one's.
    orders: BTreeMap<Option<String>, Brake>,
    faults: Brake,
}

impl Refusals {
    /// An order to `path` was refused.
    pub(super) fn note_order(&self, refusal: &Refusal, peer: SocketAddr, path: &str) {
        if let Some(orders) = self.due(|brakes| brakes.orders.entry(refusal.by.clone()).or_default()) {
            let by = refusal.by.as_deref();
            tracing::warn!(orders, last = %peer, by, path, reason = refusal.reason, "order refused");
        }
        self.note_fault(refusal);
    }

    /// Somebody was turned away; it may be that a token could not be read.
    pub(super) fn note_fault(&self, refusal: &Refusal) {
        let Some(fault) = &refusal.fault else { return };
        if let Some(requests) = self.due(|brakes| &mut brakes.faults) {
            tracing::error!(requests, fault, "a token cannot be known");
        }
    }

    fn due(&self, which: impl FnOnce(&mut Brakes) -> &mut Brake) -> Option<u64> {
        let mut brakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        which(&mut brakes).note(Instant::now())
    }
}
