//! From which look on a replica has what was written through this proxy: one number for each of many groups of keys,
//! shared by all workers, and what one client's writes on their way will raise when they are answered.
//!
//! Numbers are those of looks at nodes, as in [`Marks`](crate::topology::Marks): a replica shows a write once it is as far as a
//! look at the primary that began after the write's reply. All accesses are relaxed: who learns of a write learns of it by
//! its reply, which leaves through a socket after the number was raised.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::{Args, Reach, RowId, reach};
use crate::routing::OwnWrites;

/// Groups that keys fall into by their hash.
const GROUPS: usize = 1 << 14;

/// Keys of one write, or of one transaction, that are told apart; more count as all.
const KEYS_MAX: usize = 64;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Written {
    /// By group; none unless they are needed.
    groups: Vec<AtomicU64>,
    /// What may have been written anywhere.
    anywhere: AtomicU64,
    /// What was written at all.
    newest: AtomicU64,
}

impl Written {
    pub(super) fn new(own_writes: OwnWrites) -> Self {
        let groups = if own_writes == OwnWrites::Key { GROUPS } else { 0 };
        Self {
            groups: (0..groups).map(|_| AtomicU64::new(0)).collect(),
            anywhere: AtomicU64::new(0),
            newest: AtomicU64::new(0),
        }
    }

    /// Something was written, and answered before any look after number `look` began.
    pub(super) fn note(&self, look: u64) {
        raise(&self.newest, look);
    }

    /// Anything may have been written, and answered before any look after number `look` began.
    pub(super) fn note_anywhere(&self, look: u64) {
        raise(&self.anywhere, look);
        self.note(look);
    }

    fn note_group(&self, group: u16, look: u64) {
        raise(self.groups.get(usize::from(group)).unwrap_or(&self.anywhere), look);
        self.note(look);
    }

    /// The number after which a replica shows whatever was written.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The number after which a replica shows all that was written to what this request reads.
    pub(super) fn before<A: Args + ?Sized>(&self, row: RowId, request: &A, keys: &mut Vec<u16>) -> u64 {
        match reach(row, request, keys) {
            Reach::Nothing => 0,
            Reach::Everything => self.newest(),
            Reach::Keys => {
                let group = |at: &u16| usize::from(group_of(request.arg(usize::from(*at))));
                let numbers = keys.iter().map(|at| self.groups[group(at)].load(Ordering::Relaxed));
                numbers.max().unwrap_or(0).max(self.anywhere.load(Ordering::Relaxed))
            }
        }
    }
}

/// A number never falls, whoever else raises it; within a look it is raised once.
fn raise(number: &AtomicU64, look: u64) {
    if number.load(Ordering::Relaxed) < look {
        number.fetch_max(look, Ordering::Relaxed);
    }
}

fn group_of(key: &[u8]) -> u16 {
    let mut hash = key.len() as u64;
    for piece in key.chunks(8) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    // The upper bits of a product depend on all of its factors'.
    u16::try_from(hash >> (u64::BITS - GROUPS.ilog2())).unwrap_or(ANYWHERE)
}

/// In place of a group: any of them.
const ANYWHERE: u16 = GROUPS as u16;

/// Before as many groups as it says beside this bit.
const COUNT: u16 = 1 << 15;

/// What a client's writes on shared pipelines touch, in the order in which they are answered: a group, [`ANYWHERE`], or
/// [`COUNT`] and groups.
#[derive(Debug, Default)]
pub(super) struct Touches(VecDeque<u16>);

impl Touches {
    /// One more write is on its way.
    pub(super) fn push<A: Args + ?Sized>(&mut self, row: RowId, request: &A, keys: &mut Vec<u16>) {
        match reach(row, request, keys) {
            Reach::Nothing => self.0.push_back(COUNT),
            Reach::Keys if keys.len() <= KEYS_MAX => {
                if keys.len() > 1 {
                    self.0.push_back(COUNT | u16::try_from(keys.len()).unwrap_or(0));
                }
                self.0.extend(keys.iter().map(|at| group_of(request.arg(usize::from(*at)))));
            }
            Reach::Keys | Reach::Everything => self.0.push_back(ANYWHERE),
        }
    }

    /// The oldest `count` were answered, or lost, before any look after number `look` began.
    pub(super) fn answered(&mut self, count: u32, look: u64, written: &Written) {
        for _ in 0..count {
            let Some(first) = self.0.pop_front() else { return };
            if first & COUNT == 0 {
                written.note_group(first, look);
                continue;
            }
            let groups = usize::from(first & !COUNT).min(self.0.len());
            self.0.drain(..groups).for_each(|group| written.note_group(group, look));
        }
    }
}

/// What the writes on a client's own connection touch that were not answered when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Touched {
    groups: Vec<u16>,
    /// Nobody tells when some of them are executed.
    unheard: bool,
}

impl Touched {
    /// One more write was sent; `heard`: it will be answered.
    pub(super) fn add<A: Args + ?Sized>(
        &mut self,
        row: RowId,
        request: &A,
        keys: &mut Vec<u16>,
        heard: bool,
    ) {
        self.unheard |= !heard;
        match reach(row, request, keys) {
            Reach::Nothing => {}
            Reach::Keys if self.groups.len() + keys.len() <= KEYS_MAX => {
                self.groups.extend(keys.iter().map(|at| group_of(request.arg(usize::from(*at)))));
            }
            Reach::Keys | Reach::Everything => self.add_anything(),
        }
    }

    /// A write was sent that can not be looked at whole.
    pub(super) fn add_anything(&mut self) {
        self.groups.clear();
        self.groups.push(ANYWHERE);
    }

    /// Those that were answered were so before any look after number `look` began; `all`: they were, so none is left.
    pub(super) fn answered(&mut self, all: bool, look: u64, written: &Written) {
        self.groups.iter().for_each(|group| written.note_group(*group, look));
        if all && !self.unheard {
            self.groups.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find;

    fn row(name: &str) -> RowId {
        find(name.as_bytes()).unwrap()
    }

    fn before(written: &Written, words: &[&str]) -> u64 {
        written.before(row(words[0]), words, &mut Vec::new())
    }

    fn push(touches: &mut Touches, words: &[&str]) {
        touches.push(row(words[0]), words, &mut Vec::new());
    }

    #[test]
    fn a_read_waits_for_the_writes_of_its_keys_and_for_those_that_nobody_can_name() {
        let (written, mut touches) = (Written::new(OwnWrites::Key), Touches::default());
        push(&mut touches, &["set", "a", "1"]);
        push(&mut touches, &["mset", "b", "1", "c", "2"]);
        push(&mut touches, &["publish", "d", "1"]);
        push(&mut touches, &["set", "e", "1"]);
        touches.answered(1, 3, &written);
        touches.answered(2, 5, &written);
        let numbers =
            |keys: &[&str]| keys.iter().map(|key| before(&written, &["get", key])).collect::<Vec<_>>();
        assert_eq!(numbers(&["a", "b", "c", "d", "e"]), [3, 5, 5, 0, 0]);
        assert_eq!(before(&written, &["mget", "d", "a"]), 3, "all of its keys count");
        assert_eq!(before(&written, &["mget", "a", "c", "d"]), 5);
        assert_eq!(before(&written, &["eval_ro", "return 1", "1", "d"]), 5, "it may read anything");
        assert_eq!(before(&written, &["dbsize"]), 5);
        touches.answered(1, 7, &written);
        assert_eq!(numbers(&["a", "e"]), [3, 7]);
        for (look, unnamed) in [
            (8, &["eval", "...", "1", "a"] as &[&str]),
            (9, &["flushall"]),
            (10, &["fcall", "f", "1", "a"]),
            (11, &["ts.add", "a", "1", "1"]),
        ] {
            push(&mut touches, unnamed);
            touches.answered(1, look, &written);
            assert_eq!(numbers(&["a", "d", "e"]), [look; 3], "{unnamed:?}");
        }
        assert!(touches.0.is_empty());
    }

    #[test]
    fn a_number_never_falls_and_more_keys_than_are_told_apart_are_all() {
        let (written, mut touches) = (Written::new(OwnWrites::Key), Touches::default());
        push(&mut touches, &["set", "a", "1"]);
        push(&mut touches, &["set", "a", "1"]);
        touches.answered(1, 9, &written);
        touches.answered(1, 4, &written);
        assert_eq!(before(&written, &["get", "a"]), 9);
        let keys: Vec<String> = (0..=KEYS_MAX).map(|key| format!("key:{key}")).collect();
        let many: Vec<&str> = std::iter::once("del").chain(keys.iter().map(String::as_str)).collect();
        push(&mut touches, &many);
        push(&mut touches, &many[..=KEYS_MAX]);
        assert_eq!(touches.0.len(), 1 + 1 + KEYS_MAX);
        touches.answered(2, 10, &written);
        assert_eq!(before(&written, &["get", "other"]), 10);
        assert!(touches.0.is_empty());
    }

    #[test]
    fn writes_on_a_connection_of_its_own_count_until_all_are_answered() {
        let (written, mut touched, mut keys) = (Written::new(OwnWrites::Key), Touched::default(), Vec::new());
        touched.add(row("set"), &["set", "a", "1"][..], &mut keys, true);
        touched.add(row("exec"), &["exec"][..], &mut keys, true);
        touched.answered(false, 2, &written);
        touched.answered(true, 3, &written);
        touched.answered(true, 4, &written);
        assert_eq!((before(&written, &["get", "a"]), before(&written, &["get", "b"])), (3, 0));
        touched.add(row("set"), &["set", "b", "1"][..], &mut keys, false);
        touched.answered(true, 5, &written);
        touched.answered(true, 6, &written);
        assert_eq!(before(&written, &["get", "b"]), 6, "it may have been executed at any time");
        touched.add_anything();
        touched.answered(true, 7, &written);
        assert_eq!(before(&written, &["get", "c"]), 7);
    }

    #[test]
    fn keys_fall_into_all_groups_alike() {
        let mut counts = vec![0; GROUPS];
        (0..GROUPS * 8).for_each(|key| counts[usize::from(group_of(format!("user:{key}").as_bytes()))] += 1);
        assert!(counts.iter().all(|count| *count < 40), "{:?}", counts.iter().max());
        assert!(counts.iter().filter(|count| **count == 0).count() < GROUPS / 50);
        assert_ne!(group_of(b"a"), group_of(b"a\0"), "its length counts");
    }

    /// Random writes of random clients, answered in order: a read is never allowed before what was written to its keys.
    #[test]
    fn whatever_was_answered_is_waited_for() {
        for seed in 0..200_u64 {
            let mut dice = crate::topology::seeded(seed);
            let written = Written::new(OwnWrites::Key);
            let mut clients: Vec<(Touches, VecDeque<Vec<String>>)> =
                (0..3).map(|_| Default::default()).collect();
            let mut known = std::collections::BTreeMap::<String, u64>::new();
            let (mut look, mut anywhere) = (1, 0);
            for _ in 0..300 {
                look += dice(2);
                let at = usize::try_from(dice(3)).unwrap();
                let (touches, sent) = &mut clients[at];
                if dice(2) == 0 {
                    let keys: Vec<_> = (0..=dice(4)).map(|_| format!("k{}", dice(9))).collect();
                    let words: Vec<String> = match dice(8) {
                        0 => ["eval", "...", "0"].map(str::to_owned).into(),
                        1 => ["publish", "k1", "x"].map(str::to_owned).into(),
                        _ => std::iter::once("del".to_owned()).chain(keys).collect(),
                    };
                    touches.push(row(&words[0]), &words, &mut Vec::new());
                    sent.push_back(words);
                } else if let Some(words) = sent.pop_front() {
                    touches.answered(1, look, &written);
                    match words[0].as_str() {
                        "eval" => anywhere = look,
                        "del" => known.extend(words[1..].iter().map(|key| (key.clone(), look))),
                        _ => {}
                    }
                }
                for key in 0..9 {
                    let key = format!("k{key}");
                    let needed = known.get(&key).copied().unwrap_or(0).max(anywhere);
                    assert_eq!(before(&written, &["get", &key]), needed, "seed {seed}, {key}");
                }
            }
        }
    }
}
