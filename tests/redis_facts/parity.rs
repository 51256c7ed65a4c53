//! What replication does not carry: users, settings, scripts.

use crate::support::{Group, LONG, Value, eventually, for_each_server, info_field, installed};

fn users(list: &Value) -> Vec<Vec<String>> {
    let words = |line: String| line.split(' ').skip(1).map(str::to_owned).collect();
    list.items().iter().filter_map(Value::text).map(words).collect()
}

#[test]
fn what_acl_list_tells_of_a_user_can_be_given_to_it() {
    for_each_server(|version, client| {
        client.call("ACL SETUSER a on >one >two ~k:* ~j resetchannels &c -@all +get +config|get");
        client.call("ACL SETUSER b off nopass allkeys +@all -@dangerous");
        if version.release >= 70 {
            client.cmd(&["ACL", "SETUSER", "c", "on", "%R~j", "(+set ~z)", "(allkeys +@read)"]);
        }
        let before = users(&client.call("ACL LIST"));
        for user in &before {
            let mut request = vec!["ACL", "SETUSER", user[0].as_str(), "reset"];
            request.extend(user[1..].iter().map(String::as_str));
            assert_eq!(client.cmd(&request), Value::ok(), "{}: {user:?}", version.name);
        }
        // The only difference is a default, which some servers do not say until it was given.
        let mut after = users(&client.call("ACL LIST"));
        let mut before = before;
        before.iter_mut().chain(&mut after).for_each(|user| user.retain(|word| word != "sanitize-payload"));
        assert_eq!(before, after, "{}", version.name);
    });
}

#[test]
fn what_config_get_tells_of_a_setting_can_be_set_again() {
    for_each_server(|version, client| {
        client.call("CONFIG SET notify-keyspace-events KEA");
        client.call("CONFIG SET maxmemory 100mb");
        for name in [
            "notify-keyspace-events",
            "maxmemory",
            "save",
            "client-output-buffer-limit",
            "masterauth",
            "timeout",
        ] {
            let get =
                |client: &mut crate::support::Client| client.cmd(&["CONFIG", "GET", name]).items()[1].clone();
            let value = get(client);
            let text = value.text().expect("a text");
            assert_eq!(client.cmd(&["CONFIG", "SET", name, &text]), Value::ok(), "{}: {name}", version.name);
            assert_eq!(get(client), value, "{}: {name}", version.name);
        }
    });
}

#[test]
fn an_error_repeats_what_it_does_not_understand_in_quotes() {
    for_each_server(|version, client| {
        let reply = client.cmd(&["ACL", "SETUSER", "a", "#hush"]);
        let text = reply.error().unwrap_or_default().to_owned();
        assert!(text.contains("'#hush'"), "{}: {text}", version.name);
        assert!(!text.replace("'#hush'", "").contains("hush"), "{}: {text}", version.name);
    });
}

#[test]
fn a_replica_takes_them_and_its_history_stays_the_primarys() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        let mut client = replica.client();
        let tell = |client: &mut crate::support::Client| {
            assert_eq!(client.call("ACL SETUSER a on"), Value::ok());
            assert_eq!(client.call("CONFIG SET slowlog-max-len 5"), Value::ok());
            assert!(client.cmd(&["SCRIPT", "LOAD", "return 1"]).text().is_some());
            assert_eq!(client.call("SCRIPT FLUSH"), Value::ok());
            assert_eq!(client.call("ACL DELUSER a"), Value::Int(1));
        };
        tell(&mut client);
        assert_eq!(primary.call("SET k v"), Value::ok());
        group.wait_in_sync(0);
        assert_eq!(replica.call("GET k"), Value::bulk("v"), "{}", version.name);
        assert_eq!(primary.info("sync_full").as_deref(), Some("1"), "{}", version.name);
        // Where nothing comes from a primary the offset tells.
        assert_eq!(replica.call("REPLICAOF 127.0.0.1 0"), Value::ok());
        let mut client = replica.client();
        let offset = info_field(&mut client, "slave_repl_offset");
        tell(&mut client);
        assert_eq!(info_field(&mut client, "slave_repl_offset"), offset, "{}", version.name);
    }
}

#[test]
fn scripts_are_replicated_before_7_0_only_and_users_and_settings_never() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let [primary, replica] = group.nodes() else { panic!("two nodes") };
        assert_eq!(primary.call("ACL SETUSER a on"), Value::ok());
        assert_eq!(primary.call("CONFIG SET slowlog-max-len 5"), Value::ok());
        let digest = primary.client().cmd(&["SCRIPT", "LOAD", "return 1"]).text().expect("a digest");
        assert_eq!(primary.call("SET k v"), Value::ok());
        eventually(LONG, "the replica has the key", || replica.call("GET k") == Value::bulk("v"));
        let known = replica.call(&format!("SCRIPT EXISTS {digest}"));
        assert_eq!(known.items(), [Value::Int(i64::from(version.release < 70))], "{}", version.name);
        assert_eq!(replica.call("ACL USERS").items(), [Value::bulk("default")], "{}", version.name);
        assert_ne!(
            replica.call("CONFIG GET slowlog-max-len").items()[1],
            Value::bulk("5"),
            "{}",
            version.name
        );
    }
}
