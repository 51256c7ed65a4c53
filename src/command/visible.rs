//! Whether a request names every key that it touches, as Redis counts keys for a user's rights.

use super::args::Args;
use super::keys::keys;
use super::lookup::{RowId, is_container};
use super::spec::Keys;

/// What touches keys that it does not name, though it names some: the keys of a script are what it says, and a name behind BY or GET
/// is a pattern for others. DEBUG can do anything to any key, and MIGRATE takes keys where nobody's rights are known.
const UNSEEN: [&str; 8] =
    ["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "debug", "migrate"];

/// What says channels or a cursor where others have keys.
const NO_KEYS: [&str; 4] = ["spublish", "ssubscribe", "sunsubscribe", "clusterscan"];

/// Whether a request of `row` touches the key that is its first argument, and no other whatever else it says.
#[must_use]
pub fn names_its_first_alone(row: RowId) -> bool {
    let spec = row.spec();
    let is_first = matches!(spec.keys, Keys::Range(1, 1, _));
    is_first && spec.name != "sort_ro" && !UNSEEN.contains(&spec.name) && !NO_KEYS.contains(&spec.name)
}

/// True when the keys at the positions in `out`, which is emptied first, are all that a request of `row` touches. What concerns whole
/// databases, as KEYS and FLUSHALL do, has no keys: Redis does not ask for a user's patterns there either.
pub fn names_its_keys<A: Args + ?Sized>(row: RowId, request: &A, out: &mut Vec<u16>) -> bool {
    out.clear();
    let spec = row.spec();
    // A subcommand without a row may do anything.
    let unknown = is_container(row) && request.count() > 1;
    if unknown || row == RowId::UNKNOWN || UNSEEN.contains(&spec.name) || spec.keys == Keys::Opaque {
        return false;
    }
    let sorts = matches!(spec.name, "sort" | "sort_ro");
    let looks_up = |at: usize| [&b"by"[..], b"get"].iter().any(|it| request.arg(at).eq_ignore_ascii_case(it));
    let stores = |at: &usize| request.arg(*at).eq_ignore_ascii_case(b"store");
    if sorts && ((2..request.count()).any(looks_up) || (2..request.count()).filter(stores).count() > 1) {
        return false;
    }
    if spec.keys == Keys::None || NO_KEYS.contains(&spec.name) {
        return true;
    }
    keys(row, request, out);
    // Where none is found the server would refuse it, as far as is known here.
    !out.is_empty() && request.count() <= usize::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::classify;
    use crate::resp::{RequestScanner, encode};

    /// Its keys, if it names all.
    fn named(request: &str) -> Option<Vec<String>> {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let mut bytes = bytes::BytesMut::new();
        encode::command(&mut bytes, &words);
        let scanner = RequestScanner::of_kept(&bytes)?;
        let request = scanner.request(&bytes);
        let mut out = Vec::new();
        let key = |at: &u16| String::from_utf8_lossy(request.arg(usize::from(*at))).into_owned();
        names_its_keys(classify(&request).row, &request, &mut out).then(|| out.iter().map(key).collect())
    }

    #[test]
    fn what_names_its_keys_is_judged_by_them() {
        let cases = [
            ("GET a", "a"),
            ("mset a 1 b 2", "a b"),
            ("SORT l ALPHA STORE out", "l out"),
            ("SORT l LIMIT 0 10", "l"),
            ("ZUNIONSTORE out 2 a b WEIGHTS 1 2", "out a b"),
            ("XREAD COUNT 1 STREAMS s t 0 0", "s t"),
            ("OBJECT ENCODING a", "a"),
            ("MEMORY USAGE a", "a"),
            ("WATCH a b", "a b"),
            ("BLPOP a b 0", "a b"),
            ("PING", ""),
            ("COMMAND", ""),
            ("KEYS *", ""),
            ("FLUSHALL", ""),
            ("CONFIG GET maxmemory", ""),
            ("SCRIPT LOAD return", ""),
            ("SPUBLISH channel m", ""),
            ("SUNSUBSCRIBE", ""),
        ];
        for (request, keys) in cases {
            assert_eq!(named(request).map(|keys| keys.join(" ")).as_deref(), Some(keys), "{request}");
        }
    }

    #[test]
    fn what_does_not_name_them_all_is_known_not_to() {
        let unseen = [
            "EVAL return 1 a",
            "EVAL return 0",
            "eval_ro return 1 a",
            "EVALSHA x 1 a",
            "FCALL f 1 a",
            "SORT l BY w_*",
            "SORT l LIMIT 0 10 get w_*",
            "SORT_RO l BY w_*",
            "SORT l STORE limit STORE other",
            "MIGRATE h 1 a 0 1",
            "DEBUG OBJECT a",
            "FT.SEARCH idx q",
            "TS.MGET FILTER a=b",
            "NOSUCH a",
            "OBJECT NOSUCH a",
            "XREAD COUNT 1",
            "ZUNION 5 a",
        ];
        for request in unseen {
            assert_eq!(named(request), None, "{request}");
        }
    }

    #[test]
    fn one_key_in_the_first_place_is_told_from_what_may_touch_more() {
        let first = |name: &str| crate::command::find(name.as_bytes()).is_some_and(names_its_first_alone);
        for name in ["get", "set", "append", "restore", "zadd", "hset"] {
            assert!(first(name), "{name}");
        }
        for name in
            ["sort_ro", "sort", "mset", "eval", "debug", "migrate", "publish", "spublish", "ping", "nosuch"]
        {
            assert!(!first(name), "{name}");
        }
    }
}
