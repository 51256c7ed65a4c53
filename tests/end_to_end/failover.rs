//! A dead, a frozen and an exchanged primary, under load, with every reply accounted for and the data read back from
//! the nodes themselves.

use std::time::Duration;

use crate::reads::{forget, served};
use crate::support::{
    Group, LONG, Load, Outcome, Proxy, ProxyOptions, Value, applies, chosen, eventually, eventually_some,
    others,
};

const CONNECTIONS: usize = 8;
const DEPTH: usize = 4;
/// Ten times what an idle machine needs for detection and promotion.
const GAP: Duration = Duration::from_secs(10);

/// What must hold after any failover: nobody was dropped or refused, at most one AMBIGUOUS per request in flight, and
/// the node that leads now has everything else. Returns the index of that node.
#[track_caller]
fn check(group: &Group, proxy: &Proxy, outcome: &Outcome, in_flight: u64) -> usize {
    let leader = group.primary();
    println!(
        "acknowledged {}, ambiguous {}, longest gap {:?}, in flight {in_flight}",
        outcome.acknowledged(),
        outcome.ambiguous(),
        outcome.longest_gap()
    );
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert!(outcome.ambiguous() <= (CONNECTIONS * DEPTH) as u64, "{} ambiguous", outcome.ambiguous());
    assert!(outcome.longest_gap() < GAP, "{:?}", outcome.longest_gap());
    assert_eq!(
        proxy.primary_changes(),
        1,
        "exactly one failover in the timeline: {:#}",
        proxy.status()["episodes"]
    );
    // Replication is asynchronous: what a primary acknowledged in the instant of its death may be known to nobody.
    let missing = outcome.missing_on(group.nodes()[leader].address());
    assert!(missing <= (CONNECTIONS * DEPTH) as u64, "{missing} acknowledged writes are missing");
    leader
}

fn kill9_under_load(group: Group) {
    let proxy = Proxy::start(&group.addresses());
    killed_under_load(group, &proxy);
}

/// Kills the primary of a group under load, and wants it replaced.
pub fn killed_under_load(mut group: Group, proxy: &Proxy) {
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    let in_flight = load.strike(|| group.node(0).kill9());
    load.wait_for(2_000);
    let outcome = load.finish();
    let leader = check(&group, proxy, &outcome, in_flight);
    assert_ne!(leader, 0);
    group.node(0).restart();
    let nodes = group.nodes().len();
    for index in (0..nodes).filter(|&index| index != leader) {
        group.wait_following(index, leader);
    }
    assert_eq!(proxy.client().call("SET after v"), Value::ok());
    assert_eq!(proxy.primary_changes(), 1, "a node that returns is no reason for another");
}

#[test]
fn a_killed_primary_is_replaced_and_nobody_notices_but_by_the_clock() {
    kill9_under_load(Group::plain(2));
}

#[test]
fn a_killed_primary_of_a_group_that_boots_sealed_is_replaced() {
    kill9_under_load(Group::sealed(2));
}

#[test]
fn a_killed_primary_with_one_replica_is_replaced() {
    kill9_under_load(Group::plain(1));
}

#[test]
fn every_installed_version_is_served_and_replaced() {
    for version in others() {
        println!("{}", version.name);
        kill9_under_load(Group::plain_with(2, &version.options()));
    }
}

#[test]
fn a_frozen_primary_is_replaced_and_made_a_replica_when_it_wakes() {
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).noticing_silence().start();
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    let in_flight = load.strike(|| group.nodes()[0].sigstop());
    load.wait_for(2_000);
    let outcome = load.finish();
    eventually(
        LONG,
        "another node leads",
        || matches!(&proxy.status()["primary"], serde_json::Value::String(primary) if *primary != group.addresses()[0].to_string()),
    );
    group.nodes()[0].sigcont();
    eventually(LONG, "the old primary follows", || group.primaries().len() == 1);
    let leader = check(&group, &proxy, &outcome, in_flight);
    assert_ne!(leader, 0);
    group.wait_following(0, leader);
    assert_eq!(
        outcome.missing_on(group.nodes()[0].address()),
        outcome.missing_on(group.nodes()[leader].address())
    );
}

#[test]
fn a_primary_that_is_asked_to_end_is_replaced() {
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    let in_flight = load.strike(|| group.node(0).sigterm());
    load.wait_for(2_000);
    let outcome = load.finish();
    check(&group, &proxy, &outcome, in_flight);
}

#[test]
fn a_switchover_under_load_costs_no_error() {
    let group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    for round in 1..=3 {
        load.wait_for(500);
        let before = group.primary();
        proxy.switch_over();
        eventually(LONG, "one other node leads", || {
            group.primaries().len() == 1 && group.primary() != before
        });
        assert_eq!(proxy.primary_changes(), round);
    }
    load.wait_for(500);
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(outcome.ambiguous(), 0);
    assert!(outcome.longest_gap() < GAP, "{:?}", outcome.longest_gap());
    assert_eq!(
        outcome.missing_on(group.nodes()[group.primary()].address()),
        0,
        "nothing is lost in a planned change"
    );
}

#[test]
fn a_second_death_is_survived_too() {
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), CONNECTIONS, DEPTH);
    load.strike(|| group.node(0).kill9());
    load.wait_for(1_000);
    let second = group.primary();
    group.node(0).restart();
    group.wait_following(0, second);
    load.strike(|| group.node(second).kill9());
    load.wait_for(1_000);
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    assert_eq!(proxy.primary_changes(), 2);
    assert!(outcome.ambiguous() <= 2 * (CONNECTIONS * DEPTH) as u64);
    assert!(outcome.missing_on(group.nodes()[group.primary()].address()) <= 2 * (CONNECTIONS * DEPTH) as u64);
}

#[test]
fn writes_that_outlast_the_hold_are_answered_at_once_and_go_on_later() {
    let mut group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"500ms\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    group.node(0).kill9();
    let text = "TRYAGAIN no writable primary for 500 ms; command was not executed";
    let (mut expired, mut ambiguous) = (0, 0);
    for reply in client.pipeline(&["SET k 1"; 100]) {
        let error = reply.error().expect("an error").to_owned();
        assert!(error == text || error.starts_with("AMBIGUOUS"), "{error}");
        *(if error == text { &mut expired } else { &mut ambiguous }) += 1;
    }
    let start = std::time::Instant::now();
    for reply in client.pipeline(&["SET k 2"; 100]) {
        assert_eq!(reply, Value::Error(text.to_owned()));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "the hold belongs to the outage, not to each request");
    let counted = ["hold_expired", "ambiguous"].map(|kind| proxy.errors(kind));
    assert_eq!(counted, [f64::from(expired + 100), f64::from(ambiguous)]);
    group.node(0).restart();
    eventually(LONG, "writes go again on the same connection", || client.call("SET k 3") == Value::ok());
    eventually(LONG, "an outage that changed nobody is told as such", || {
        proxy.metric("redhold_failovers_total{kind=\"failover\",result=\"unchanged\"}") == Some(1.0)
    });
}

#[test]
fn requests_of_clients_that_gave_up_are_not_executed() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("failover.hold", "\"60s\"")
        .set("failover.mode", "\"manual\"")
        .start();
    group.node(0).kill9();
    eventually(LONG, "the death is seen", || proxy.status()["writable"] == false);
    let mut patient = proxy.client();
    patient.send(&["INCR", "n"]);
    for _ in 0..5 {
        let mut impatient = proxy.client();
        impatient.send(&["INCR", "n"]);
        assert!(impatient.is_silent_for(Duration::from_millis(100)));
    }
    eventually(LONG, "they are gone", || proxy.metric("redhold_clients") == Some(1.0));
    proxy.force_failover(group.addresses()[1]);
    assert_eq!(patient.read(), Value::Int(1));
    assert_eq!(patient.call("GET n"), Value::bulk("1"));
}

/// The beat is far longer than the server's patience with its replicas: only the write that waits can have told the brain in time
/// that the primary is shutting down, while it still can help.
#[test]
fn a_primary_that_takes_no_more_writes_is_looked_at_before_the_next_beat() {
    if !applies(chosen().release >= 70, "a server that is asked to end waits for its replicas") {
        return;
    }
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).looking_once_a_minute().start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.wait_in_sync(0);
    // One that acknowledges nothing keeps the server waiting for up to ten seconds.
    group.nodes()[2].sigstop();
    assert_eq!(client.call("SET k 2"), Value::ok());
    group.nodes()[0].ask_to_end();
    eventually(LONG, "it waits for its replicas", || {
        group.nodes()[0].info("shutdown_in_milliseconds").is_some()
    });
    assert_eq!(client.call("SET k 3"), Value::ok());
    // Whoever asks for the status may be faster than it is made; the next beat is far away all the same.
    let next = group.addresses()[1].to_string();
    eventually(LONG, "the other one leads", || proxy.status()["primary"] == next);
    let status = proxy.status();
    let notes =
        status["episodes"].as_array().and_then(|all| all.last()).map(|last| last["notes"].to_string());
    assert!(notes.as_ref().is_some_and(|notes| notes.contains("is shutting down")), "{notes:?}");
    group.nodes()[2].sigcont();
}

/// Writes that a live primary still owes when it is replaced are struck off it, and off nobody else.
#[test]
fn after_a_forced_failover_a_switchover_finds_no_write_in_flight() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| proxy.client()).collect();
    for round in 0..2 {
        let old = group.primary();
        assert_eq!(group.nodes()[old].call("CLIENT PAUSE 60000 WRITE"), Value::ok());
        // A write that is sent again is counted again.
        let sent = || proxy.metric("redhold_commands_total{command=\"set\",node_role=\"primary\"}");
        let before = sent();
        clients.iter_mut().for_each(|client| client.send(&["SET", "k", "v"]));
        eventually(LONG, "the writes are on their way", || {
            sent() >= Some(before.unwrap_or_default() + CONNECTIONS as f64)
        });
        proxy.wait_well();
        proxy.order("/api/failover?force=true");
        clients.iter_mut().for_each(|client| assert_eq!(client.read(), Value::ok()));
        // Redhold makes it follow, closes its clients, which would hit one of ours as well, and ends every pause of it.
        group.wait_following(old, 1 - old);
        let refusals = proxy.switch_over();
        assert!(!refusals.iter().any(|why| why.contains("in flight")), "switchover {round}: {refusals:?}");
    }
}

/// A write that was on its way when the primary fell silent is older than one that was held since.
#[test]
fn what_is_sent_again_goes_before_what_was_held() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("proxy.workers", "1")
        .set("health.timeout", "\"8s\"")
        .set("failover.hold", "\"60s\"")
        .start();
    let (mut older, mut newer) = (proxy.client(), proxy.client());
    assert_eq!(older.call("SET k 0"), Value::ok());
    assert_eq!(newer.call("SET k 0"), Value::ok());
    group.wait_in_sync(0);
    group.node(0).sigstop();
    // A quarter of the timeout: what is sent now is still on its way when the other half is over, and not older than the timeout.
    eventually(LONG, "the silence shows", || proxy.status()["nodes"][0]["up"] == false);
    older.send(&["SET", "k", "older"]);
    eventually(LONG, "writes are held", || !proxy.status()["held"].is_null());
    newer.send(&["SET", "k", "newer"]);
    eventually(LONG, "the newer one is held", || proxy.metric("redhold_held_requests") >= Some(1.0));
    // While the older one is still no suspect for what ails the node.
    group.node(0).kill9();
    assert_eq!((older.read(), newer.read()), (Value::ok(), Value::ok()));
    assert_eq!(group.nodes()[1].call("GET k"), Value::bulk("newer"));
}

/// The beat is far longer than the hold: only the refusal itself can have told the brain in time.
#[test]
fn a_refused_write_has_the_node_looked_at_before_the_next_beat() {
    let group = Group::plain(1);
    let proxy =
        ProxyOptions::new(&group.addresses()).looking_once_a_minute().set("failover.hold", "\"30s\"").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k 1"), Value::ok());
    group.exchange();
    let new = &group.nodes()[1];
    assert_eq!(client.call("SET k 2"), Value::ok());
    assert_eq!(new.call("GET k"), Value::bulk("2"));
    eventually(LONG, "it is told", || proxy.status()["primary"] == new.address().to_string());
}

/// The replica that stays one is frozen with a read of a client's under way: the change of primary is not its end.
#[test]
fn a_read_on_a_replica_that_stays_one_outlives_the_change_of_primary() {
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("proxy.workers", "1")
        .set("reads.policy", "\"prefer_replica\"")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"120s\"")
        .start();
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    group.wait_in_sync(0);
    let mut client = proxy.client();
    let asked = eventually_some(LONG, "a replica answers", || {
        forget(group.nodes());
        assert_eq!(client.call("GET k"), Value::bulk("v"));
        let counts = served(group.nodes());
        (1..3).find(|node| counts[*node] > 0)
    });
    let (stays, leads_next) = (&group.nodes()[asked], group.addresses()[3 - asked]);
    let written = || proxy.metric("redhold_bytes_total{side=\"backend\",direction=\"out\"}");
    let before = written();
    stays.sigstop();
    client.send(&["GET", "k"]);
    eventually(LONG, "it is under way", || written() > before);
    proxy.switch_over_to(leads_next);
    eventually(LONG, "the worker has the new table", || proxy.client().call("SET k w") == Value::ok());
    assert!(client.is_silent_for(Duration::from_millis(50)), "nobody else was asked");
    assert_eq!(proxy.metric("redhold_reissued_total"), Some(0.0));
    stays.sigcont();
    assert_eq!(client.read(), Value::bulk("v"));
}
