//! What chance does not meet: bytes of one client to a server and to the proxy in front of another, and the answers byte for byte.

use crate::connection::Connection;
use crate::runs::{Beside, Sides};
use crate::script::Request;
use crate::support::{LONG, V7_0, encode};
use crate::words::Words;

/// Ten times what moving half a gibibyte twice takes.
const PATIENCE: std::time::Duration = LONG.saturating_mul(4);

/// Says requests to both sides, one after the other, and compares every byte.
struct Both([Connection; 2]);

impl Both {
    #[track_caller]
    fn open(sides: &Sides) -> Self {
        Self(sides.addresses().map(|address| Connection::open(address, PATIENCE).expect("it listens")))
    }

    /// Sends bytes as they are and awaits nothing.
    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        for side in &mut self.0 {
            side.send(bytes).expect("it reads");
        }
    }

    #[track_caller]
    fn hear(&mut self, words: &[&str]) -> Vec<u8> {
        let words: Words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let request = Request::new(words);
        let [left, right] = self.0.each_mut().map(|side| {
            let replies = side.replies(&request).expect("it answers");
            replies.into_iter().flat_map(|reply| reply.bytes).collect::<Vec<u8>>()
        });
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(200)].escape_ascii().to_string();
        assert!(left == right, "{}: {} {}", request.shown(), shown(&left), shown(&right));
        left
    }

    #[track_caller]
    fn say(&mut self, words: &[&str]) -> Vec<u8> {
        self.send(&encode(words));
        self.hear(words)
    }

    /// Both close, and say the same before.
    #[track_caller]
    fn end(&mut self) -> String {
        let [left, right] = self.0.each_mut().map(|side| side.rest().expect("it closes"));
        assert_eq!(left.escape_ascii().to_string(), right.escape_ascii().to_string());
        String::from_utf8_lossy(&left).into_owned()
    }
}

#[test]
fn half_a_request_waits_for_its_other_half_and_harms_nobody() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    let (mut slow, mut other) = (Both::open(&sides), Both::open(&sides));
    let request = encode(&["SET", "k\r\n$1\r\nx", "a\r\n*1\r\n$4\r\nPING\r\n"]);
    for cut in 1..request.len() {
        slow.send(&request[..cut]);
        other.say(&["SET", "of another", &cut.to_string()]);
        other.say(&["GET", "of another"]);
        slow.send(&request[cut..]);
        assert_eq!(slow.hear(&["SET"]), b"+OK\r\n");
        slow.say(&["GET", "k\r\n$1\r\nx"]);
    }
    // A line, cut where its end and its quotes are.
    for (first, second) in
        [("SET k \"a b", " c\"\r\n"), ("SET k v\r", "\n"), ("SET", " k v\n"), ("\r", "\nSET k v\r\n")]
    {
        slow.send(first.as_bytes());
        other.say(&["GET", "of another"]);
        slow.send(second.as_bytes());
        assert_eq!(slow.hear(&["SET"]), b"+OK\r\n", "{first:?}");
        slow.say(&["GET", "k"]);
    }
}

#[test]
fn a_million_arguments_are_taken_and_given_back() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    let mut client = Both::open(&sides);
    let numbers: Vec<String> = (0..1_000_000 - 2).map(|number| number.to_string()).collect();
    let request: Vec<&str> =
        ["RPUSH", "list"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    client.say(&request);
    client.say(&["LRANGE", "list", "0", "-1"]);
    let names: Vec<&str> = ["DEL"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    client.say(&names);
    let nobodys: Vec<&str> = ["NOSUCH"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    client.say(&nobodys);
    client.say(&["PING"]);
}

/// Of half a gibibyte, what an argument may have at most; one copy in each process, and one here.
#[test]
#[ignore = "needs 4 GiB of memory; the group `differential` runs it"]
fn a_value_of_512_mib_passes_and_one_byte_more_is_refused() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    let mut client = Both::open(&sides);
    client.say(&["SETRANGE", "far", "536870911", "x"]);
    client.say(&["SETRANGE", "far", "536870912", "x"]);
    client.say(&["APPEND", "far", "x"]);
    client.say(&["STRLEN", "far"]);
    client.say(&["GET", "far"]);
    client.say(&["GETRANGE", "far", "-3", "-1"]);
    client.say(&["DEL", "far"]);
    let value = "v".repeat(512 << 20);
    client.say(&["SET", "whole", &value]);
    client.say(&["STRLEN", "whole"]);
    client.say(&["GET", "whole"]);
    client.send(b"*3\r\n$3\r\nSET\r\n$5\r\nwhole\r\n$536870913\r\n");
    assert_eq!(client.end(), "-ERR Protocol error: invalid bulk length\r\n");
    let mut client = Both::open(&sides);
    assert_eq!(client.say(&["STRLEN", "whole"]), b":536870912\r\n");
}

#[test]
fn what_a_transaction_must_not_hold_is_told_so() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    for inside in [
        &["MULTI"][..],
        &["WATCH", "k"],
        &["UNWATCH"],
        &["EXEC", "x"],
        &["DISCARD", "x"],
        &["HELLO", "4"],
        &["HELLO", "3"],
        &["AUTH", "wrong"],
        &["AUTH", "a", "b", "c"],
        &["SELECT", "99"],
        &["SELECT", "7"],
        &["RESET"],
        &["SUBSCRIBE"],
        &["NOSUCH"],
        &["GET"],
        &["PUBSUB", "NUMPAT"],
        &["PUBSUB", "SHARDCHANNELS"],
    ] {
        for forgiven in [None, Some(&["MULTI"][..]), Some(&["WATCH", "k"])] {
            let mut client = Both::open(&sides);
            client.say(&["MULTI"]);
            forgiven.map(|words| client.say(words));
            client.say(&["SET", "k", "v"]);
            client.say(inside);
            // HELLO's reply has the client's number in it.
            if inside != ["HELLO", "3"] {
                client.say(&["EXEC"]);
                client.say(&["EXEC"]);
                // In which database and dialect the client is now.
                client.say(&["GET", "k"]);
                client.say(&["GET", "none"]);
            }
        }
    }
}

#[test]
fn refusals_of_dialects_and_passwords_are_redis_own() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    let mut client = Both::open(&sides);
    for words in [
        &["HELLO", "4"][..],
        &["HELLO", "1"],
        &["HELLO", "-1"],
        &["HELLO", "three"],
        &["HELLO", "99999999999999999999"],
        &["HELLO", "3", "AUTH"],
        &["HELLO", "3", "AUTH", "default", "wrong", "SETNAME"],
        &["HELLO", "3", "SETNAME", "a b"],
        &["HELLO", "3", "NOSUCH"],
        &["AUTH"],
        &["AUTH", "wrong"],
        &["AUTH", "nobody", "wrong"],
        &["AUTH", "a", "b", "c"],
        &["GET", "none"],
    ] {
        client.say(words);
    }
    client.say(&["ACL", "SETUSER", "alice", "on", ">secret", "~*", "+get", "+ping"]);
    for words in [
        &["AUTH", "alice", "wrong"][..],
        &["AUTH", "alice", "secret"],
        &["SET", "k", "v"],
        &["PING"],
        &["AUTH", "alice", "x", "y"],
        &["GET", "none"],
    ] {
        client.say(words);
    }
}

#[test]
fn a_cursor_that_no_server_gives_is_judged_by_the_server() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    let mut client = Both::open(&sides);
    client.say(&["RPUSH", "list", "a"]);
    client.say(&["SADD", "set", "1"]);
    for cursor in [
        "9007199254740992",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "x",
        "",
    ] {
        client.say(&["HSCAN", "list", cursor]);
        client.say(&["SSCAN", "set", cursor]);
        client.say(&["SCAN", cursor, "TYPE", "string"]);
    }
}

#[test]
fn replies_are_taken_away_also_right_behind_what_subscribes_nobody() {
    let sides = Sides::new(V7_0, Beside::Proxy);
    for last in [
        &b"CLIENT REPLY SKIP\r\nGET k\r\nECHO end\r\n"[..],
        b"CLIENT REPLY OFF\r\nGET k\r\nECHO x\r\nCLIENT REPLY ON\r\n",
    ] {
        for first in ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            let mut client = Both::open(&sides);
            client.send(&[first.as_bytes(), b"\r\n", last].concat());
            client.hear(&[first]);
            client.hear(&["ECHO"]);
            client.say(&["PING"]);
        }
    }
}

/// The kit's own book: what COMMAND LIST may begin with, since its order is any, is no subscription.
#[test]
fn what_only_looks_like_a_subscription_is_none() {
    let sides = Sides::new(V7_0, Beside::Server);
    let mut client = Both::open(&sides);
    client.say(&["RPUSH", "list", "psubscribe", "get"]);
    client.say(&["LRANGE", "list", "0", "-1"]);
    client.say(&["PSUBSCRIBE", "c*"]);
    client.send(b"PUNSUBSCRIBE\r\nECHO next\r\n");
    assert!(client.hear(&["PUNSUBSCRIBE"]).ends_with(b":0\r\n"));
    assert_eq!(client.hear(&["ECHO", "next"]), b"$4\r\nnext\r\n");
}
