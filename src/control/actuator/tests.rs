use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::Credentials;
use super::super::testing::{PATIENCE, Server, binaries, eventually};
use super::*;
use crate::net::SocketOptions;
use crate::topology::{Address, Marks, NodeId, Role};

fn dial(server: &Server) -> Dial {
    dial_to(server.address())
}

fn dial_to(address: Address) -> Dial {
    Dial {
        node: NodeId(3),
        address,
        credentials: Credentials::default(),
        name: "redhold:control:1".into(),
        options: SocketOptions::default(),
        tls: None,
        marks: Arc::new(Marks::new(Instant::now())),
    }
}

async fn done(server: &Server, step: Step) -> Box<crate::topology::Replication> {
    match perform(dial(server), step.clone(), PATIENCE).await.outcome {
        Outcome::Done(Some(facts)) => facts,
        other => panic!("{step:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_planned_change_of_primary_step_by_step() {
    for binary in binaries() {
        let old = Server::start(&binary, &[]);
        let port = old.port.to_string();
        let new = Server::start(&binary, &[&["replicaof", "127.0.0.1", &port]]);
        eventually("the replica follows", || new.info().contains("master_link_status:up"));
        old.say("SET key value");
        eventually("the replica has the key", || new.say("GET key") == "value");

        let before = done(&old, Step::Verify).await;
        assert_eq!((before.role, before.keys), (Role::Primary, 1));
        let paused = done(&old, Step::Pause(PATIENCE)).await;
        assert_eq!(paused.offset, before.offset, "the write check moved the offset");
        let verify = perform(dial(&new), Step::Verify, PATIENCE).await.outcome;
        assert!(matches!(&verify, Outcome::Failed(text) if text.starts_with("READONLY")), "{verify:?}");

        let sealed = done(&new, Step::Seal).await;
        assert!(sealed.sealed && sealed.replid == before.replid);
        let promoted = done(&new, Step::Promote).await;
        assert_eq!((promoted.role, &promoted.replid2), (Role::Primary, &before.replid));
        let follow = Step::Follow { primary: new.address(), kick: true };
        let demoted = done(&old, follow).await;
        assert_eq!((demoted.role, demoted.primary), (Role::Replica, Some(new.address())));
        done(&old, Step::Unpause).await;
        eventually("the old primary follows", || old.info().contains("master_link_status:up"));
        let lead = done(&new, Step::Verify).await;
        assert_eq!((lead.role, lead.sync_full), (Role::Primary, 0), "{binary:?}: partial resync was refused");
        assert!(!done(&old, Step::Probe).await.sealed);
    }
}

/// Redis writes first to whom it was owing nothing before, and a demotion makes it owe something to every parked client.
#[tokio::test]
async fn a_primary_is_told_to_step_down_when_it_owes_us_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let dial = dial_to(address.clone());
    let follow = Step::Follow { primary: address, kick: false };
    let step = tokio::spawn(perform(dial, follow, PATIENCE));
    let (mut node, _) = listener.accept().await.unwrap();
    let mut heard = BytesMut::new();
    let words = |heard: &BytesMut, word: &str| String::from_utf8_lossy(heard).to_uppercase().contains(word);
    while !words(&heard, "NO-EVICT") || !heard.ends_with(b"ON\r\n") {
        node.read_buf(&mut heard).await.unwrap();
    }
    assert!(!words(&heard, "REPLICAOF"), "with the greeting");
    node.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
    while !words(&heard, "REPLICAOF") {
        assert!(node.read_buf(&mut heard).await.unwrap() > 0);
    }
    drop(node);
    assert_eq!(step.await.unwrap().outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_kick_closes_ordinary_clients_but_not_the_one_who_kicks() {
    let server = Server::start("redis-server".as_ref(), &[]);
    let mut client = dial(&server).open(Instant::now() + PATIENCE).await.unwrap();
    client.call(&[&["PING"]], Instant::now() + PATIENCE).await.unwrap();
    let stay = Step::Follow { primary: server.address(), kick: false };
    done(&server, stay).await;
    assert!(client.call(&[&["PING"]], Instant::now() + PATIENCE).await.is_ok());
    done(&server, Step::Follow { primary: server.address(), kick: true }).await;
    assert!(client.call(&[&["PING"]], Instant::now() + PATIENCE).await.is_err());
}

#[tokio::test]
async fn settings_are_changed_once_and_put_back() {
    let server = Server::start("redis-server".as_ref(), &[]);
    let pairs = |names: &[(&str, &str)]| {
        names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let wanted = pairs(&[("repl-ping-replica-period", "1"), ("repl-timeout", "60"), ("nonesuch", "1")]);
    let first = perform(dial(&server), Step::Tune(wanted), PATIENCE).await;
    assert!(matches!(&first.outcome, Outcome::Failed(text) if text.contains("nonesuch")), "{first:?}");
    let changed = SettingChanged {
        node: NodeId(3),
        name: "repl-ping-replica-period".to_owned(),
        value: "1".to_owned(),
        before: "10".to_owned(),
    };
    assert_eq!(first.changes.tuned, [changed]);
    let mut link = dial(&server).open(Instant::now() + PATIENCE).await.unwrap();
    let mut period = async || {
        setting(&mut link, "repl-ping-replica-period", Instant::now() + PATIENCE).await.unwrap().unwrap()
    };
    assert_eq!(period().await, "1");

    let before = pairs(&[("repl-ping-replica-period", "10")]);
    let back = perform(dial(&server), Step::Restore(before), PATIENCE).await;
    assert!(matches!(back.outcome, Outcome::Done(Some(_))), "{back:?}");
    assert_eq!(back.changes.restored, ["repl-ping-replica-period"]);
    assert_eq!(period().await, "10");
}

#[tokio::test]
async fn outcomes_tell_a_dead_node_from_a_refusing_and_a_silent_one() {
    let mut server = Server::start("redis-server".as_ref(), &[&["requirepass", "secret"]]);
    let ask =
        async |server: &Server, within: Duration| perform(dial(server), Step::Probe, within).await.outcome;
    let refused = ask(&server, PATIENCE).await;
    assert!(matches!(&refused, Outcome::Failed(text) if text.starts_with("NOAUTH")), "{refused:?}");
    server.signal(rustix::process::Signal::STOP);
    assert_eq!(ask(&server, Duration::from_millis(50)).await, Outcome::Unknown);
    server.kill();
    assert!(matches!(ask(&server, PATIENCE).await, Outcome::Down(_)));
}
