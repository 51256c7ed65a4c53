//! Bodies of scripts that clients use, so that no node has to ask for them: bounded, least recently used first to go. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use sha1::{Digest as _, Sha1};

/// SHA-1 of a body, by which EVALSHA names it.
pub(super) type Digest = [u8; 20];

/// Names a body.
pub(super) fn digest_of(body: &[u8]) -> Digest {
    Sha1::digest(body).into()
}

/// The name that a client wrote, if it is one.
pub(super) fn parse(text: &[u8]) -> Option<Digest> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = Digest::default();
    let pairs = (text.len() == 2 * digest.len()).then(|| text.chunks_exact(2))?;
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// A body with its name.
pub(super) type Script = (Digest, Arc<[u8]>);

/// What a script takes up beside its body.
const OVERHEAD: u64 = 128;

/// Digests that were asked for and whose bodies nobody has sent yet; the oldest goes.
const ASKED_MAX: usize = 1024;

/// Scripts that were only ever said by EVAL may take up one part in so many: there may be one for each request.
const SEEN_SHARE: u64 = 4;

/// How a script is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// By EVAL alone.
    Seen,
    /// By SCRIPT LOAD, or by EVAL after EVALSHA had asked for it in vain.
    Wanted,
}

#[derive(Debug)]
struct Known {
    body: Arc<[u8]>,
    tier: Tier,
    /// Number of its last use among all.
    used: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Scripts {
    limit: u64,
    known: BTreeMap<Digest, Known>,
    /// Each by its last use, the oldest first.
    by_use: BTreeMap<(Tier, u64), Digest>,
    seen_bytes: u64,
    wanted_bytes: u64,
    uses: u64,
    asked: VecDeque<Digest>,
}

impl Scripts {
    /// Of so many bytes at most.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            known: BTreeMap::new(),
            by_use: BTreeMap::new(),
            seen_bytes: 0,
            wanted_bytes: 0,
            uses: 0,
            asked: VecDeque::new(),
        }
    }

    /// EVAL said it; true when every node should have it.
    pub(super) fn seen(&mut self, digest: Digest, body: &Arc<[u8]>) -> bool {
        let asked = self.asked.iter().position(|it| *it == digest);
        if let Some(at) = asked {
            self.asked.remove(at);
        }
        let known = self.known.get(&digest).map_or(Tier::Seen, |known| known.tier);
        let tier = if asked.is_some() { Tier::Wanted } else { known };
        self.keep(digest, body.clone(), tier);
        tier == Tier::Wanted
    }

    /// SCRIPT LOAD was accepted.
    pub(super) fn loaded(&mut self, digest: Digest, body: Arc<[u8]>) {
        self.keep(digest, body, Tier::Wanted);
    }

    /// EVALSHA asked a node for it in vain; true when its body is known, so that every node should have it.
    pub(super) fn asked(&mut self, digest: Digest) -> bool {
        if let Some(known) = self.known.get(&digest) {
            let body = known.body.clone();
            self.keep(digest, body, Tier::Wanted);
            return true;
        }
        if !self.asked.contains(&digest) {
            self.asked.truncate(ASKED_MAX - 1);
            self.asked.push_front(digest);
        }
        false
    }

    /// SCRIPT FLUSH was accepted.
    pub(super) fn flush(&mut self) {
        *self = Self::new(self.limit);
    }

    /// What a node with these lacks, the last used first; with `all` also what was only seen in EVAL.
    pub(super) fn missing(&self, has: &BTreeSet<Digest>, all: bool) -> Vec<Script> {
        let due = self.by_use.iter().rev().filter(|((tier, _), _)| all || *tier == Tier::Wanted);
        let lacking = due.filter(|(_, digest)| !has.contains(*digest));
        lacking.filter_map(|(_, digest)| Some((*digest, self.known.get(digest)?.body.clone()))).collect()
    }

    fn keep(&mut self, digest: Digest, body: Arc<[u8]>, tier: Tier) {
        self.forget(&digest);
        let room = if tier == Tier::Seen { self.limit / SEEN_SHARE } else { self.limit };
        if cost(&body) > room {
            return;
        }
        self.uses += 1;
        *self.bytes(tier) += cost(&body);
        self.by_use.insert((tier, self.uses), digest);
        self.known.insert(digest, Known { body, tier, used: self.uses });
        while self.seen_bytes > self.limit / SEEN_SHARE && self.forget_oldest(Tier::Seen) {}
        while self.seen_bytes + self.wanted_bytes > self.limit
            && (self.forget_oldest(Tier::Seen) || self.forget_oldest(Tier::Wanted))
        {}
    }

    fn forget_oldest(&mut self, tier: Tier) -> bool {
        let oldest = self.by_use.range((tier, 0)..=(tier, u64::MAX)).next().map(|(_, digest)| *digest);
        oldest.inspect(|digest| self.forget(digest)).is_some()
    }

    fn forget(&mut self, digest: &Digest) {
        if let Some(known) = self.known.remove(digest) {
            self.by_use.remove(&(known.tier, known.used));
            *self.bytes(known.tier) -= cost(&known.body);
        }
    }

    fn bytes(&mut self, tier: Tier) -> &mut u64 {
        match tier {
            Tier::Seen => &mut self.seen_bytes,
            Tier::Wanted => &mut self.wanted_bytes,
        }
    }
}

fn cost(body: &[u8]) -> u64 {
    body.len() as u64 + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(n: u8, len: usize) -> Script {
        ([n; 20], vec![n; len].into())
    }

    fn missing(scripts: &Scripts, all: bool) -> Vec<u8> {
        scripts.missing(&BTreeSet::new(), all).into_iter().map(|(digest, _)| digest[0]).collect()
    }

    #[test]
    fn a_name_is_what_a_server_makes_it() {
        let name = b"e0E1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(parse(name), Some(digest_of(b"return 1")));
        assert_eq!(parse(&name[1..]), None);
        assert_eq!(parse(&[b'g'; 40]), None);
    }

    #[test]
    fn what_was_loaded_or_asked_for_every_node_gets_and_the_rest_a_new_primary() {
        let mut scripts = Scripts::new(1 << 20);
        let [one, two, three] = [1, 2, 3].map(|n| script(n, 10));
        scripts.loaded(one.0, one.1);
        assert!(!scripts.seen(two.0, &two.1));
        assert!(!scripts.asked(three.0), "its body is not known");
        assert!(scripts.seen(three.0, &three.1));
        assert_eq!((missing(&scripts, false), missing(&scripts, true)), (vec![3, 1], vec![3, 1, 2]));
        assert!(scripts.asked(two.0));
        assert_eq!(missing(&scripts, false), [2, 3, 1]);
        assert!(scripts.seen(two.0, &two.1), "it stays wanted");
        let has = BTreeSet::from([[3; 20], [2; 20]]);
        assert_eq!(scripts.missing(&has, true).len(), 1);
        scripts.flush();
        assert!(missing(&scripts, true).is_empty());
        assert_eq!((scripts.seen_bytes, scripts.wanted_bytes), (0, 0));
    }

    #[test]
    fn the_least_recently_used_goes_and_what_eval_says_drives_out_nothing_that_is_wanted() {
        let mut scripts = Scripts::new(8 * (100 + OVERHEAD));
        for n in 1..=4 {
            let (digest, body) = script(n, 100);
            scripts.loaded(digest, body);
        }
        for n in 5..100 {
            let (digest, body) = script(n, 100);
            scripts.seen(digest, &body);
        }
        assert_eq!(missing(&scripts, true), [4, 3, 2, 1, 99, 98]);
        assert!(scripts.asked([1; 20]), "used again");
        for n in 100..106 {
            let (digest, body) = script(n, 100);
            scripts.loaded(digest, body);
        }
        assert_eq!(missing(&scripts, true), [105, 104, 103, 102, 101, 100, 1, 4]);
        let (digest, body) = script(200, 10_000);
        scripts.seen(digest, &body);
        assert!(!missing(&scripts, true).contains(&200), "larger than there is room for");
        for n in 0..=u8::MAX {
            scripts.asked([n; 20]);
        }
        assert!(Scripts::new(0).missing(&BTreeSet::new(), true).is_empty());
    }
}
