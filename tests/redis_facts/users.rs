//! What `[[users]]` stand on: ACL SETUSER again and again, and Redis's patterns.

use redhold::users::Patterns;

use crate::support::{Client, Value, for_each_server};

const SETUSER: [&str; 11] = [
    "ACL",
    "SETUSER",
    "app",
    "reset",
    "resetchannels",
    "on",
    ">secret",
    "~app:*",
    "&app:*",
    "+@all",
    "-keys",
];

#[test]
fn a_user_that_is_given_the_same_rules_again_keeps_connections_and_subscriptions() {
    for_each_server(|version, root| {
        assert_eq!(root.cmd(&SETUSER), Value::ok(), "{}", version.name);
        let (mut client, mut subscriber) = (Client::connect(root.address()), Client::connect(root.address()));
        for app in [&mut client, &mut subscriber] {
            assert_eq!(app.call("AUTH app secret"), Value::ok(), "{}", version.name);
        }
        subscriber.call("SUBSCRIBE app:news");
        let listed = root.call("ACL LIST");
        for _ in 0..3 {
            assert_eq!(root.cmd(&SETUSER), Value::ok(), "{}", version.name);
        }
        assert_eq!(root.call("ACL LIST"), listed, "{}", version.name);
        assert_eq!(client.call("SET app:k v"), Value::ok(), "{}", version.name);
        assert!(
            client.call("GET other").error().is_some_and(|text| text.starts_with("NOPERM ")),
            "{}",
            version.name
        );
        assert!(
            client.call("KEYS *").error().is_some_and(|text| text.starts_with("NOPERM ")),
            "{}",
            version.name
        );
        assert_eq!(root.call("PUBLISH app:news m"), Value::Int(1), "{}", version.name);
        let message = ["message", "app:news", "m"].map(Value::bulk).to_vec();
        assert_eq!(subscriber.read(), Value::Array(message), "{}", version.name);
    });
}

#[test]
fn a_user_that_is_unknown_or_off_or_has_another_password_is_refused_with_the_same_words() {
    for_each_server(|version, root| {
        let wrong = Value::Error("WRONGPASS invalid username-password pair or user is disabled.".to_owned());
        root.cmd(&SETUSER);
        assert_eq!(root.call("AUTH app no"), wrong, "{}", version.name);
        assert_eq!(root.call("AUTH nobody secret"), wrong, "{}", version.name);
        assert_eq!(root.call("ACL SETUSER app off"), Value::ok(), "{}", version.name);
        assert_eq!(root.call("AUTH app secret"), wrong, "{}", version.name);
        root.cmd(&SETUSER);
        assert_eq!(root.call("AUTH app secret"), Value::ok(), "{}", version.name);
    });
}

#[test]
fn what_anybody_may_send_before_auth_is_what_redhold_lets_strangers_send() {
    for_each_server(|version, root| {
        assert_eq!(root.call("CONFIG SET requirepass sesame"), Value::ok(), "{}", version.name);
        let mut stranger = Client::connect(root.address());
        let reply = stranger.call("HELLO 3");
        let hello = reply.error().unwrap_or_default();
        assert!(
            hello.starts_with("NOAUTH HELLO must be called with the client already"),
            "{}: {hello}",
            version.name
        );
        for request in ["PING", "DISCARD", "UNWATCH", "SUBSCRIBE c"] {
            let noauth = Value::Error("NOAUTH Authentication required.".to_owned());
            assert_eq!(stranger.call(request), noauth, "{}: {request}", version.name);
        }
        let exec = "EXECABORT Transaction discarded because of: NOAUTH Authentication required.";
        assert_eq!(stranger.call("EXEC"), Value::Error(exec.to_owned()), "{}", version.name);
        assert_eq!(stranger.call("QUIT"), Value::ok(), "{}", version.name);
        root.cmd(&["CONFIG", "SET", "requirepass", ""]);
    });
}

/// Numbers from a seed, by a linear congruential generator (Knuth, MMIX).
fn dice(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap_or(0)
}

#[test]
fn patterns_fit_the_keys_that_they_fit_in_redis() {
    let mut seed = 20_261_128;
    for_each_server(|version, client| {
        let word = |letters: &[u8], seed: &mut u64, most: usize| -> String {
            let len = dice(seed) % (most + 1);
            (0..len).map(|_| char::from(letters[dice(seed) % letters.len()])).collect()
        };
        for round in 0..1500 {
            let mut pattern = word(b"aabbc**?[]^-\\", &mut seed, 8);
            // KEYS knows this one without looking at keys.
            pattern.push_str(if pattern == "*" { "*" } else { "" });
            // 6.2 finds that nothing but `*` fits an empty one.
            let key = format!("{}a", word(b"aabbc[]^-\\", &mut seed, 5));
            assert_eq!(client.call("FLUSHALL"), Value::ok(), "{}", version.name);
            assert_eq!(client.cmd(&["SET", &key, "v"]), Value::ok(), "{}", version.name);
            let fits = !client.cmd(&["KEYS", &pattern]).items().is_empty();
            let ours = Patterns::new(&[pattern.clone()]).fit(key.as_bytes());
            assert_eq!(ours, fits, "{}: round {round}: pattern {pattern:?}, key {key:?}", version.name);
        }
    });
}
