//! Beginnings and ends: first starts, records, nobody there, another brain.

use redhold::control;
use redhold::topology::{Address, Order, Role};

use super::brain::{Brain, Folder, index, settings, settings_of};
use super::support::{Group, Server, ServerOptions, free_port};

#[test]
fn a_running_group_is_adopted_as_it_is() {
    let group = Group::plain(2);
    let (brain, table) = Brain::serving(settings(&group));
    assert_eq!((table.epoch, index(table.primary)), (1, 0));
    brain.table_that("both replicas may be read", |table| table.nodes[1].readable && table.nodes[2].readable);
    let status = brain.status_that("peer addresses are known", |status| {
        status.machine.nodes.iter().all(|node| node.up && node.lag_bytes.unwrap_or(0) == 0)
    });
    for (node, server) in status.nodes.iter().zip(group.nodes()) {
        let facts = node.facts.as_ref().expect("facts");
        assert_eq!((facts.port, &node.error), (server.port(), &None));
        assert_eq!(facts.role == Role::Primary, node.id == table.primary.expect("a primary"));
        assert!(node.ping.is_some() && node.seen.is_some());
    }
    assert_eq!(group.primaries(), [0]);
    brain.stop();
}

#[test]
fn empty_sealed_nodes_begin_with_the_first_declared() {
    let group = Group::sealed_fresh(2);
    let (brain, table) = Brain::serving(settings(&group));
    assert_eq!(index(table.primary), 0);
    group.wait_in_sync(0);
    assert_eq!(group.primaries(), [0]);
    brain.stop();
}

#[test]
fn nobody_needs_to_be_there_at_the_start() {
    let port = free_port();
    let brain = Brain::start(settings_of([port].into_iter()));
    brain.status_that("the node is known to be down", |status| status.nodes[0].error.is_some());
    assert!(brain.handle.routes.load().writable().is_none());
    brain.stop();

    let server = Server::start();
    let (brain, table) = Brain::serving(settings_of([server.port()].into_iter()));
    assert_eq!(table.epoch, 1);
    brain.stop();
}

#[test]
fn the_record_outlives_the_process_and_is_held_by_one() {
    let folder = Folder::new("record");
    let group = Group::plain(1);
    let mut settings = settings(&group);
    settings.state_dir = Some(folder.0.join("state"));
    let (brain, table) = Brain::serving(settings.clone());
    assert_eq!(table.epoch, 1);
    let marks = std::sync::Arc::clone(&brain.marks);
    let second =
        control::start(settings.clone(), None, None, marks).map(drop).expect_err("one process at a time");
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    brain.order(Order::Switchover { to: None }).expect("a switchover");
    let (table, _) = brain.next_primary(1);
    group.wait_in_sync(1);
    brain.status_that("steady", |status| status.machine.phase == "steady");
    brain.stop();

    let (brain, after) = Brain::serving(settings);
    assert_eq!((after.epoch, after.primary), (table.epoch, table.primary), "{}", brain.story());
    brain.stop();
}

#[test]
fn two_brains_hear_each_other_and_neither_acts() {
    let mut group = Group::plain(1);
    let (first, _) = Brain::serving(settings(&group));
    let (second, table) = Brain::serving(settings(&group));
    assert_eq!(index(table.primary), 0);
    for brain in [&first, &second] {
        brain.status_that("another brain was heard", |status| !status.other_brains.is_empty());
    }
    group.node(0).kill9();
    for brain in [&first, &second] {
        brain.table_that("writes are held", |table| table.writable().is_none());
    }
    assert_eq!(group.primaries(), [0_usize; 0]);
    first.stop();
    second.stop();
}

#[test]
fn the_proxys_own_credentials_serve_everything_that_a_failover_needs() {
    let options = ServerOptions::default()
        .set("requirepass", "app")
        .set("masteruser", "ops")
        .set("masterauth", "words")
        .set("user", "ops on >words +@all ~* &*")
        .set("replicaof", "127.0.0.1 0");
    let nodes: Vec<Server> = (0..3).map(|_| options.clone().start()).collect();
    let mut settings = settings_of(nodes.iter().map(Server::port));
    settings.credentials = control::Credentials { username: "ops".to_owned(), password: "words".to_owned() };
    let (brain, table) = Brain::serving(settings);
    brain.table_that("the replicas follow", |table| table.nodes[1].readable && table.nodes[2].readable);
    let mut nodes = nodes;
    nodes[0].kill9();
    let (table, _) = brain.next_primary(table.epoch);
    let new = index(table.primary);
    brain.table_that("the other follows", |table| table.nodes[3 - new].readable);
    let follows = brain.status().nodes[3 - new].facts.as_ref().and_then(|facts| facts.primary.clone());
    assert_eq!(follows, Some(Address { host: "127.0.0.1".into(), port: nodes[new].port() }));
    brain.stop();
}
