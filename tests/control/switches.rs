//! Changes of primary, ordered and not.

use std::time::{Duration, Instant};

use redhold::topology::{NodeId, Order};
use rustix::process::{Pid, Signal, kill_process};

use super::brain::{Brain, index, settings};
use super::support::{Group, LONG, ProxyOptions, ServerOptions, Value, Version, eventually, others};

/// Writes `count` keys and waits until `replicas` have them.
#[track_caller]
fn fill(group: &Group, primary: usize, count: usize, replicas: i64) {
    let mut client = group.nodes()[primary].client();
    let requests: Vec<String> = (0..count).map(|number| format!("SET key:{number} {number}")).collect();
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    assert!(client.pipeline(&requests).iter().all(|reply| *reply == Value::ok()));
    assert_eq!(client.call(&format!("WAIT {replicas} 30000")).int(), Some(replicas));
}

fn number(group: &Group, node: usize, field: &str) -> i64 {
    group.nodes()[node].info(field).unwrap_or_default().parse().unwrap_or(-1)
}

#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    for sealed in [false, true] {
        let mut group = if sealed { Group::sealed(2) } else { Group::plain(2) };
        let (brain, table) = Brain::serving(settings(&group));
        assert_eq!((table.epoch, index(table.primary)), (1, 0));
        fill(&group, 0, 1000, 2);
        let offset = number(&group, 0, "master_repl_offset");
        let syncs = [1, 2].map(|node| number(&group, node, "sync_full"));

        let killed = Instant::now();
        group.node(0).kill9();
        let (table, seen) = brain.next_primary(1);
        println!("sealed {sealed}: kill -9 to the new table {:?}", seen - killed);
        assert_eq!(table.epoch, 2, "{}", brain.story());
        let (new, other) = (index(table.primary), 3 - index(table.primary));
        assert!(number(&group, new, "master_repl_offset") >= offset);
        assert_eq!(group.nodes()[new].call("DBSIZE").int(), Some(1000));
        group.wait_following(other, new);
        assert_eq!([1, 2].map(|node| number(&group, node, "sync_full")), syncs, "no full resynchronisation");
        brain.table_that("the other replica may be read", |table| table.nodes[other].readable);

        group.node(0).restart();
        group.wait_following(0, new);
        assert_eq!(group.primaries(), [new]);
        brain.table_that("the old primary may be read", |table| table.nodes[0].readable);
        let status = brain.status_that("steady", |status| status.machine.phase == "steady");
        assert_eq!(
            (status.machine.epoch, status.machine.episodes.iter().filter(|e| !e.ordered).count()),
            (2, 2)
        );
        brain.stop();
    }
}

#[test]
fn a_frozen_primary_is_replaced_after_the_timeout_and_demoted_when_it_thaws() {
    let group = Group::plain(2);
    let (brain, table) = Brain::serving(settings(&group));
    assert_eq!(index(table.primary), 0);
    fill(&group, 0, 100, 2);
    let frozen = Instant::now();
    group.nodes()[0].sigstop();
    let (table, seen) = brain.next_primary(table.epoch);
    println!("SIGSTOP to the new table {:?}", seen - frozen);
    assert!(seen - frozen > Duration::from_millis(700), "{}", brain.story());
    let new = index(table.primary);
    assert_eq!((table.epoch, group.nodes()[new].call("DBSIZE").int()), (2, Some(100)));
    group.nodes()[0].sigcont();
    group.wait_following(0, new);
    group.wait_following(3 - new, new);
    assert_eq!(group.primaries(), [new]);
    brain.stop();
}

#[test]
fn switchovers_need_no_full_resynchronisation() {
    let group = Group::plain(2);
    let (brain, mut table) = Brain::serving(settings(&group));
    fill(&group, 0, 1000, 2);
    let before = [0, 1, 2].map(|node| number(&group, node, "sync_full"));
    for round in 0..6 {
        let from = index(table.primary);
        let target = (round % 2 == 0).then(|| NodeId(u16::try_from((from + 1) % 3).expect("small")));
        let answer = brain.order(Order::Switchover { to: target });
        assert!(answer.is_ok(), "{answer:?}\n{}", brain.story());
        let (next, _) = brain.next_primary(table.epoch);
        table = next;
        let to = index(table.primary);
        assert!(to != from && target.is_none_or(|target| target.slot() == to), "{answer:?}");
        group.wait_in_sync(to);
        assert_eq!(group.primaries(), [to]);
        let status = brain.status_that("steady", |status| status.machine.phase == "steady");
        let episode = status.machine.episodes.last().expect("an episode");
        println!("switchover {round}: held {:?}: {}", episode.held, answer.unwrap_or_default());
        assert!(episode.ordered);
        eventually(LONG, "all replicas are readable", || {
            let table = brain.handle.routes.load();
            table.nodes.iter().all(|node| node.readable != (node.id.slot() == to))
        });
    }
    assert_eq!([0, 1, 2].map(|node| number(&group, node, "sync_full")), before);
    assert_eq!(group.nodes()[index(table.primary)].call("DBSIZE").int(), Some(1000));
    brain.stop();
}

#[test]
fn orders_that_cannot_be_carried_out_say_why_and_change_nothing() {
    let mut group = Group::plain(1);
    let (brain, table) = Brain::serving(settings(&group));
    group.node(1).kill9();
    brain.status_that("the replica is down", |status| !status.machine.nodes[1].up);
    let answer = brain.order(Order::Switchover { to: Some(NodeId(1)) });
    let port = group.nodes()[1].port().to_string();
    assert!(answer.as_ref().is_err_and(|text| text.contains(&port)), "{answer:?}");
    let now = brain.handle.routes.load();
    assert_eq!((now.epoch, now.primary), (table.epoch, table.primary));
    assert!(now.writable().is_some());
    brain.stop();
}

/// A primary that cannot save answers writes with MISCONF; its replicas are complete.
#[test]
fn a_primary_that_cannot_persist_hands_over_without_loss() {
    let group = Group::plain(2);
    let (brain, table) = Brain::serving(settings(&group));
    fill(&group, 0, 100, 2);
    let primary = &group.nodes()[0];
    let folder = primary.call("CONFIG GET dir").items()[1].text().expect("a folder");
    std::fs::remove_dir_all(&folder).expect("the server's own folder");
    assert_eq!(primary.client().cmd(&["CONFIG", "SET", "save", "1 1"]), Value::ok());
    primary.call("BGSAVE");
    eventually(LONG, "the primary refuses writes", || {
        primary.call("SET one more").error().is_some_and(|text| text.starts_with("MISCONF"))
    });
    let (table, _) = brain.next_primary(table.epoch);
    let new = index(table.primary);
    group.wait_following(0, new);
    assert_eq!((table.epoch, group.primaries()), (2, vec![new]), "{}", brain.story());
    brain.stop();
}

/// Changed at run time only, told in status with what was before, and done again after a restart of the node.
#[test]
fn settings_changed_on_nodes_are_told() {
    let slow = ServerOptions::default().set("repl-ping-replica-period", "10").set("repl-timeout", "77");
    let mut group = Group::plain_with(1, &slow);
    let (brain, _) = Brain::serving(settings(&group));
    let told = |status: &redhold::control::Status| {
        let changes = &status.settings_changed;
        let told = |node, name: &str, before: &str| {
            changes.iter().any(|change| {
                (change.node, change.name.as_str(), change.before.as_str()) == (NodeId(node), name, before)
            })
        };
        [0, 1]
            .iter()
            .all(|node| told(*node, "repl-ping-replica-period", "10") && told(*node, "repl-timeout", "77"))
    };
    brain.status_that("both nodes' changes are told", told);
    let period =
        |group: &Group| group.nodes()[1].call("CONFIG GET repl-ping-replica-period").items()[1].text();
    assert_eq!(period(&group).as_deref(), Some("1"));
    let run_id = group.nodes()[1].info("run_id");
    group.node(1).restart();
    brain.status_that("the restarted node was seen", |status| {
        status.nodes[1].facts.as_ref().is_some_and(|facts| Some(&facts.run_id) != run_id.as_ref())
    });
    brain.status_that("told again", told);
    assert_eq!(period(&group).as_deref(), Some("1"));
    brain.stop();
}

/// The versions at hand: the server on PATH, and what `tests/tools/servers.sh` fetched.
fn versions() -> Vec<ServerOptions> {
    std::iter::once(ServerOptions::default()).chain(others().into_iter().map(Version::options)).collect()
}

#[test]
fn every_version_at_hand_survives_a_kill_a_switchover_and_an_orderly_end() {
    for version in versions() {
        let mut group = Group::plain_with(2, &version);
        let (brain, table) = Brain::serving(settings(&group));
        fill(&group, 0, 100, 2);
        group.node(0).kill9();
        let (table, _) = brain.next_primary(table.epoch);
        let second = index(table.primary);
        group.wait_following(3 - second, second);
        group.node(0).restart();
        group.wait_following(0, second);
        brain.table_that("everybody may be read", |table| {
            table.nodes.iter().filter(|n| n.readable).count() == 2
        });

        brain.order(Order::Switchover { to: Some(NodeId(0)) }).expect("a switchover");
        let (table, _) = brain.next_primary(table.epoch);
        assert_eq!(index(table.primary), 0);
        group.wait_in_sync(0);
        brain.table_that("everybody may be read", |table| {
            table.nodes.iter().filter(|n| n.readable).count() == 2
        });

        let ended = Instant::now();
        group.node(0).sigterm();
        let (table, seen) = brain.next_primary(table.epoch);
        println!("{version:?}: SIGTERM to the new table {:?}", seen - ended);
        let third = index(table.primary);
        group.wait_following(3 - third, third);
        assert_eq!(group.nodes()[third].call("DBSIZE").int(), Some(100));
        assert_eq!(table.epoch, 4, "{}", brain.story());
        brain.stop();
    }
}

/// Seconds of a stalled proxy are not seconds of a silent node: of the silence that it finds when it goes on, it saw
/// a tenth of the timeout itself.
#[test]
fn a_stalled_proxy_blames_nobody() {
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", "\"3s\"").start();
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).expect("a pid")).expect("a pid");
    group.nodes()[0].sigstop();
    std::thread::sleep(Duration::from_millis(300));
    kill_process(pid, Signal::STOP).expect("our child");
    std::thread::sleep(Duration::from_secs(4));
    kill_process(pid, Signal::CONT).expect("our child");
    std::thread::sleep(Duration::from_millis(300));
    group.nodes()[0].sigcont();
    assert_eq!(proxy.client().call("SET still here"), Value::ok());
    assert_eq!((proxy.status()["epoch"].as_u64(), group.primaries()), (Some(1), vec![0]), "{}", proxy.log());
}
