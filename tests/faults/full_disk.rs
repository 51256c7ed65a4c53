//! `failover.state_dir` on a disk that is full. Without root: a link to /dev/full answers ENOSPC for one file, a limit
//! of the process for all of them.

use std::os::unix::fs::symlink;

use crate::support::{Bystander, Group, LONG, Load, Memory, Proxy, ProxyOptions, Value, eventually};
use crate::timeline::wait_steady;

/// What the operating system says of it.
const FULL: &str = "No space left on device (os error 28)";

/// The file that a new record is written to before it takes the old one's place.
fn next_record(proxy: &Proxy) -> std::path::PathBuf {
    proxy.state_dir().join("group.record.new")
}

/// From the next record on; the one that may be on its way is written yet.
#[track_caller]
fn fill_disk(proxy: &Proxy) {
    eventually(LONG, "no record is on its way", || symlink("/dev/full", next_record(proxy)).is_ok());
}

fn record(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.state_dir().join("group.record")).unwrap_or_default()
}

#[test]
fn a_failover_goes_on_without_its_record_says_so_and_writes_it_when_there_is_space() {
    let mut group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).start();
    eventually(LONG, "the first record", || record(&proxy).contains("epoch 1\n"));
    fill_disk(&proxy);
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let load = Load::start(proxy.address(), 8, 4);
    load.strike(|| group.node(0).kill9());
    load.wait_for(2_000);
    wait_steady(&proxy);
    assert_eq!(proxy.primary_changes(), 1, "clients do not wait for a disk");
    let told = format!("the record of epoch 2 was not written: {FULL}");
    eventually(LONG, "the log says so", || proxy.log().contains(&told));
    assert!(record(&proxy).contains("epoch 1\n"), "the old record is whole");
    let status = proxy.status();
    let remark = status["record_unwritten"].as_str().expect("status says so while it lasts").to_owned();
    assert!(remark.contains(FULL), "{remark}");
    let (code, ready) = proxy.http("GET", "/readyz").expect("an answer");
    assert_eq!((code, ready.as_str()), (200, format!("ready, but {told}\n").as_str()));
    std::fs::remove_file(next_record(&proxy)).expect("the link is ours");
    eventually(LONG, "the record is written after all", || record(&proxy).contains("epoch 2\n"));
    eventually(LONG, "and nobody speaks of it any more", || {
        proxy.status()["record_unwritten"].is_null()
            && proxy.http("GET", "/readyz") == Some((200, "ready\n".to_owned()))
    });
    let outcome = load.finish();
    assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
    let missing = outcome.missing_on(group.nodes()[group.primary()].address());
    assert!(missing <= 32, "no more than what was in flight: {missing}");
    let (seen, _) = bystander.finish();
    assert!(seen.refused.len() <= 4, "{:?}", seen.refused);
    memory.assert_grown_less(32 << 20, "eight clients with four small requests each, and ample for buffers");
}

/// A group and a proxy whose record still names node 0 while node 1 leads and holds `precious`; the proxy is dead too.
fn with_a_record_of_the_past() -> (Group, Proxy) {
    let mut group = Group::plain(1);
    let mut proxy = ProxyOptions::new(&group.addresses()).set("failover.hold", "\"300ms\"").start();
    assert_eq!(proxy.client().call("SET precious data"), Value::ok());
    group.wait_in_sync(0);
    eventually(LONG, "the first record", || record(&proxy).contains("epoch 1\n"));
    fill_disk(&proxy);
    group.node(0).kill9();
    eventually(LONG, "the record fails", || proxy.status()["record_unwritten"].is_string());
    // What was intended is not written either; the change is made all the same.
    eventually(LONG, "the replica leads", || group.primaries() == [1]);
    eventually(LONG, "and is published", || proxy.status()["epoch"] == 2);
    proxy.kill9();
    std::fs::remove_file(next_record(&proxy)).expect("the link is ours");
    (group, proxy)
}

#[test]
fn a_record_that_missed_a_failover_does_not_hide_who_leads() {
    let (mut group, mut proxy) = with_a_record_of_the_past();
    proxy.start_again();
    proxy.wait_ready();
    let mut client = proxy.client();
    assert_eq!(client.call("GET precious"), Value::bulk("data"));
    assert_eq!(client.call("SET more data"), Value::ok());
    group.node(0).restart();
    group.wait_following(0, 1);
    assert_eq!(group.nodes()[0].call("GET precious"), Value::bulk("data"));
    eventually(LONG, "the record is true again", || record(&proxy).contains("epoch 2\n"));
}

#[test]
fn a_recorded_primary_that_is_back_empty_does_not_cost_the_data() {
    let (mut group, mut proxy) = with_a_record_of_the_past();
    group.node(0).restart();
    assert_eq!(group.primaries(), [0, 1], "each says that it leads, and the record names the empty one");
    proxy.start_again();
    eventually(LONG, "a person is asked", || {
        let (code, told) = proxy.http("GET", "/readyz").unwrap_or_default();
        code == 503 && told.ends_with("to decide: redhold adopt NODE\n")
    });
    let error = "TRYAGAIN no writable primary for 300 ms; command was not executed";
    eventually(LONG, "the hold is over", || proxy.client().call("SET k v") == Value::Error(error.to_owned()));
    let node = group.addresses()[1];
    let answer = proxy.http_with_body("POST", &format!("/api/adopt?to={node}"), "");
    assert_eq!(answer.as_ref().map(|(code, _)| *code), Some(200), "{answer:?}");
    assert_eq!(proxy.client().call("GET precious"), Value::bulk("data"));
    group.wait_following(0, 1);
    assert_eq!(group.nodes()[0].call("GET precious"), Value::bulk("data"));
}

#[test]
fn a_proxy_starts_and_serves_on_a_full_disk() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).on_full_disk().start();
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    let told = "the record of epoch 1 was not written: File too large (os error 27)";
    eventually(LONG, "status says so", || proxy.status()["record_unwritten"] == told);
    assert_eq!(proxy.http("GET", "/readyz"), Some((200, format!("ready, but {told}\n"))));
    assert_eq!(record(&proxy), "");
    proxy.free_disk();
    eventually(LONG, "the record is written", || record(&proxy).contains("epoch 1\n"));
    eventually(LONG, "and nobody speaks of it any more", || proxy.status()["record_unwritten"].is_null());
}
