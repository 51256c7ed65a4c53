//! Keys with the largest requests and replies, for PROXY BIGKEYS. Pure.
//!
//! Each worker remembers by itself, in two windows of time: the one that runs and the one before. A window has room for a bounded
//! number of keys and keeps the largest: a new key takes the place of the smallest if it is larger. So whatever is among the
//! [`ROOM`] largest of all workers is among those of its own, and nothing of it is missing when they are merged.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::command::RowId;

use super::two_windows::TwoWindows;

/// Keys that one window of a worker has room for in each direction, some 500 bytes each at most.
pub(super) const ROOM: usize = 64;

/// How long a window lasts: what is told is never older than twice that. What makes keys big comes by the hour, not by the second.
pub(super) const WINDOW: Duration = Duration::from_secs(3_600);

/// What was big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// What a client sent.
    Request,
    /// What a node answered.
    Reply,
}

/// A request, or the reply to one, that was big.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing<'a> {
    pub(super) direction: Direction,
    pub(super) row: RowId,
    pub(super) db: u32,
    /// The first key that the request names; empty: it names none, or it was not kept.
    pub(super) key: &'a [u8],
    /// How many it names.
    pub(super) keys: u32,
    /// Of the whole frame, as it passed.
    pub(super) bytes: u64,
}

/// Whose it was, and where it went or came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// In seconds since 1970.
    pub(super) unix: u64,
    /// The node's address.
    pub(super) node: String,
    /// The client's.
    pub(super) addr: String,
    /// The client's, cut as in the slow log.
    pub(super) name: Vec<u8>,
    /// Whom the client is authenticated as, cut as well.
    pub(super) user: Vec<u8>,
}

/// What is remembered of a key and a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big {
    pub(super) row: RowId,
    pub(super) db: u32,
    /// Cut as in the slow log.
    pub(super) key: Vec<u8>,
    pub(super) keys: u32,
    /// Of the largest.
    pub(super) bytes: u64,
    /// How often one was big, since the key is among the largest.
    pub(super) times: u64,
    /// Of the largest.
    pub(super) origin: Origin,
}

/// The largest of one direction within one window, with the hashes of what they are.
#[derive(Clone, Debug, Default)]
struct Largest(Vec<(u64, Big)>);

impl Largest {
    fn note(&mut self, hash: u64, big: &Passing<'_>, origin: impl FnOnce() -> Origin) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == hash) {
            known.times += 1;
            if big.bytes > known.bytes {
                (known.bytes, known.keys, known.origin) = (big.bytes, big.keys, origin());
            }
            return;
        }
        let Passing { row, db, key, keys, bytes, .. } = *big;
        let fresh = || {
            (hash, Big { row, db, key: super::slow_log::cut(key), keys, bytes, times: 1, origin: origin() })
        };
        if self.0.len() < ROOM {
            self.0.push(fresh());
        } else if let Some(smallest) = self.0.iter_mut().min_by_key(|(_, big)| big.bytes)
            && smallest.1.bytes < bytes
        {
            *smallest = fresh();
        }
    }
}

/// What was big within one window.
#[derive(Clone, Debug, Default)]
struct Window {
    requests: Largest,
    replies: Largest,
}

/// One worker's. See the module's text.
#[derive(Clone, Debug)]
pub(super) struct BigKeys {
    hasher: RandomState,
    windows: TwoWindows<Window>,
}

impl BigKeys {
    /// `hasher` and `born` are the same for all that are [merged].
    pub(super) fn new(hasher: RandomState, born: Instant) -> Self {
        Self { hasher, windows: TwoWindows::new(WINDOW, born) }
    }

    /// Something big passed; `origin` is asked only where it is larger than what is known.
    pub(super) fn note(&mut self, big: &Passing<'_>, now: Instant, origin: impl FnOnce() -> Origin) {
        self.advance(now);
        let hash = self.hasher.hash_one((big.row.0, big.db, big.key));
        match big.direction {
            Direction::Request => self.windows.now.requests.note(hash, big, origin),
            Direction::Reply => self.windows.now.replies.note(hash, big, origin),
        }
    }

    /// Forgets what is too old by now.
    pub(super) fn advance(&mut self, now: Instant) {
        self.windows.advance(now);
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self, now: Instant) {
        *self = Self::new(self.hasher.clone(), now);
    }
}

/// What all workers have remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Biggest {
    /// How far back that goes.
    pub(super) span: Duration,
    /// The largest first.
    pub(super) requests: Vec<Big>,
    /// The largest first.
    pub(super) replies: Vec<Big>,
}

/// What all workers, [advanced](BigKeys::advance) to `now`, have remembered: the first `count` of each direction, at most [`ROOM`].
pub(super) fn merged(workers: &[BigKeys], count: usize, now: Instant) -> Biggest {
    let windows = || workers.iter().flat_map(|worker| worker.windows.both());
    Biggest {
        span: workers.iter().map(|worker| worker.windows.span(now)).max().unwrap_or_default(),
        requests: first(windows().map(|window| &window.requests), count),
        replies: first(windows().map(|window| &window.replies), count),
    }
}

fn first<'a>(windows: impl Iterator<Item = &'a Largest>, count: usize) -> Vec<Big> {
    let mut known: HashMap<u64, Big> = HashMap::new();
    for (hash, big) in windows.flat_map(|window| &window.0) {
        let Some(other) = known.get_mut(hash) else {
            known.insert(*hash, big.clone());
            continue;
        };
        let times = other.times + big.times;
        if big.bytes > other.bytes {
            *other = big.clone();
        }
        other.times = times;
    }
    let mut all: Vec<Big> = known.into_values().collect();
    all.sort_by(|a, b| (b.bytes, &a.key, a.db, a.row.0).cmp(&(a.bytes, &b.key, b.db, b.row.0)));
    all.truncate(count.min(ROOM));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::seeded;

    const GET: RowId = RowId(0);

    fn reply(key: &[u8], bytes: u64) -> Passing<'_> {
        Passing { direction: Direction::Reply, row: GET, db: 0, key, keys: 1, bytes }
    }

    fn from(unix: u64) -> Origin {
        Origin { unix, ..Origin::default() }
    }

    fn told(bigs: &[Big]) -> Vec<(String, u64, u64)> {
        bigs.iter().map(|it| (String::from_utf8_lossy(&it.key).into_owned(), it.bytes, it.times)).collect()
    }

    #[test]
    fn a_key_is_told_once_with_its_largest_and_whose_that_was() {
        let born = Instant::now();
        let mut keys = BigKeys::new(RandomState::new(), born);
        for (unix, bytes) in [(1, 70), (2, 90), (3, 80), (4, 90)] {
            keys.note(&reply(b"k", bytes), born, || from(unix));
        }
        keys.note(&Passing { db: 3, ..reply(b"k", 5) }, born, || from(5));
        keys.note(&Passing { row: RowId(1), ..reply(b"k", 4) }, born, || from(6));
        keys.note(&Passing { direction: Direction::Request, ..reply(b"k", 99) }, born, || from(7));
        let biggest = merged(&[keys], usize::MAX, born);
        let k = |bytes, times| ("k".to_owned(), bytes, times);
        assert_eq!(told(&biggest.replies), [k(90, 4), k(5, 1), k(4, 1)], "databases and commands differ");
        assert_eq!(biggest.replies[0].origin.unix, 2, "the first as big as that");
        assert_eq!((biggest.replies[1].db, biggest.replies[2].row), (3, RowId(1)));
        assert_eq!(told(&biggest.requests), [k(99, 1)]);
    }

    #[test]
    fn whose_a_request_was_is_asked_only_when_it_is_remembered() {
        let born = Instant::now();
        let mut keys = BigKeys::new(RandomState::new(), born);
        keys.note(&reply(b"k", 90), born, || from(1));
        keys.note(&reply(b"k", 80), born, || panic!("it is no larger"));
        (1..ROOM).for_each(|at| keys.note(&reply(at.to_string().as_bytes(), 70), born, || from(2)));
        keys.note(&reply(b"small", 70), born, || panic!("it is no larger than the smallest"));
        keys.note(&reply(b"larger", 71), born, || from(3));
        let all = merged(&[keys], usize::MAX, born).replies;
        assert_eq!(all.len(), ROOM);
        assert_eq!(told(&all[..2]), [("k".to_owned(), 90, 2), ("larger".to_owned(), 71, 1)]);
    }

    #[test]
    fn what_is_told_is_at_most_two_windows_old_and_a_reset_forgets_it() {
        let (born, second) = (Instant::now(), Duration::from_secs(1));
        let mut keys = BigKeys::new(RandomState::new(), born);
        keys.note(&reply(b"old", 9), born, || from(1));
        let at = born + WINDOW;
        keys.note(&reply(b"new", 8), at, || from(2));
        keys.note(&reply(b"old", 7), at, || from(3));
        let both = merged(std::slice::from_ref(&keys), usize::MAX, at + second);
        assert_eq!(both.span, WINDOW + second);
        assert_eq!(told(&both.replies), [("old".to_owned(), 9, 2), ("new".to_owned(), 8, 1)]);
        keys.advance(born + 2 * WINDOW);
        let later = merged(std::slice::from_ref(&keys), usize::MAX, born + 2 * WINDOW);
        assert_eq!(told(&later.replies), [("new".to_owned(), 8, 1), ("old".to_owned(), 7, 1)]);
        let mut idle = keys.clone();
        idle.advance(born + 4 * WINDOW);
        assert_eq!(merged(&[idle], usize::MAX, born + 4 * WINDOW).replies, []);
        keys.reset(born + 2 * WINDOW);
        let none = merged(&[keys], usize::MAX, born + 2 * WINDOW + second);
        assert_eq!(none, Biggest { span: second, ..Biggest::default() });
    }

    /// Random lengths of random keys at random workers: the largest of all are told, each with its largest.
    #[test]
    fn none_of_the_largest_is_missing() {
        for seed in 0..30 {
            let (mut dice, born, hasher) = (seeded(seed), Instant::now(), RandomState::new());
            let mut workers = vec![BigKeys::new(hasher, born); 3];
            let mut all: HashMap<String, u64> = HashMap::new();
            for _ in 0..3_000 {
                let (key, bytes) = (format!("key:{}", dice(400)), dice(1_000_000));
                let worker = usize::try_from(dice(3)).expect("few");
                workers[worker].note(&reply(key.as_bytes(), bytes), born, || from(0));
                let most = all.entry(key).or_default();
                *most = bytes.max(*most);
            }
            let mut expected: Vec<_> = all.into_iter().collect();
            expected.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            expected.truncate(ROOM);
            let found = merged(&workers, usize::MAX, born).replies;
            let found: Vec<_> = told(&found).into_iter().map(|(key, bytes, _)| (key, bytes)).collect();
            assert_eq!(found, expected, "seed {seed}");
            assert!(workers.iter().all(|worker| worker.windows.now.replies.0.len() == ROOM));
            assert_eq!(merged(&workers, 5, born).replies.len(), 5);
        }
    }
}
