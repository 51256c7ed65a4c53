//! Planned changes of primary while clients work on connections of their own: nobody is told anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Value, eventually};

/// Threads that work until they are told to stop, and say what they did.
struct Work {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<(&'static str, usize, JoinHandle<u64>)>,
}

impl Work {
    fn new() -> Self {
        Self { stop: Arc::default(), done: Arc::default(), threads: Vec::new() }
    }

    /// Starts three clients that repeat `round` and count how often it says that it worked.
    fn start(
        &mut self,
        address: SocketAddr,
        name: &'static str,
        round: fn(&mut Client, usize, u64) -> bool,
        open: fn(SocketAddr) -> Client,
    ) {
        for number in 0..3 {
            let (stop, done) = (self.stop.clone(), self.done.clone());
            let mut client = open(address);
            let thread = std::thread::spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::SeqCst) {
                    if round(&mut client, number, count) {
                        count += 1;
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
                count
            });
            self.threads.push((name, number, thread));
        }
    }

    fn wait_for(&self, more: u64) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        eventually(LONG, "the work goes on", || {
            let failed = self.threads.iter().any(|(_, _, thread)| thread.is_finished());
            failed || self.done.load(Ordering::SeqCst) >= goal
        });
        assert!(
            self.threads.iter().all(|(_, _, thread)| !thread.is_finished()),
            "somebody was told something"
        );
    }

    fn finish(self) -> Vec<(&'static str, usize, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.threads.into_iter().map(|(name, number, thread)| {
            (name, number, thread.join().unwrap_or_else(|_| panic!("{name} {number} was told something")))
        });
        ended.collect()
    }
}

fn tracking(address: SocketAddr) -> Client {
    let mut client = Client::connect_resp3(address);
    assert_eq!(client.call("CLIENT TRACKING ON BCAST PREFIX none:"), Value::ok());
    client
}

/// The next reply that is no push.
#[track_caller]
fn reply(client: &mut Client) -> Value {
    loop {
        let value = client.read();
        if !matches!(value, Value::Push(_)) {
            return value;
        }
    }
}

fn transactions(client: &mut Client, number: usize, _: u64) -> bool {
    let replies = client.pipeline(&["MULTI", &format!("INCR multi:{number}"), "EXEC"]);
    assert!(
        matches!(&replies[2], Value::Array(items) if matches!(items[..], [Value::Int(_)])),
        "{replies:?}"
    );
    true
}

fn watched(client: &mut Client, number: usize, count: u64) -> bool {
    let key = format!("watch:{number}");
    assert_eq!(client.call(&format!("WATCH {key}")), Value::ok());
    let next = (count + 1).to_string();
    let replies =
        client.pipeline(&["MULTI", &format!("SET {key} {next}"), &format!("RPUSH log:{key} {next}"), "EXEC"]);
    assert!(replies[..3].iter().all(|reply| reply.error().is_none()), "{replies:?}");
    match &replies[3] {
        Value::Nil => false,
        Value::Array(items) => {
            assert_eq!(items[0], Value::ok());
            true
        }
        other => panic!("{other:?}"),
    }
}

fn tracked_writes(client: &mut Client, number: usize, count: u64) -> bool {
    client.send(&["INCR", &format!("track:{number}")]);
    assert_eq!(reply(client), Value::Int(count as i64 + 1));
    true
}

fn scripts(client: &mut Client, number: usize, count: u64) -> bool {
    client.send(&["EVAL", "return redis.call('incr', KEYS[1])", "1", &format!("eval:{number}")]);
    assert_eq!(client.read(), Value::Int(count as i64 + 1));
    true
}

fn large(client: &mut Client, number: usize, count: u64) -> bool {
    let mut value = count.to_string();
    value.push_str(&"x".repeat(1 << 20));
    assert_eq!(client.cmd(&["SET", &format!("large:{number}"), &value]), Value::ok());
    true
}

fn pushes(client: &mut Client, number: usize, count: u64) -> bool {
    let pushed = client.cmd(&["RPUSH", &format!("q:{number}"), &count.to_string()]);
    assert!(pushed.int().is_some(), "{pushed:?}");
    true
}

fn pops(client: &mut Client, number: usize, count: u64) -> bool {
    match client.call(&format!("BLPOP q:{number} 1")) {
        Value::Nil => false,
        popped => {
            assert_eq!(popped.items()[1], Value::bulk(count.to_string()), "in order, none twice, none lost");
            true
        }
    }
}

fn switch(group: &Group, proxy: &Proxy) {
    let before = group.primary();
    // Under load a replica may be too far behind for a switch; it says so and nothing changes.
    proxy.switch_over();
    eventually(LONG, "the other node leads", || group.primaries() == [1 - before]);
}

#[test]
fn ten_switchovers_cost_nobody_an_error() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"20s\"").start();
    let mut work = Work::new();
    let address = proxy.address();
    work.start(address, "multi", transactions, Client::connect);
    work.start(address, "watch", watched, Client::connect);
    work.start(address, "track", tracked_writes, tracking);
    work.start(address, "eval", scripts, Client::connect);
    work.start(address, "large", large, Client::connect);
    work.start(address, "push", pushes, Client::connect);
    work.start(address, "pop", pops, Client::connect);
    // These hold something and say nothing: they delay no switch.
    let (mut idle, mut parked) = (proxy.client(), proxy.client());
    idle.pipeline(&["MULTI", "INCR idle"]);
    parked.send(&["BLPOP", "never", "0"]);
    let mut beside = Client::connect_resp3(proxy.address());
    beside.send(&["SUBSCRIBE", "channel"]);
    beside.read();
    beside.send(&["BLPOP", "never-either", "0"]);
    for _ in 0..10 {
        work.wait_for(300);
        switch(&group, &proxy);
    }
    work.wait_for(300);
    let outcome = work.finish();
    // With nobody at work any more nothing counts as in flight: otherwise this one is refused.
    switch(&group, &proxy);
    assert_eq!(proxy.metric("redhold_ambiguous_writes_total"), Some(0.0));
    let mut direct = group.nodes()[group.primary()].client();
    let read = |direct: &mut Client, key: String| direct.call(&format!("GET {key}"));
    let pushed: Vec<u64> =
        outcome.iter().filter(|(name, ..)| *name == "push").map(|(_, _, count)| *count).collect();
    for (name, number, count) in outcome {
        println!("{name} {number}: {count}");
        match name {
            "large" => assert!(read(&mut direct, format!("large:{number}")).text().is_some_and(|text| {
                text.starts_with(&format!("{}x", count - 1)) && text.len() > 1 << 20
            })),
            "push" => {}
            "pop" => {
                let left = direct.call(&format!("LLEN q:{number}")).int().expect("a number");
                assert_eq!(left + count as i64, pushed[number] as i64);
            }
            "watch" => {
                assert_eq!(direct.call(&format!("LLEN log:watch:{number}")), Value::Int(count as i64));
            }
            _ => assert_eq!(read(&mut direct, format!("{name}:{number}")), Value::bulk(count.to_string())),
        }
    }
    assert_eq!(idle.call("EXEC"), Value::Array(vec![Value::Int(1)]));
    direct.call("RPUSH never job");
    assert_eq!(parked.read().items()[1], Value::bulk("job"));
    // Beside subscriptions it is not parked again, and told so as by a server.
    assert!(beside.read().error().is_some_and(|text| text.starts_with("UNBLOCKED ")));
}

/// Who left after sending may still get an answer; his writes count as in flight until they have ended, and no longer.
#[test]
fn writes_of_a_client_that_left_count_until_they_end() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    assert_eq!(group.nodes()[0].call("CLIENT PAUSE 60000 WRITE"), Value::ok());
    let mut gone: Vec<Client> = (0..4).map(|_| tracking(proxy.address())).collect();
    gone.iter_mut().for_each(|client| client.send(&["INCR", "n"]));
    let sent = "redhold_commands_total{command=\"incr\",node_role=\"primary\"}";
    eventually(LONG, "they are on their way", || proxy.metric(sent) == Some(4.0));
    let (status, body) = proxy.http_with_body("POST", "/api/switchover", "").expect("the admin page answers");
    assert!(status != 200 && body.contains("4 writes are still in flight"), "{status} {body}");
    drop(gone);
    assert_eq!(group.nodes()[0].call("CLIENT UNPAUSE"), Value::ok());
    eventually(LONG, "they are gone", || proxy.metric("redhold_clients") == Some(0.0));
    assert_eq!(group.nodes()[0].call("GET n"), Value::bulk("4"));
    switch(&group, &proxy);
}
