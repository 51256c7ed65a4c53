//! What is called idempotent is executed twice, and leaves the same data and gives the same reply.

use redhold::command::{Class, Retry, classify, rows};

use crate::live::report;
use crate::support::{Client, Value, Version, for_each_server};

/// Data of every type that a sample touches.
const DATA: [&str; 9] = [
    "FLUSHALL",
    "SET string value",
    "SET number 7",
    "SADD set a b c",
    "SADD other b c d",
    "RPUSH list a b c",
    "HSET hash a 1 b 2",
    "PFADD log a b c",
    "PFADD more d e f",
];

/// At least one request for each idempotent row.
const IDEMPOTENT: [&str; 30] = [
    "SET string new",
    "SET fresh new",
    "SET set new",
    "SET string new KEEPTTL",
    "SET string new EX 1000",
    "SET string new PX 1000000",
    "SET string new EXAT 4102444800",
    "SET string new PXAT 4102444800000",
    "SET string new EXAT 1",
    "SETEX string 1000 new",
    "SETEX fresh 1000 new",
    "PSETEX string 1000000 new",
    "MSET string new fresh new set new",
    "MSETEX 2 string new fresh new",
    "MSETEX 2 string new fresh new EX 1000",
    "MSETEX 1 string new PXAT 4102444800000",
    "HMSET hash a new c 3",
    "HMSET fresh a 1",
    "EXPIREAT string 4102444800",
    "EXPIREAT absent 4102444800",
    "PEXPIREAT string 4102444800000",
    "SETRANGE string 2 NEW",
    "SETRANGE string 20 NEW",
    "SETRANGE fresh 3 NEW",
    "SINTERSTORE d set other",
    "SINTERSTORE set set other",
    "SUNIONSTORE d set other",
    "SUNIONSTORE set set other",
    "PFMERGE log more",
    "SCRIPT LOAD return",
];

/// Requests that are not: the second execution is told from the first by the same procedure.
const NOT_IDEMPOTENT: [&str; 18] = [
    "SADD set z",
    "DEL string",
    "INCR number",
    "APPEND string z",
    "SET fresh v NX",
    "SET string v GET",
    "GETSET string v",
    "SETNX fresh v",
    "SETBIT string 7 1",
    "HSET hash z 1",
    "RPUSH list z",
    "LPOP list",
    "PFADD log z",
    "EXPIREAT string 1",
    "PEXPIREAT string 1000",
    "SDIFFSTORE set other set",
    "RENAME string fresh",
    "PERSIST expiring",
];

/// What one execution shows: its reply, and the data that it leaves.
type Trace = (Value, Value, Value);

#[test]
fn an_idempotent_request_leaves_no_trace_the_second_time() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for sample in IDEMPOTENT {
            let class = class(sample);
            assert_eq!(class.retry, Retry::Idempotent, "{sample}");
            if version.has(class.row.spec().servers) {
                let (first, second) = twice(version, client, sample);
                assert!(first.0.error().is_none(), "{}: {sample}: {:?}", version.name, first.0);
                if first != second {
                    faults.push(format!("{}: {sample}: {first:?}, then {second:?}", version.name));
                }
            }
        }
    });
    report(&faults);
}

#[test]
fn others_are_told_apart_by_the_same_procedure() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for sample in NOT_IDEMPOTENT {
            assert_eq!(class(sample).retry, Retry::Never, "{sample}");
            let (first, second) = twice(version, client, sample);
            if first == second {
                faults.push(format!("{}: {sample}: twice {first:?}", version.name));
            }
        }
    });
    report(&faults);
}

#[test]
fn every_idempotent_row_has_a_sample() {
    for (at, row) in rows().iter().enumerate() {
        let sampled = IDEMPOTENT.iter().any(|sample| usize::from(class(sample).row.0) == at);
        assert_eq!(row.retry == Retry::Idempotent, sampled, "{}", row.name);
    }
}

fn class(sample: &str) -> Class {
    classify(&sample.split(' ').collect::<Vec<_>>())
}

fn twice(version: Version, client: &mut Client, sample: &str) -> (Trace, Trace) {
    for request in DATA.into_iter().chain(["SETEX expiring 1000 v"]) {
        let reply = client.call(request);
        assert!(reply.error().is_none(), "{request}: {reply:?}");
    }
    (once(version, client, sample), once(version, client, sample))
}

fn once(version: Version, client: &mut Client, sample: &str) -> Trace {
    let reply = client.call(sample);
    let digest = client.call("DEBUG DIGEST");
    assert!(digest.error().is_none(), "{digest:?}");
    // The digest knows that a key expires, not when. A relative expiry begins anew, as a request sent late would.
    let absolute = ["AT"].iter().any(|word| sample.contains(word));
    let expiry =
        if absolute && version.release >= 70 { client.call("PEXPIRETIME string") } else { Value::Nil };
    (reply, digest, expiry)
}
