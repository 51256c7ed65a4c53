//! A user who may touch only some keys, commands and channels, and tries everything to get at the others, beside one who may.

use crate::support::{Client, Value, chosen, encode};
use crate::target::{Target, Way, both_ways};

both_ways!(
    no_way_leads_to_the_keys_of_others,
    what_one_user_may_is_not_lent_to_the_next,
    a_user_that_is_taken_away_may_nothing_any_more,
);

/// What is kept from the user; it is in the value, the set, the stream and the hash.
const TREASURE: &str = "treasure";

fn group(way: Way) -> (Target, Client) {
    let target = Target::new(way, 0);
    let mut admin = target.client();
    for request in [
        "ACL SETUSER app on >secret resetchannels &app:* resetkeys ~app:* +@all -@dangerous -@admin",
        "SET secret:k treasure",
        "RPUSH secret:l treasure",
        "SADD secret:s treasure",
        "ZADD secret:z 1 treasure",
        "HSET secret:h f treasure",
        "XADD secret:x 1-1 f treasure",
        "SET secret:w_1 treasure",
        "RPUSH app:l 1 2",
        "SADD app:s 1",
        "SET app:k own",
    ] {
        assert!(admin.call(request).error().is_none(), "{request}");
    }
    (target, admin)
}

fn app(target: &Target) -> Client {
    let mut client = target.client();
    assert_eq!(client.call("AUTH app secret"), Value::ok());
    client
}

/// Ways to the keys of others: each is refused by every server.
fn ways(sha: &str) -> Vec<Vec<String>> {
    let mut ways: Vec<Vec<String>> = [
        "GET secret:k",
        "MGET app:k secret:k",
        "MSET app:k own secret:k stolen",
        "GETSET secret:k stolen",
        "COPY secret:k app:stolen",
        "RENAME secret:k app:stolen",
        "DUMP secret:k",
        "OBJECT ENCODING secret:k",
        "APPEND secret:k x",
        "SORT secret:l ALPHA",
        "SORT app:l BY secret:w_*",
        "SORT app:l GET secret:w_*",
        "SORT app:l STORE secret:stolen",
        "SUNION app:s secret:s",
        "SUNIONSTORE app:stolen secret:s",
        "SDIFFSTORE secret:s app:s app:s",
        "SMOVE secret:s app:s treasure",
        "ZUNIONSTORE app:stolen 1 secret:z",
        "ZRANGESTORE app:stolen secret:z 0 -1",
        "LMOVE secret:l app:l LEFT LEFT",
        "RPOPLPUSH secret:l app:l",
        "BLPOP app:none secret:l 0.01",
        "BLMOVE secret:l app:l LEFT LEFT 0.01",
        "XREAD STREAMS secret:x 0",
        "XREAD BLOCK 10 STREAMS app:x secret:x 0 0",
        "HGETALL secret:h",
        "WATCH secret:k",
        "BITOP OR app:stolen secret:k",
        "PFMERGE app:stolen secret:k",
        "SINTERSTORE app:stolen app:s secret:s",
        "CONFIG GET requirepass",
        "ACL GETUSER default",
        "DEBUG OBJECT secret:k",
        "FLUSHALL",
        "KEYS *",
        "MONITOR",
        "PUBLISH secret:news x",
        "SUBSCRIBE secret:news",
        "PSUBSCRIBE *",
    ]
    .iter()
    .map(|request| request.split(' ').map(str::to_owned).collect())
    .collect();
    let scripts = [
        ("EVAL", "return redis.call('GET','secret:k')", ["0"].as_slice()),
        ("EVAL", "return redis.call('GET',KEYS[1])", &["1", "secret:k"]),
        ("EVAL", "return redis.call('GET',ARGV[1])", &["1", "app:k", "secret:k"]),
        ("EVAL", "return redis.call('SET',ARGV[1],'stolen')", &["0", "secret:k"]),
        ("EVAL", "return redis.call('PUBLISH','secret:news','x')", &["0"]),
        ("EVAL", "return redis.call('FLUSHALL')", &["0"]),
        ("EVALSHA", sha, &["0", "secret:k"]),
    ];
    for (name, script, rest) in scripts {
        ways.push([&[name, script], rest].concat().into_iter().map(str::to_owned).collect());
    }
    ways
}

fn is_refused(reply: &Value) -> bool {
    reply.error().is_some_and(|text| {
        text.contains("NOPERM")
            || text.contains("no permissions")
            || text.contains("No permissions")
            || text.contains("can't access at least one of the keys")
            || text.contains("can't run this command")
            || text.contains("ACL failure in script")
            || text.contains("can't publish to the channel")
            || text.contains("not allowed inside a transaction")
    })
}

/// SORT's patterns are looked at from 7.0 on.
fn is_sort_pattern(request: &[String]) -> bool {
    request[0] == "SORT" && (request.contains(&"BY".to_owned()) || request.contains(&"GET".to_owned()))
}

fn no_way_leads_to_the_keys_of_others(way: Way) {
    let (target, mut admin) = group(way);
    let sha = admin.cmd(&["SCRIPT", "LOAD", "return redis.call('GET',ARGV[1])"]).text().expect("a digest");
    let mut ways = ways(&sha);
    if chosen().release < 70 {
        ways.retain(|request| !is_sort_pattern(request));
    }
    if chosen().release >= 70 {
        let words = ["EVAL_RO", "return redis.call('GET',KEYS[1])", "1", "secret:k"];
        ways.push(words.map(str::to_owned).to_vec());
        let library = "#!lua name=lib\nredis.register_function('steal', function(k, a) return redis.call('GET', a[1]) end)";
        assert!(admin.cmd(&["FUNCTION", "LOAD", library]).error().is_none());
        ways.push(["FCALL", "steal", "0", "secret:k"].map(str::to_owned).to_vec());
        ways.push(["FCALL", "steal", "1", "secret:k", "x"].map(str::to_owned).to_vec());
    }
    let mut client = app(&target);
    for request in &ways {
        let reply = client.cmd(request);
        assert!(is_refused(&reply), "{request:?}: {reply:?}");
        // Right behind what is another's on the same connection, and in a transaction.
        let others = encode(&["GET", "secret:k"]);
        admin.send_raw(&others);
        client.send_raw(&encode(request));
        assert!(is_refused(&client.read()), "{request:?} beside another");
        assert_eq!(admin.read(), Value::bulk(TREASURE));
        let transaction: Vec<Vec<String>> =
            [vec!["MULTI".to_owned()], request.clone(), vec!["EXEC".to_owned()]].into();
        client.send_raw(&transaction.iter().flat_map(|request| encode(request)).collect::<Vec<u8>>());
        let replies = [client.read(), client.read(), client.read()];
        let inside =
            matches!(&replies[2], Value::Array(items) if !items.is_empty() && items.iter().all(is_refused));
        assert!(is_refused(&replies[1]) || inside, "{request:?} in MULTI: {replies:?}");
        assert!(!format!("{replies:?}").contains(TREASURE), "{request:?} in MULTI: {replies:?}");
        client.send_raw(&encode(&["UNWATCH"]));
        client.read();
    }
    assert_eq!(client.call("GET app:k"), Value::bulk("own"));
    assert_eq!(admin.call("GET secret:k"), Value::bulk(TREASURE));
    assert_eq!(admin.call("EXISTS app:stolen secret:stolen"), Value::Int(0));
    assert_eq!(admin.call("LRANGE secret:l 0 -1"), Value::Array(vec![Value::bulk(TREASURE)]));
}

fn what_one_user_may_is_not_lent_to_the_next(way: Way) {
    let (target, mut admin) = group(way);
    let mut client = app(&target);
    // 6.2 counts all of ACL as dangerous.
    assert_eq!(admin.call("ACL SETUSER app +acl|whoami"), Value::ok());
    let whoami = |client: &mut Client| {
        let replies = client.pipeline(&["ACL WHOAMI", "MULTI", "ACL WHOAMI", "EXEC", "BLPOP app:none 0.01"]);
        (replies[0].clone(), replies[3].items()[0].clone())
    };
    for _ in 0..20 {
        assert_eq!(whoami(&mut admin), (Value::bulk("default"), Value::bulk("default")));
        assert_eq!(whoami(&mut client), (Value::bulk("app"), Value::bulk("app")));
        // Connections of one's own that are given back, and taken by whoever comes next.
        let mut next = target.client();
        assert_eq!(whoami(&mut next).1, Value::bulk("default"));
        assert_eq!(next.call("AUTH app secret"), Value::ok());
        assert_eq!(whoami(&mut next).1, Value::bulk("app"));
        assert!(is_refused(&next.call("GET secret:k")));
    }
}

fn a_user_that_is_taken_away_may_nothing_any_more(way: Way) {
    let (target, mut admin) = group(way);
    let mut client = app(&target);
    assert_eq!(client.call("GET app:k"), Value::bulk("own"));
    assert_eq!(client.pipeline(&["MULTI", "GET app:k", "EXEC"])[2], Value::Array(vec![Value::bulk("own")]));
    assert_eq!(admin.call("ACL SETUSER app resetkeys ~other:*"), Value::ok());
    assert!(is_refused(&client.call("GET app:k")));
    assert!(is_refused(&client.pipeline(&["MULTI", "GET app:k", "EXEC"])[1]));
    assert_eq!(admin.call("ACL DELUSER app"), Value::Int(1));
    let outcome = client.try_cmd(&["GET", "app:k"]);
    assert!(outcome.is_err() || outcome.is_ok_and(|reply| reply.error().is_some()), "he is gone");
    let mut again = target.client();
    assert!(again.call("AUTH app secret").error().is_some_and(|text| text.starts_with("WRONGPASS")));
}
