//! What a node refused and what is kept back to be sent again is held: it is counted, and its memory is bounded.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, ServerOptions, Value, eventually,
};

const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const TOO_LATE: &str = "TRYAGAIN no writable primary for 4000 ms; command was not executed";

/// Requests with `refused` in them are refused until the relay is told otherwise.
fn refusing(hold: &str) -> (Server, Relay, Proxy) {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = options(&relay, hold).start();
    relay.answer_at("refused", &format!("-{LOADING}\r\n"));
    (server, relay, proxy)
}

fn options(relay: &Relay, hold: &str) -> ProxyOptions {
    ProxyOptions::new(&[relay.address()])
        .set("failover.hold", hold)
        .set("failover.hold_memory", "\"1MiB\"")
        .set("proxy.workers", "1")
}

fn held(proxy: &Proxy) -> f64 {
    proxy.metric("redhold_held_requests").expect("a gauge")
}

fn holds(proxy: &Proxy) -> f64 {
    proxy.metric("redhold_hold_duration_seconds_count").expect("a histogram")
}

#[track_caller]
fn wait_held(proxy: &Proxy, count: f64) {
    eventually(LONG, &format!("{count} are held"), || held(proxy) == count);
}

/// Nobody sends much before the node was asked whether it admits him, and what is asked shares the fate of what is refused.
fn admitted(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SET", "k", &"x".repeat(20 << 10)]), Value::ok());
    client
}

#[test]
fn what_is_kept_back_counts_as_held_until_it_is_taken() {
    let (_server, relay, proxy) = refusing("\"60s\"");
    let [mut one, mut other] = [(); 2].map(|()| proxy.client());
    let began = Instant::now();
    one.send_raw(&crate::support::encode(&["INCR", "refused"]).repeat(3));
    wait_held(&proxy, 1.0);
    other.send(&["INCR", "refused"]);
    wait_held(&proxy, 2.0);
    let met = relay.met();
    eventually(LONG, "they are tried again and again", || {
        assert_eq!((held(&proxy), holds(&proxy)), (2.0, 0.0), "each is held once");
        relay.met() >= met + 20
    });
    assert_eq!(proxy.status()["held_requests"], 2);
    relay.answer_none();
    let mut numbers: Vec<_> = [one.read(), one.read(), one.read(), other.read()].into();
    numbers.sort_by_key(|reply| reply.clone().int());
    assert_eq!(numbers, [1, 2, 3, 4].map(Value::Int));
    wait_held(&proxy, 0.0);
    assert_eq!(holds(&proxy), 2.0);
    let took = |what: &str| {
        let series = format!("redhold_command_duration_seconds_{what}{{command=\"incr\"}}");
        proxy.metric(&series).expect("a histogram")
    };
    let longest = began.elapsed().as_secs_f64();
    assert_eq!(took("count"), 4.0, "however often they were tried");
    assert!(took("sum") <= 4.0 * longest, "{} s in {longest} s", took("sum"));
}

#[test]
fn what_was_refused_is_held_no_more_once_it_is_answered() {
    let (_server, _relay, proxy) = refusing("\"500ms\"");
    let mut client = proxy.client();
    let refusal = Value::Error(LOADING.to_owned());
    assert_eq!(client.pipeline(&["INCR refused"; 5]), vec![refusal.clone(); 5], "after the hold");
    wait_held(&proxy, 0.0);
    assert_eq!(holds(&proxy), 1.0);
    client.send(&["INCR", "refused"]);
    wait_held(&proxy, 1.0);
    assert_eq!(client.read(), refusal);
    wait_held(&proxy, 0.0);
}

#[test]
fn who_leaves_holds_nothing_any_more() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = options(&relay, "\"60s\"").looking_once_a_minute().start();
    relay.answer_at("refused", &format!("-{LOADING}\r\n"));
    let mut waits = proxy.client();
    waits.send(&["INCR", "refused"]);
    wait_held(&proxy, 1.0);
    drop(waits);
    wait_held(&proxy, 0.0);
    let (mut broken, mut other) = (admitted(&proxy), admitted(&proxy));
    let told = || proxy.metric("redhold_bytes_total{side=\"client\",direction=\"out\"}");
    let before = told();
    broken.send(&["PING"]);
    eventually(LONG, "a reply is there, and nobody reads it", || told() > before);
    relay.stall();
    let sent = "redhold_commands_total{command=\"incr\",node_role=\"primary\"}";
    let (met, tries) = (relay.met(), proxy.metric(sent));
    broken.send(&["INCR", "refused"]);
    eventually(LONG, "it is on its way", || proxy.metric(sent) > tries);
    let clients = proxy.metric("redhold_clients").expect("a gauge");
    // With a reply that was not read its connection breaks.
    drop(broken);
    eventually(LONG, "it is gone", || proxy.metric("redhold_clients") == Some(clients - 1.0));
    relay.resume();
    eventually(LONG, "it was refused", || relay.met() > met);
    assert_eq!(other.call("SET k v"), Value::ok(), "what comes behind it is answered");
    assert_eq!((held(&proxy), holds(&proxy)), (0.0, 1.0));
}

/// A primary that lacks a replica, and one that tries in vain to follow it: what it refuses is kept back.
fn wanting() -> (Group, Client, Proxy) {
    let options = ServerOptions::default().set("repl-diskless-sync-delay", "0");
    let group = Group::plain_with(1, &options);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("failover.hold", "\"60s\"")
        .set("failover.hold_memory", "\"1MiB\"")
        .set("proxy.workers", "1")
        .start();
    let mut direct = group.nodes()[0].client();
    assert_eq!(direct.call("CONFIG SET min-replicas-to-write 1"), Value::ok());
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    assert_eq!(group.nodes()[1].call("CONFIG SET masterauth wrong"), Value::ok());
    assert_eq!(group.nodes()[0].call("CONFIG SET requirepass secret"), Value::ok());
    assert_eq!(direct.call("AUTH secret"), Value::ok());
    assert_eq!(direct.call("CLIENT KILL TYPE replica").int(), Some(1));
    (group, direct, proxy)
}

#[test]
fn while_what_is_kept_back_fills_its_memory_others_wait_before_they_are_sent() {
    let (_group, mut direct, proxy) = wanting();
    let value = "x".repeat(200 << 10);
    let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    let mut late: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(&["SET", "k", &value]);
        wait_held(&proxy, (at + 1) as f64);
    }
    for (at, client) in late.iter_mut().enumerate() {
        client.send(&["APPEND", "late", &value]);
        wait_held(&proxy, (at + 6) as f64);
    }
    let mut stats = |command: &str| {
        let stats = direct.call("INFO commandstats").text().expect("a text");
        let found = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        found.map(|line| {
            line.split("rejected_calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok())
        })
    };
    let before: u32 = stats("set").flatten().expect("it was refused");
    eventually(LONG, "what is kept back is tried on", || stats("set").flatten() >= Some(before + 20));
    assert_eq!(stats("append"), None, "it was not sent");
    assert_eq!(direct.call("CONFIG SET min-replicas-to-write 0"), Value::ok());
    clients.iter_mut().for_each(|client| assert_eq!(client.read(), Value::ok()));
    late.iter_mut().for_each(|client| assert!(client.read().int().is_some()));
    wait_held(&proxy, 0.0);
    assert_eq!(holds(&proxy), 8.0);
}

/// One that waited for all of the hold is told so, although what is kept back ends one by one.
#[test]
fn nobody_waits_longer_for_memory_than_the_hold() {
    let (_server, relay, proxy) = refusing("\"4s\"");
    relay.answer_none();
    let mut clients = [(); 3].map(|()| admitted(&proxy));
    relay.answer_at("refused", &format!("-{LOADING}\r\n"));
    // Two of them do not fit.
    let value = "x".repeat(550 << 10);
    let start = Instant::now();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(&["SET", "refused", &value]);
        wait_held(&proxy, (at + 1) as f64);
    }
    let replies: Vec<_> = clients.iter_mut().map(Client::read).collect();
    let refusal = Value::Error(LOADING.to_owned());
    assert_eq!(replies[0], refusal);
    let late = Value::Error(TOO_LATE.to_owned());
    // The next one may find room just before its time is over, and is refused; both can not.
    assert!(replies[1..].iter().all(|reply| *reply == late || *reply == refusal), "{replies:?}");
    assert!(replies[1..].contains(&late), "{replies:?}");
    assert!(start.elapsed() < Duration::from_secs(80), "{:?}", start.elapsed());
    wait_held(&proxy, 0.0);
}

/// It may have been executed where it was sent first: a refusal of the second sending does not say that it was not.
#[test]
fn a_write_that_was_sent_before_is_ambiguous_when_its_refusal_does_not_end() {
    let (_server, relay, proxy) = refusing("\"500ms\"");
    let mut client = admitted(&proxy);
    relay.cut_and_answer_at("refused", &format!("-{LOADING}\r\n"));
    let reply = client.call("SET k refused");
    let text = reply.error().expect("an error");
    assert!(text.starts_with("AMBIGUOUS write may have been executed"), "{text}");
    assert_eq!(proxy.metric("redhold_ambiguous_writes_total"), Some(1.0));
    assert_eq!(client.call("GET refused"), Value::Error(LOADING.to_owned()), "a read may be refused twice");
    relay.cut_and_answer_at("refused", &format!("-{LOADING}\r\n"));
    assert_eq!(client.call("GET refused"), Value::Error(LOADING.to_owned()));
}

/// Each change of primary refuses who is parked there once, and between two of them it is parked again.
#[test]
fn who_is_parked_outlives_changes_that_are_further_apart_than_the_hold() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"600ms\"").start();
    let mut parked = proxy.client();
    parked.send(&["BLPOP", "queue", "0"]);
    for epoch in 2..=4 {
        let leader = (epoch % 2) as usize;
        eventually(LONG, "it is parked there", || {
            group.nodes()[leader].info("blocked_clients").as_deref() == Some("1")
        });
        assert!(parked.is_silent_for(Duration::from_millis(700)), "longer than the hold");
        eventually(LONG, "the order is carried out", || {
            proxy.http("POST", "/api/switchover").is_some_and(|(status, _)| status == 200)
                || proxy.status()["epoch"] == epoch
        });
        wait_held(&proxy, 0.0);
    }
    assert_eq!(proxy.client().call("RPUSH queue a"), Value::Int(1));
    assert_eq!(parked.read(), Value::Array(vec![Value::bulk("queue"), Value::bulk("a")]));
}
