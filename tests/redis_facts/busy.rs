//! A script that runs: who is answered, and how it is ended.

use crate::support::{Client, LONG, Server, Value, eventually, installed};

/// A server whose scripts count as slow after 50 ms.
fn server(version: crate::support::Version) -> Server {
    let name = if version.release >= 70 { "busy-reply-threshold" } else { "lua-time-limit" };
    version.options().set(name, "50").start()
}

fn endless(client: &mut Client) {
    client.send(&["EVAL", "while true do end", "0"]);
}

#[test]
fn a_busy_server_says_so_and_a_kill_from_another_connection_ends_it() {
    for version in installed() {
        let server = server(version);
        let mut runner = server.client();
        endless(&mut runner);
        let mut other = server.client();
        eventually(LONG, "PING is answered BUSY", || {
            other.call("PING").error().is_some_and(|text| text.starts_with("BUSY"))
        });
        assert_eq!(other.call("SCRIPT KILL"), Value::ok(), "{}", version.name);
        assert!(runner.read().error().is_some(), "{}", version.name);
        assert_eq!(other.call("PING"), Value::Simple("PONG".to_owned()), "{}", version.name);
    }
}

#[test]
fn a_kill_behind_the_script_on_its_own_connection_is_not_heard() {
    for version in installed() {
        let server = server(version);
        let mut runner = server.client();
        endless(&mut runner);
        runner.send(&["SCRIPT", "KILL"]);
        let mut other = server.client();
        eventually(LONG, "PING is answered BUSY", || {
            other.call("PING").error().is_some_and(|text| text.starts_with("BUSY"))
        });
        assert!(runner.is_silent_for(std::time::Duration::from_millis(200)), "{}", version.name);
        assert_eq!(other.call("SCRIPT KILL"), Value::ok(), "{}", version.name);
    }
}

#[test]
fn a_select_in_a_script_is_not_the_clients() {
    for version in installed() {
        let server = version.start();
        let mut client = server.client();
        assert_eq!(client.cmd(&["EVAL", "return redis.call('select', 5)", "0"]), Value::ok());
        client.call("SET k v");
        assert_eq!(server.call("GET k"), Value::bulk("v"), "{}: database 0", version.name);
    }
}
