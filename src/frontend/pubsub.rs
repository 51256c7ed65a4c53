//! PUBSUB: the primary's answer, without what only Redhold subscribed to there.

use std::sync::atomic::Ordering;

use crate::command::Lane;
use crate::session::Listing;

use super::client::Special;
use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;

impl Connection {
    /// Sends a PUBSUB with its reply set apart.
    pub(super) fn send_pubsub(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let listing = self.listing(dispatched);
        self.send_special(dispatched, Special::Pubsub(listing, Vec::new()))
    }

    /// The same on a connection of the client's own. In a transaction the reply is a part of EXEC's.
    pub(super) fn pubsub_asked(&self, dispatched: &Dispatched<'_>) -> Option<Asked> {
        (dispatched.class.lane == Lane::Pubsub).then(|| {
            let words: Vec<_> = dispatched.request.args().map(<[u8]>::to_vec).collect();
            Asked::new(words, Some(Local::Pubsub(self.listing(dispatched), Vec::new())))
        })
    }

    fn listing(&self, dispatched: &Dispatched<'_>) -> Listing {
        Listing::of(dispatched.class.row.spec().name, self.own_patterns())
    }

    /// How many patterns are Redhold's own at the primary.
    pub(super) fn own_patterns(&self) -> i64 {
        let listens = |node| self.worker.shared.marks.of(node).pattern_stands.load(Ordering::Relaxed);
        i64::from(self.worker.current().primary.is_some_and(listens))
    }
}
