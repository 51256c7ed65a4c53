//! Sealing, promoting and following: what `REPLICAOF` keeps, and what INFO and ROLE tell.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::support::{
    Client, Group, LONG, Server, V6_2, Value, Version, eventually, eventually_some, installed, listen,
};

/// Where a sealed node believes its primary to be: nobody listens on port 0.
const SEAL: &str = "REPLICAOF 127.0.0.1 0";

#[track_caller]
fn number(server: &Server, field: &str) -> i64 {
    let text = server.info(field).unwrap_or_else(|| panic!("{field} is not in INFO"));
    text.parse().unwrap_or_else(|_| panic!("{field} is {text}"))
}

#[track_caller]
fn text(server: &Server, field: &str) -> String {
    server.info(field).unwrap_or_else(|| panic!("{field} is not in INFO"))
}

/// Which history a replica is in, and how far.
#[track_caller]
fn stands(replica: &Server) -> (String, i64) {
    (text(replica, "master_replid"), number(replica, "slave_repl_offset"))
}

/// A group whose primary sends no PING down the replication stream while a test counts bytes.
fn quiet(version: Version, replicas: usize) -> Group {
    Group::plain_with(replicas, &version.options().set("repl-ping-replica-period", "3600"))
}

#[test]
fn role_says_minus_one_for_the_offset_when_the_link_is_down() {
    for version in installed() {
        let group = quiet(version, 1);
        let replica = &group.nodes()[1];
        group.nodes()[0].call("SET k v");
        group.wait_in_sync(0);
        assert_eq!(replica.call(SEAL), Value::ok());
        let role = replica.call("ROLE");
        assert_eq!(role.items().last(), Some(&Value::Int(-1)), "{}: {role:?}", version.name);
        assert!(number(replica, "slave_repl_offset") > 0, "{}: INFO keeps it", version.name);
    }
}

#[test]
fn sealing_keeps_history_and_offset() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        primary.call("SET k v");
        group.wait_in_sync(0);
        let before = stands(replica);
        assert_eq!(replica.call(SEAL), Value::ok());
        assert_eq!(text(replica, "role"), "slave", "{}", version.name);
        let after = stands(replica);
        assert_eq!(before, after, "{}", version.name);
        assert!(replica.call("SET k w").error().is_some_and(|text| text.starts_with("READONLY")));
        assert_eq!(replica.call("GET k"), Value::bulk("v"), "{}: it serves reads", version.name);
    }
}

#[test]
fn promotion_remembers_where_the_old_history_ended() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        primary.call("SET k v");
        group.wait_in_sync(0);
        replica.call(SEAL);
        let (old, offset) = stands(replica);
        assert_eq!(replica.call("REPLICAOF NO ONE"), Value::ok());
        assert_eq!(text(replica, "role"), "master");
        assert_eq!(text(replica, "master_replid2"), old, "{}", version.name);
        assert_eq!(number(replica, "second_repl_offset"), offset + 1, "{}", version.name);
        assert_ne!(text(replica, "master_replid"), old, "{}", version.name);
        assert_eq!(replica.call("SET k w"), Value::ok(), "{}", version.name);
    }
}

#[test]
fn a_sibling_goes_on_with_the_promoted_node_without_a_full_copy() {
    for version in installed() {
        let mut group = quiet(version, 2);
        group.nodes()[0].call("SET k v");
        group.wait_in_sync(0);
        group.node(0).kill9();
        let [_, promoted, sibling] = group.nodes() else { panic!("three nodes") };
        promoted.call(SEAL);
        sibling.call(SEAL);
        promoted.call("REPLICAOF NO ONE");
        sibling.call(&format!("REPLICAOF 127.0.0.1 {}", promoted.port()));
        promoted.call("SET k w");
        group.wait_following(2, 1);
        assert_eq!(number(promoted, "sync_full"), 0, "{}", version.name);
        assert_eq!(number(promoted, "sync_partial_ok"), 1, "{}", version.name);
        assert_eq!(sibling.call("GET k"), Value::bulk("w"), "{}", version.name);
    }
}

#[test]
fn a_sealed_node_that_boots_takes_no_writes_and_feeds_nobody() {
    for version in installed() {
        let node = version.options().set("replicaof", "127.0.0.1 0").start();
        assert!(node.call("SET k v").error().is_some_and(|text| text.starts_with("READONLY")));
        let answer = node.call("PSYNC ? -1");
        let refused = answer.error().is_some_and(|text| text.starts_with("NOMASTERLINK"));
        assert!(refused, "{}: {answer:?}", version.name);
    }
}

#[test]
fn deleting_a_missing_key_passes_every_check_of_a_write_and_changes_nothing() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        let mut client = primary.client();
        // The first command of a connection may carry a SELECT down the stream with it.
        client.call("SET k v");
        let before = number(primary, "master_repl_offset");
        assert_eq!(client.call("DEL __redhold:none"), Value::Int(0), "{}", version.name);
        assert_eq!(number(primary, "master_repl_offset"), before, "{}", version.name);
        client.call("SET k w");
        assert!(number(primary, "master_repl_offset") > before, "{}: a write moves it", version.name);
        let refused = replica.call("DEL __redhold:none");
        assert!(
            refused.error().is_some_and(|text| text.starts_with("READONLY")),
            "{}: {refused:?}",
            version.name
        );
        client.call("CONFIG SET min-replicas-to-write 2");
        let refused = client.call("DEL __redhold:none");
        assert!(
            refused.error().is_some_and(|text| text.starts_with("NOREPLICAS")),
            "{}: {refused:?}",
            version.name
        );
    }
}

#[test]
fn sealing_the_replicas_stops_the_writes_of_a_primary_that_needs_them() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        primary.call("CONFIG SET min-replicas-to-write 1");
        // Replicas count once they have acknowledged.
        eventually(LONG, "the primary accepts a write", || primary.call("SET k v") == Value::ok());
        replica.call(SEAL);
        eventually(LONG, "the primary refuses writes", || {
            primary.call("SET k w").error().is_some_and(|text| text.starts_with("NOREPLICAS"))
        });
    }
}

#[test]
fn a_promoted_node_that_needs_replicas_is_writable_once_one_follows() {
    for version in installed() {
        let options = version.options().set("min-replicas-to-write", "1");
        let mut group = Group::plain_with(2, &options);
        group.node(0).kill9();
        let [_, promoted, sibling] = group.nodes() else { panic!("three nodes") };
        promoted.call(SEAL);
        sibling.call(SEAL);
        promoted.call("REPLICAOF NO ONE");
        let refused = promoted.call("SET k v");
        assert!(
            refused.error().is_some_and(|text| text.starts_with("NOREPLICAS")),
            "{}: {refused:?}",
            version.name
        );
        sibling.call(&format!("REPLICAOF 127.0.0.1 {}", promoted.port()));
        eventually(LONG, "the promoted node accepts a write", || promoted.call("SET k v") == Value::ok());
    }
}

#[test]
fn a_frozen_primary_leaves_the_link_up_in_the_view_of_its_replica() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        primary.sigstop();
        eventually(LONG, "the replica has heard nothing for two seconds", || {
            number(replica, "master_last_io_seconds_ago") >= 2
        });
        assert_eq!(text(replica, "master_link_status"), "up", "{}", version.name);
        Client::connect(primary.address());
        primary.sigcont();
    }
}

#[test]
fn a_killed_primary_is_seen_by_its_replica_at_once() {
    for version in installed() {
        let mut group = quiet(version, 1);
        group.node(0).kill9();
        let replica = &group.nodes()[1];
        eventually(LONG, "the link is down", || text(replica, "master_link_status") == "down");
    }
}

/// Answers a replica's handshake up to PSYNC, and dies.
fn dies_at_psync(listener: &TcpListener) {
    let (mut replica, _) = listener.accept().expect("a replica comes");
    let read = replica.try_clone().expect("a socket can be shared");
    for line in BufReader::new(read).lines() {
        let answer: &[u8] = match line.expect("a replica speaks in lines").to_ascii_uppercase().as_str() {
            "PING" => b"+PONG\r\n",
            "REPLCONF" => b"+OK\r\n",
            "PSYNC" => return,
            _ => continue,
        };
        replica.write_all(answer).expect("a replica listens");
    }
}

#[test]
fn only_6_2_5_forgets_its_offset_when_a_primary_dies_before_it_answers_psync() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        primary.call("SET k v");
        group.wait_in_sync(0);
        let before = stands(replica);
        let dying = listen();
        let port = dying.local_addr().expect("it is bound").port();
        assert_eq!(replica.call(&format!("REPLICAOF 127.0.0.1 {port}")), Value::ok());
        dies_at_psync(&dying);
        drop(dying);
        assert_eq!(replica.call("GET k"), Value::bulk("v"), "{}", version.name);
        eventually(LONG, "the replica has seen it", || text(replica, "master_link_status") == "down");
        let after = stands(replica);
        let expected = if version == V6_2 { (before.0, 1) } else { before };
        assert_eq!(after, expected, "{}", version.name);
    }
}

#[test]
fn only_6_2_5_does_not_tell_what_it_has_read_and_not_applied() {
    for version in installed() {
        let group = quiet(version, 1);
        let told = group.nodes()[1].info("slave_read_repl_offset").is_some();
        assert_eq!(told, version != V6_2, "{}", version.name);
    }
}

#[test]
fn the_backlog_gives_back_what_came_after_an_offset() {
    for version in installed() {
        let group = quiet(version, 1);
        let primary = &group.nodes()[0];
        let mut client = primary.client();
        client.call("SET k before");
        let (replid, offset) = (text(primary, "master_replid"), number(primary, "master_repl_offset"));
        client.call("SET k after");
        let mut replica = primary.client();
        let answer = replica.call(&format!("PSYNC {replid} {}", offset + 1));
        assert!(
            answer.text().is_some_and(|text| text.starts_with("CONTINUE")),
            "{}: {answer:?}",
            version.name
        );
        let command = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nafter\r\n";
        assert_eq!(replica.read_raw(command.len()), command, "{}", version.name);
    }
}

#[test]
fn a_primary_that_is_told_to_end_says_so_while_it_waits_for_its_replicas() {
    // Before 7.0 it ends at once.
    for version in installed().into_iter().filter(|version| version.release >= 70) {
        let mut group = quiet(version, 1);
        group.nodes()[1].sigstop();
        // A replica that lags is what it waits for.
        group.nodes()[0].call("SET k v");
        let pid = i32::try_from(group.nodes()[0].pid()).expect("process ids fit");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the server is ours");
        let left = eventually_some(LONG, "INFO tells of the end", || {
            Client::try_connect(group.nodes()[0].address()).ok()?;
            group.nodes()[0].info("shutdown_in_milliseconds")?.parse::<i64>().ok()
        });
        assert!(left > 0, "{}: {left}", version.name);
        group.nodes()[1].sigcont();
        group.node(0).reap();
    }
}

#[test]
fn whoever_has_the_offset_found_after_a_reply_has_the_write() {
    for version in installed() {
        let group = quiet(version, 1);
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        let (mut writer, mut reader) = (primary.client(), replica.client());
        for round in 0..60 {
            let value = round.to_string();
            match round % 3 {
                0 => drop(writer.call(&format!("SET k {value}"))),
                1 => drop(writer.pipeline(&["MULTI", &format!("SET k {value}"), "EXEC"])),
                _ => drop(writer.cmd(&["EVAL", "redis.call('SET', KEYS[1], ARGV[1])", "1", "k", &value])),
            }
            let offset = number(primary, "master_repl_offset");
            eventually(LONG, "the replica has the offset", || number(replica, "slave_repl_offset") >= offset);
            assert_eq!(reader.call("GET k"), Value::bulk(&value), "{}", version.name);
        }
    }
}

#[test]
fn info_tells_how_many_clients_a_node_allows() {
    for version in installed() {
        let server = version.options().set("maxclients", "123").start();
        let clients = server.call("INFO clients").text().unwrap_or_default();
        assert!(clients.contains("\r\nmaxclients:123\r\n"), "{}: {clients}", version.name);
    }
}
