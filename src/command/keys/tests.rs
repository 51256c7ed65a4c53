use proptest::prelude::*;

use super::*;
use crate::command::{Effect, Lane, Retry, classify, find, rows};

#[track_caller]
fn check(request: &str, expect: &[u16]) {
    let request: Vec<&str> = request.split(' ').collect();
    let mut out = vec![99];
    keys(classify(&request).row, &request, &mut out);
    assert_eq!(out, expect, "{request:?}");
}

#[test]
fn ranges() {
    check("PING", &[]);
    check("GET k", &[1]);
    check("MGET a b c", &[1, 2, 3]);
    check("MSET a 1 b 2", &[1, 3]);
    check("BLPOP a b 0", &[1, 2]);
    check("BITOP AND d a b", &[2, 3, 4]);
    check("OBJECT ENCODING k", &[2]);
    check("JSON.MSET a $ 1 b $ 2", &[1, 4]);
    check("JSON.MGET a b $", &[1, 2]);
}

#[test]
fn counted_keys() {
    check("EVAL s 2 a b c", &[3, 4]);
    check("EVAL s 0 a", &[]);
    check("EVAL s 3 a b", &[]);
    check("EVAL s x a b", &[]);
    check("EVAL s 18446744073709551615 a", &[]);
    check("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &[1, 3, 4]);
    check("MSETEX 2 a 1 b 2 EX 5", &[2, 4]);
    check("MSETEX 3 a 1 b 2 EX 5", &[2, 4, 6]);
}

#[test]
fn words_before_keys() {
    check("XREAD COUNT 2 BLOCK 1 STREAMS a b 0 0", &[6, 7]);
    check("XREAD STREAMS a b 0", &[]);
    check("XREADGROUP GROUP streams c STREAMS a >", &[5]);
    check("SORT k BY store GET store LIMIT 0 1 STORE d", &[1, 10]);
    check("SORT k STORE", &[1]);
    check("GEORADIUS k 1 1 1 km STORE d", &[1, 7]);
    check("GEORADIUSBYMEMBER k m 1 km STOREDIST d", &[1, 6]);
    check("GEORADIUSBYMEMBER k m 1 km STORE d STORE store ASC", &[1, 8]);
    check("MIGRATE h 1 k 0 1", &[3]);
}

#[test]
fn migrate_of_several_keys_has_an_empty_one() {
    let request: [&[u8]; 9] = [b"MIGRATE", b"h", b"1", b"", b"0", b"1", b"KEYS", b"a", b"b"];
    let mut out = Vec::new();
    keys(classify(request.as_slice()).row, request.as_slice(), &mut out);
    assert_eq!(out, [7, 8]);
}

#[test]
fn a_request_without_arguments_has_no_keys() {
    for row in rows() {
        let name: Vec<&str> = row.name.split('|').collect();
        let mut out = Vec::new();
        keys(find(row.name.as_bytes()).unwrap_or(RowId::UNKNOWN), name.as_slice(), &mut out);
        assert_eq!(out, [0u16; 0], "{}", row.name);
    }
}

proptest! {
    #[test]
    fn keys_are_arguments_behind_the_name(
        row in 0..rows().len(),
        words in proptest::collection::vec(prop::sample::select(WORDS), 0..12),
    ) {
        let request: Vec<&str> = rows()[row].name.split('|').chain(words).collect();
        let class = classify(&request);
        let mut out = Vec::new();
        keys(class.row, &request, &mut out);
        prop_assert!(out.iter().all(|&at| at > 0 && usize::from(at) < request.len()), "{:?}: {:?}", request, out);
        let mut once = out.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), out.len(), "{:?}: {:?} twice", request, out);
        prop_assert_eq!(class.lane == Lane::Blocking, class.retry == Retry::Parked, "{:?}", request);
        prop_assert!(class.arity_ok || class.effect == Effect::Neutral, "{:?}", request);
    }
}

/// Words that mean something to some command, and numbers that mislead.
const WORDS: &[&str] = &[
    "",
    "k",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "65536",
    "18446744073709551615",
    "STREAMS",
    "BLOCK",
    "COUNT",
    "GROUP",
    "NOACK",
    "STORE",
    "STOREDIST",
    "LIMIT",
    "BY",
    "GET",
    "KEYS",
    "EX",
    "NX",
    "KEEPTTL",
    "repl-timeout",
];
