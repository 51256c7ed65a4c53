//! What a read is sure to show: writes of others, and what was read before. The nodes tell who answered.

use crate::reads::{Lagging, forget, served, wait_readable};
use crate::support::{Client, Group, LONG, ProxyOptions, Relay, Value, eventually};

fn own_writes(kind: &str) -> [(&'static str, String); 1] {
    [("reads.read_your_writes", format!("\"{kind}\""))]
}

fn lagging(kind: &str) -> Lagging {
    let settings = own_writes(kind);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Lagging::start(&settings)
}

/// GETs that the replica has answered.
fn by_replica(lagging: &Lagging) -> u64 {
    served(&lagging.group.nodes()[1..])[0]
}

#[track_caller]
fn accepted(client: &mut Client, requests: &[&str]) {
    for request in requests {
        assert!(client.call(request).error().is_none(), "{request}");
    }
}

#[test]
fn what_one_connection_wrote_another_reads_by_key() {
    let lagging = lagging("key");
    lagging.stream.stall();
    let (mut writer, mut reader) = (lagging.proxy.client(), lagging.proxy.client());
    let untouched = |reader: &mut Client, what: &str| {
        let before = by_replica(&lagging);
        assert_eq!(reader.call("GET elsewhere"), Value::Nil);
        assert_eq!(by_replica(&lagging), before + 1, "{what}: other keys are read from the replica");
    };
    for round in 0..200 {
        assert_eq!(writer.call(&format!("SET k {round}")), Value::ok());
        assert_eq!(reader.call("GET k"), Value::bulk(round.to_string()));
    }
    untouched(&mut reader, "SET");
    accepted(&mut writer, &["MSET a 1 b 2"]);
    let both = Value::Array(vec![Value::Nil, Value::bulk("2")]);
    assert_eq!(reader.call("MGET elsewhere b"), both, "all keys of a read count");
    assert_eq!(writer.pipeline(&["SET p 1", "DEL p", "SET p 2", "SET q 3"])[2], Value::ok());
    assert_eq!((reader.call("GET p"), reader.call("GET q")), (Value::bulk("2"), Value::bulk("3")));
    untouched(&mut reader, "pipelined");
    accepted(&mut writer, &["MULTI", "SET t 1", "EXEC"]);
    assert_eq!(reader.call("GET t"), Value::bulk("1"));
    untouched(&mut reader, "a transaction");
    accepted(&mut writer, &["PUBLISH k x", "MULTI", "SET dropped 1", "DISCARD"]);
    untouched(&mut reader, "what writes nothing");
    let mut parked = lagging.proxy.client();
    parked.send(&["BLMOVE", "list", "moved", "LEFT", "RIGHT", "0"]);
    accepted(&mut writer, &["RPUSH list x"]);
    assert_eq!(parked.read(), Value::bulk("x"));
    assert_eq!(reader.call("LRANGE moved 0 -1"), Value::Array(vec![Value::bulk("x")]));
    untouched(&mut reader, "a parked request");
    assert!(writer.cmd(&["EVAL", "redis.call('SET', 'unnamed', 'x')", "0"]).error().is_none());
    assert_eq!(reader.call("GET unnamed"), Value::bulk("x"));
    let before = by_replica(&lagging);
    assert_eq!(reader.call("GET elsewhere"), Value::Nil);
    assert_eq!(by_replica(&lagging), before, "a script may have written any key");
    lagging.stream.resume();
    eventually(LONG, "the replica answers again", || {
        assert_eq!(reader.call("GET unnamed"), Value::bulk("x"));
        by_replica(&lagging) > before
    });
}

#[test]
fn what_anybody_wrote_is_read_by_everybody() {
    let lagging = lagging("global");
    let mut reader = lagging.proxy.client();
    assert_eq!(reader.call("GET elsewhere"), Value::Nil);
    assert_eq!(by_replica(&lagging), 1);
    lagging.stream.stall();
    for write in [&["SET", "k", "plain"] as &[&str], &["EVAL", "redis.call('SET', 'k', 'script')", "0"]] {
        assert!(lagging.proxy.client().cmd(write).error().is_none());
        assert!(reader.call("GET k").text().is_some_and(|text| write.join(" ").contains(&text)));
    }
    accepted(&mut lagging.proxy.client(), &["MULTI", "SET k queued", "EXEC"]);
    assert_eq!(reader.call("GET k"), Value::bulk("queued"));
    assert_eq!(reader.call("GET elsewhere"), Value::Nil);
    assert_eq!(by_replica(&lagging), 1, "of whatever key");
    lagging.stream.resume();
    eventually(LONG, "the replica answers again", || {
        assert_eq!(reader.call("GET k"), Value::bulk("queued"));
        by_replica(&lagging) > 1
    });
}

#[test]
fn by_default_a_pool_reads_what_was_before() {
    let lagging = lagging("session");
    lagging.stream.stall();
    assert_eq!(lagging.proxy.client().call("SET k new"), Value::ok());
    assert_eq!(lagging.proxy.client().call("GET k"), Value::bulk("begin"));
    lagging.stream.resume();
}

#[test]
fn a_connection_never_reads_less_than_another_replica_showed_it() {
    let mut group = Group::plain(2);
    let stream = Relay::to(group.nodes()[0].address());
    let behind = &group.nodes()[2];
    assert_eq!(behind.call(&format!("REPLICAOF 127.0.0.1 {}", stream.address().port())), Value::ok());
    group.nodes()[0].call("SET k begin");
    eventually(LONG, "the stream passes through the relay", || {
        behind.info("master_link_status").as_deref() == Some("up")
            && behind.call("GET k") == Value::bulk("begin")
    });
    let [primary, near, far] = group.addresses()[..] else { panic!("three nodes") };
    let nodes = format!(
        r#"[{{ address = "{primary}", peer_address = "{}" }}, {{ address = "{near}", zone = "here" }}, "{far}"]"#,
        stream.address()
    );
    let proxy = ProxyOptions::new(&[])
        .set("backend.nodes", &nodes)
        .set("failover.tune_nodes", "false")
        .set("reads.policy", "\"prefer_replica\"")
        .set("reads.zone", "\"here\"")
        .set("reads.max_staleness", "\"60s\"")
        .start();
    wait_readable(&proxy, 1, true);
    wait_readable(&proxy, 2, true);
    let mut reader = proxy.client();
    stream.stall();
    assert_eq!(proxy.client().call("SET k new"), Value::ok());
    eventually(LONG, "the near replica shows it", || reader.call("GET k") == Value::bulk("new"));
    group.node(1).kill9();
    wait_readable(&proxy, 1, false);
    forget(&group.nodes()[2..]);
    for _ in 0..20 {
        assert_eq!(reader.call("GET k"), Value::bulk("new"));
    }
    assert_eq!(proxy.client().call("GET k"), Value::bulk("begin"), "who has read nothing");
    assert_eq!(served(&group.nodes()[2..]), [1]);
    stream.resume();
    eventually(LONG, "the far replica answers it too", || {
        assert_eq!(reader.call("GET k"), Value::bulk("new"));
        served(&group.nodes()[2..])[0] > 1
    });
}
