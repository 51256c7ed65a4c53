//! Big requests when they are sent, and big replies on a client's own connection, for PROXY BIGKEYS. Whoever comes here has compared
//! a length already.

use crate::backend::first_len;
use crate::command::RowId;
use crate::resp::{Request, RequestScanner};
use crate::topology::NodeId;

use super::big_keys::Direction;
use super::connection::Connection;
use super::dispatch::Dispatched;
use super::lane::PinnedLane;
use super::worker::{Begun, Passed};

impl Connection {
    fn passed(&self, direction: Direction, row: RowId, node: NodeId, bytes: u64) -> Passed {
        let (db, now) = (self.session.identity.db, self.worker.now());
        Passed { direction, row, node, db, bytes, now }
    }

    /// A big request is sent to this node. One that is sent again was noted before.
    #[cold]
    pub(super) fn big_sent(&self, dispatched: &Dispatched<'_>, node: NodeId) {
        let Dispatched { request, class, since, .. } = dispatched;
        if since.is_none() {
            let passed = self.passed(Direction::Request, class.row, node, request.raw().len() as u64);
            self.worker.note_big_request(&self.client, &passed, request);
        }
    }

    /// `count` requests of this row are sent to this node, back to back, which are big together.
    #[cold]
    pub(super) fn big_among(&self, row: RowId, node: NodeId, requests: &[u8], count: u32) {
        let mut rest = requests;
        for _ in 0..count {
            let (request, after) = rest.split_at(if count == 1 { rest.len() } else { first_len(rest) });
            if self.worker.is_big(request.len() as u64) {
                let passed = self.passed(Direction::Request, row, node, request.len() as u64);
                self.worker.note_big(&self.client, &passed, request);
            }
            rest = after;
        }
    }

    /// What is remembered of a request of which the beginning is here, and whose end passes through without being kept; `None`
    /// where nothing is.
    pub(super) fn big_begun(&self, scanner: &RequestScanner, bytes: &[u8], from: u64) -> Option<Box<Begun>> {
        let request: Request<'_> = scanner.partial(bytes);
        let row = crate::command::classify_partial(&request).row;
        self.worker.is_big(u64::MAX - 1).then(|| Box::new(Begun::of(row, &request, from)))
    }

    /// The end of such a request was written.
    pub(super) fn big_ended(&self, lane: &mut PinnedLane) {
        let (Some(begun), Some(sent)) = (lane.begun.take(), lane.sent.back()) else { return };
        let bytes = lane.bytes - begun.from;
        if self.worker.is_big(bytes) {
            let passed = self.passed(Direction::Request, sent.row, lane.target.node, bytes);
            self.worker.note_big_begun(&self.client, &passed, &begun);
        }
    }

    /// The reply to this request, which stood on the client's own connection to this node, is so long.
    #[cold]
    pub(super) fn big_answered(&self, row: RowId, node: NodeId, request: &[u8], bytes: u64) {
        let passed = self.passed(Direction::Reply, row, node, bytes);
        self.worker.note_big(&self.client, &passed, request);
    }
}
