//! What only an old primary has can be read from it as a replica would read it, while it is paused and before it is
//! demoted; and what replication itself puts into that stream.

use crate::support::{Client, Group, LONG, Server, Value, Version, encode, eventually, installed};

const PAUSE: &str = "CLIENT PAUSE 60000 WRITE";
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

fn number(server: &Server, field: &str) -> usize {
    server.info(field).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{field} is not in INFO"))
}

/// A primary whose replica was cut off at the returned offset, after a write that both have.
fn cut_off(version: Version) -> (Group, usize) {
    let group = Group::plain_with(1, &version.options().set("repl-ping-replica-period", "3600"));
    assert_eq!(group.nodes()[0].call("SET k v"), Value::ok());
    group.wait_in_sync(0);
    let [primary, replica] = group.nodes() else { panic!("two nodes") };
    assert_eq!(replica.call("REPLICAOF 127.0.0.1 0"), Value::ok());
    let fork = number(replica, "slave_repl_offset");
    eventually(LONG, "the link is closed", || number(primary, "connected_slaves") == 0);
    (group, fork)
}

fn psync(primary: &Server, from: usize) -> Client {
    let replid = primary.info("master_replid").expect("a primary has one");
    let mut reader = primary.client();
    assert_eq!(reader.call("CLIENT SETNAME reader"), Value::ok());
    reader.send(&["PSYNC", &replid, &from.to_string()]);
    reader
}

#[test]
fn a_paused_primary_streams_exactly_what_it_took_after_its_replica_was_cut_off() {
    for version in installed() {
        let (group, fork) = cut_off(version);
        let primary = &group.nodes()[0];
        let mut client = primary.client();
        let written: [&[&str]; 6] = [
            &["RPUSH", "l", "lost0"],
            &["MULTI"],
            &["INCR", "c"],
            &["SET", "q", "1"],
            &["EXEC"],
            &["SET", "k", "\r\nw"],
        ];
        assert!(client.pipelined(&written).iter().all(|reply| reply.error().is_none()));
        assert_eq!(client.call(PAUSE), Value::ok());
        let end = number(primary, "master_repl_offset");
        let mut reader = psync(primary, fork + 1);
        assert_eq!(reader.read(), Value::Simple("CONTINUE".to_owned()), "{}", version.name);
        let wanted: Vec<u8> = written.iter().flat_map(|words| encode(words)).collect();
        let read = reader.read_raw(end - fork);
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(&wanted), "{}", version.name);
        assert_eq!(number(primary, "sync_full"), 1, "{}: that of the replica", version.name);
        assert_eq!(number(primary, "master_repl_offset"), end, "{}: the reader moved nothing", version.name);

        assert_eq!(client.call("CLIENT UNPAUSE"), Value::ok());
        assert_eq!(client.call("SET k x"), Value::ok());
        assert_eq!(client.call("WAIT 1 100"), Value::Int(0), "{}: it acknowledges nothing", version.name);
        let mut rest = encode(&["SET", "k", "x"]);
        rest.extend(GETACK);
        assert_eq!(reader.read_raw(rest.len()), rest, "{}", version.name);
        assert_eq!(client.call("CONFIG SET repl-ping-replica-period 1"), Value::ok());
        assert_eq!(reader.read_raw(PING.len()).to_ascii_uppercase(), PING, "{}", version.name);
    }
}

#[test]
fn with_nothing_beyond_the_offset_the_stream_is_silent() {
    for version in installed() {
        let (group, fork) = cut_off(version);
        let primary = &group.nodes()[0];
        assert_eq!(primary.call(PAUSE), Value::ok());
        assert_eq!(number(primary, "master_repl_offset"), fork, "{}", version.name);
        let mut reader = psync(primary, fork + 1);
        assert_eq!(reader.read(), Value::Simple("CONTINUE".to_owned()), "{}", version.name);
        assert!(reader.is_silent_for(std::time::Duration::from_millis(200)), "{}", version.name);
    }
}

/// INFO tells beforehand: whoever asks for what is not there makes the node copy everything.
#[test]
fn what_is_not_in_the_backlog_begins_a_full_transfer() {
    for version in installed() {
        let (group, fork) = cut_off(version);
        let primary = &group.nodes()[0];
        assert_eq!(primary.info("repl_backlog_active").as_deref(), Some("1"), "{}", version.name);
        assert!(number(primary, "repl_backlog_first_byte_offset") <= fork + 1, "{}", version.name);
        let mut reader = psync(primary, fork + 2);
        let answer = reader.read();
        assert!(
            matches!(&answer, Value::Simple(text) if text.starts_with("FULLRESYNC")),
            "{}: {answer:?}",
            version.name
        );
        let alone = version.start();
        assert_eq!(alone.info("repl_backlog_active").as_deref(), Some("0"), "{}", version.name);
        assert_eq!(number(&alone, "repl_backlog_first_byte_offset"), 0, "{}", version.name);
    }
}

#[test]
fn a_demoted_node_streams_nothing() {
    for version in installed() {
        let (group, fork) = cut_off(version);
        let primary = &group.nodes()[0];
        let mut reader = psync(primary, fork + 1);
        assert_eq!(reader.read(), Value::Simple("CONTINUE".to_owned()));
        let replid = primary.info("master_replid").expect("it has one");
        assert_eq!(primary.call("REPLICAOF 127.0.0.1 0"), Value::ok());
        let answer = primary.client().cmd(&["PSYNC", &replid, &(fork + 1).to_string()]);
        let refused = answer.error().is_some_and(|text| text.starts_with("NOMASTERLINK"));
        assert!(refused, "{}: {answer:?}", version.name);
    }
}
