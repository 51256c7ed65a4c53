//! Counts the keys of requests that were sampled, for PROXY HOTKEYS.

use crate::command::{RowId, keys};
use crate::resp::RequestScanner;

use super::Worker;

/// Keys of one request that are counted.
const KEYS_MAX: usize = 64;

impl Worker {
    /// A request was sampled, in multibulk form; its client was in database `db`.
    #[cold]
    pub(in crate::frontend) fn note_sampled(&self, row: RowId, request: &[u8], db: u32) {
        let Some(scanner) = RequestScanner::of_kept(request) else { return };
        let (request, mut places) = (scanner.request(request), Vec::new());
        keys(row, &request, &mut places);
        // Held by who asks for the counts: nobody waits for that here.
        let Ok(mut counts) = self.hot_keys.try_lock() else { return };
        for at in places.into_iter().take(KEYS_MAX) {
            counts.note(db, request.arg(usize::from(at)), self.now());
        }
    }
}
