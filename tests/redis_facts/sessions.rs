//! The state of a connection: subscriptions, protocols, replies that are switched off.

use crate::support::{Client, VALKEY, Value, for_each_server, installed};

#[test]
fn a_resp2_subscriber_may_only_subscribe_ping_reset_and_quit() {
    for_each_server(|version, client| {
        client.call("SUBSCRIBE c");
        let pong = client.call("PING");
        assert_eq!(pong, Value::Array(vec![Value::bulk("pong"), Value::bulk("")]), "{}", version.name);
        let pong = client.call("PING hello");
        assert_eq!(pong, Value::Array(vec![Value::bulk("pong"), Value::bulk("hello")]), "{}", version.name);
        for request in ["GET k", "CLIENT ID", "MULTI", "HELLO 3", "NOSUCH"] {
            let refused = client.call(request);
            assert!(refused.error().is_some(), "{}: {request}: {refused:?}", version.name);
        }
        assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()), "{}", version.name);
        assert_eq!(client.call("GET k"), Value::Nil, "{}: subscribed no more", version.name);
    });
}

#[test]
fn a_resp3_subscriber_may_do_anything() {
    for version in installed() {
        let server = version.start();
        let mut client = Client::connect_resp3(server.address());
        assert!(matches!(client.call("SUBSCRIBE c"), Value::Push(_)), "{}", version.name);
        assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()), "{}", version.name);
        assert_eq!(client.call("SET k v"), Value::ok(), "{}", version.name);
        assert!(matches!(client.call("UNSUBSCRIBE"), Value::Push(_)), "{}", version.name);
    }
}

#[test]
fn unsubscribing_from_nothing_is_confirmed_once_and_from_many_once_each() {
    for_each_server(|version, client| {
        let none = client.call("UNSUBSCRIBE");
        let expect = Value::Array(vec![Value::bulk("unsubscribe"), Value::Nil, Value::Int(0)]);
        assert_eq!(none, expect, "{}", version.name);
        client.send(&["PUNSUBSCRIBE", "a", "b"]);
        for pattern in ["a", "b"] {
            let expect = Value::Array(vec![Value::bulk("punsubscribe"), Value::bulk(pattern), Value::Int(0)]);
            assert_eq!(client.read(), expect, "{}", version.name);
        }
    });
}

#[test]
fn replies_that_are_off_include_errors() {
    for_each_server(|version, client| {
        client.send(&["CLIENT", "REPLY", "SKIP"]);
        client.send(&["GET"]);
        assert_eq!(
            client.call("PING"),
            Value::Simple("PONG".to_owned()),
            "{}: one was skipped",
            version.name
        );
        client.send(&["CLIENT", "REPLY", "OFF"]);
        client.send(&["PING"]);
        client.send(&["NOSUCH"]);
        assert_eq!(client.call("CLIENT REPLY ON"), Value::ok(), "{}", version.name);
        assert_eq!(client.call("ECHO x"), Value::bulk("x"), "{}", version.name);
    });
}

#[test]
fn what_is_subscribed_without_replies_is_confirmed_since_7_0_and_stands_in_any_version() {
    for version in installed() {
        let server = version.start();
        let (mut two, mut three) = (server.client(), Client::connect_resp3(server.address()));
        for (client, mode) in [(&mut two, "SKIP"), (&mut three, "OFF")] {
            client.send(&["CLIENT", "REPLY", mode]);
            client.send(&["SUBSCRIBE", "c"]);
            if version.release >= 70 {
                assert_eq!(client.read().items()[0], Value::bulk("subscribe"), "{}: {mode}", version.name);
            }
        }
        // Its errors are silent.
        three.send(&["SUBSCRIBE"]);
        assert_eq!(three.call("CLIENT REPLY ON"), Value::ok(), "{}", version.name);
        assert_eq!(server.call("PUBLISH c text"), Value::Int(2), "{}", version.name);
        for client in [&mut two, &mut three] {
            assert_eq!(client.read().items()[0], Value::bulk("message"), "{}", version.name);
        }
        // A subscriber in RESP2 may not change its mode.
        assert!(two.call("CLIENT REPLY OFF").error().is_some(), "{}", version.name);
    }
}

#[test]
fn a_missing_login_and_a_wrong_one() {
    for version in installed() {
        let server = version.options().set("requirepass", "secret").start();
        let mut client = server.client();
        let missing = client.call("GET k");
        assert!(
            missing.error().is_some_and(|text| text.starts_with("NOAUTH")),
            "{}: {missing:?}",
            version.name
        );
        // Redis counts the arguments first, Valkey 9 asks for the login first.
        let wrong = client.call("GET");
        let expect = if version == VALKEY { "NOAUTH" } else { "ERR wrong number of arguments" };
        assert!(wrong.error().is_some_and(|text| text.starts_with(expect)), "{}: {wrong:?}", version.name);
        let failed = client.call("AUTH wrong");
        assert!(
            failed.error().is_some_and(|text| text.starts_with("WRONGPASS")),
            "{}: {failed:?}",
            version.name
        );
        assert_eq!(client.call("AUTH secret"), Value::ok(), "{}", version.name);
        // A failed AUTH does not take away what a connection has.
        client.call("AUTH wrong");
        assert_eq!(client.call("GET k"), Value::Nil, "{}", version.name);
    }
}

#[test]
fn which_version_has_what_the_proxy_asks_for() {
    for_each_server(|version, client| {
        for (request, since) in [
            ("CLIENT NO-EVICT ON", 70),
            ("ACL DRYRUN default GET k", 70),
            ("CLIENT NO-TOUCH ON", 72),
            ("CLIENT SETINFO LIB-NAME x", 72),
        ] {
            let known = client.call(request).error().is_none();
            assert_eq!(known, version.release >= since, "{}: {request}", version.name);
        }
    });
}

#[test]
fn a_tracking_request_says_all_there_is_to_say_but_prefixes_add_up() {
    for version in installed() {
        let server = version.start();
        let mut client = Client::connect_resp3(server.address());
        let flags = |client: &mut Client| {
            let info = client.call("CLIENT TRACKINGINFO");
            let mut words = info.get("flags").map(|flags| {
                flags
                    .items()
                    .iter()
                    .chain(info.get("prefixes").map_or(&[][..], Value::items))
                    .filter_map(Value::text)
                    .collect::<Vec<_>>()
            });
            words.iter_mut().for_each(|words| words.sort());
            words.unwrap_or_default().join(" ")
        };
        client.call("CLIENT TRACKING ON NOLOOP");
        assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
        assert_eq!(flags(&mut client), "on", "{}", version.name);
        client.call("CLIENT TRACKING OFF");
        client.call("CLIENT TRACKING ON BCAST PREFIX a NOLOOP");
        assert_eq!(client.call("CLIENT TRACKING ON BCAST PREFIX b"), Value::ok(), "{}", version.name);
        assert_eq!(flags(&mut client), "a b bcast on", "{}", version.name);
        assert!(client.call("CLIENT TRACKING ON").error().is_some(), "{}", version.name);
        assert_eq!(client.call("CLIENT TRACKING OFF"), Value::ok());
    }
}
