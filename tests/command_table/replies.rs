//! How replies compare, by server against server: what the table calls the same is the same on two servers that were sent
//! the same requests, and what it calls less than that does differ.
//!
//! `STREAM=200000` sends so many requests, `SEED=17` sends that stream and no other.

use std::collections::BTreeMap;

use redhold::command::{Compare, rows};

use crate::live::report;
use crate::support::{V6_2, V7_0, V8_2, VALKEY, compare, installed, sampled, seed};

/// Requests to each version when nobody asks for more.
const REQUESTS: usize = 12_000;

/// Streams at most: what differs by chance, as time taken does, may be alike on two servers through one of them.
const ROUNDS: u64 = 4;

/// Rows of which no request is sent, with the reason. What no server here has needs none.
const UNSENT: [(&[&str], &str); 5] = [
    (&["script|debug"], "refused when the next request has come already"),
    (&["host:", "post", "quit", "shutdown"], "the connection is closed"),
    (&["client|reply", "monitor", "psync", "replconf", "sync"], "not one reply to one request"),
    (&["failover", "replicaof", "slaveof"], "changes who leads"),
    (
        &[
            "bgrewriteaof",
            "bgsave",
            "save",
            "config|rewrite",
            "module|load",
            "module|loadex",
            "module|unload",
            "pfselftest",
        ],
        "needs files or seconds",
    ),
];

/// Rows that are compared loosely, or not at all, although two servers here agree or hardly ever differ.
const ALIKE: [(&[&str], &str); 8] = [
    (
        &["expiretime", "hexpiretime", "hpexpiretime", "hpttl", "httl", "lastsave", "object|idletime", "ttl"],
        "differs when time passes a limit between two servers",
    ),
    (&["object|freq", "vinfo", "vlinks", "vrandmember", "vsim"], "dice that now and then fall alike"),
    (
        &["memory|doctor", "latency|doctor", "latency|history", "latency|latest", "latency|reset"],
        "what was slow",
    ),
    (
        &["commandlog|get", "commandlog|len", "slowlog|get", "slowlog|len", "function|stats"],
        "what was slow, or runs",
    ),
    (&["client|id", "client|kill", "client|unblock", "hello"], "ids are Redhold's own"),
    (&["role", "wait", "waitaof"], "replicas and offsets, of which there are none"),
    (&["acl|log"], "needs an AUTH that fails, whose reply 8.2 loses when it is not the first request"),
    (&["debug", "module|list"], "what each server was built with"),
];

#[test]
fn two_servers_agree_as_far_as_the_table_says_and_no_further() {
    let (seed, requests) = seed(REQUESTS);
    let versions = installed();
    let mut differed: BTreeMap<&str, bool> = BTreeMap::new();
    let mut round = |seed| {
        let mut faults = Vec::new();
        for &version in &versions {
            let (one, other) = (version.start(), version.start());
            let findings = compare(version, one.address(), other.address(), seed, requests);
            faults.extend(findings.faults);
            findings.differed.into_iter().for_each(|(name, any)| *differed.entry(name).or_default() |= any);
        }
        report(&faults);
        differed.iter().filter(|(name, any)| !**any && is_to_differ(name)).map(|(name, _)| *name).collect()
    };
    // Some rows only one version has, or orders in its own way.
    let judged = versions == [V6_2, V7_0, V8_2, VALKEY];
    let mut alike: Vec<&str> = round(seed);
    for more in 1..ROUNDS {
        if judged && !alike.is_empty() {
            alike = round(seed + more);
        }
    }
    assert!(
        !judged || alike.is_empty(),
        "SEED={seed}: always the same, which the table does not say: {alike:?}"
    );
}

fn is_to_differ(name: &str) -> bool {
    let excused = ALIKE.iter().any(|(names, _)| names.contains(&name));
    !excused && rows().iter().any(|row| row.name == name && row.compare != Compare::Exact)
}

#[test]
fn every_row_is_sent_or_says_why_not() {
    let sampled = sampled();
    for row in rows() {
        let is_here = [V6_2, V7_0, V8_2, VALKEY].iter().any(|version| version.has(row.servers));
        let unsent = UNSENT.iter().any(|(names, _)| names.contains(&row.name));
        let sent = sampled.contains(row.name);
        assert!(!(sent && unsent), "{}: sent, in spite of its reason", row.name);
        assert!(!is_here || sent || unsent, "{}: neither a sample nor a reason", row.name);
        let excused = ALIKE.iter().any(|(names, _)| names.contains(&row.name));
        assert!(!excused || row.compare != Compare::Exact, "{}: needs no excuse", row.name);
    }
}
