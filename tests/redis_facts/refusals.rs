//! What a server says, word for word, when its role or state forbids it to execute anything.

use crate::support::{Client, Group, LONG, Server, Value, eventually, for_each_server, installed};

#[test]
fn refusals_for_role_and_state_are_these_words() {
    for_each_server(|version, client| {
        let name = if version.name.starts_with("valkey") { "Valkey" } else { "Redis" };
        let said = |text: &str| Value::Error(text.to_owned());
        // Every 2 MiB a server that loads looks at its clients.
        client.call("DEBUG POPULATE 100 key 100000");
        assert_eq!(client.call("CONFIG SET rdbcompression no"), Value::ok());
        assert_eq!(client.call("CONFIG SET key-load-delay 10000"), Value::ok());
        let mut other = Client::connect(client.address());
        client.send(&["DEBUG", "RELOAD"]);
        let loading = said(&format!("LOADING {name} is loading the dataset in memory"));
        let mut last = Value::Nil;
        eventually(LONG, "it says that it loads", || {
            last = other.call("GET none");
            last != Value::Nil
        });
        assert_eq!(last, loading, "{}", version.name);
        assert_eq!(client.read(), Value::ok());

        assert_eq!(client.call("REPLICAOF 127.0.0.1 1"), Value::ok());
        let readonly = said("READONLY You can't write against a read only replica.");
        assert_eq!(client.call("SET k v"), readonly, "{}", version.name);
        assert_eq!(client.call("CONFIG SET replica-serve-stale-data no"), Value::ok());
        let down = said("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
        assert_eq!(client.call("GET k"), down, "{}", version.name);
    });
}

/// Its folder is gone, and what it saves fails.
fn fail_disk(server: &Server) {
    let folder = server.call("CONFIG GET dir").items()[1].text().expect("a folder");
    std::fs::remove_dir_all(&folder).expect("the server's own folder");
    assert_eq!(server.client().cmd(&["CONFIG", "SET", "save", "1 1"]), Value::ok());
    server.call("BGSAVE");
    let failed = || server.info("rdb_last_bgsave_status").as_deref() == Some("err");
    eventually(LONG, "its save has failed", failed);
}

/// A server whose disk fails refuses writes before it executes them, and says so to PING: from 7.0 on as a replica too.
#[test]
fn a_disk_that_fails_refuses_writes_and_shows_in_ping() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let (primary, replica) = (&group.nodes()[0], &group.nodes()[1]);
        assert_eq!(primary.call("SET k v"), Value::ok());
        for server in group.nodes() {
            fail_disk(server);
        }
        let name = if version.valkey { "Valkey" } else { "Redis" };
        let begins = format!("MISCONF {name} is configured to save RDB snapshots, but ");
        let refuses = |reply: Value| reply.error().is_some_and(|text| text.starts_with(&begins));
        for request in ["PING", "SET k w", "INCR n", "DEL none", "BLPOP list 1"] {
            assert!(refuses(primary.call(request)), "{}: {request}", version.name);
        }
        assert_eq!(primary.call("GET k"), Value::bulk("v"), "{}", version.name);
        assert_eq!(primary.call("EXISTS n").int(), Some(0), "{}", version.name);
        // What moves the history all the same, so that a replica can be seen to have it all.
        assert_eq!(primary.call("PUBLISH channel x").int(), Some(0), "{}", version.name);
        assert_eq!(refuses(replica.call("PING")), version.release >= 70, "{}", version.name);
        assert_eq!(replica.call("GET k"), Value::bulk("v"), "{}", version.name);
        let mut client = primary.client();
        assert_eq!(client.call("MULTI"), Value::ok());
        assert!(refuses(client.call("SET k w")), "{}", version.name);
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.call("EXEC"), Value::Error(aborted.to_owned()), "{}", version.name);
    }
}

/// It is told not to before a primary whose disk fails is made a replica.
#[test]
fn a_replica_whose_disk_fails_ends_itself_at_the_next_write_unless_it_is_told_not_to() {
    for version in installed().into_iter().filter(|version| version.release >= 70) {
        let mut group = Group::plain_with(2, &version.options());
        assert_eq!(group.nodes()[1].call("CONFIG SET replica-ignore-disk-write-errors yes"), Value::ok());
        (1..=2).for_each(|replica| fail_disk(&group.nodes()[replica]));
        assert_eq!(group.nodes()[0].call("SET k v"), Value::ok());
        group.wait_following(1, 0);
        assert_eq!(group.nodes()[1].call("GET k"), Value::bulk("v"), "{}", version.name);
        eventually(LONG, "the other one has ended", || group.node(2).has_exited());
    }
}

#[test]
fn too_few_replicas_refuse_writes_in_these_words_until_one_is_attached() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let (primary, replica) = (&group.nodes()[0], &group.nodes()[1]);
        assert_eq!(primary.call("CONFIG SET min-replicas-to-write 1"), Value::ok());
        assert_eq!(primary.call("SET k v"), Value::ok(), "{}", version.name);
        assert_eq!(replica.call("REPLICAOF 127.0.0.1 0"), Value::ok());
        let few = Value::Error("NOREPLICAS Not enough good replicas to write.".to_owned());
        eventually(LONG, "it refuses", || primary.call("SET k w") == few);
        for request in ["INCR n", "DEL none", "BLPOP list 1"] {
            assert_eq!(primary.call(request), few, "{}: {request}", version.name);
        }
        assert_eq!(primary.call("PING"), Value::Simple("PONG".to_owned()), "{}", version.name);
        assert_eq!(primary.call("EXISTS n").int(), Some(0), "{}", version.name);
        assert_eq!(replica.call(&format!("REPLICAOF 127.0.0.1 {}", primary.port())), Value::ok());
        eventually(LONG, "it takes writes", || primary.call("SET k w") == Value::ok());
        group.wait_following(1, 0);
        assert_eq!(replica.call("GET k"), Value::bulk("w"), "{}", version.name);
    }
}

/// Valkey sends only those clients elsewhere that said that they can follow; such a client reads from no replica unless it says
/// READONLY. Redis knows nothing of it.
#[test]
fn only_who_declares_it_is_redirected() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let mut plain = group.nodes()[1].client();
        let readonly = Value::Error("READONLY You can't write against a read only replica.".to_owned());
        assert_eq!(plain.call("SET k v"), readonly, "{}", version.name);
        assert_eq!(plain.call("GET k"), Value::Nil, "{}", version.name);
        let mut declared = group.nodes()[1].client();
        let answer = declared.call("CLIENT CAPA redirect");
        if !version.valkey {
            assert!(answer.error().is_some(), "{}", version.name);
            continue;
        }
        let elsewhere = Value::Error(format!("REDIRECT 127.0.0.1:{}", group.nodes()[0].port()));
        assert_eq!([declared.call("SET k v"), declared.call("GET k")], [elsewhere.clone(), elsewhere]);
        assert_eq!(declared.call("READONLY"), Value::ok());
        assert_eq!(declared.call("GET k"), Value::Nil);
    }
}
