//! Requests that took long, for PROXY SLOWLOG. Pure.
//!
//! Whoever stands behind a slow request is slow as well, so that one of them would push everything else out of the log. Hence
//! of the requests that a node answered within a time as long as the threshold only the first of each command is taken.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::command::{Args, RowId, is_secret};
use crate::resp::{Proto, encode};
use crate::topology::NodeId;

/// Arguments that an entry shows, the last of which says how many more there were; as in Redis.
const ARGUMENTS_MAX: usize = 32;

/// Bytes of an argument, of a key or of a client's name that are shown; as in Redis.
const SHOWN_MAX: usize = 128;

/// Commands of which the first are taken within one threshold; those beyond are not.
const COMMANDS_MAX: usize = 64;

/// How often at most a node is asked what it remembers.
pub(super) const ASKED_EVERY: Duration = Duration::from_secs(1);

/// … and a node that has refused to tell.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// What we noted and what the node noted of the same request may lie so many seconds apart: clocks differ.
const CLOCKS_DIFFER: u64 = 5;

/// … and by the node's clock it may have taken longer than we waited by one part in so many: clocks run differently.
const CLOCKS_DRIFT: u64 = 100;

/// What a node remembers of a slow request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) unix: u64,
    /// That it took, in microseconds.
    pub(super) micros: u64,
    pub(super) arguments: Vec<Vec<u8>>,
    /// Of the connection's end at the proxy.
    pub(super) addr: String,
}

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
    /// Microseconds that the proxy held it before it was sent.
    pub(super) waited: u64,
    /// Microseconds that it took by the node's own slow log; `None`: that knows nothing of it.
    pub(super) server: Option<u64>,
    /// The node that is to be asked for that, and our end of the connection; `None`: nobody has to ask (any more).
    pub(super) sought: Option<(NodeId, SocketAddr)>,
}

impl Entry {
    /// Whether it may be what the node remembers: the same connection and words, not longer than we waited, about then.
    fn fits(&self, addr: &str, it: &Remembered) -> bool {
        it.addr == addr
            && it.arguments == self.arguments
            && it.micros <= self.micros + self.micros / CLOCKS_DRIFT
            && it.unix.abs_diff(self.unix) <= CLOCKS_DIFFER
    }
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
    /// Before when each node is not asked again: one place a node at most.
    asked: Vec<(NodeId, Instant)>,
}

impl SlowLog {
    /// For `most` requests that took at least `threshold`.
    pub(super) fn new(threshold: Duration, most: usize) -> Self {
        let (entries, taken) = (VecDeque::new(), Vec::new());
        Self { entries, most, next_id: 0, threshold, since: None, taken, asked: Vec::new() }
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

    /// Whether somebody is to ask the node now, after this pause: whoever is told so [notes](Self::told) what it remembers. What
    /// becomes slow until then waits for the same answer.
    pub(super) fn asks(&mut self, node: NodeId, now: Instant) -> Option<Duration> {
        let at = self.asked.iter().position(|(asked, _)| *asked == node);
        let before = at.map_or(now, |at| self.asked[at].1);
        if before > now + ASKED_EVERY {
            return None;
        }
        // Until it has answered nobody else asks.
        let busy = now + REFUSED_FOR;
        match at {
            Some(at) => self.asked[at].1 = busy,
            None => self.asked.push((node, busy)),
        }
        Some(before.saturating_duration_since(now))
    }

    /// The id of whatever is remembered next: a node that is asked from now on can tell of all before.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// A node was asked about all `before` this id; `None`: it does not tell. Of several that may be meant the nearest in time is
    /// taken, and of those the longest. True: others wait for its answer by now, so that it has to be asked again, after
    /// [`ASKED_EVERY`].
    pub(super) fn told(
        &mut self,
        node: NodeId,
        before: u64,
        remembered: Option<&[Remembered]>,
        now: Instant,
    ) -> bool {
        let mut others = false;
        for (id, entry) in &mut self.entries {
            let Some((_, local)) = entry.sought.filter(|(asked, _)| *asked == node) else { continue };
            if *id >= before && remembered.is_some() {
                others = true;
                continue;
            }
            entry.sought = None;
            let addr = local.to_string();
            let fitting = remembered.unwrap_or_default().iter().filter(|it| entry.fits(&addr, it));
            let nearest =
                fitting.min_by_key(|it| (it.unix.abs_diff(entry.unix), std::cmp::Reverse(it.micros)));
            entry.server = nearest.map(|it| it.micros.min(entry.micros));
        }
        // Whoever asks again keeps all others from asking.
        let rest = if remembered.is_some() && !others { ASKED_EVERY } else { REFUSED_FOR };
        self.asked.iter_mut().filter(|(asked, _)| *asked == node).for_each(|(_, next)| *next = now + rest);
        others
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
    pub(super) fn write(&self, count: usize, proto: Proto, out: &mut BytesMut) {
        encode::array_header(out, count.min(self.entries.len()));
        for (id, entry) in self.entries.iter().rev().take(count) {
            let integer = |number: u64, out: &mut BytesMut| {
                encode::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
            };
            encode::array_header(out, 9);
            for number in [*id, entry.unix, entry.micros] {
                integer(number, out);
            }
            encode::array_header(out, entry.arguments.len());
            entry.arguments.iter().for_each(|argument| encode::bulk(out, argument));
            encode::bulk(out, entry.addr.as_bytes());
            encode::bulk(out, &entry.name);
            encode::bulk(out, entry.node.as_deref().unwrap_or("proxy").as_bytes());
            integer(entry.waited, out);
            match entry.server {
                Some(micros) => integer(micros, out),
                None => encode::null(out, proto),
            }
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
        let node = Some("b:2".to_owned());
        log.push(Entry {
            unix: 7,
            micros: 8,
            arguments,
            addr,
            name,
            node,
            waited: 9,
            server: Some(6),
            sought: None,
        });
        assert_eq!(log.newest(1).map(|entry| entry.unix).collect::<Vec<_>>(), [7]);
        log.write(1, Proto::Resp2, &mut out);
        let entry = "*1\r\n*9\r\n:6\r\n:7\r\n:8\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$3\r\na:1\r\n$2\r\nme\r\n$3\r\nb:2\r\n:9\r\n:6\r\n";
        assert_eq!(String::from_utf8_lossy(&out), entry);
        out.clear();
        log.write(usize::MAX, Proto::Resp2, &mut out);
        assert!(out.starts_with(b"*2\r\n") && out.ends_with(b"$5\r\nproxy\r\n:0\r\n$-1\r\n"));
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
    fn a_node_is_asked_once_a_second_and_after_a_refusal_not_for_long() {
        let (mut log, now, [a, b]) = (SlowLog::new(MS, 3), Instant::now(), [NodeId(0), NodeId(1)]);
        assert_eq!((log.asks(a, now), log.asks(b, now)), (Some(Duration::ZERO), Some(Duration::ZERO)));
        assert_eq!(log.asks(a, now + 2 * ASKED_EVERY), None, "it has not answered");
        assert!(!log.told(a, 0, Some(&[]), now) && !log.told(b, 0, None, now));
        assert_eq!(log.asks(a, now + 300 * MS), Some(700 * MS));
        assert_eq!(log.asks(a, now + 300 * MS), None, "somebody waits already");
        assert_eq!(log.asks(b, now + REFUSED_FOR - 2 * ASKED_EVERY), None);
        assert_eq!(log.asks(b, now + REFUSED_FOR), Some(Duration::ZERO));
    }

    #[test]
    fn what_a_node_remembers_is_taken_for_the_same_connection_words_and_time_alone() {
        let local: SocketAddr = "10.0.0.1:7".parse().expect("an address");
        let (node, now) = (NodeId(0), Instant::now());
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let right =
            Remembered { unix: 100, micros: 900, arguments: words(&["GET", "k"]), addr: local.to_string() };
        let server = |sought, remembered: &[Remembered]| {
            let mut log = SlowLog::new(MS, 3);
            let arguments = words(&["GET", "k"]);
            log.push(Entry {
                unix: 100,
                micros: 1_000,
                arguments,
                sought: Some((sought, local)),
                ..Entry::default()
            });
            assert!(!log.told(node, log.next_id(), Some(remembered), now));
            let entry = log.newest(1).next().expect("one").clone();
            assert_eq!(entry.sought.is_none(), sought == node, "the answer of its node is awaited once");
            entry.server
        };
        assert_eq!(server(node, std::slice::from_ref(&right)), Some(900));
        assert_eq!(server(NodeId(1), std::slice::from_ref(&right)), None);
        let longer = Remembered { micros: 1_010, ..right.clone() };
        assert_eq!(server(node, &[longer]), Some(1_000), "no longer than it was waited for");
        for wrong in [
            Remembered { addr: "10.0.0.1:8".to_owned(), ..right.clone() },
            Remembered { arguments: words(&["GET", "l"]), ..right.clone() },
            Remembered { micros: 1_011, ..right.clone() },
            Remembered { unix: 100 + CLOCKS_DIFFER + 1, ..right.clone() },
            Remembered { unix: 100 - CLOCKS_DIFFER - 1, ..right.clone() },
        ] {
            assert_eq!(server(node, &[wrong]), None);
        }
        let others = [
            Remembered { unix: 98, micros: 950, ..right.clone() },
            Remembered { micros: 800, ..right.clone() },
            right,
        ];
        assert_eq!(server(node, &others), Some(900));
    }

    #[test]
    fn what_becomes_slow_while_its_node_is_asked_is_asked_for_again() {
        let local: SocketAddr = "10.0.0.1:7".parse().expect("an address");
        let (mut log, node, now) = (SlowLog::new(MS, 3), NodeId(0), Instant::now());
        let slow = Entry { sought: Some((node, local)), micros: 9, ..Entry::default() };
        log.push(slow.clone());
        assert_eq!(log.asks(node, now), Some(Duration::ZERO));
        let before = log.next_id();
        log.push(slow);
        let remembered = [Remembered { unix: 0, micros: 8, arguments: Vec::new(), addr: local.to_string() }];
        assert!(log.told(node, before, Some(&remembered), now));
        assert_eq!(log.newest(2).map(|entry| entry.server).collect::<Vec<_>>(), [None, Some(8)]);
        assert_eq!(log.asks(node, now + 2 * ASKED_EVERY), None, "whoever asked does it again");
        assert!(!log.told(node, log.next_id(), Some(&remembered), now));
        assert_eq!(log.newest(1).map(|entry| entry.server).collect::<Vec<_>>(), [Some(8)]);
        assert_eq!(log.asks(node, now + ASKED_EVERY), Some(Duration::ZERO));
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
