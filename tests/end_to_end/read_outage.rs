//! Reads of replicas that are behind, and of replicas without a primary. The nodes tell who answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::reads::{Lagging, forget, served, wait_readable};
use crate::support::{Group, LONG, Proxy, ProxyOptions, Value, eventually};

/// However the test ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_a_replica_answers_is_no_older_than_the_bound() {
    let settings = [("reads.max_staleness", "\"500ms\""), ("reads.read_your_writes", "\"off\"")];
    let Lagging { group, stream, proxy } = Lagging::start(&settings);
    let start = Instant::now();
    let millis = || start.elapsed().as_millis().to_string();
    let age_of = |value: &Value| {
        let written = Duration::from_millis(value.text().and_then(|text| text.parse().ok()).unwrap_or(0));
        start.elapsed().saturating_sub(written)
    };
    let (over, primary) = (AtomicBool::new(false), group.nodes()[0].address());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = crate::support::Client::connect(primary);
            while !over.load(Ordering::SeqCst) {
                writer.cmd(&["SET", "k", &millis()]);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let _ends = Ends(&over);
        let mut reader = proxy.client();
        let mut replica = group.nodes()[1].client();
        let by_replica = || served(&group.nodes()[1..])[0];
        eventually(LONG, "the replica answers", || {
            reader.call("GET k");
            by_replica() > 0
        });
        stream.stall();
        // Two beats after the bound it is not asked any more; a busy machine gets ten times that.
        eventually(LONG, "what it has is too old", || {
            age_of(&replica.call("GET k")) > Duration::from_millis(2_500)
        });
        forget(group.nodes());
        for _ in 0..100 {
            let age = age_of(&reader.call("GET k"));
            assert!(age < Duration::from_millis(2_500), "{age:?}");
        }
        assert_eq!(by_replica(), 0);
        // Whoever asks for the status may be faster than it is made.
        eventually(LONG, "its age is told", || {
            proxy.status()["nodes"][1]["staleness_ms"].as_u64().is_some_and(|ms| ms >= 2_400)
        });
        stream.resume();
        eventually(LONG, "it answers again", || {
            reader.call("GET k");
            by_replica() > 0
        });
    });
}

/// In front of a primary that nobody replaces, under the default policy.
fn unreplaced(staleness: &str) -> [(&'static str, String); 5] {
    [
        ("failover.mode", "\"manual\"".to_owned()),
        ("failover.hold", "\"120s\"".to_owned()),
        ("reads.policy", "\"primary\"".to_owned()),
        ("reads.during_outage", "\"replica\"".to_owned()),
        ("reads.max_staleness", format!("\"{staleness}\"")),
    ]
}

fn wait_held(proxy: &Proxy) {
    eventually(LONG, "writes are held", || proxy.status()["writable"] == false);
}

#[test]
fn without_a_primary_replicas_answer_who_has_nothing_to_wait_for() {
    let settings = unreplaced("120s");
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let Lagging { mut group, stream, proxy } = Lagging::start(&settings);
    let (mut reader, mut writer, mut both) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(reader.call("GET k"), Value::bulk("begin"));
    assert_eq!(served(group.nodes()), [1, 0], "the primary answers as long as it is there");
    stream.stall();
    assert_eq!(writer.call("SET k lost"), Value::ok());
    group.node(0).kill9();
    wait_held(&proxy);
    forget(&group.nodes()[1..]);
    for _ in 0..20 {
        assert_eq!(reader.call("GET k"), Value::bulk("begin"));
    }
    writer.send(&["GET", "k"]);
    for request in [&["GET", "k"] as &[&str], &["SET", "k", "x"], &["GET", "k"], &["GET", "k"]] {
        both.send(request);
    }
    assert_eq!(both.read(), Value::bulk("begin"), "before the write");
    assert!(both.is_silent_for(Duration::from_millis(300)), "nothing overtakes a write that is held");
    assert!(writer.is_silent_for(Duration::from_millis(100)), "the replica lacks what this one wrote");
    assert_eq!(served(&group.nodes()[1..]), [21]);
    for _ in 0..20 {
        assert_eq!(reader.call("GET k"), Value::bulk("begin"));
    }
}

#[test]
fn without_a_primary_replicas_answer_for_as_long_as_their_data_may_be_old() {
    let mut group = Group::plain(1);
    group.nodes()[0].call("SET k v");
    group.wait_in_sync(0);
    let mut options = ProxyOptions::new(&group.addresses());
    for (key, value) in unreplaced("3s") {
        options = options.set(key, &value);
    }
    // Held before it is silent for so long that it counts as dead.
    let proxy = options.set("health.timeout", "\"2s\"").start();
    wait_readable(&proxy, 1, true);
    group.nodes()[0].sigstop();
    let stopped = Instant::now();
    wait_held(&proxy);
    let mut reader = proxy.client();
    let mut last = Duration::ZERO;
    while {
        reader.send(&["GET", "k"]);
        !reader.is_silent_for(Duration::from_millis(500))
    } {
        assert_eq!(reader.read(), Value::bulk("v"));
        last = stopped.elapsed();
    }
    // Held after a second: an age that began with the hold would stay that much behind.
    eventually(LONG, "its age counts from the last look at the primary", || {
        let age = proxy.status()["nodes"][1]["staleness_ms"].as_u64().expect("it is known");
        Duration::from_millis(age + 500) >= stopped.elapsed()
    });
    assert!(last > Duration::ZERO, "it answered");
    group.node(0).kill9();
}
