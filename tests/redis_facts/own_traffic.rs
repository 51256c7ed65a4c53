//! What Redhold's own traffic stands on: that servers take it, and to whom it shows.

use crate::support::{Value, installed};

#[test]
fn names_are_read_in_any_case_and_monitor_repeats_them_as_written() {
    for version in installed() {
        let server = version.start();
        let (mut watcher, mut client) = (server.client(), server.client());
        assert_eq!(watcher.call("MONITOR"), Value::ok());
        assert_eq!(client.call("PINg"), Value::Simple("PONG".to_owned()), "{}", version.name);
        assert_eq!(client.call("ping"), Value::Simple("PONG".to_owned()), "{}", version.name);
        for name in ["\"PINg\"", "\"ping\""] {
            let line = watcher.read().text().expect("a line");
            assert!(line.ends_with(name), "{}: {line}", version.name);
        }
    }
}
