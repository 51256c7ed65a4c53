//! `durability.reads = "committed"`: what a client is shown is held by enough replicas.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Client, EVAL_RO, Group, LONG, Proxy, ProxyOptions, Relay, Server, ServerOptions, Value, eventually,
    installed,
};

const UNCOMMITTED: &str =
    "TRYAGAIN what was read is not known to be held by enough replicas; nothing was changed";

/// Nobody is missed for a while when it is stopped.
fn patient(group: &Group) -> ProxyOptions {
    patient_at(&group.addresses())
}

fn patient_at(nodes: &[SocketAddr]) -> ProxyOptions {
    committed_at(nodes).set("health.timeout", "\"30s\"").set("health.busy_timeout", "\"30s\"")
}

fn committed(group: &Group) -> ProxyOptions {
    committed_at(&group.addresses())
}

fn committed_at(nodes: &[SocketAddr]) -> ProxyOptions {
    ProxyOptions::new(nodes).set("durability.mode", "\"semi_sync\"").set("durability.reads", "\"committed\"")
}

fn stop_replicas(group: &Group) {
    group.nodes()[1..].iter().for_each(Server::sigstop);
}

fn continue_replicas(group: &Group) {
    group.nodes()[1..].iter().for_each(Server::sigcont);
}

fn is_uncommitted(reply: &Value) -> bool {
    reply.error() == Some(UNCOMMITTED)
}

fn is_not_durable(reply: &Value) -> bool {
    reply.error().is_some_and(|text| text.starts_with("NOTDURABLE executed on the primary, "))
}

#[test]
fn a_read_waits_for_what_others_have_written() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let proxy = patient(&group).set("durability.timeout", "\"20s\"").start();
        let node = &group.nodes()[0];
        let [mut writer, mut reader, mut other] = [(); 3].map(|()| proxy.client());
        assert_eq!(writer.call("SET k before"), Value::ok(), "{}", version.name);
        assert_eq!(reader.call("GET k"), Value::bulk("before"), "{}", version.name);
        stop_replicas(&group);
        writer.send(&["SET", "k", "after"]);
        eventually(LONG, "the write is executed", || node.call("GET k") == Value::bulk("after"));
        reader.send(&["GET", "k"]);
        node.call("SET unseen written-behind-the-proxy");
        other.send(&["GET", "unseen"]);
        assert!(reader.is_silent_for(Duration::from_millis(50)), "{}", version.name);
        assert!(other.is_silent_for(Duration::from_millis(50)), "{}", version.name);
        assert!(writer.is_silent_for(Duration::from_millis(1)), "{}", version.name);
        continue_replicas(&group);
        assert_eq!(writer.read(), Value::ok(), "{}", version.name);
        assert_eq!(reader.read(), Value::bulk("after"), "{}", version.name);
        assert_eq!(other.read(), Value::bulk("written-behind-the-proxy"), "{}", version.name);
    }
}

#[test]
fn what_no_replica_has_in_time_is_not_shown() {
    let group = Group::plain(2);
    let proxy = patient(&group).start();
    let mut client = proxy.client();
    assert_eq!(client.call("GET k"), Value::Nil);
    stop_replicas(&group);
    group.nodes()[0].call("SET k after");
    assert!(is_uncommitted(&client.call("GET k")));
    let replies = client.pipeline(&["GET k", "SET k mine", "GET k", "PING", "GET k"]);
    for (at, reply) in replies.iter().enumerate() {
        let right = match at {
            1 => is_not_durable(reply),
            3 => *reply == Value::Simple("PONG".to_owned()),
            _ => is_uncommitted(reply),
        };
        assert!(right, "{at}: {replies:?}");
    }
    let counted = |kind: &str| proxy.metric(&format!("redhold_errors_total{{kind=\"{kind}\"}}"));
    assert_eq!((counted("uncommitted"), counted("not_durable")), (Some(4.0), Some(1.0)));
    continue_replicas(&group);
    eventually(LONG, "a replica has it", || client.call("GET k") == Value::bulk("mine"));
}

#[test]
fn every_kind_of_read_waits_on_every_kind_of_connection() {
    let group = Group::plain(2);
    let proxy = patient(&group).start();
    let node = &group.nodes()[0];
    let large = "x".repeat(2 << 20);
    let mut client = proxy.client();
    let mut direct = node.client();
    for request in ["SET k v", "RPUSH list a", "XADD stream 1-1 f v"] {
        assert!(direct.call(request).error().is_none());
    }
    direct.cmd(&["SET", "large", &large]);
    let eval_ro = EVAL_RO.is_there();
    for frozen in [false, true] {
        if frozen {
            stop_replicas(&group);
        }
        let shows = |reply: &Value, right: bool, what: &str| {
            let right = if frozen { is_uncommitted(reply) } else { right };
            assert!(right, "{what}, frozen: {frozen}: {reply:?}");
        };
        let v = Value::bulk("v");
        let got = client.call("GET k");
        shows(&got, got == v, "GET");
        let got = client.call("MGET k none");
        shows(&got, got == Value::Array(vec![v.clone(), Value::Nil]), "MGET");
        let got = client.call("GET none");
        shows(&got, got == Value::Nil, "what is gone");
        let got = client.call("GET list");
        shows(&got, got.error().is_some_and(|text| text.starts_with("WRONGTYPE ")), "WRONGTYPE");
        let got = client.call("INCR k");
        shows(&got, got.error().is_some_and(|text| text.starts_with("ERR value")), "a write's error");
        if eval_ro {
            let got = client.cmd(&["EVAL_RO", "return redis.call('get', KEYS[1])", "1", "k"]);
            shows(&got, got == v, "EVAL_RO");
            // A script chooses the words of its errors.
            let tells = "return redis.error_reply('BUSY ' .. redis.call('get', KEYS[1]))";
            let got = client.cmd(&["EVAL_RO", tells, "1", "k"]);
            shows(&got, got.error() == Some("BUSY v"), "a value in an error");
        }
        let got = client.call("SCAN 0 COUNT 1000");
        shows(&got, got.items().first() == Some(&Value::bulk("0")), "SCAN");
        let got = client.call("GET large");
        shows(&got, got == Value::bulk(large.as_str()), "a large reply");
        let got = client.cmd(&["MGET", "k", &large]);
        shows(&got, got == Value::Array(vec![v.clone(), Value::Nil]), "a large request");
        let got = client.call("XREAD BLOCK 5000 STREAMS stream 0");
        shows(&got, got.items().len() == 1, "XREAD");
        let got = client.call("XREAD BLOCK 10 STREAMS stream $");
        shows(&got, got == Value::Nil, "XREAD in vain");
        assert_eq!(client.call("WATCH k"), Value::ok());
        let got = client.call("GET k");
        shows(&got, got == v, "GET on a connection of its own");
        let got = client.call("GET large");
        shows(&got, got == Value::bulk(large.as_str()), "a large reply on a connection of its own");
        direct.call("SET k v");
        let block = client.pipeline(&["MULTI", "SET k w", "EXEC"]);
        assert_eq!(block[..2], [Value::ok(), Value::Simple("QUEUED".to_owned())]);
        shows(&block[2], block[2] == Value::Nil, "EXEC behind a key that was changed");
        assert_eq!(client.call("ECHO at-once"), Value::bulk("at-once"));
        let unknown = client.pipeline(&["MULTI", "GET k", "EXEC"]);
        let right = if frozen { is_not_durable(&unknown[2]) } else { unknown[2].items() == [v] };
        assert!(right, "EXEC, frozen: {frozen}: {unknown:?}");
    }
    continue_replicas(&group);
}

/// What was sent first may have taken effect, whatever the node says to it the second time.
#[test]
fn an_error_to_a_write_that_was_sent_before_waits_as_a_write() {
    let group = Group::plain(1);
    let relay = Relay::to(group.nodes()[0].address());
    let proxy = patient_at(&[relay.address(), group.nodes()[1].address()])
        .set("failover.in_flight", "\"retry_idempotent\"")
        .start();
    let [mut shared, mut pinned] = [(); 2].map(|()| proxy.client());
    assert_eq!(shared.call("SET k v"), Value::ok());
    assert_eq!(pinned.call("WATCH other"), Value::ok());
    assert_eq!(group.nodes()[0].call("CONFIG SET maxmemory 1"), Value::ok());
    stop_replicas(&group);
    for (at, client) in [&mut shared, &mut pinned].into_iter().enumerate() {
        let full = |reply: &Value| reply.error().is_some_and(|text| text.starts_with("OOM "));
        let reply = client.call("SET k once");
        assert!(full(&reply), "what was sent once was not executed: {reply:?}");
        relay.cut_at("twice", 1);
        let reply = client.call("SET k twice");
        assert_eq!(relay.met(), at + 1);
        assert!(is_not_durable(&reply), "{at}: {reply:?}");
    }
    continue_replicas(&group);
}

/// What DEBUG has done before it failed, nobody knows.
#[test]
fn an_error_of_debug_waits_as_a_write() {
    let group = Group::plain_with(1, &ServerOptions::default().set("enable-debug-command", "yes"));
    let proxy = patient(&group).start();
    let mut client = proxy.client();
    assert!(client.call("DEBUG NONE").error().is_some_and(|text| text.starts_with("ERR ")));
    stop_replicas(&group);
    let reply = client.call("DEBUG NONE");
    assert!(is_not_durable(&reply), "{reply:?}");
    continue_replicas(&group);
}

/// The proxy writes into replies with cursors, and such a reply waits as long as it has become.
#[test]
fn a_cursor_of_a_later_epoch_waits_with_all_that_comes_with_it() {
    let group = Group::plain(2);
    let proxy = patient(&group).start();
    let mut client = proxy.client();
    for key in 0..4000 {
        client.send(&["SET", &format!("{key:040}"), "v"]);
    }
    assert!((0..4000).all(|_| client.read() == Value::ok()));
    eventually(2 * LONG, "the switch is made", || switch(&proxy));
    eventually(LONG, "reads go on", || client.call("GET none") == Value::Nil);
    let mut scan = |count: u32| client.call(&format!("SCAN 0 COUNT {count}"));
    let (few, many) = (scan(10), scan(100_000));
    assert!(few.items()[0] != Value::bulk("0") && few.items()[1].items().len() >= 10, "{few:?}");
    assert_eq!(many.items()[1].items().len(), 4000);
    let no_hash = format!("HSCAN {:040} 0", 1);
    assert!(client.call(&no_hash).error().is_some_and(|text| text.starts_with("WRONGTYPE ")));
    let leads = group.primary();
    let replicas = || (0..3).filter(|node| *node != leads).map(|node| &group.nodes()[node]);
    replicas().for_each(Server::sigstop);
    for request in ["SCAN 0 COUNT 10", "SCAN 0 COUNT 100000", &no_hash] {
        let reply = client.call(request);
        assert!(is_uncommitted(&reply), "{request}: {reply:?}");
    }
    replicas().for_each(Server::sigcont);
}

/// A value that no replica has, read before its primary dies: nobody is ever shown it.
#[test]
fn what_vanishes_with_its_primary_was_shown_to_nobody() {
    let group = Group::sealed(2);
    let proxy =
        committed(&group).set("health.timeout", "\"1s\"").set("durability.timeout", "\"20s\"").start();
    let first = group.primary();
    let replicas: Vec<&Server> =
        (0..3).filter(|node| *node != first).map(|node| &group.nodes()[node]).collect();
    let [mut shared, mut pinned] = [(); 2].map(|()| proxy.client());
    assert_eq!(shared.call("SET k kept"), Value::ok());
    assert_eq!(pinned.call("WATCH other"), Value::ok());
    replicas.iter().for_each(|replica| replica.sigstop());
    let node = &group.nodes()[first];
    // More than fits into the buffers of sockets, so that a replica gets nothing of what comes behind it.
    node.client().cmd(&["SET", "filler", &"x".repeat(48 << 20)]);
    assert_eq!(node.call("SET k lost"), Value::ok());
    node.call("CONFIG RESETSTAT");
    for client in [&mut shared, &mut pinned] {
        client.send(&["GET", "k"]);
    }
    eventually(LONG, "both are executed", || {
        let stats = node.call("INFO commandstats").text().unwrap_or_default();
        stats.contains("cmdstat_get:calls=2")
    });
    node.sigstop();
    replicas.iter().for_each(|replica| replica.sigcont());
    for reply in [shared.read(), pinned.read()] {
        // A reply that was still on its way is another matter: the next primary is asked instead, or nobody, since what has waited
        // for long may have silenced the node.
        let unasked = reply.error().is_some_and(|text| text.starts_with("TRYAGAIN request was in flight"));
        assert!(unasked || is_uncommitted(&reply) || reply == Value::bulk("kept"), "{reply:?}");
    }
    let mut value = Value::Nil;
    eventually(LONG, "the next primary and a replica have it", || {
        value = shared.call("GET k");
        !is_uncommitted(&value)
    });
    assert_eq!(value, Value::bulk("kept"));
    node.sigcont();
}

/// Reads under way are waited for as writes are, on whichever connection.
#[test]
fn a_switchover_costs_no_reader_an_answer() {
    let group = Group::sealed(2);
    let proxy = committed(&group).set("health.timeout", "\"1s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let (over, odd) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for at in 0..8 {
            let mut client: Client = proxy.client();
            let (over, odd) = (&over, &odd);
            scope.spawn(move || {
                if at % 2 == 0 {
                    assert_eq!(client.call("WATCH other"), Value::ok());
                }
                while !over.load(Ordering::Relaxed) {
                    let replies = client.pipeline(&["GET k", "GET k", "GET k", "GET k"]);
                    odd.lock()
                        .unwrap()
                        .extend(replies.into_iter().filter(|reply| *reply != Value::bulk("v")));
                }
            });
        }
        for _ in 0..5 {
            let before = group.primary();
            eventually(2 * LONG, "the switch is made", || switch(&proxy));
            assert_ne!(group.primary(), before);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(odd.into_inner().unwrap(), Vec::<Value>::new());
}

fn switch(proxy: &Proxy) -> bool {
    let (status, body) = proxy.http("POST", "/api/switchover").expect("the admin page answers");
    assert!(status == 200 || status == 409, "{status}: {body}");
    status == 200
}

#[test]
fn what_nobody_could_vouch_for_is_not_asked() {
    let mut group = Group::sealed(1);
    let proxy = committed(&group).set("health.timeout", "\"1s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let (primary, replica) = (group.primary(), 1 - group.primary());
    group.node(replica).kill9();
    eventually(LONG, "its end is seen", || {
        client.call("SET seen x").error() == Some("NOREPLICAS Not enough good replicas to write.")
    });
    group.nodes()[primary].call("CONFIG RESETSTAT");
    assert!(is_uncommitted(&client.call("GET k")));
    let stats = group.nodes()[primary].call("INFO commandstats").text().unwrap_or_default();
    assert!(!stats.contains("cmdstat_get:"), "{stats}");
    assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
    group.node(replica).restart();
    eventually(LONG, "it follows again", || client.call("GET k") == Value::bulk("v"));
}

#[test]
fn while_writes_wait_for_nobody_reads_do_neither() {
    let mut group = Group::plain(1);
    let proxy = committed(&group).set("durability.degrade_after", "\"300ms\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.node(1).kill9();
    eventually(LONG, "a read goes without replicas", || {
        let reply = client.call("GET k");
        assert!(reply == Value::bulk("1") || is_uncommitted(&reply), "{reply:?}");
        proxy.metric("redhold_durability_degraded") == Some(1.0) && reply == Value::bulk("1")
    });
    assert_eq!(client.call("SET k 2"), Value::ok());
    assert_eq!(client.call("GET k"), Value::bulk("2"), "and the next as well");
}
