//! Remembers keys of big requests and replies, for PROXY BIGKEYS. Whoever comes here has compared already: nothing else costs
//! anything.

use std::time::{Duration, Instant, SystemTime};

use crate::command::{RowId, keys};
use crate::frontend::big_keys::{Direction, Origin, Passing};
use crate::frontend::client::Client;
use crate::frontend::slow_log::cut;
use crate::resp::{Request, RequestScanner};
use crate::topology::NodeId;

use super::Worker;

/// A request or a reply that is big, and between whom it passed.
#[derive(Clone, Copy, Debug)]
pub(in crate::frontend) struct Passed {
    pub(in crate::frontend) direction: Direction,
    pub(in crate::frontend) row: RowId,
    pub(in crate::frontend) node: NodeId,
    pub(in crate::frontend) db: u32,
    /// Of the whole frame.
    pub(in crate::frontend) bytes: u64,
    pub(in crate::frontend) now: Instant,
}

/// The keys of a big request whose end is still to come.
#[derive(Debug)]
pub(in crate::frontend) struct Begun {
    /// Its first key; empty: none has come.
    key: Vec<u8>,
    /// How many had come.
    keys: u32,
    /// Bytes that its connection was to be sent before it.
    pub(in crate::frontend) from: u64,
}

impl Begun {
    /// Of as much of a request of this row as is here.
    pub(in crate::frontend) fn of(row: RowId, request: &Request<'_>, from: u64) -> Self {
        let (key, keys) = first_key(row, request);
        Self { key: key.to_vec(), keys, from }
    }
}

/// The first key that a request names, and how many it names.
fn first_key<'a>(row: RowId, request: &Request<'a>) -> (&'a [u8], u32) {
    let mut places = Vec::new();
    keys(row, request, &mut places);
    let key = places.first().map_or(&[][..], |at| request.arg(usize::from(*at)));
    (key, u32::try_from(places.len()).unwrap_or(u32::MAX))
}

impl Worker {
    /// Whether a request or a reply of so many bytes is remembered.
    #[inline]
    pub(in crate::frontend) fn is_big(&self, bytes: u64) -> bool {
        bytes >= self.pools.around().settings.big_bytes
    }

    /// One of this client's passed. It is, or answers, this request, in multibulk form; empty when that was not kept, so that only
    /// its name is known.
    #[cold]
    pub(in crate::frontend) fn note_big(&self, client: &Client, passed: &Passed, request: &[u8]) {
        match RequestScanner::of_kept(request) {
            Some(scanner) => self.note_big_request(client, passed, &scanner.request(request)),
            None => self.note_big_key(client, passed, (&[], 0)),
        }
    }

    /// As [`Self::note_big`].
    #[cold]
    pub(in crate::frontend) fn note_big_request(
        &self,
        client: &Client,
        passed: &Passed,
        request: &Request<'_>,
    ) {
        self.note_big_key(client, passed, first_key(passed.row, request));
    }

    /// As [`Self::note_big`], of a request of which more came than is kept.
    pub(in crate::frontend) fn note_big_begun(&self, client: &Client, passed: &Passed, begun: &Begun) {
        self.note_big_key(client, passed, (&begun.key, begun.keys));
    }

    fn note_big_key(&self, client: &Client, passed: &Passed, (key, keys): (&[u8], u32)) {
        let Passed { direction, row, node, db, bytes, now } = *passed;
        // Held by who asks for them: nobody waits for that here.
        let Ok(mut known) = self.big_keys.try_lock() else { return };
        known.note(&Passing { direction, row, db, key, keys, bytes }, now, || {
            let shown = self.shared.registry.row(client.id, now);
            let of = |it: crate::session::ClientRow| (it.addr, cut(&it.name), cut(&it.user));
            let (addr, name, user) = shown.map(of).unwrap_or_default();
            let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
            let node = self.current().node(node).map(|node| node.address.to_string());
            Origin { unix, node: node.unwrap_or_default(), addr, name, user }
        });
    }
}
