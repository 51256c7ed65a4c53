use std::sync::Arc;

use super::super::testing::{PATIENCE as LONG, Server, binaries, eventually};
use super::super::{Credentials, dice::Dice};
use super::*;
use crate::net::SocketOptions;
use crate::topology::{Marks, NodeId};

fn dial(server: &Server, identity: &Identity) -> Dial {
    Dial {
        node: NodeId(0),
        address: server.address(),
        credentials: Credentials::default(),
        name: identity.client_name().into(),
        options: SocketOptions::default(),
        tls: None,
        marks: Arc::new(Marks::new(Instant::now())),
    }
}

struct Listener {
    heard: mpsc::Receiver<Heard>,
    _greets: watch::Sender<Greeted>,
}

fn listener(server: &Server, identity: &Identity, greets: bool) -> Listener {
    let (sink, heard) = mpsc::channel(4);
    let (_greets, receiver) = watch::channel(Greeted::new(greets.then_some(NodeId(0)).into_iter().collect()));
    tokio::spawn(listen(dial(server, identity), identity.clone(), receiver, sink));
    Listener { heard, _greets }
}

async fn next_brain(listener: &mut Listener) -> String {
    match tokio::time::timeout(LONG, listener.heard.recv()).await.unwrap().unwrap() {
        Heard::OtherBrain(brain) => brain,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_proxy_is_heard_and_oneself_is_not() {
    for binary in binaries() {
        let server = Server::start(&binary, &[]);
        let (me, other) = (Identity::new(&mut Dice::new()), Identity::new(&mut Dice::new()));
        let mut mine = listener(&server, &me, true);
        let _theirs = listener(&server, &other, true);
        assert_eq!(next_brain(&mut mine).await, format!("Redhold {}", other.instance), "{binary:?}");
    }
}

#[tokio::test]
async fn a_sentinel_is_heard_by_its_greeting() {
    let server = Server::start("redis-server".as_ref(), &[]);
    let mut listener = listener(&server, &Identity::new(&mut Dice::new()), false);
    let hello = "127.0.0.1,26379,0123456789abcdef0123456789abcdef01234567,0,mymaster,127.0.0.1,6379,0";
    let said = tokio::task::spawn_blocking(move || {
        eventually("somebody subscribes", || {
            server.say(&format!("PUBLISH {SENTINEL_HELLO} {hello}")) != ":0"
        });
        server
    });
    let _server = said.await.unwrap();
    assert_eq!(next_brain(&mut listener).await, "Sentinel 01234567");
}

/// Whoever may publish on a node can say it, and people read the names.
#[test]
fn what_is_no_name_of_a_brain_is_not_passed_on() {
    let us = Identity::new(&mut Dice::new());
    let said = |channel: &str, payload: &str| us.other_speaker(channel, payload);
    for id in ["\x1b[2J\x1b[1;31m", "\r\nready\r\n", "1234567", "0123456\u{e9}", "<b>bold</b>"] {
        assert_eq!(said(SENTINEL_HELLO, &format!("127.0.0.1,26379,{id},0")), None, "{id:?}");
        assert_eq!(
            us.others_connected(&format!("id=1 name=sentinel-{id} idle=0")),
            Vec::<String>::new(),
            "{id:?}"
        );
    }
    for instance in ["\x1b[2J\x1b[1;31mHELLO", "0123456789abcdeg", "0123456789abcde", &us.instance] {
        assert_eq!(said(OUR_HELLO, instance), None, "{instance:?}");
        let list = format!("id=1 name={CLIENT_NAME}:{instance} idle=0");
        assert_eq!(us.others_connected(&list), Vec::<String>::new(), "{instance:?}");
    }
}

/// Where a pattern may be subscribed to nothing of ours is in the server's lists; where not, names have to do.
#[tokio::test]
async fn a_user_without_the_pattern_listens_by_name() {
    for binary in binaries() {
        let user = [
            "user",
            "ops",
            "on",
            "nopass",
            "+@all",
            "~*",
            "resetchannels",
            "&__sentinel__:hello",
            "&__redhold:*",
        ];
        let server = Server::start(&binary, &[&user]);
        let me = Identity::new(&mut Dice::new());
        let mut spy = dial(&server, &me).open(within(LONG)).await.unwrap();
        for (username, by_pattern) in [("", true), ("ops", false)] {
            let mut dial = dial(&server, &me);
            username.clone_into(&mut dial.credentials.username);
            let (mut link, how) = subscribe(&dial).await.unwrap();
            assert_eq!(how, by_pattern, "{binary:?}");
            if !by_pattern {
                // Until both names are confirmed.
                while link.receive(within(LONG)).await.unwrap().as_array().is_none_or(|parts| {
                    parts[0].as_str() != Some("subscribe") || parts[1].as_str() != Some(OUR_HELLO)
                }) {}
            }
            let shown = &spy.call(&[&["PUBSUB", "CHANNELS"]], within(LONG)).await.unwrap()[0];
            let names: Vec<_> = shown.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert_eq!(names.contains(&SENTINEL_HELLO), !by_pattern, "{binary:?}: {names:?}");
            server.say(&format!("PUBLISH {SENTINEL_HELLO} 127.0.0.1,26379,0123456789abcdef"));
            let heard = loop {
                let value = link.receive(within(LONG)).await.unwrap();
                if let Some((channel, said)) = message_of(&value) {
                    break (channel.to_owned(), said.to_owned());
                }
            };
            assert_eq!(heard, (SENTINEL_HELLO.to_owned(), "127.0.0.1,26379,0123456789abcdef".to_owned()));
        }
    }
}

/// The server counts published bytes as replication offset on a primary; on a replica it must not.
#[tokio::test]
async fn a_greeting_on_a_replica_moves_no_offset_and_no_pattern_subscriber_sees_it() {
    for binary in binaries() {
        let server = Server::start(&binary, &[&["replicaof", "127.0.0.1", "0"]]);
        let me = Identity::new(&mut Dice::new());
        let before = super::super::info::facts(&server.info()).unwrap();
        let mut spy = dial(&server, &me).open(within(LONG)).await.unwrap();
        spy.call(&[&["PSUBSCRIBE", "*"]], within(LONG)).await.unwrap();
        greet(&dial(&server, &me), &me).await.unwrap();
        server.say("PUBLISH news end");
        let heard = spy.receive(within(LONG)).await.unwrap();
        let channel = heard.as_array().unwrap()[2].as_str().unwrap().to_owned();
        let shards = !binary.to_string_lossy().contains("6.2");
        assert_eq!(channel, if shards { "news" } else { OUR_HELLO }, "{binary:?}");
        let after = super::super::info::facts(&server.info()).unwrap();
        assert_eq!((after.offset, after.replid), (before.offset, before.replid));
    }
}

#[test]
fn lively_connections_of_other_brains_are_told_by_their_names() {
    let me = Identity { instance: "aaaaaaaaaaaaaaaa".into() };
    let list = "id=3 addr=127.0.0.1:1 name=sentinel-01234567-cmd age=5 idle=0 flags=N\n\
                id=4 addr=127.0.0.1:2 name=sentinel-01234567-cmd age=5 idle=1 flags=N\n\
                id=5 addr=127.0.0.1:3 name=sentinel-dead0000-cmd age=900 idle=60 flags=N\n\
                id=6 addr=127.0.0.1:4 name=redhold:control:aaaaaaaaaaaaaaaa age=5 idle=0 flags=N\n\
                id=7 addr=127.0.0.1:5 name=redhold:control:bbbbbbbbbbbbbbbb age=5 idle=0 flags=N\n\
                id=8 addr=127.0.0.1:6 name=app age=5 idle=0 flags=N\n\
                id=9 addr=127.0.0.1:7 name= age=5 idle=0 flags=N\n";
    assert_eq!(me.others_connected(list), ["Redhold bbbbbbbbbbbbbbbb", "Sentinel 01234567"]);
    assert!(me.others_connected("").is_empty());
}
