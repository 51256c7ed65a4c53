//! What the requests and replies of all clients may take together (`limits.memory`): beyond it, whoever has most is closed.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::resp::encode;
use crate::telemetry::ErrorKind;

use super::client::Client;
use super::registry::Registry;
use super::worker::Worker;

/// A worker tells the others of its clients' memory when it has changed by so much.
const STEP: i64 = 64 << 10;

/// What the largest client is told.
const TOO_MUCH: &str = "ERR requests and replies of all clients exceed limits.memory of the proxy, and yours are the largest; this request was not executed";

/// The memory of one worker's clients.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes: Cell<i64>,
    /// What of it the others know.
    told: Cell<i64>,
}

/// The memory of all clients.
#[derive(Debug, Default)]
pub(super) struct TotalMemory {
    bytes: AtomicI64,
    shedding: Mutex<()>,
}

impl TotalMemory {
    /// It has changed; true when it is more than `most` now.
    fn changed(&self, by: i64, most: i64) -> bool {
        self.bytes.fetch_add(by, Ordering::Relaxed) + by > most
    }

    /// Closes the largest clients until the others take no more than `most`; how many were closed.
    fn shed(&self, registry: &Registry, most: i64) -> usize {
        // Somebody else is at it.
        let Ok(_shedding) = self.shedding.try_lock() else { return 0 };
        let mut rows = registry.rows(Instant::now());
        let bytes = |qbuf: usize, omem: usize| signed(qbuf as u64) + signed(omem as u64);
        let mut total: i64 = rows.iter().map(|row| bytes(row.qbuf, row.omem)).sum();
        rows.sort_by_key(|row| bytes(row.qbuf, row.omem));
        let mut closed = 0;
        while total > most
            && let Some(row) = rows.pop()
        {
            tracing::warn!(
                client = row.id,
                addr = row.addr,
                unread = row.qbuf,
                unwritten = row.omem,
                all_clients = total,
                "closed: requests and replies of all clients exceed limits.memory, and this one has most"
            );
            registry.shed(row.id);
            total -= bytes(row.qbuf, row.omem);
            closed += 1;
        }
        closed
    }
}

impl Client {
    /// Tells the worker how much memory the client takes now.
    #[inline]
    pub(super) fn note_memory(&self) {
        let bytes = self.live.buffered();
        let before = self.noted_memory.replace(bytes);
        if bytes != before {
            self.worker.memory_changed(signed(bytes as u64) - signed(before as u64));
        }
    }

    /// It is closed since it has most; told so where that can not be taken for the reply to something else.
    pub(super) fn close_as_largest(&self, owed_nothing: bool) {
        let may_be_told = owed_nothing && self.out.borrow().is_empty();
        self.drop_output();
        if may_be_told {
            encode::error(&mut self.out.borrow_mut(), TOO_MUCH);
        }
    }

    /// Something of its output was written.
    pub(super) fn note_written(&self) {
        self.live.leaves_unread(self.out.borrow().len() + self.writer.unwritten());
        self.note_memory();
    }
}

impl Worker {
    #[cold]
    fn memory_changed(&self, by: i64) {
        let Memory { bytes, told } = &self.memory;
        let now = bytes.get() + by;
        bytes.set(now);
        self.metrics.client_memory(by);
        let untold = now - told.get();
        if untold.abs() < STEP {
            return;
        }
        told.set(now);
        let most = signed(self.shared.limits.load().memory);
        if self.shared.memory.changed(untold, most) {
            for _ in 0..self.shared.memory.shed(&self.shared.registry, most) {
                self.metrics.error(ErrorKind::Memory);
            }
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
