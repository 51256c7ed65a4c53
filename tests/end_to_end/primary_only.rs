//! What only the primary can say, and what WAIT promises.

use std::collections::BTreeSet;

use crate::support::{FUNCTIONS, Value};
use crate::target::{Target, Way, both_ways};

both_ways!(
    a_scan_sees_every_key_once_or_more,
    a_scan_may_go_on_over_another_connection,
    the_other_scans_go_over_their_elements,
    wait_speaks_of_the_clients_own_writes,
    scripts_and_functions_run,
    the_keyspace_is_the_primarys,
);

fn a_scan_sees_every_key_once_or_more(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let keys = fill(&mut client, 2_000);
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.call(&format!("SCAN {cursor} COUNT 100"));
        seen.extend(reply.items()[1].items().iter().filter_map(Value::text));
        cursor = reply.items()[0].text().expect("a cursor");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, keys);
    assert_eq!(client.call("SCAN x"), Value::Error("ERR invalid cursor".to_owned()));
}

fn a_scan_may_go_on_over_another_connection(way: Way) {
    let target = Target::new(way, 0);
    let keys = fill(&mut target.client(), 500);
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    for round in 0.. {
        let mut client = target.client();
        // In a transaction now and then: cursors there are the same cursors.
        let reply = if round % 2 == 0 {
            client.call(&format!("SCAN {cursor}"))
        } else {
            client.pipeline(&["MULTI", &format!("SCAN {cursor}"), "EXEC"])[2].items()[0].clone()
        };
        seen.extend(reply.items()[1].items().iter().filter_map(Value::text));
        cursor = reply.items()[0].text().expect("a cursor");
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, keys);
}

fn the_other_scans_go_over_their_elements(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    for number in 0..1_000 {
        client.pipeline(&[
            &format!("HSET h f{number} {number}"),
            &format!("SADD s m{number}"),
            &format!("ZADD z {number} m{number}"),
        ]);
    }
    for (request, width) in [("HSCAN h", 2), ("SSCAN s", 1), ("ZSCAN z", 2)] {
        let mut seen = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = client.call(&format!("{request} {cursor} COUNT 50"));
            seen.extend(reply.items()[1].items().chunks(width).filter_map(|element| element[0].text()));
            cursor = reply.items()[0].text().expect("a cursor");
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 1_000, "{request}");
    }
}

fn wait_speaks_of_the_clients_own_writes(way: Way) {
    let target = Target::new(way, 1);
    let mut client = target.client();
    assert_eq!(client.pipeline(&["SET k 1", "WAIT 1 20000"])[1], Value::Int(1));
    let replica = &target.group.nodes()[1];
    replica.sigstop();
    assert_eq!(client.pipeline(&["SET k 2", "WAIT 1 100"])[1], Value::Int(0), "the replica is frozen");
    replica.sigcont();
    assert_eq!(client.call("WAIT 1 20000"), Value::Int(1));
    let text = "ERR timeout is negative";
    assert_eq!(client.call("WAIT 1 -1"), Value::Error(text.to_owned()));
}

fn scripts_and_functions_run(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])";
    assert_eq!(client.cmd(&["EVAL", script, "1", "k", "v"]), Value::bulk("v"));
    let sha = client.cmd(&["SCRIPT", "LOAD", script]).text().expect("a digest");
    assert_eq!(client.cmd(&["EVALSHA", &sha, "1", "k", "w"]), Value::bulk("w"));
    assert_eq!(client.cmd(&["SCRIPT", "EXISTS", &sha]), Value::Array(vec![Value::Int(1)]));
    if FUNCTIONS.is_there() {
        let library = "#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] end)";
        assert_eq!(client.cmd(&["FUNCTION", "LOAD", library]), Value::bulk("lib"));
        assert_eq!(client.call("FCALL f 0 x"), Value::bulk("x"));
    }
    let error = client.cmd(&["EVAL", "return redis.error_reply('MINE own')", "0"]);
    assert_eq!(error, Value::Error("MINE own".to_owned()));
}

fn the_keyspace_is_the_primarys(way: Way) {
    let target = Target::new(way, 1);
    let mut client = target.client();
    client.pipeline(&["SET a 1", "SET b 2"]);
    assert_eq!(client.call("DBSIZE"), Value::Int(2), "the proxy keeps no key of its own");
    assert_eq!(client.call("KEYS *").items().len(), 2);
    assert!(client.call("RANDOMKEY").text().is_some());
    let role = client.call("ROLE");
    assert_eq!(role.items()[0], Value::bulk("master"), "{role:?}");
    let info = client.call("INFO server").text().expect("text");
    assert!(info.contains(&format!("process_id:{}", target.primary().pid())), "{info}");
    assert_eq!(client.call("OBJECT ENCODING a"), Value::bulk("int"));
}

fn fill(client: &mut crate::support::Client, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..count).map(|number| format!("key:{number}")).collect();
    let requests: Vec<String> = keys.iter().map(|key| format!("SET {key} v")).collect();
    client.pipeline(&requests.iter().map(String::as_str).collect::<Vec<_>>());
    keys
}
