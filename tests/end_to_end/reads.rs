//! Which node answers a read. The nodes tell: each counts the GETs that it executed itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, ServerOptions, Value, eventually,
    eventually_some,
};

/// A field of INFO. A node that is told to follow another one closes its clients' connections.
fn info(node: &Server, field: &str) -> Option<String> {
    eventually_some(LONG, "the node answers INFO", || {
        let text = Client::try_connect(node.address()).ok()?.try_cmd(&["INFO", "everything"]).ok()?.text()?;
        Some(text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned)))
    })
}

/// GETs that each node has executed since it was last asked to forget them. GETs are not replicated.
pub(crate) fn served(nodes: &[Server]) -> Vec<u64> {
    let count = |node: &Server| {
        let line = info(node, "cmdstat_get")?;
        line.strip_prefix("calls=")?.split(',').next()?.parse().ok()
    };
    nodes.iter().map(|node| count(node).unwrap_or(0)).collect()
}

pub(crate) fn forget(nodes: &[Server]) {
    for node in nodes {
        assert_eq!(node.call("CONFIG RESETSTAT"), Value::ok());
    }
}

pub(crate) fn wait_readable(proxy: &Proxy, node: usize, readable: bool) {
    eventually(LONG, &format!("node {node} is readable: {readable}"), || {
        proxy.status()["nodes"][node]["readable"] == readable
    });
}

fn read_policy(policy: &str) -> String {
    format!("\"{policy}\"")
}

#[test]
fn each_policy_reads_where_it_says() {
    let group = Group::plain(2);
    let [a, b, c] = group.addresses()[..] else { panic!("three nodes") };
    group.nodes()[0].call("SET k v");
    group.wait_in_sync(0);
    let zones =
        format!(r#"["{a}", {{ address = "{b}", zone = "far" }}, {{ address = "{c}", zone = "near" }}]"#);
    for (policy, zone, expected) in [
        ("primary", "", [0].as_slice()),
        ("prefer_replica", "", &[1, 2]),
        ("replica", "", &[1, 2]),
        ("any", "", &[0, 1, 2]),
        ("prefer_replica", "near", &[2]),
        ("any", "far", &[1]),
    ] {
        let proxy = ProxyOptions::new(&[])
            .set("backend.nodes", &zones)
            .set("reads.policy", &read_policy(policy))
            .set("reads.zone", &format!("\"{zone}\""))
            .set("reads.max_staleness", "\"60s\"")
            .start();
        wait_readable(&proxy, 1, true);
        wait_readable(&proxy, 2, true);
        let mut client = proxy.client();
        // A machine that is busy otherwise may make the primary look slow for a moment.
        eventually(LONG, "the primary answers where it may", || {
            forget(group.nodes());
            for _ in 0..50 {
                assert_eq!(client.call("GET k"), Value::bulk("v"));
            }
            let counts = served(group.nodes());
            let by_these: u64 = expected.iter().map(|node: &usize| counts[*node]).sum();
            assert_eq!(by_these, 50, "{policy} in zone `{zone}`: {counts:?}");
            counts[0] > 0 || !expected.contains(&0)
        });
    }
}

#[test]
fn the_node_that_owes_least_takes_the_next_read() {
    let group = Group::plain(2);
    group.nodes()[0].call("SET k v");
    group.wait_in_sync(0);
    for (policy, first, asked) in [("prefer_replica", 1, &[1, 2][..]), ("any", 0, &[0, 1, 2])] {
        let proxy = ProxyOptions::new(&group.addresses())
            .set("proxy.workers", "1")
            .set("health.timeout", "\"60s\"")
            .set("health.busy_timeout", "\"60s\"")
            .set("reads.policy", &read_policy(policy))
            .set("reads.max_staleness", "\"60s\"")
            .start();
        wait_readable(&proxy, 1, true);
        wait_readable(&proxy, 2, true);
        // Below a millisecond none counts as slower than another, and the shortest of some seconds counts.
        for node in 0..3 {
            let ping = || proxy.status()["nodes"][node]["ping_us"].as_u64();
            eventually(LONG, "it answered quickly", || ping().is_some_and(|micros| micros < 1_000));
        }
        forget(group.nodes());
        eventually(LONG, "there is a connection to each", || {
            assert_eq!(proxy.client().call("GET k"), Value::bulk("v"));
            let counts = served(group.nodes());
            asked.iter().all(|node: &usize| counts[*node] > 0)
        });
        forget(group.nodes());
        let (mut stuck, mut other) = (proxy.client(), proxy.client());
        group.nodes()[first].sigstop();
        stuck.send(&["GET", "k"]);
        // It may be another one's turn, or another one looks faster.
        let mut elsewhere = 0;
        while !stuck.is_silent_for(Duration::from_secs(1)) {
            assert_eq!(stuck.read(), Value::bulk("v"));
            elsewhere += 1;
            stuck = proxy.client();
            stuck.send(&["GET", "k"]);
        }
        for _ in 0..20 {
            assert_eq!(other.call("GET k"), Value::bulk("v"));
        }
        group.nodes()[first].sigcont();
        assert_eq!(stuck.read(), Value::bulk("v"));
        let counts = served(group.nodes());
        assert_eq!((counts[first], counts.iter().sum()), (1, 21 + elsewhere), "{policy}: {counts:?}");
        assert_eq!(counts[0], u64::from(first == 0), "{policy}: {counts:?}");
    }
}

#[test]
fn an_outage_is_waited_for_or_answered_by_a_replica() {
    let group = Group::plain(1);
    group.nodes()[0].call("SET k v");
    group.wait_in_sync(0);
    for (during, served_meanwhile) in [("replica", true), ("hold", false)] {
        let proxy = ProxyOptions::new(&group.addresses())
            .set("failover.mode", "\"manual\"")
            .set("failover.hold", "\"60s\"")
            .noticing_silence()
            .set("reads.policy", "\"prefer_replica\"")
            .set("reads.max_staleness", "\"60s\"")
            .set("reads.during_outage", &format!("\"{during}\""))
            .start();
        wait_readable(&proxy, 1, true);
        let (mut writer, mut reader) = (proxy.client(), proxy.client());
        group.nodes()[0].sigstop();
        eventually(LONG, "writes are held", || {
            let status = proxy.status();
            status["writable"] == false && status["nodes"][0]["up"] == false
        });
        forget(&group.nodes()[1..]);
        writer.send(&["SET", "k", during]);
        reader.send(&["GET", "k"]);
        if served_meanwhile {
            assert_eq!(reader.read(), Value::bulk("v"));
            assert!(writer.is_silent_for(Duration::from_millis(100)), "writes are held all the same");
            assert_eq!(served(&group.nodes()[1..]), [1]);
        } else {
            assert!(reader.is_silent_for(Duration::from_millis(300)), "reads wait too");
            assert_eq!(served(&group.nodes()[1..]), [0]);
        }
        group.nodes()[0].sigcont();
        assert_eq!(writer.read(), Value::ok());
        if !served_meanwhile {
            assert!(reader.read().text().is_some());
        }
        group.nodes()[0].call("SET k v");
    }
}

#[test]
fn a_strict_policy_waits_for_a_replica_as_long_as_for_a_primary() {
    let mut group = Group::plain(1);
    group.nodes()[0].call("SET k v");
    group.wait_in_sync(0);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("reads.policy", "\"replica\"")
        .set("failover.hold", "\"1s\"")
        .start();
    wait_readable(&proxy, 1, true);
    group.node(1).kill9();
    wait_readable(&proxy, 1, false);
    let mut client = proxy.client();
    let start = Instant::now();
    let told = "TRYAGAIN no eligible replica for 1000 ms; command was not executed";
    assert_eq!(client.call("GET k"), Value::Error(told.to_owned()));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(990) && waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(proxy.errors("no_replica"), 1.0);
    assert_eq!(client.call("SET k w"), Value::ok(), "writes go on");
    client.send(&["GET", "k"]);
    group.node(1).restart();
    // It waits no longer than the hold, and a server may take longer to come back.
    let first = client.read();
    assert!(first.text().is_some() || first == Value::Error(told.to_owned()), "{first:?}");
    eventually(LONG, "a replica answers", || client.call("GET k").text().is_some());
    wait_readable(&proxy, 1, true);
    eventually(LONG, "it has what was written", || client.call("GET k") == Value::bulk("w"));
}

/// A primary and a replica whose stream passes through a relay, so that it can be made to lag while it answers.
pub(crate) struct Lagging {
    pub(crate) group: Group,
    pub(crate) stream: Relay,
    pub(crate) proxy: Proxy,
}

impl Lagging {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let group = Group::plain(1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        let stream = Relay::to(primary.address());
        assert_eq!(replica.call(&format!("REPLICAOF 127.0.0.1 {}", stream.address().port())), Value::ok());
        eventually(LONG, "the stream passes through the relay", || {
            primary.call("SET k begin");
            replica.info("master_link_status").as_deref() == Some("up")
                && replica.call("GET k") == Value::bulk("begin")
        });
        let nodes = format!(
            r#"[{{ address = "{}", peer_address = "{}" }}, "{}"]"#,
            primary.address(),
            stream.address(),
            replica.address()
        );
        let mut options = ProxyOptions::new(&[])
            .set("backend.nodes", &nodes)
            .set("failover.tune_nodes", "false")
            .set("reads.policy", "\"prefer_replica\"")
            .set("reads.max_staleness", "\"60s\"");
        for (key, value) in settings {
            options = options.set(key, value);
        }
        let proxy = options.start();
        wait_readable(&proxy, 1, true);
        forget(group.nodes());
        Self { group, stream, proxy }
    }

    /// The replica answers somebody who wrote nothing, and has none of what was written since the relay stalled.
    #[track_caller]
    fn assert_lags(&self, stale: &str) {
        assert_eq!(self.proxy.client().call("GET k"), Value::bulk(stale));
        assert_eq!(served(&self.group.nodes()[1..]), [1], "by the replica, and nothing else");
    }
}

#[test]
fn a_read_never_overtakes_the_same_clients_write() {
    for own_writes in ["off", "session"] {
        let lagging = Lagging::start(&[("reads.read_your_writes", &format!("\"{own_writes}\""))]);
        lagging.stream.stall();
        let mut client = lagging.proxy.client();
        for round in 0..2_000 {
            let (set, value) = (format!("SET k {round}"), Value::bulk(round.to_string()));
            assert_eq!(client.pipeline(&[&set, "GET k"]), [Value::ok(), value], "{own_writes}");
        }
        lagging.assert_lags("begin");
        lagging.stream.resume();
    }
}

#[test]
fn a_write_behind_a_read_of_a_replica_waits_for_its_reply() {
    let lagging = Lagging::start(&[("health.timeout", "\"60s\""), ("health.busy_timeout", "\"60s\"")]);
    let [primary, replica] = lagging.group.nodes() else { panic!("two nodes") };
    let mut client = lagging.proxy.client();
    replica.sigstop();
    let requests = ["GET k", "GET k", "SET k after", "GET k"];
    for request in requests {
        client.send(&request.split(' ').collect::<Vec<_>>());
    }
    assert!(client.is_silent_for(Duration::from_millis(300)));
    assert_eq!(primary.call("GET k"), Value::bulk("begin"), "it was not sent ahead");
    replica.sigcont();
    let replies = requests.map(|_| client.read());
    assert_eq!(replies, [Value::bulk("begin"), Value::bulk("begin"), Value::ok(), Value::bulk("after")]);
}

#[test]
fn a_connection_sees_its_own_writes_whichever_way_they_went() {
    let lagging = Lagging::start(&[]);
    lagging.stream.stall();
    let mut client = lagging.proxy.client();
    let reads = |write: &dyn Fn(&mut Client), value: &str| {
        let mut client = lagging.proxy.client();
        write(&mut client);
        for _ in 0..5 {
            assert_eq!(client.call("GET k"), Value::bulk(value));
        }
    };
    reads(&|client| assert_eq!(client.call("SET k plain"), Value::ok()), "plain");
    reads(&|client| assert_eq!(client.call("HELLO 3").get("proto"), Some(&Value::Int(3))), "begin");
    let replies = |client: &mut Client, requests: &[&str]| {
        requests.iter().for_each(|request| assert!(client.call(request).error().is_none(), "{request}"));
    };
    reads(&|client| replies(client, &["MULTI", "SET k queued", "EXEC"]), "queued");
    reads(
        &|client| {
            assert!(client.cmd(&["EVAL", "redis.call('SET', KEYS[1], 'script')", "1", "k"]).error().is_none())
        },
        "script",
    );
    let large = "x".repeat(2 << 20);
    reads(&|client| assert_eq!(client.cmd(&["SET", "k", large.as_str()]), Value::ok()), &large);
    assert_eq!(served(&lagging.group.nodes()[1..]), [5], "only who wrote nothing read from the replica");

    assert_eq!(client.call("SET k last"), Value::ok());
    lagging.stream.resume();
    eventually(LONG, "the replica answers it again", || {
        assert_eq!(client.call("GET k"), Value::bulk("last"));
        served(&lagging.group.nodes()[1..]) > vec![5]
    });
    for round in 0..200 {
        assert_eq!(client.call(&format!("SET k {round}")), Value::ok());
        assert_eq!(client.call("GET k"), Value::bulk(round.to_string()));
    }
}

#[test]
fn without_the_promise_a_connection_may_read_what_was_before() {
    let lagging = Lagging::start(&[("reads.read_your_writes", "\"off\"")]);
    lagging.stream.stall();
    let mut client = lagging.proxy.client();
    assert_eq!(client.call("SET k new"), Value::ok());
    assert_eq!(client.call("GET k"), Value::bulk("begin"));
    lagging.stream.resume();
}

#[test]
fn a_replica_that_is_too_old_or_cut_off_gets_no_reads_until_it_is_well() {
    let lagging = Lagging::start(&[("reads.max_staleness", "\"300ms\"")]);
    let [primary, replica] = lagging.group.nodes() else { panic!("two nodes") };
    let Lagging { stream, proxy, .. } = &lagging;
    let away = || {
        primary.call("INCR moved");
        proxy.status()["nodes"][1]["readable"] == false
    };
    let mut reader = proxy.client();
    let mut only_the_primary_answers = |what: &str| {
        eventually(LONG, what, away);
        forget(lagging.group.nodes());
        for _ in 0..50 {
            assert_eq!(reader.call("GET k"), Value::bulk("begin"));
        }
        assert_eq!(served(lagging.group.nodes()), [50, 0], "{what}");
    };
    stream.stall();
    only_the_primary_answers("the replica is too old");
    assert_eq!(replica.info("master_link_status").as_deref(), Some("up"), "and that is all");
    stream.resume();
    wait_readable(proxy, 1, true);

    stream.refuse(true);
    stream.cut();
    only_the_primary_answers("its link is down");
    assert_eq!(replica.info("master_link_status").as_deref(), Some("down"));
    stream.refuse(false);
    wait_readable(proxy, 1, true);
    eventually(LONG, "it answers again", || {
        reader.call("GET k");
        served(lagging.group.nodes())[1] > 0
    });
}

#[test]
fn a_replica_that_is_filled_anew_gets_no_reads_before_it_is_full() {
    // A millisecond a key, both for sending and for loading, and it answers meanwhile.
    let slow = ServerOptions::default()
        .set("rdb-key-save-delay", "1000")
        .set("key-load-delay", "1000")
        .set("loading-process-events-interval-bytes", "1024");
    let mut group = Group::plain_with(1, &slow);
    let mut filling = group.nodes()[0].client();
    for key in 0..700 {
        filling.cmd(&["SET", &format!("key:{key}"), &"x".repeat(100)]);
    }
    filling.call("SET k v");
    group.wait_in_sync(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\"").start();
    wait_readable(&proxy, 1, true);
    let mut reader = proxy.client();
    assert_eq!(reader.call("GET k"), Value::bulk("v"));
    group.node(1).restart();
    let (mut synced, mut loaded) = (false, false);
    let replica = &group.nodes()[1];
    eventually(LONG, "the replica is full", || {
        assert_eq!(reader.call("GET k"), Value::bulk("v"));
        let served = served(&group.nodes()[1..]);
        let is = |field: &str, value: &str| info(replica, field).as_deref() == Some(value);
        // Whoever gets no processor meanwhile finds it in the log.
        let log = replica.log();
        synced |= is("master_sync_in_progress", "1") || log.contains("MASTER <-> REPLICA sync started");
        loaded |= is("loading", "1") || log.contains("Loading DB in memory");
        // Asked after the count: once it is up it stays up.
        let up = is("master_link_status", "up");
        assert!(up || served == [0], "it was asked before it was full: {served:?}");
        up
    });
    assert!(synced && loaded, "both were seen: syncing {synced}, loading {loaded}");
    eventually(LONG, "it answers again", || {
        assert_eq!(reader.call("GET k"), Value::bulk("v"));
        served(&group.nodes()[1..]) > vec![0]
    });
}

#[test]
fn a_read_that_a_frozen_replica_owes_is_answered_by_another_in_a_later_epoch_too() {
    let mut group = Group::sealed(2);
    let options = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"replica\"");
    let proxy = options.set("proxy.workers", "1").noticing_silence().start();
    let mut reader = proxy.client();
    assert_eq!(reader.call("SET k v"), Value::ok());
    let first = group.primary();
    group.wait_in_sync(first);
    forget(group.nodes());
    eventually(LONG, "both replicas are read", || {
        assert_eq!(reader.call("GET k"), Value::bulk("v"));
        served(group.nodes()).iter().filter(|count| **count > 0).count() >= 2
    });
    group.node(first).kill9();
    eventually(LONG, "another node leads", || {
        let status = proxy.status();
        status["epoch"] == 2 && status["writable"] == true
    });
    let next = group.primaries().into_iter().find(|node| *node != first).expect("a primary");
    let frozen = 3 - first - next;
    wait_readable(&proxy, frozen, true);
    forget(&group.nodes()[frozen..=frozen]);
    eventually(LONG, "it is read", || {
        assert_eq!(reader.call("GET k"), Value::bulk("v"));
        served(&group.nodes()[frozen..=frozen])[0] > 0
    });
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Of so many some are sent before the replica is last heard, and so wait for all of health.timeout.
        let reads = scope.spawn(|| {
            let mut replies = BTreeMap::new();
            while !over.load(Ordering::SeqCst) {
                for reply in reader.pipeline(&["GET k"; 500]) {
                    *replies.entry(format!("{reply:?}")).or_insert(0) += 1;
                }
            }
            replies
        });
        group.nodes()[frozen].sigstop();
        eventually(LONG, "its silence is seen", || proxy.status()["nodes"][frozen]["up"] == false);
        over.store(true, Ordering::SeqCst);
        let replies = reads.join().expect("the reader goes on");
        assert_eq!(replies.into_keys().collect::<Vec<_>>(), [format!("{:?}", Value::bulk("v"))]);
    });
    group.nodes()[frozen].sigcont();
}
