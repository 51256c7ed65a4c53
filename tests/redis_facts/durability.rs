//! What WAIT speaks of, and which messages move the replication offset.

use std::time::Duration;

use crate::support::{Client, Group, V7_0, Value, Version, installed};

fn frozen_replica(version: Version) -> Group {
    let group = Group::plain_with(1, &version.options().set("repl-ping-replica-period", "3600"));
    group.nodes()[1].sigstop();
    group
}

#[test]
fn wait_speaks_of_the_writes_of_its_own_connection_only() {
    for version in installed() {
        let group = frozen_replica(version);
        let primary = &group.nodes()[0];
        let mut writer = primary.client();
        assert_eq!(writer.call("SET k v"), Value::ok());
        // On a fresh connection it says that one replica has everything, though it is frozen.
        assert_eq!(primary.client().call("WAIT 1 100"), Value::Int(1), "{}", version.name);
        assert_eq!(writer.call("WAIT 1 100"), Value::Int(0), "{}", version.name);
        group.nodes()[1].sigcont();
        assert_eq!(writer.call("WAIT 1 0"), Value::Int(1), "{}", version.name);
    }
}

#[test]
fn a_message_makes_wait_speak_of_everything_before_it() {
    for version in installed() {
        let group = frozen_replica(version);
        let primary = &group.nodes()[0];
        primary.call("SET k v");
        let mut barrier = primary.client();
        let message = if version.release >= 70 { "SPUBLISH" } else { "PUBLISH" };
        assert_eq!(
            barrier.call(&format!("{message} __redhold:barrier x")),
            Value::Int(0),
            "{}",
            version.name
        );
        assert_eq!(barrier.call("WAIT 1 100"), Value::Int(0), "{}", version.name);
        group.nodes()[1].sigcont();
        assert_eq!(barrier.call("WAIT 1 0"), Value::Int(1), "{}", version.name);
    }
}

#[test]
fn a_sharded_message_is_hidden_from_pattern_subscribers() {
    for version in installed() {
        let server = version.start();
        let mut listener = server.client();
        listener.call("PSUBSCRIBE *");
        let mut client = server.client();
        let sharded = client.call("SPUBLISH __redhold:barrier x");
        assert_eq!(sharded.error().is_some(), version.release < V7_0.release, "{}", version.name);
        client.call("PUBLISH plain y");
        let message = listener.read();
        assert_eq!(message.items().last(), Some(&Value::bulk("y")), "{}: {message:?}", version.name);
    }
}

/// So no barrier may be on its way when a planned change of primary pauses writes.
#[test]
fn a_message_stands_still_while_writes_are_paused_and_wait_alone_does_not() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let primary = &group.nodes()[0];
        let (mut barrier, mut wait) = (primary.client(), primary.client());
        assert_eq!(primary.call("CLIENT PAUSE 60000 WRITE"), Value::ok());
        let message = if version.release >= 70 { "SPUBLISH" } else { "PUBLISH" };
        barrier.send(&[message, "__redhold:barrier", ""]);
        assert_eq!(wait.call("WAIT 0 0"), Value::Int(1), "{}", version.name);
        assert!(barrier.is_silent_for(Duration::from_millis(100)), "{}", version.name);
        assert_eq!(primary.call("CLIENT UNPAUSE"), Value::ok());
        assert_eq!(barrier.read(), Value::Int(0), "{}", version.name);
    }
}

#[test]
fn wait_in_a_transaction_does_not_wait_and_says_nothing_of_it() {
    for version in installed() {
        let group = frozen_replica(version);
        let mut client = group.nodes()[0].client();
        client.pipeline(&["MULTI", "SET k v", "WAIT 1 0"]);
        // A WAIT for ever would stand still here; 6.2 even says that the frozen replica has the write.
        let replies = client.call("EXEC");
        let last = replies.items().last().and_then(Value::int);
        assert!(last.is_some(), "{}: {replies:?}", version.name);
    }
}

#[test]
fn waiting_for_the_append_only_file_exists_from_7_2() {
    for version in installed() {
        let server = version.start();
        let mut client: Client = server.client();
        let known =
            client.call("WAITAOF 0 0 100").error().is_none_or(|text| !text.contains("unknown command"));
        assert_eq!(known, version.release >= 72, "{}", version.name);
    }
}
