use std::path::Path;
use std::sync::Arc;

use super::super::Credentials;
use super::super::testing::{Scratch, Server, binaries, eventually};
use super::*;
use crate::net::SocketOptions;
use crate::topology::{Marks, NodeId};

fn frame(words: &[&str]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    crate::resp::encode::own_command(&mut out, &words);
    out.to_vec()
}

/// What is kept of a stream that comes in pieces of so many bytes, with the number of commands and of their bytes.
fn sorted(commands: &[&[&str]], piece: usize) -> (Vec<u8>, u64, u64) {
    let (mut sorter, mut stream) = (Sorter::default(), BytesMut::new());
    let whole: Vec<u8> = commands.iter().flat_map(|words| frame(words)).collect();
    for part in whole.chunks(piece) {
        stream.extend_from_slice(part);
        sorter.sort(&mut stream).unwrap();
    }
    assert!(stream.is_empty());
    (sorter.kept, sorter.commands, sorter.bytes)
}

#[test]
fn pings_acknowledgements_and_greetings_are_no_loss_and_are_not_kept() {
    let noise: [&[&str]; 7] = [
        &["PING"],
        &["SELECT", "3"],
        &["REPLCONF", "GETACK", "*"],
        &["PUBLISH", "__redhold:hello", "0123456789abcdef"],
        &["SPUBLISH", "__redhold:hello", "0123456789abcdef"],
        &["PUBLISH", "__sentinel__:hello", "127.0.0.1,26379"],
        &["PING"],
    ];
    for piece in [1, 7, 1000] {
        assert_eq!(sorted(&noise, piece), (Vec::new(), 0, 0));
    }
}

#[test]
fn commands_are_kept_byte_for_byte_with_the_database_that_they_are_for() {
    let stream: [&[&str]; 8] = [
        &["SELECT", "3"],
        &["PING"],
        &["SELECT", "5"],
        &["MULTI"],
        &["SET", "k", "a\r\n*1\r\n"],
        &["EXEC"],
        &["PUBLISH", "news", "x"],
        &["SELECT", "0"],
    ];
    let wanted = stream[2..7].iter().flat_map(|words| frame(words)).collect::<Vec<u8>>();
    let counted = (wanted.len() - frame(stream[2]).len()) as u64;
    for piece in [1, 7, 1000] {
        assert_eq!(sorted(&stream, piece), (wanted.clone(), 4, counted));
    }
}

#[test]
fn noise_without_arguments_and_what_is_no_command_cause_no_panic() {
    assert_eq!(sorted(&[&["PUBLISH"]], 3).1, 1);
    assert!(Sorter::default().sort(&mut BytesMut::from(&b"*1\r\n:1\r\n"[..])).is_err());
}

fn dial(server: &Server) -> Dial {
    Dial {
        node: NodeId(0),
        address: server.address(),
        credentials: Credentials::default(),
        name: "redhold:control:1".into(),
        options: SocketOptions::default(),
        tls: None,
        marks: Arc::new(Marks::new(Instant::now())),
    }
}

fn field(server: &Server, name: &str) -> String {
    let info = server.info();
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().to_owned()
}

async fn captured(server: &Server, part: &Divergence, dir: &Path) -> Captured {
    capture(&dial(server), part, &Quarantine::new(Some(dir), 4, 1 << 20)).await
}

fn unread(captured: Captured) -> String {
    match captured {
        Captured::Unread(why) => why,
        Captured::Read { .. } => panic!("{captured:?}"),
    }
}

/// A full transfer would begin with a fork of the node; the node is not even asked for what it cannot give.
#[tokio::test]
async fn a_part_that_is_not_in_the_backlog_costs_the_node_nothing() {
    for binary in binaries() {
        let (server, scratch) = (Server::start(&binary, &[]), Scratch::new());
        server.say("SET k v");
        let mut part = Divergence { epoch: 2, replid: field(&server, "master_replid"), from: 1, to: 0 };
        let why = unread(captured(&server, &part, &scratch.0).await);
        assert_eq!(why, "its backlog does not reach back so far");
        part.replid = "another".to_owned();
        let why = unread(captured(&server, &part, &scratch.0).await);
        assert_eq!(why, "the node has changed meanwhile");
        server.say("REPLICAOF 127.0.0.1 0");
        let why = unread(captured(&server, &part, &scratch.0).await);
        assert_eq!(why, "the node has changed meanwhile");
        assert_eq!(
            (field(&server, "sync_full"), field(&server, "sync_partial_err")),
            ("0".into(), "0".into())
        );
        part.to = 2 << 20;
        let why = unread(captured(&server, &part, &scratch.0).await);
        assert_eq!(why, "it is longer than failover.quarantine_size");
    }
}

/// A primary with a backlog, and the part of its history that begins with its last write.
fn primary(binary: &Path) -> (Server, Server, Divergence) {
    let primary =
        Server::start(binary, &[&["repl-backlog-size", "16384"], &["repl-ping-replica-period", "3600"]]);
    let port = primary.port.to_string();
    let replica = Server::start(binary, &[&["replicaof", "127.0.0.1", &port]]);
    eventually("the replica follows", || replica.info().contains("master_link_status:up"));
    primary.say("SET k v");
    let from = field(&primary, "master_repl_offset").parse::<u64>().unwrap() + 1;
    primary.say("SET k w");
    let to = field(&primary, "master_repl_offset").parse().unwrap();
    let part = Divergence { epoch: 2, replid: field(&primary, "master_replid"), from, to };
    (primary, replica, part)
}

#[tokio::test]
async fn what_fell_out_of_the_backlog_begins_no_transfer() {
    for binary in binaries() {
        let (primary, _replica, mut part) = primary(&binary);
        let scratch = Scratch::new();
        let value = "x".repeat(3_000);
        // From 7.0 on nothing falls out before the replica was sent it.
        eventually("the backlog moves on", || {
            assert_eq!(primary.say(&format!("SET k {value}")), "+OK");
            let first: u64 = field(&primary, "repl_backlog_first_byte_offset").trim().parse().unwrap();
            first > part.from
        });
        part.to = field(&primary, "master_repl_offset").parse().unwrap();
        let before = ["sync_full", "sync_partial_err"].map(|name| field(&primary, name));
        let why = unread(captured(&primary, &part, &scratch.0).await);
        assert_eq!(why, "its backlog does not reach back so far");
        assert_eq!(["sync_full", "sync_partial_err"].map(|name| field(&primary, name)), before, "{binary:?}");
    }
}

#[tokio::test]
async fn without_a_directory_the_loss_is_counted_all_the_same_and_kept_once_with_one() {
    for binary in binaries() {
        let (primary, _replica, part) = primary(&binary);
        let nowhere = capture(&dial(&primary), &part, &Quarantine::new(None, 4, 1 << 20)).await;
        let written = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nw\r\n";
        let bytes = written.len() as u64;
        let kept = Err("failover.state_dir is empty".to_owned());
        assert_eq!(nowhere, Captured::Read { commands: 1, bytes, kept });
        let scratch = Scratch::new();
        let first = captured(&primary, &part, &scratch.0).await;
        let Captured::Read { commands: 1, kept: Ok(file), .. } = &first else { panic!("{first:?}") };
        assert_eq!(std::fs::read(file).unwrap(), written);
        assert_eq!(captured(&primary, &part, &scratch.0).await, first, "a second attempt finds it");
    }
}
