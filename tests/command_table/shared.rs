//! The shared-connection rule on the servers themselves: what `classify` lets onto a shared connection gets exactly one
//! reply at once and leaves the connection as it was.

use redhold::command::{Lane, classify, rows};

use crate::live::report;
use crate::support::{Client, Value, Version, for_each_server};

/// Arguments that many commands accept, and none needs all of. Key names of every type, numbers, and words that are
/// options somewhere.
const ARGUMENTS: [&[&str]; 9] = [
    &["k", "1", "1", "1", "1", "1"],
    &["1", "1", "1", "1", "1", "1"],
    &["string", "list", "hash", "set", "zset", "stream"],
    &["hash", "a", "b", "c", "d", "e"],
    &["list", "set", "0", "-1", "*", "$"],
    &["stream", "*", "f", "v", "f", "v"],
    &["zset", "0", "10", "WITHSCORES", "LIMIT", "0"],
    &["GET", "2", "string", "1", "BLOCK", "1"],
    &["ON", "YES", "NO", "OFF", "SKIP", "ALL"],
];

const DATA: [&str; 6] = [
    "SET string v",
    "RPUSH list a b",
    "HSET hash a 1",
    "SADD set a b",
    "ZADD zset 1 a 2 b",
    "XADD stream 1-1 f v",
];

#[test]
fn a_shared_request_gets_one_reply_and_leaves_no_state() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        let before = state(client);
        let mut sent = 0;
        for row in rows().iter().filter(|row| version.has(row.servers)) {
            for arguments in ARGUMENTS {
                for count in 0..=arguments.len() {
                    let request: Vec<&str> =
                        row.name.split('|').chain(arguments[..count].iter().copied()).collect();
                    if matches!(
                        classify(&request).lane,
                        Lane::Shared | Lane::Scan | Lane::Pubsub | Lane::Script | Lane::ScriptCache
                    ) {
                        sent += 1;
                        faults.extend(fault(version, client, &request, &before));
                    }
                }
            }
        }
        assert!(sent > 10_000, "only {sent} requests were shared");
    });
    report(&faults);
}

/// What is wrong with a request, if anything. The connection is a new one afterwards.
fn fault(version: Version, client: &mut Client, request: &[&str], before: &str) -> Option<String> {
    // Its own data each time: commands rename, overwrite and flush it.
    let mut pipeline: Vec<u8> = DATA.iter().flat_map(|line| encode(line.split(' '))).collect();
    pipeline.extend(encode(request.iter().copied()));
    pipeline.extend(encode(["ECHO", "marker"].into_iter()));
    client.send_raw(&pipeline);
    for _ in DATA {
        client.read();
    }
    let reply = client.try_read();
    let marker = reply.as_ref().ok().and_then(|_| client.try_read().ok());
    let after = marker.is_some().then(|| state(client));
    if marker == Some(Value::bulk("marker")) && after.as_deref() == Some(before) {
        return None;
    }
    *client = Client::connect(client.address());
    Some(format!(
        "{}: {request:?}: {reply:?}, then {marker:?}; state {after:?}, before {before}",
        version.name
    ))
}

fn encode<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    crate::support::encode(&words.collect::<Vec<_>>())
}

/// What CLIENT INFO says of the connection and a request could change.
fn state(client: &mut Client) -> String {
    const FIELDS: [&str; 9] = ["name", "flags", "db", "sub", "psub", "ssub", "multi", "user", "redir"];
    // Anything but text is a reply too many of an earlier request, and no state like the one before.
    let text = client.call("CLIENT INFO").text().unwrap_or_default();
    let fields = text.split_whitespace().filter(|field| {
        FIELDS.iter().any(|name| field.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
            || field.starts_with("watch=")
            || field.starts_with("resp=")
    });
    fields.collect::<Vec<_>>().join(" ")
}
