use super::*;
use crate::command::{find, is_known_by_name, rows};

fn class(request: &str) -> Class {
    classify(&request.split(' ').collect::<Vec<_>>())
}

#[track_caller]
fn check(request: &str, lane: Lane, effect: Effect, retry: Retry) {
    let class = class(request);
    assert_eq!((class.lane, class.effect, class.retry), (lane, effect, retry), "{request}");
    assert!(class.arity_ok, "{request}");
}

#[test]
fn plain_commands_are_what_their_row_says() {
    check("GET k", Lane::Shared, Effect::Read, Retry::Read);
    check("get k", Lane::Shared, Effect::Read, Retry::Read);
    check("iNcR k", Lane::Shared, Effect::Write, Retry::Never);
    check("PING", Lane::Shared, Effect::Neutral, Retry::Read);
    check("SCAN 0", Lane::Scan, Effect::Read, Retry::Read);
    check("BLPOP k 0", Lane::Blocking, Effect::Write, Retry::Parked);
    check("CLIENT Id", Lane::Clients, Effect::Neutral, Retry::Read);
    check("SCRIPT KILL", Lane::Own, Effect::Neutral, Retry::Never);
    check("VSIM k ELE e", Lane::Threaded, Effect::Read, Retry::Read);
    check("POST / HTTP/1.1", Lane::Own, Effect::Read, Retry::Never);
    check("PROXY STATUS", Lane::Proxy, Effect::Neutral, Retry::Never);
}

#[test]
fn where_a_redirection_goes_is_found_behind_its_word_alone() {
    for (request, at) in [
        ("CLIENT TRACKING ON", None),
        ("CLIENT TRACKING on Redirect 7", Some(4)),
        ("CLIENT TRACKING ON BCAST PREFIX a redirect 7", Some(7)),
        ("CLIENT TRACKING ON BCAST PREFIX REDIRECT PREFIX a", None),
        // The server refuses it.
        ("CLIENT TRACKING ON REDIRECT", None),
    ] {
        check(request, Lane::Tracking, Effect::Neutral, Retry::Read);
        let words: Vec<&str> = request.split(' ').collect();
        assert_eq!(redirected_to(&words), at, "{request}");
    }
}

#[test]
fn what_the_table_does_not_know_gets_a_connection_of_its_own() {
    for request in
        ["FROBNICATE", "unknown k", "CLIENT FROBNICATE", "CONFIG FROBNICATE", "XGROUP FROBNICATE k", ""]
    {
        check(request, Lane::Own, Effect::Write, Retry::Never);
    }
    assert_eq!(class("FROBNICATE k").row, RowId::UNKNOWN);
    assert_eq!(class("CLIENT FROBNICATE").row, find(b"client").unwrap());
    assert_eq!(classify::<[&str]>(&[]).row, RowId::UNKNOWN);
}

#[test]
fn a_wrong_number_of_arguments_does_nothing() {
    for request in ["GET", "GET a b", "SET k", "CLIENT", "OBJECT ENCODING", "XREAD", "CONFIG GET"] {
        let class = class(request);
        assert!(!class.arity_ok, "{request}");
        assert_eq!(
            (class.lane, class.effect, class.retry),
            (Lane::Shared, Effect::Neutral, Retry::Read),
            "{request}"
        );
    }
    for request in ["SUBSCRIBE", "MONITOR now", "SYNC 1", "CLIENT REPLY", "MULTI 1", "REPLICAOF NO"] {
        let class = class(request);
        assert!(!class.arity_ok, "{request}");
        assert_eq!(class.lane, Lane::Own, "{request}");
    }
}

#[test]
fn set_is_idempotent_without_a_condition() {
    for request in
        ["SET k v", "SET k v EX 10", "set k v px 10", "SET k v KEEPTTL", "SET k v EXAT 1", "SET k v PXAT 1"]
    {
        check(request, Lane::Shared, Effect::Write, Retry::Idempotent);
    }
    for request in
        ["SET k v NX", "SET k v XX", "SET k v GET", "SET k v EX 10 NX", "SET k v IFEQ a", "SET k v x"]
    {
        check(request, Lane::Shared, Effect::Write, Retry::Never);
    }
    // What follows an expiry is its value, whatever it spells.
    check("SET k v EX NX", Lane::Shared, Effect::Write, Retry::Idempotent);
}

#[test]
fn msetex_is_idempotent_without_a_condition_behind_the_pairs() {
    check("MSETEX 1 NX v", Lane::Shared, Effect::Write, Retry::Idempotent);
    check("MSETEX 1 k v EX 10", Lane::Shared, Effect::Write, Retry::Idempotent);
    check("MSETEX 1 k v NX", Lane::Shared, Effect::Write, Retry::Never);
    check("MSETEX 1 k v EX 10 xx", Lane::Shared, Effect::Write, Retry::Never);
    check("MSETEX 99 k v", Lane::Shared, Effect::Write, Retry::Never);
    check("MSETEX 99999999999999999999 k v", Lane::Shared, Effect::Write, Retry::Never);
}

#[test]
fn an_expiry_that_is_past_deletes_and_is_not_repeated() {
    check("EXPIREAT k 4102444800", Lane::Shared, Effect::Write, Retry::Idempotent);
    check("PEXPIREAT k 4102444800000", Lane::Shared, Effect::Write, Retry::Idempotent);
    check("EXPIREAT k 1", Lane::Shared, Effect::Write, Retry::Never);
    check("EXPIREAT k -1", Lane::Shared, Effect::Write, Retry::Never);
    check("PEXPIREAT k 4102444800", Lane::Shared, Effect::Write, Retry::Never);
    check("EXPIREAT k 4102444800 NX", Lane::Shared, Effect::Write, Retry::Never);
}

#[test]
fn reads_of_streams_block_only_when_asked_to() {
    check("XREAD COUNT 2 STREAMS a 0", Lane::Shared, Effect::Read, Retry::Read);
    check("XREAD block 0 STREAMS a 0", Lane::Blocking, Effect::Read, Retry::Parked);
    check("XREADGROUP GROUP g c STREAMS a >", Lane::Shared, Effect::Write, Retry::Never);
    check("XREADGROUP GROUP g c BLOCK 5 STREAMS a >", Lane::Blocking, Effect::Write, Retry::Parked);
    check("XREADGROUP GROUP streams c BLOCK 5 STREAMS a >", Lane::Blocking, Effect::Write, Retry::Parked);
}

#[test]
fn a_write_by_name_that_only_reads_may_be_sent_again() {
    check("SORT k LIMIT 0 1", Lane::Shared, Effect::Write, Retry::Read);
    check("SORT k STORE d", Lane::Shared, Effect::Write, Retry::Never);
    check("GEORADIUS k 1 1 1 km", Lane::Shared, Effect::Write, Retry::Read);
    check("GEORADIUS k 1 1 1 km storedist d", Lane::Shared, Effect::Write, Retry::Never);
    check("GETEX k", Lane::Shared, Effect::Write, Retry::Read);
    check("GETEX k EX 1", Lane::Shared, Effect::Write, Retry::Never);
}

#[test]
fn settings_of_the_group_are_ours() {
    check("CONFIG SET maxmemory 1", Lane::Own, Effect::Neutral, Retry::Never);
    for name in [
        "min-replicas-to-write",
        "min-slaves-max-lag",
        "REPL-backlog-size",
        "replica-priority",
        "slave-priority",
    ] {
        check(&format!("CONFIG SET {name} 1"), Lane::Owned, Effect::Neutral, Retry::Never);
        check(&format!("CONFIG SET maxmemory 1 {name} 1"), Lane::Owned, Effect::Neutral, Retry::Never);
    }
    check("CONFIG SET maxmemory replica-priority", Lane::Own, Effect::Neutral, Retry::Never);
}

#[test]
fn every_row_is_found_by_its_name_and_sorted() {
    let (last, named) = rows().split_last().unwrap();
    assert_eq!(
        (last.name, last.lane, last.effect, last.retry),
        ("unknown", Lane::Own, Effect::Write, Retry::Never)
    );
    for (at, spec) in named.iter().enumerate() {
        let id = RowId(u16::try_from(at).unwrap());
        assert_eq!(find(spec.name.as_bytes()), Some(id), "{}", spec.name);
        assert_eq!(find(spec.name.to_ascii_uppercase().as_bytes()), Some(id), "{}", spec.name);
        assert_eq!(find(format!("{}x", spec.name).as_bytes()).filter(|&found| found == id), None);
        assert_eq!(spec.name, spec.name.to_ascii_lowercase());
    }
    assert!(named.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn our_own_channels_are_owned_and_what_is_said_elsewhere_is_not() {
    let lane = |request: &str| classify(&request.split(' ').collect::<Vec<_>>()).lane;
    for request in [
        "PUBLISH __redhold:x y",
        "spublish __redhold: y",
        "PUBLISH __sentinel__:hello y",
        "spublish __sentinel__:hello y",
        "SUBSCRIBE a __redhold:x",
        "SSUBSCRIBE __redhold:x",
    ] {
        assert_eq!(lane(request), Lane::Owned, "{request}");
    }
    assert_eq!(lane("PUBLISH x __redhold:x"), Lane::Shared);
    assert_eq!(lane("PUBLISH __redhol x"), Lane::Shared);
    assert_eq!(lane("PUBLISH __sentinel__:hell x"), Lane::Shared);
    assert_eq!(lane("SUBSCRIBE __sentinel__:hello"), Lane::Subscribe);
    for request in ["SUBSCRIBE __REDHOLD:x", "UNSUBSCRIBE __redhold:x", "PSUBSCRIBE __redhold:*"] {
        assert_eq!(lane(request), Lane::Subscribe, "{request}");
    }
}

#[test]
fn columns_fit_together() {
    for spec in rows() {
        let name = spec.name;
        assert_eq!(spec.retry == Retry::Parked, spec.lane == Lane::Blocking, "{name}: what blocks is parked");
        assert!(
            spec.retry != Retry::Idempotent || spec.effect == Effect::Write,
            "{name}: a read is a plain read"
        );
        assert!(spec.lane != Lane::Scan || spec.primary_only, "{name}: cursors belong to the primary");
        assert!(
            spec.effect != Effect::Write || spec.retry != Retry::Read,
            "{name}: a write is not sent again"
        );
        assert_ne!(spec.arity, 0, "{name}");
        if let Some((parent, _)) = name.split_once('|') {
            assert!(find(parent.as_bytes()).is_some(), "{name}: no row for its container");
        }
    }
}

#[test]
fn a_request_that_is_not_here_yet_is_known_by_its_name() {
    let set = classify_partial(["SET", "k"].as_slice());
    assert_eq!((set.row, set.lane, set.effect), (find(b"set").unwrap(), Lane::Shared, Effect::Write));
    assert_eq!((set.retry, set.arity_ok), (Retry::Never, true));
    assert_eq!(classify_partial(["XREADGROUP", "GROUP"].as_slice()).lane, Lane::Blocking);
    assert_eq!(classify_partial(["CLIENT", "WHAT"].as_slice()).lane, Lane::Own);
}

/// Arguments of which one or the other means something to a rule.
const TELLING: [&str; 18] = [
    "0",
    "1",
    "x",
    "block",
    "nx",
    "get",
    "ex",
    "store",
    "redirect",
    "help",
    "list",
    "setname",
    "maxmemory",
    "replicaof",
    "__redhold:x",
    "kill",
    "withscores",
    "99999999999999",
];

#[test]
fn what_is_known_by_name_goes_one_way_whatever_the_arguments() {
    let mut known = 0;
    for row in (0..rows().len()).map(|at| RowId(u16::try_from(at).unwrap())) {
        if !is_known_by_name(row) {
            continue;
        }
        known += 1;
        let way = |request: &[&str]| {
            let class = classify(request);
            (class.row, class.lane, class.effect, class.arity_ok)
        };
        for count in 0..6 {
            let mut request = vec![row.spec().name; 1 + count];
            request[1..].fill("y");
            let usual = way(&request);
            for at in 1..request.len() {
                for word in TELLING {
                    request[at] = word;
                    assert_eq!(way(&request), usual, "{request:?}");
                }
                request[at] = "y";
            }
        }
    }
    assert!(known > 150, "{known}");
    for name in ["get", "set", "mget", "incr", "sort", "expireat"] {
        assert!(is_known_by_name(find(name.as_bytes()).unwrap()), "{name}");
    }
    for name in [
        "xread",
        "config|set",
        "config|get",
        "config",
        "client",
        "client|tracking",
        "publish",
        "object|encoding",
    ] {
        assert!(!is_known_by_name(find(name.as_bytes()).unwrap()), "{name}");
    }
    assert!(!is_known_by_name(RowId::UNKNOWN));
}
