//! Bodies that EVAL said lately: each is passed on once, so that no node has to ask for it later. Nothing is hashed whole on
//! the path of a request, and nothing is allocated for a body that was seen.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::command::RowId;
use crate::resp::Request;
use crate::topology::NodeId;

use super::worker::Worker;

/// Bodies that are told apart. Where more are in use some are passed on again now and then, which costs a copy.
const SLOTS: usize = 256;

/// Longer bodies are not remembered from EVAL, only from SCRIPT LOAD: they would make up 16 MiB a worker at most.
const BODY_MAX: usize = 64 << 10;

/// See the module's text.
pub(super) struct SeenScripts {
    slots: RefCell<Vec<Option<Arc<[u8]>>>>,
    /// SCRIPT FLUSHes that were heard of: what was seen before counts no more.
    flushes: Cell<u64>,
}

impl Default for SeenScripts {
    fn default() -> Self {
        let slots = std::iter::repeat_with(|| None).take(SLOTS);
        Self { slots: RefCell::new(slots.collect()), flushes: Cell::new(0) }
    }
}

impl SeenScripts {
    /// Passes `body` on unless it was; `pass` says whether it had room for it.
    fn note(&self, body: &[u8], flushes: u64, pass: impl FnOnce(Arc<[u8]>) -> bool) {
        if flushes != self.flushes.replace(flushes) {
            self.forget();
        }
        let mut slots = self.slots.borrow_mut();
        let first = slot_of(body);
        let holds = |slot: usize| slots[slot].as_deref() == Some(body);
        if holds(first) || holds(first ^ 1) {
            return;
        }
        let copy: Arc<[u8]> = body.into();
        if pass(copy.clone()) {
            // The one that was there longer moves over, and what it finds there goes.
            slots[first ^ 1] = slots[first].replace(copy);
        }
    }

    /// From now on each is passed on once more: what is in use is not forgotten elsewhere.
    pub(super) fn forget(&self) {
        self.slots.borrow_mut().fill(None);
    }
}

/// By its length and some of its words: a whole hash of a long body would cost more than the request.
fn slot_of(body: &[u8]) -> usize {
    let mut hash = body.len() as u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    match body.len().checked_sub(size_of::<u64>()) {
        Some(last) => {
            for start in [0, last / 3, last / 3 * 2, last] {
                mix(body[start..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
            }
        }
        None => body.iter().for_each(|byte| mix(u64::from(*byte))),
    }
    usize::try_from(hash % SLOTS as u64).unwrap_or(0)
}

impl Worker {
    /// A client runs a script, perhaps by its body.
    pub(super) fn note_script(&self, row: RowId, request: &Request<'_>) {
        if !matches!(row.spec().name, "eval" | "eval_ro") {
            return;
        }
        let (parity, body) = (&self.control.parity, request.arg(1));
        if body.len() <= BODY_MAX && parity.remembers_scripts() {
            self.scripts.note(body, parity.flushes(), |body| parity.script_seen(body));
        }
    }

    /// A node does not know a script that a client asks it for.
    pub(super) fn note_missing(&self, node: NodeId, reply: &[u8], request: &[u8]) {
        if reply.starts_with(b"-NOSCRIPT ") {
            self.control.parity.script_missing(node, request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_passed_on_once_until_it_is_forgotten_or_flushed() {
        let seen = SeenScripts::default();
        let passed = |body: &str, flushes| {
            let mut passed = false;
            seen.note(body.as_bytes(), flushes, |_| {
                passed = true;
                true
            });
            passed
        };
        let long = "x".repeat(5_000);
        for body in ["", "a", "return 1", "return 2", &long] {
            assert!(passed(body, 0), "{body}");
            assert!(!passed(body, 0), "{body}");
        }
        let mut other = long.clone();
        other.replace_range(777..778, "y");
        assert!(passed(&other, 0), "one letter of it is another, wherever it is looked for");
        assert!(!passed(&other, 0) && !passed(&long, 0), "both are known");
        assert!(passed("return 1", 1) && !passed("return 1", 1) && passed("a", 1));
        seen.forget();
        assert!(passed("return 1", 1));
        seen.note(b"no room", 1, |_| false);
        assert!(passed("no room", 1), "it is passed on when there is room");
    }

    #[test]
    fn more_bodies_than_slots_are_all_passed_on() {
        let seen = SeenScripts::default();
        let passed = Cell::new(0);
        for n in 0..10_000 {
            seen.note(format!("return {n}").as_bytes(), 0, |_| {
                passed.set(passed.get() + 1);
                true
            });
        }
        assert_eq!(passed.get(), 10_000);
    }
}
