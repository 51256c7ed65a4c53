//! What is shown of slow requests, hot keys, big keys and busy clients outside of RESP: cut, and as text. Who may see it is decided by
//! whoever shows it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::session::ClientRow;
use crate::telemetry::{BigKey, BigKeys, BusyClient, HotKey, HotKeys, SlowRequest, Traffic, TrafficReader};

use super::big_keys::Big;
use super::busy_clients::Looks;
use super::shared::{Shared, lock};
use super::slow_log::{Entry, named};

/// Requests that are told of the slow log.
const SLOW_MAX: usize = 20;

/// Keys that are told.
const KEYS_MAX: usize = 20;

/// Characters of a request, a key or a name that are told, before escapes.
const TEXT_MAX: usize = 200;

/// Keys with big requests that are told, and as many with big replies.
const BIG_MAX: usize = 10;

/// Tells what `shared` knows; one of `one_in` requests is sampled for hot keys, and what has `big_bytes` or more is big.
pub(super) fn reader(shared: Arc<Shared>, one_in: u32, big_bytes: u64) -> TrafficReader {
    let looks = Mutex::new(Looks::default());
    TrafficReader::new(move || {
        let now = Instant::now();
        let slow: Vec<Entry> = lock(&shared.slow_log).newest(SLOW_MAX).cloned().collect();
        let ranked = lock(&looks).rank(now, &shared.registry.progress());
        let clients = ranked
            .into_iter()
            .filter_map(|(id, rate)| shared.registry.row(id, now).map(|row| client_of(&row, rate)));
        Traffic {
            slow: slow.iter().map(slow_of).collect(),
            hot_keys: hot_keys(&shared, one_in, now),
            big_keys: big_keys(&shared, big_bytes, now),
            clients: clients.collect(),
        }
    })
}

fn slow_of(entry: &Entry) -> SlowRequest {
    let words: Vec<_> = entry.arguments.iter().map(|word| word_of(word)).collect();
    SlowRequest {
        at: UNIX_EPOCH + Duration::from_secs(entry.unix),
        took: Duration::from_micros(entry.micros),
        request: cut(&words.join(" ")),
        client: entry.addr.clone(),
        client_name: text_of(&entry.name),
        node: entry.node.clone(),
        held: Duration::from_micros(entry.waited),
        server: entry.server.map(Duration::from_micros),
    }
}

fn hot_keys(shared: &Shared, one_in: u32, now: Instant) -> HotKeys {
    let hottest = shared.hottest(KEYS_MAX, now);
    let keys = hottest.keys.iter().map(|key| HotKey {
        key: text_of(&key.key),
        db: key.db,
        least: key.least(),
        most: key.most,
    });
    HotKeys { span: hottest.span, one_in, sampled: hottest.sampled, keys: keys.collect() }
}

fn big_keys(shared: &Shared, big_bytes: u64, now: Instant) -> BigKeys {
    let biggest = shared.biggest(BIG_MAX, now);
    let told = |bigs: &[Big]| bigs.iter().map(big_of).collect();
    BigKeys {
        span: biggest.span,
        min_bytes: (big_bytes < u64::MAX).then_some(big_bytes),
        requests: told(&biggest.requests),
        replies: told(&biggest.replies),
    }
}

fn big_of(big: &Big) -> BigKey {
    BigKey {
        key: text_of(&big.key),
        keys: big.keys,
        db: big.db,
        command: text_of(&named(big.row).join(&b' ')),
        bytes: big.bytes,
        times: big.times,
        at: UNIX_EPOCH + Duration::from_secs(big.origin.unix),
        node: big.origin.node.clone(),
        client: big.origin.addr.clone(),
        client_name: text_of(&big.origin.name),
        user: text_of(&big.origin.user),
    }
}

fn client_of(row: &ClientRow, per_second: u64) -> BusyClient {
    BusyClient {
        id: row.id,
        address: row.addr.clone(),
        name: text_of(&row.name),
        user: text_of(&row.user),
        command: row.cmd.replace('|', " ").to_ascii_uppercase(),
        per_second,
        requests: row.commands,
        memory_bytes: (row.qbuf + row.omem) as u64,
        age: Duration::from_secs(row.age),
    }
}

/// As people read it: what is not printable is escaped.
fn text_of(bytes: &[u8]) -> String {
    cut(&escaped(bytes))
}

/// A word among others: in quotes when it would not stand as one.
fn word_of(bytes: &[u8]) -> String {
    let text = escaped(bytes);
    if text.is_empty() || text.contains([' ', '"']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text
    }
}

fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // Apostrophes and quotes mean nothing here.
    let escape = |c: char| if matches!(c, '\'' | '"') { c.to_string() } else { c.escape_debug().to_string() };
    text.chars().map(escape).collect()
}

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(TEXT_MAX).collect();
    if chars.next().is_some() { format!("{head}…") } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_readable_and_short() {
        assert_eq!(text_of("user:münchen's".as_bytes()), "user:münchen's");
        assert_eq!(text_of(b"a\r\n\x1b[2Jb\xff"), "a\\r\\n\\u{1b}[2Jb\u{fffd}");
        assert_eq!(text_of("\u{202e}evil".as_bytes()), "\\u{202e}evil", "what turns text around");
        assert_eq!(text_of(&[b'k'; TEXT_MAX]), "k".repeat(TEXT_MAX));
        assert_eq!(text_of(&[b'k'; TEXT_MAX + 1]), format!("{}…", "k".repeat(TEXT_MAX)));
        assert_eq!(word_of(b""), "\"\"");
        assert_eq!(word_of(b"say \"hi\""), "\"say \\\"hi\\\"\"");
        assert_eq!(word_of(b"plain"), "plain");
    }

    #[test]
    fn a_slow_request_is_told_in_one_line() {
        let entry = Entry {
            unix: 7,
            micros: 8,
            arguments: vec![b"SET".to_vec(), b"a key".to_vec(), b"v\n".to_vec()],
            addr: "a:1".to_owned(),
            name: b"me".to_vec(),
            node: None,
            waited: 5,
            server: Some(6),
            sought: None,
        };
        let told = slow_of(&entry);
        assert_eq!((told.request.as_str(), told.client_name.as_str()), ("SET \"a key\" v\\n", "me"));
        assert_eq!((told.held, told.server), (Duration::from_micros(5), Some(Duration::from_micros(6))));
        assert_eq!((told.at, told.took), (UNIX_EPOCH + Duration::from_secs(7), Duration::from_micros(8)));
    }
}
