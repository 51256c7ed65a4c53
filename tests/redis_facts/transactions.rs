//! MULTI, EXEC and WATCH, where something goes wrong.

use crate::support::{Client, Value, for_each_server, installed};

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

#[test]
fn a_mode_or_a_name_in_a_transaction_is_there_after_exec() {
    for version in installed() {
        let server = version.start();
        let mut client = Client::connect_resp3(server.address());
        let requests = ["MULTI", "CLIENT TRACKING ON NOLOOP", "CLIENT SETNAME inside", "SELECT 3", "EXEC"];
        let replies = client.pipeline(&requests);
        assert!(
            replies[1..4].iter().all(|reply| *reply == Value::Simple("QUEUED".to_owned())),
            "{replies:?}"
        );
        assert_eq!(replies[4], Value::Array(vec![Value::ok(); 3]), "{}", version.name);
        let flags = client.call("CLIENT TRACKINGINFO").get("flags").cloned().expect("flags");
        assert_eq!(flags.items(), [Value::bulk("on"), Value::bulk("noloop")], "{}", version.name);
        assert_eq!(client.call("CLIENT GETNAME"), Value::bulk("inside"), "{}", version.name);
        assert!(client.call("CLIENT INFO").text().expect("text").contains(" db=3 "), "{}", version.name);
        // Beside subscriptions as well.
        client.pipeline(&["SUBSCRIBE c", "MULTI", "SELECT 4", "SELECT 99"]);
        let replies = client.call("EXEC");
        assert_eq!(replies.items()[0], Value::ok(), "{}", version.name);
        assert!(replies.items()[1].error().is_some(), "{}", version.name);
        assert!(client.call("CLIENT INFO").text().expect("text").contains(" db=4 "), "{}", version.name);
    }
}

#[test]
fn replies_that_are_switched_off_in_a_transaction_cut_its_own_off_or_are_refused() {
    for version in installed() {
        let server = version.start();
        for (mode, elements) in [("OFF", &b""[..]), ("SKIP", b"+OK\r\n")] {
            let mut client = server.client();
            let replies = client.pipeline(&["MULTI", &format!("CLIENT REPLY {mode}"), "SET k v"]);
            if version.valkey {
                assert!(begins(&replies[1], "ERR Command 'client|reply' not allowed inside a transaction"));
                assert!(begins(&client.call("EXEC"), "EXECABORT"), "{mode}");
                continue;
            }
            assert_eq!(replies[1], Value::Simple("QUEUED".to_owned()), "{}: {mode}", version.name);
            client.send(&["EXEC"]);
            client.send(&["ECHO", "unheard"]);
            client.send(&["CLIENT", "REPLY", "ON"]);
            let wanted = [&b"*2\r\n"[..], elements, b"+OK\r\n"].concat();
            assert_eq!(client.read_raw(wanted.len()), wanted, "{}: {mode}", version.name);
            assert_eq!(client.call("GET k"), Value::bulk("v"), "{}: it is executed", version.name);
        }
    }
}

#[test]
fn a_subscription_in_a_transaction_is_one_element_for_each_name_whatever_the_header_says() {
    for_each_server(|version, client| {
        let replies = client.pipeline(&["MULTI", "SUBSCRIBE a", "GET k", "EXEC"]);
        let confirmation = |name: &str, count| {
            Value::Array(vec![Value::bulk("subscribe"), Value::bulk(name), Value::Int(count)])
        };
        assert_eq!(replies[3], Value::Array(vec![confirmation("a", 1), Value::Nil]), "{}", version.name);
        client.call("RESET");
        let replies = client.pipeline(&["MULTI", "SUBSCRIBE a b", "GET k", "EXEC"]);
        assert_eq!(replies[3].items(), [confirmation("a", 1), confirmation("b", 2)], "{}", version.name);
        assert_eq!(client.read(), Value::Nil, "{}: behind the end of the array", version.name);
    });
}
