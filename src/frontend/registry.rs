//! All clients of the process, for CLIENT LIST and KILL. Locked only when a client comes, goes, changes its name or
//! is asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;

#[expect(dead_code, reason = "CLIENT LIST, which lands next, reads it")]
/// What others may know of a client.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) peer: String,
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_ver: Vec<u8>,
    pub(super) user: String,
    pub(super) db: u32,
    pub(super) resp: u8,
    pub(super) connected: Option<std::time::Instant>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Registry {
    clients: Mutex<BTreeMap<u64, Entry>>,
}

impl Registry {
    pub(super) fn put(&self, id: u64, entry: Entry) {
        self.lock().insert(id, entry);
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    #[expect(dead_code, reason = "CLIENT LIST, which lands next, reads it")]
    pub(super) fn all(&self) -> Vec<(u64, Entry)> {
        self.lock().iter().map(|(id, entry)| (*id, entry.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Entry>> {
        // No code panics while it holds the lock; a poisoned one still holds whole entries.
        self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
