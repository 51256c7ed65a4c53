//! Spare connections: whoever needs one of its own finds it open, so that what it asks reaches the node as soon as what
//! others ask on shared ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::backend::{Busy, Identity, Pinned, Target};
use crate::session::Names;

use super::Worker;

/// Spares being opened at once; one that is wanted meanwhile is opened when somebody needs it.
const OPENING_MAX: usize = 8;

/// Who the spares will be that are being opened.
#[derive(Default)]
pub(super) struct Warming(RefCell<Vec<Identity>>);

impl Warming {
    fn begin(&self, identity: &Identity) -> bool {
        let mut opening = self.0.borrow_mut();
        let begins = opening.len() < OPENING_MAX && !opening.contains(identity);
        if begins {
            opening.push(identity.clone());
        }
        begins
    }

    fn end(&self, identity: &Identity) {
        self.0.borrow_mut().retain(|other| other != identity);
    }
}

impl Worker {
    /// Opens a spare to `target` unless there is one. A node that gave no connection lately is left in peace.
    pub(in crate::frontend) fn warm(self: &Rc<Self>, target: &Target) {
        if !self.pools.trouble(target.node).delay().is_zero()
            || self.idle_to(target.node).holds(target)
            || !self.warming.begin(&target.identity)
        {
            return;
        }
        let (worker, around, target) = (self.clone(), self.pools.around().clone(), target.clone());
        tokio::task::spawn_local(async move {
            let identity = target.identity.clone();
            let opened = Pinned::open(target, around, Busy::Waits).await;
            worker.warming.end(&identity);
            if let Ok(pinned) = opened
                && pinned.target().epoch == worker.epoch()
            {
                worker.idle.give(Box::new(pinned), Names::default(), Instant::now());
            }
        });
    }
}
