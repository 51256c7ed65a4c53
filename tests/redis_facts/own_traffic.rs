//! What Redhold's own traffic stands on: that servers take it, and to whom it shows.

use crate::support::{Group, V7_0, Value, for_each_server, installed};

/// Who may publish nowhere, and who may not wait.
const USERS: [&str; 2] =
    ["ACL SETUSER quiet on nopass ~* +@all resetchannels", "ACL SETUSER hasty on nopass ~* &* +@all -wait"];

#[test]
fn messages_move_the_replication_offset() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options().set("repl-ping-replica-period", "3600"));
        let primary = &group.nodes()[0];
        let offset = || {
            primary.info("master_repl_offset").and_then(|text| text.parse::<u64>().ok()).expect("a number")
        };
        let verb = if version.release >= V7_0.release { "SPUBLISH" } else { "PUBLISH" };
        for name in [verb.to_owned(), format!("{}h", &verb[..verb.len() - 1])] {
            let before = offset();
            assert_eq!(primary.client().cmd(&[name.as_str(), "__redhold:barrier", ""]), Value::Int(0));
            assert!(offset() > before, "{}: {name}", version.name);
        }
    }
}

#[test]
fn rights_to_channels_rule_sharded_messages_too() {
    for_each_server(|version, client| {
        for user in USERS {
            assert_eq!(client.call(user), Value::ok(), "{}", version.name);
        }
        assert_eq!(client.call("AUTH quiet x"), Value::ok(), "{}", version.name);
        let text = |value: Value| value.error().unwrap_or_default().to_owned();
        let plain = text(client.call("PUBLISH __redhold:barrier x"));
        assert!(plain.starts_with("NOPERM "), "{}: {plain}", version.name);
        let sharded = text(client.call("SPUBLISH __redhold:barrier x"));
        let expect = if version.release >= V7_0.release { "NOPERM " } else { "ERR unknown command" };
        assert!(sharded.starts_with(expect), "{}: {sharded}", version.name);
    });
}

#[test]
fn whether_a_user_may_wait_is_answered_at_once() {
    for_each_server(|version, client| {
        assert_eq!(client.call("WAIT -1 0"), Value::Int(0), "{}", version.name);
        let file = client.call("WAITAOF 0 0 0");
        let known = version.release >= 72;
        assert_eq!(file.error().is_none(), known, "{}: {file:?}", version.name);
        client.call(USERS[1]);
        client.call("AUTH hasty x");
        let refused = client.call("WAIT -1 0");
        assert!(
            refused.error().is_some_and(|text| text.starts_with("NOPERM ")),
            "{}: {refused:?}",
            version.name
        );
        assert_eq!(client.call("WAIT 1 0"), refused, "{}: whatever the arguments", version.name);
    });
}

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

#[test]
fn a_pattern_shows_in_no_list_and_counts_once() {
    for version in installed() {
        let server = version.start();
        let (mut one, mut other, mut client) = (server.client(), server.client(), server.client());
        one.call("PSUBSCRIBE __[rs]e[dn]*:hello");
        other.call("PSUBSCRIBE __[rs]e[dn]*:hello");
        assert_eq!(client.call("PUBSUB NUMPAT"), Value::Int(1), "{}", version.name);
        assert_eq!(client.call("PUBSUB CHANNELS"), Value::Array(Vec::new()), "{}", version.name);
        let counts = client.call("PUBSUB NUMSUB __redhold:hello __sentinel__:hello");
        assert_eq!(
            (&counts.items()[1], &counts.items()[3]),
            (&Value::Int(0), &Value::Int(0)),
            "{}",
            version.name
        );
        for channel in ["__redhold:hello", "__sentinel__:hello"] {
            assert_eq!(client.cmd(&["PUBLISH", channel, "x"]), Value::Int(2), "{}", version.name);
        }
    }
}
