//! What a client may send that has to authenticate and has not.

use crate::support::{Client, Server, V7_0, Value, Version, encode, installed};

const ARGS: &[u8] = b"-ERR Protocol error: unauthenticated multibulk length\r\n";
const BULK: &[u8] = b"-ERR Protocol error: unauthenticated bulk length\r\n";

/// Redis has the limits since 6.2.6; 6.2.5 is older.
fn each(check: impl Fn(Version, &Server)) {
    for version in installed().into_iter().filter(|version| version.release >= 70) {
        check(version, &version.options().set("requirepass", "secret").start());
    }
}

fn noauth() -> Value {
    Value::Error("NOAUTH Authentication required.".to_owned())
}

#[test]
fn more_than_ten_arguments_or_16_kib_are_refused_at_the_header_and_closed() {
    each(|version, server| {
        for (bytes, error) in [(&b"*11\r\n"[..], ARGS), (b"*2\r\n$4\r\nECHO\r\n$16385\r\n", BULK)] {
            let mut client = server.client();
            client.send_raw(&[b"*1\r\n$4\r\nPING\r\n", bytes].concat());
            let expected = [b"-NOAUTH Authentication required.\r\n", error].concat();
            assert_eq!(client.read_to_close(), expected, "{}", version.name);
        }
        let mut client = server.client();
        assert_eq!(client.cmd(&["ECHO", &"x".repeat(16_384)]), noauth(), "{}", version.name);
        assert_eq!(client.cmd(&["DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9"]), noauth());
    });
}

#[test]
fn a_line_may_have_as_many_words_as_it_holds() {
    each(|version, server| {
        let mut client = server.client();
        client.send_raw(b"DEL 1 2 3 4 5 6 7 8 9 10 11 12\r\n");
        assert_eq!(client.read(), noauth(), "{}", version.name);
        client.send_raw([&b"ECHO "[..], &[b'x'; 20_000], b"\r\n"].concat().as_slice());
        assert_eq!(client.read(), noauth(), "{}", version.name);
    });
}

#[test]
fn who_is_served_may_send_more_until_reset() {
    each(|version, server| {
        let mut client = server.client();
        assert_eq!(client.call("AUTH secret"), Value::ok());
        assert_eq!(client.call("DEL 1 2 3 4 5 6 7 8 9 10 11"), Value::Int(0), "{}", version.name);
        client.call("RESET");
        client.send(&["DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
        assert_eq!(client.read_to_close(), ARGS, "{}", version.name);
    });
}

#[test]
fn who_was_served_before_there_was_a_password_is_served_for_life() {
    for version in installed() {
        let server = version.start();
        let (mut early, mut admin) = (server.client(), server.client());
        assert_eq!(early.call("CLIENT NO-EVICT ON").error().is_none(), version.release >= 70);
        assert_eq!(admin.call("CONFIG SET requirepass secret"), Value::ok());
        assert_eq!(early.call("DEL 1 2 3 4 5 6 7 8 9 10 11"), Value::Int(0), "{}", version.name);
        assert_eq!(
            Client::connect(server.address()).call("CLIENT NO-EVICT ON"),
            noauth(),
            "{}",
            version.name
        );
        assert_eq!(Client::connect(server.address()).call("CLIENT GETNAME"), noauth(), "{}", version.name);
    }
}

#[test]
fn replies_that_wait_for_a_stranger_are_few() {
    each(|version, server| {
        let long = encode(&["x".repeat(200), "y".repeat(200)]);
        let mut client = server.client();
        for _ in 0..50 {
            client.send_raw(&long.repeat(32));
            for _ in 0..32 {
                assert!(client.read().error().is_some(), "{}", version.name);
            }
        }
        if version == V7_0 {
            client.try_send_raw(&b"*1\r\n$4\r\nPING\r\n".repeat(2_000)).ok();
            assert!(client.read_to_close().len() < 2_000 * 33, "it is closed before it is answered");
        }
    });
}

#[test]
fn a_long_header_of_arguments_is_judged_first() {
    each(|version, server| {
        let mut client = server.client();
        client.send_raw(b"*2147483648\r\n");
        let expected = b"-ERR Protocol error: invalid multibulk length\r\n";
        assert_eq!(client.read_to_close(), expected, "{}", version.name);
        let mut client = server.client();
        client.send_raw(&encode(&["POST", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]));
        assert_eq!(client.read_to_close(), ARGS, "{}", version.name);
    });
}

#[test]
fn the_oldest_server_has_no_such_limits() {
    for version in installed().into_iter().filter(|version| version.release < 70) {
        let server = version.options().set("requirepass", "secret").start();
        assert_eq!(server.client().call("DEL 1 2 3 4 5 6 7 8 9 10 11"), noauth());
    }
}
