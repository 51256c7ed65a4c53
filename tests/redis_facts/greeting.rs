//! What a connection to a node begins with: credentials, protocol, database, and the question which process it reached.

use crate::support::{Client, Server, V8_2, Value, Version, installed};

const NO_EVICT: &[&str] = &["CLIENT", "NO-EVICT", "ON"];
const WHO: &[&str] = &["INFO", "server"];

fn run_id(info: &Value) -> Option<String> {
    let text = info.text()?;
    text.lines().find_map(|line| Some(line.strip_prefix("run_id:")?.to_owned()))
}

fn each(setting: (&str, &str), check: impl Fn(Version, &Server)) {
    for version in installed() {
        check(version, &version.options().set(setting.0, setting.1).start());
    }
}

#[test]
fn info_server_names_the_process_in_both_protocols_until_it_is_started_again() {
    for version in installed() {
        let mut server = version.start();
        let first = server.info("run_id").expect("every server has one");
        assert_eq!(first.len(), 40, "{}", version.name);
        assert_eq!(run_id(&server.client().cmd(WHO)).as_ref(), Some(&first), "{}", version.name);
        let resp3 = Client::connect_resp3(server.address()).cmd(WHO);
        assert!(
            matches!(&resp3, Value::Verbatim(format, _) if format == "txt"),
            "{}: {resp3:?}",
            version.name
        );
        assert_eq!(run_id(&resp3).as_ref(), Some(&first), "{}", version.name);
        server.restart();
        assert_ne!(run_id(&server.client().cmd(WHO)), Some(first), "{}", version.name);
    }
}

#[test]
fn a_greeting_that_begins_with_a_failing_auth_gets_all_of_its_replies() {
    for setting in [("requirepass", "secret"), ("maxmemory", "0")] {
        each(setting, |version, server| {
            for auth in [&["AUTH", "nobody", "wrong"][..], &["AUTH", "wrong"]] {
                let greeting = [auth, &["HELLO", "3"], &["SELECT", "99"], NO_EVICT, WHO];
                let replies = server.client().pipelined(&greeting);
                assert!(replies[0].error().is_some(), "{}: {auth:?}: {:?}", version.name, replies[0]);
                assert_eq!(replies[4].error().is_some(), setting.0 == "requirepass", "{}", version.name);
            }
        });
    }
}

#[test]
fn who_may_not_use_info_is_told_so_and_nothing_else_changes() {
    for version in installed() {
        let server = version.start();
        assert_eq!(server.call("ACL SETUSER app on >secret ~* +@all -info"), Value::ok());
        let mut client = server.client();
        let replies = client.pipelined(&[&["AUTH", "app", "secret"][..], WHO, &["SET", "k", "v"]]);
        assert!(replies[1].error().is_some_and(|text| text.starts_with("NOPERM")), "{}", version.name);
        assert_eq!((&replies[0], &replies[2]), (&Value::ok(), &Value::ok()), "{}", version.name);
    }
}

/// Why AUTH goes first, or when what was asked before it is answered.
#[test]
fn a_failing_auth_behind_another_request_may_get_no_reply() {
    if !V8_2.is_there() {
        return;
    }
    let server = V8_2.start();
    let mut client = server.client();
    client.send_raw(
        b"PING\r\n*3\r\n$4\r\nAUTH\r\n$6\r\nnobody\r\n$5\r\nwrong\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n",
    );
    assert_eq!(client.read(), Value::Simple("PONG".to_owned()));
    assert_eq!(client.read(), Value::bulk("x"));
}
