//! Tells the status which requests a node owed when a connection to it was lost.

use std::time::{Duration, Instant};

use crate::command::{self, RowId};
use crate::resp::RequestScanner;
use crate::topology::{Address, Suspicion, Told};

use super::redo::RetryRules;
use super::worker::Worker;

/// Longest command name or key that is shown whole.
const SHOWN_MAX: usize = 64;

/// A request that was written whole and not answered.
pub(super) struct LostRequest<'a> {
    pub(super) node: &'a Address,
    /// Of its connection.
    pub(super) epoch: u64,
    pub(super) row: RowId,
    /// In multibulk form; empty when it was not kept.
    pub(super) request: &'a [u8],
    pub(super) resent: bool,
    pub(super) waited: Duration,
}

impl Worker {
    /// What may be sent again after a loss. That a plain read silenced its node by itself is only believed of a primary,
    /// which deletes what has expired, and whose replacement it would silence too.
    pub(super) fn rules_after(&self, node: &Address, epoch: u64, row: RowId) -> RetryRules {
        let rules = self.retry_rules();
        let table = self.current();
        let led =
            table.primary.is_none_or(|primary| table.node(primary).is_some_and(|led| led.address == *node));
        match led || epoch != table.epoch || row.spec().long {
            true => rules,
            false => RetryRules { poison_after: Duration::MAX, ..rules },
        }
    }

    /// Notes it for the status, unless its connection was given up in a planned change and it was only passing by.
    pub(super) fn note_lost(&self, lost: &LostRequest<'_>) {
        let poison = lost.waited >= self.retry_rules().poison_after;
        if lost.epoch != self.epoch() && !lost.resent && !poison {
            return;
        }
        let table = self.current();
        let Some(node) = table.nodes.iter().find(|node| node.address == *lost.node) else { return };
        let suspicion = Suspicion { long: lost.row.spec().long, twice: lost.resent, waited: lost.waited };
        let mut shown = String::new();
        let fresh = self.shared.marks.of(node.id).note_lost(Instant::now(), suspicion, || {
            let told = describe(lost.row, lost.request);
            shown = told.to_string();
            told
        });
        if fresh && suspicion.long {
            let waited_ms = u64::try_from(lost.waited.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(node = %lost.node, request = shown, waited_ms, "unanswered when its connection was lost");
        }
    }
}

/// Name and first key: whoever reads the status may not read the data.
fn describe(row: RowId, request: &[u8]) -> Told {
    let Some(scanner) = RequestScanner::of_kept(request) else {
        return Told { command: name(row), key: None };
    };
    let request = scanner.request(request);
    let command = if row == RowId::UNKNOWN { shown(request.name()).to_uppercase() } else { name(row) };
    let mut keys = Vec::new();
    command::keys(row, &request, &mut keys);
    let key = keys.first().map(|first| shown(request.arg(usize::from(*first))));
    Told { command, key }
}

fn name(row: RowId) -> String {
    row.spec().name.replace('|', " ").to_uppercase()
}

fn shown(word: &[u8]) -> String {
    let cut = &word[..word.len().min(SHOWN_MAX)];
    format!("{}{}", cut.escape_ascii(), if cut.len() < word.len() { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::describe;
    use crate::command::find;

    fn told(row: &str, words: &[&[u8]]) -> String {
        let mut request = bytes::BytesMut::new();
        crate::resp::encode::command(&mut request, words);
        describe(find(row.as_bytes()).unwrap(), &request).to_string()
    }

    #[test]
    fn a_request_is_told_by_its_name_and_first_key_alone() {
        assert_eq!(told("set", &[b"set", b"k", b"secret"]), "SET k");
        assert_eq!(told("eval", &[b"EVAL", b"return 'secret'", b"1", b"a b\n"]), "EVAL a b\\n");
        assert_eq!(told("debug", &[b"debug", b"segfault"]), "DEBUG");
        assert_eq!(told("config|set", &[b"CONFIG", b"SET", b"requirepass", b"secret"]), "CONFIG SET");
        let long = told("get", &[b"GET", &[b'k'; 100]]);
        assert_eq!(long, format!("GET {}...", "k".repeat(64)));
        assert_eq!(describe(find(b"get").unwrap(), b"").to_string(), "GET");
    }
}
