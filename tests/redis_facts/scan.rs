//! How large cursors get.

use crate::support::{Client, Value, for_each_server};

/// Redhold puts the epoch into bits 44 to 51.
const FREE_FROM: u32 = 44;

#[test]
fn cursors_leave_the_bits_of_the_epoch_free() {
    for_each_server(|version, client| {
        client.call("DEBUG POPULATE 50000");
        for chunk in 0..50 {
            let members: Vec<String> = (0..1000).map(|at| format!("m{}", chunk * 1000 + at)).collect();
            let pairs: Vec<&str> = members.iter().flat_map(|member| [member.as_str(), "1"]).collect();
            let scores: Vec<&str> = members.iter().flat_map(|member| ["1", member.as_str()]).collect();
            client.cmd(&[&["HSET", "hash"], &pairs[..]].concat());
            client.cmd(&[&["ZADD", "zset"], &scores[..]].concat());
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            client.cmd(&[&["SADD", "set"], &members[..]].concat());
        }
        for request in [&["SCAN"][..], &["HSCAN", "hash"], &["SSCAN", "set"], &["ZSCAN", "zset"]] {
            let largest = largest_cursor(client, request);
            assert!(largest > 0, "{}: {request:?} came with one reply", version.name);
            assert!(largest < 1 << FREE_FROM, "{}: {request:?}: cursor {largest}", version.name);
        }
    });
}

fn largest_cursor(client: &mut Client, request: &[&str]) -> u64 {
    let mut cursor = "0".to_owned();
    let mut largest = 0;
    loop {
        let reply = client.cmd(&[request, &[cursor.as_str(), "COUNT", "500"]].concat());
        cursor = reply.items().first().and_then(Value::text).expect("a cursor comes first");
        largest = largest.max(cursor.parse().expect("a cursor is a number"));
        if cursor == "0" {
            return largest;
        }
    }
}

#[test]
fn a_cursor_is_judged_when_it_is_executed() {
    for_each_server(|version, client| {
        let refused = Value::Error("ERR invalid cursor".to_owned());
        for request in ["SCAN x-1", "HSCAN k x-1", "SSCAN k x-1", "ZSCAN k x-1"] {
            assert_eq!(client.call(request), refused, "{}: {request}", version.name);
            let replies = client.pipeline(&["MULTI", request, "SET other v", "EXEC"]);
            assert_eq!(replies[1], Value::Simple("QUEUED".to_owned()), "{}: {request}", version.name);
            assert_eq!(
                replies[3],
                Value::Array(vec![refused.clone(), Value::ok()]),
                "{}: {request}",
                version.name
            );
        }
    });
}
