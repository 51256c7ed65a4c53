//! CLIENT PAUSE, and blocking commands when their node is demoted.

use std::time::{Duration, Instant};

use crate::support::{Group, LONG, Server, Value, eventually, installed};

const QUIET: Duration = Duration::from_millis(200);

fn blocked(server: &Server) -> Option<String> {
    server.info("blocked_clients")
}

#[test]
fn a_pause_of_all_parks_even_ping_and_unpause() {
    for version in installed() {
        let server = version.start();
        let mut pausing = server.client();
        let mut other = server.client();
        let start = Instant::now();
        assert_eq!(pausing.call("CLIENT PAUSE 2000"), Value::ok());
        other.send(&["PING"]);
        pausing.send(&["CLIENT", "UNPAUSE"]);
        assert_eq!(other.read(), Value::Simple("PONG".to_owned()), "{}", version.name);
        // Half of it: the server's clock is read once a turn of its loop.
        assert!(start.elapsed() > Duration::from_secs(1), "{}: {:?}", version.name, start.elapsed());
        assert_eq!(pausing.read(), Value::ok(), "{}", version.name);
    }
}

#[test]
fn a_pause_of_writes_parks_writes_and_messages_only() {
    for version in installed() {
        let server = version.start();
        let mut pausing = server.client();
        assert_eq!(pausing.call("CLIENT PAUSE 60000 WRITE"), Value::ok());
        assert_eq!(server.call("PING"), Value::Simple("PONG".to_owned()));
        assert_eq!(server.call("GET k"), Value::Nil, "{}", version.name);
        let mut writer = server.client();
        let mut publisher = server.client();
        writer.send(&["SET", "k", "v"]);
        publisher.send(&["PUBLISH", "c", "m"]);
        assert!(writer.is_silent_for(QUIET) && publisher.is_silent_for(QUIET), "{}", version.name);
        assert_eq!(server.call("GET k"), Value::Nil, "{}: it has not run", version.name);
        assert_eq!(pausing.call("CLIENT UNPAUSE"), Value::ok());
        assert_eq!(writer.read(), Value::ok(), "{}", version.name);
        assert_eq!(publisher.read(), Value::Int(0), "{}", version.name);
    }
}

#[test]
fn a_write_parked_by_a_pause_is_refused_once_its_node_is_demoted() {
    for version in installed() {
        let server = version.start();
        let mut control = server.client();
        control.call("CLIENT PAUSE 60000 WRITE");
        let mut writer = server.client();
        writer.send(&["SET", "k", "v"]);
        assert!(writer.is_silent_for(QUIET), "{}", version.name);
        assert_eq!(control.call("REPLICAOF 127.0.0.1 0"), Value::ok());
        control.call("CLIENT UNPAUSE");
        let reply = writer.read();
        assert!(
            reply.error().is_some_and(|text| text.starts_with("READONLY")),
            "{}: {reply:?}",
            version.name
        );
    }
}

#[test]
fn demotion_unblocks_what_waits_and_says_so() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        let mut worker = primary.client();
        worker.send(&["BLPOP", "queue", "0"]);
        eventually(LONG, "the worker waits", || blocked(primary).as_deref() == Some("1"));
        primary.call(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
        let reply = worker.read();
        assert!(
            reply.error().is_some_and(|text| text.starts_with("UNBLOCKED")),
            "{}: {reply:?}",
            version.name
        );
        assert_eq!(worker.read_to_close(), b"", "{}: and closes", version.name);
    }
}

#[test]
fn a_reader_that_waits_is_unblocked_by_demotion_like_the_rest() {
    for version in installed() {
        let server = version.start();
        let mut reader = server.client();
        reader.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
        eventually(LONG, "the reader waits", || blocked(&server).as_deref() == Some("1"));
        server.call("REPLICAOF 127.0.0.1 0");
        let reply = reader.read();
        assert!(
            reply.error().is_some_and(|text| text.starts_with("UNBLOCKED")),
            "{}: {reply:?}",
            version.name
        );
    }
}
