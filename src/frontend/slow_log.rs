//! Requests that took long, for PROXY SLOWLOG. Pure.
//!
//! Whoever stands behind a slow request is slow as well, so that one of them would push everything else out of the log. Hence
//! of the requests that a node answered within a time as long as the threshold only the first of each command is taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::command::{Args, RowId, is_secret};
use crate::resp::encode;
use crate::topology::NodeId;

/// Arguments that an entry shows, the last of which says how many more there were; as in Redis.
const ARGUMENTS_MAX: usize = 32;

/// Bytes of an argument, of a key or of a client's name that are shown; as in Redis.
const SHOWN_MAX: usize = 128;

/// Commands of which the first are taken within one threshold; those beyond are not.
const COMMANDS_MAX: usize = 64;

/// A request that took long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of the reply, in seconds since 1970.
    pub(super) unix: u64,
    pub(super) micros: u64,
    /// As [`shown`] cuts them.
    pub(super) arguments: Vec<Vec<u8>>,
    /// The client's.
    pub(super) addr: String,
    /// The client's.
    pub(super) name: Vec<u8>,
    /// Where the time passed: this node, or the proxy itself, which held the request.
    pub(super) node: Option<String>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct SlowLog {
    /// Newest last, with their ids.
    entries: VecDeque<(u64, Entry)>,
    most: usize,
    next_id: u64,
    threshold: Duration,
    /// When the first of `taken` was.
    since: Option<Instant>,
    taken: Vec<(Option<NodeId>, RowId)>,
}

impl SlowLog {
    /// For `most` requests that took at least `threshold`.
    pub(super) fn new(threshold: Duration, most: usize) -> Self {
        let (entries, taken) = (VecDeque::new(), Vec::new());
        Self { entries, most, next_id: 0, threshold, since: None, taken }
    }

    /// Whether a slow request of this row, answered by this node, is to be remembered; whoever is told so [remembers](Self::push) it.
    pub(super) fn takes(&mut self, node: Option<NodeId>, row: RowId, now: Instant) -> bool {
        let over = self.since.is_none_or(|since| now.saturating_duration_since(since) >= self.threshold);
        if over {
            self.since = Some(now);
            self.taken.clear();
        }
        let fresh = self.taken.len() < COMMANDS_MAX && !self.taken.contains(&(node, row));
        if fresh {
            self.taken.push((node, row));
        }
        fresh && self.most > 0
    }

    /// Remembers a request in place of the oldest.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.most {
            self.entries.pop_front();
        }
        self.entries.push_back((self.next_id, entry));
        self.next_id += 1;
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets them all; ids go on.
    pub(super) fn reset(&mut self) {
        self.entries.clear();
    }

    /// The newest `count`, the newest first.
    pub(super) fn newest(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev().take(count).map(|(_, entry)| entry)
    }

    /// Appends the reply to PROXY SLOWLOG GET: the newest `count`, the newest first.
    pub(super) fn write(&self, count: usize, out: &mut BytesMut) {
        encode::array_header(out, count.min(self.entries.len()));
        for (id, entry) in self.entries.iter().rev().take(count) {
            encode::array_header(out, 7);
            for number in [*id, entry.unix, entry.micros] {
                encode::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
            }
            encode::array_header(out, entry.arguments.len());
            entry.arguments.iter().for_each(|argument| encode::bulk(out, argument));
            encode::bulk(out, entry.addr.as_bytes());
            encode::bulk(out, &entry.name);
            encode::bulk(out, entry.node.as_deref().unwrap_or("proxy").as_bytes());
        }
    }
}

/// What an entry shows of a request: no secrets, and no more than Redis's SLOWLOG.
pub(super) fn shown<A: Args + ?Sized>(request: &A) -> Vec<Vec<u8>> {
    let count = request.count();
    let whole = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut shown: Vec<Vec<u8>> = (0..whole)
        .map(|at| if is_secret(request, at) { b"(redacted)".to_vec() } else { cut(request.arg(at)) })
        .collect();
    if whole < count {
        shown.push(format!("... ({} more arguments)", count - whole).into_bytes());
    }
    shown
}

/// The beginning of a long text, and how much more there was.
pub(super) fn cut(text: &[u8]) -> Vec<u8> {
    let Some((head, tail)) = text.split_at_checked(SHOWN_MAX).filter(|(_, tail)| !tail.is_empty()) else {
        return text.to_vec();
    };
    [head, format!("... ({} more bytes)", tail.len()).as_bytes()].concat()
}

/// A request of which nothing is known but its row.
pub(super) fn named(row: RowId) -> Vec<Vec<u8>> {
    row.spec().name.split('|').map(|word| word.to_ascii_uppercase().into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    const MS: Duration = Duration::from_millis(1);

    fn ids(log: &SlowLog) -> Vec<u64> {
        log.entries.iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn the_newest_are_remembered_and_ids_never_return() {
        let mut log = SlowLog::new(MS, 3);
        for _ in 0..5 {
            log.push(Entry::default());
        }
        assert_eq!((log.len(), ids(&log)), (3, vec![2, 3, 4]));
        log.reset();
        assert_eq!(log.len(), 0);
        log.push(Entry::default());
        assert_eq!(ids(&log), [5]);
        let mut out = BytesMut::new();
        let arguments = vec![b"GET".to_vec(), b"k".to_vec()];
        let (addr, name) = ("a:1".to_owned(), b"me".to_vec());
        log.push(Entry { unix: 7, micros: 8, arguments, addr, name, node: Some("b:2".to_owned()) });
        assert_eq!(log.newest(1).map(|entry| entry.unix).collect::<Vec<_>>(), [7]);
        log.write(1, &mut out);
        let entry = "*1\r\n*7\r\n:6\r\n:7\r\n:8\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$3\r\na:1\r\n$2\r\nme\r\n$3\r\nb:2\r\n";
        assert_eq!(String::from_utf8_lossy(&out), entry);
        out.clear();
        log.write(usize::MAX, &mut out);
        assert!(out.starts_with(b"*2\r\n") && out.ends_with(b"$5\r\nproxy\r\n"));
    }

    #[test]
    fn who_stands_behind_a_slow_request_does_not_push_it_out() {
        let [get, set] = [b"get", b"set"].map(|name| find(name).expect("a row"));
        let (now, node) = (Instant::now(), Some(NodeId(0)));
        let mut log = SlowLog::new(10 * MS, 100);
        assert!(log.takes(node, set, now));
        for _ in 0..3 {
            assert!(!log.takes(node, set, now) && !log.takes(node, set, now + 9 * MS));
        }
        assert!(log.takes(node, get, now + 9 * MS), "another command");
        assert!(log.takes(Some(NodeId(1)), set, now + 9 * MS) && log.takes(None, set, now), "another place");
        assert!(log.takes(node, set, now + 10 * MS));
        let mut all = SlowLog::new(Duration::ZERO, 100);
        assert!(all.takes(node, set, now) && all.takes(node, set, now), "the threshold takes everything");
        assert!(!SlowLog::new(MS, 0).takes(node, set, now), "there is no room for any");
        let mut many = SlowLog::new(MS, 100);
        let taken = (0..200).filter(|row| many.takes(node, RowId(*row), now)).count();
        assert_eq!(taken, COMMANDS_MAX);
    }

    #[test]
    fn arguments_are_cut_as_redis_cuts_them() {
        let text = |shown: Vec<Vec<u8>>| {
            shown.into_iter().map(|it| String::from_utf8(it).expect("text")).collect::<Vec<_>>()
        };
        let words: Vec<String> = (0..40).map(|at| at.to_string()).collect();
        assert_eq!(text(shown(&words[..32])), words[..32]);
        let more = text(shown(&words));
        assert_eq!(
            (more.len(), &more[..31], more[31].as_str()),
            (32, &words[..31], "... (9 more arguments)")
        );
        let long = ["SET".to_owned(), "k".repeat(128), "v".repeat(130)];
        assert_eq!(
            text(shown(&long[..])),
            ["SET".to_owned(), "k".repeat(128), format!("{}... (2 more bytes)", "v".repeat(128))]
        );
        assert_eq!(text(shown(&["auth", "pw"][..])), ["auth", "(redacted)"]);
        assert_eq!(text(named(find(b"config|set").expect("a row"))), ["CONFIG", "SET"]);
    }
}
