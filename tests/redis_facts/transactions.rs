//! MULTI, EXEC and WATCH, where something goes wrong.

use crate::support::{Value, for_each_server, installed};

fn begins(value: &Value, word: &str) -> bool {
    value.error().is_some_and(|text| text.starts_with(word))
}

#[test]
fn an_error_while_queueing_ends_the_transaction_without_executing() {
    for_each_server(|version, client| {
        for wrong in ["NOSUCH", "GET"] {
            let replies = client.pipeline(&["MULTI", "SET k v", wrong, "EXEC", "GET k"]);
            assert_eq!(replies[1], Value::Simple("QUEUED".to_owned()));
            assert!(begins(&replies[2], "ERR"), "{}: {replies:?}", version.name);
            assert!(begins(&replies[3], "EXECABORT"), "{}: {replies:?}", version.name);
            assert_eq!(replies[4], Value::Nil, "{}", version.name);
        }
    });
}

#[test]
fn an_error_while_executing_leaves_the_rest_executed() {
    for_each_server(|version, client| {
        let replies = client.pipeline(&["SET text v", "MULTI", "INCR text", "SET k v", "EXEC"]);
        let executed = replies[4].items();
        assert!(begins(&executed[0], "ERR") && executed[1] == Value::ok(), "{}: {replies:?}", version.name);
        assert_eq!(client.call("GET k"), Value::bulk("v"), "{}", version.name);
    });
}

#[test]
fn a_watched_key_that_changed_makes_exec_answer_nil() {
    for version in installed() {
        let server = version.start();
        let mut client = server.client();
        client.call("WATCH k");
        server.call("SET k other");
        let replies = client.pipeline(&["MULTI", "SET k mine", "EXEC"]);
        assert_eq!(replies[2], Value::Nil, "{}", version.name);
        assert_eq!(server.call("GET k"), Value::bulk("other"), "{}", version.name);
    }
}

#[test]
fn a_replica_refuses_a_write_when_it_is_queued() {
    for version in installed() {
        let replica = version.options().set("replicaof", "127.0.0.1 0").start();
        let replies = replica.client().pipeline(&["MULTI", "SET k v", "EXEC"]);
        assert!(begins(&replies[1], "READONLY"), "{}: {replies:?}", version.name);
        assert!(begins(&replies[2], "EXECABORT"), "{}: {replies:?}", version.name);
    }
}

#[test]
fn a_demotion_between_queueing_and_exec_executes_nothing() {
    for version in installed() {
        let server = version.start();
        let mut client = server.client();
        client.pipeline(&["MULTI", "SET k v"]);
        server.call("REPLICAOF 127.0.0.1 0");
        let reply = client.call("EXEC");
        assert!(begins(&reply, "EXECABORT"), "{}: {reply:?}", version.name);
        assert!(reply.error().is_some_and(|text| text.contains("READONLY")), "{}: {reply:?}", version.name);
        assert_eq!(server.call("GET k"), Value::Nil, "{}", version.name);
    }
}

#[test]
fn the_database_selected_in_a_transaction_stays_selected() {
    for_each_server(|version, client| {
        client.pipeline(&["MULTI", "SELECT 3", "EXEC", "SET k v", "SELECT 0"]);
        assert_eq!(client.call("GET k"), Value::Nil, "{}", version.name);
        client.call("SELECT 3");
        assert_eq!(client.call("GET k"), Value::bulk("v"), "{}", version.name);
    });
}

#[test]
fn a_blocking_command_does_not_block_in_a_transaction() {
    for_each_server(|version, client| {
        let replies = client.pipeline(&["MULTI", "BLPOP queue 0", "EXEC"]);
        assert_eq!(replies[2], Value::Array(vec![Value::Nil]), "{}", version.name);
    });
}

#[test]
fn a_discarded_or_reset_transaction_is_over() {
    for_each_server(|version, client| {
        let replies = client.pipeline(&["MULTI", "SET k v", "RESET", "EXEC", "GET k"]);
        assert_eq!(replies[2], Value::Simple("RESET".to_owned()), "{}", version.name);
        assert!(begins(&replies[3], "ERR EXEC without MULTI"), "{}: {replies:?}", version.name);
        assert_eq!(replies[4], Value::Nil, "{}", version.name);
        let replies = client.pipeline(&["MULTI", "SET k v", "DISCARD", "GET k"]);
        assert_eq!((&replies[2], &replies[3]), (&Value::ok(), &Value::Nil), "{}", version.name);
    });
}
