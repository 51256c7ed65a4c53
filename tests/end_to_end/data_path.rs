//! Requests and replies on the shared pipelines: bytes in, the same bytes out as from Redis.

use crate::support::{Client, LONG, Value, chosen, encode, eventually, in_its_words, row_field};
use crate::target::{Target, Way, both_ways};

both_ways!(
    values_of_any_bytes_and_size_round_trip,
    a_pipeline_is_answered_in_order,
    requests_that_are_alike_are_told_apart,
    a_request_may_come_byte_by_byte,
    requests_may_be_inline,
    empty_requests_have_no_answer,
    errors_are_redis_own,
    every_type_of_resp3_passes_untouched,
    both_protocols_are_spoken_at_once,
    values_around_a_mebibyte_pass_whole,
    replies_of_every_size_come_in_order,
    replies_that_wait_for_their_reader_come_in_order,
    many_clients_each_get_their_own,
    quit_says_ok_and_closes,
    a_half_closed_client_gets_what_it_is_owed,
);

fn values_of_any_bytes_and_size_round_trip(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let every_byte: Vec<u8> = (0..=255).collect();
    for (key, value) in [(&b"k"[..], &every_byte[..]), (b"\r\n$-1\r\n", b""), (&every_byte, b"\0")] {
        assert_eq!(client.cmd(&[b"SET", key, value]), Value::ok());
        assert_eq!(client.cmd(&[&b"GET"[..], key]), Value::bulk(value));
        assert_eq!(
            target.primary().client().cmd(&[&b"GET"[..], key]),
            Value::bulk(value),
            "on the node itself"
        );
    }
}

fn a_pipeline_is_answered_in_order(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let mut bytes = Vec::new();
    for number in 0..3_000 {
        bytes.extend(encode(&["SET", "k", &number.to_string()]));
        bytes.extend(encode(&["INCR", "n"]));
        bytes.extend(encode(&["GET", "k"]));
        bytes.extend(encode(&["ECHO", &format!("echo {number}")]));
    }
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || sender.send_raw(&bytes));
    for number in 0..3_000 {
        assert_eq!(client.read(), Value::ok());
        assert_eq!(client.read(), Value::Int(number + 1));
        assert_eq!(client.read(), Value::bulk(number.to_string()));
        assert_eq!(client.read(), Value::bulk(format!("echo {number}")));
    }
    sending.join().expect("all was sent");
}

/// What begins as the request before it does is not looked at anew: each gets its own reply all the same, refused ones too.
fn requests_that_are_alike_are_told_apart(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let wrong = || Value::Error("WRONGTYPE Operation against a key holding the wrong kind of value".into());
    let info = || Value::bulk("");
    let mut asked: Vec<(&str, Value)> = Vec::new();
    for _ in 0..50 {
        asked.extend([
            ("SET a 1", Value::ok()),
            ("SET b 2", Value::ok()),
            ("set b 3", Value::ok()),
            ("SET b 4 NX", Value::Nil),
            ("SET c 5 NX", Value::ok()),
            ("GET a", Value::bulk("1")),
            ("GET b", Value::bulk("3")),
            ("GET none", Value::Nil),
            ("get c", Value::bulk("5")),
            ("LPUSH l x", Value::Int(1)),
            ("LPUSH a x", wrong()),
            ("LPUSH a y", wrong()),
            ("LPUSH l y", Value::Int(2)),
            ("OBJECT ENCODING a", Value::bulk("int")),
            ("OBJECT REFCOUNT l", Value::Int(1)),
            ("INFO nothing", info()),
            ("INFO nothing", info()),
            ("PUBLISH nobody x", Value::Int(0)),
            ("PUBLISH nobody y", Value::Int(0)),
            ("DEL c", Value::Int(1)),
            ("DEL c", Value::Int(0)),
            ("DEL l", Value::Int(1)),
            ("DEL a b", Value::Int(2)),
            ("PING", Value::Simple("PONG".into())),
            ("PING", Value::Simple("PONG".into())),
            ("PING x", Value::bulk("x")),
        ]);
    }
    let words: Vec<&str> = asked.iter().map(|(request, _)| *request).collect();
    for (at, (reply, (request, expected))) in client.pipeline(&words).into_iter().zip(&asked).enumerate() {
        assert_eq!(reply, *expected, "{request}, number {at}");
    }
}

fn a_request_may_come_byte_by_byte(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\nGET k\r\n" {
        client.send_raw(&[*byte]);
    }
    assert_eq!((client.read(), client.read()), (Value::ok(), Value::bulk("a\r\nb")));
}

fn requests_may_be_inline(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k \"a b\\x21\"\r\nGET k\n  get   k  \r\nECHO 'it\\'s'\r\n");
    assert_eq!(client.read(), Value::ok());
    assert_eq!((client.read(), client.read()), (Value::bulk("a b!"), Value::bulk("a b!")));
    assert_eq!(client.read(), Value::bulk("it's"));
    client.send_raw(b"SET k \"open\r\n");
    assert_eq!(client.read_to_close(), b"-ERR Protocol error: unbalanced quotes in request\r\n");
}

fn empty_requests_have_no_answer(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"\r\n\n*0\r\n*-1\r\n   \r\nPING\r\n*0\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read_raw(14), b"+PONG\r\n+PONG\r\n");
}

fn errors_are_redis_own(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.call("SET text abc");
    for (request, error) in [
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("nosuch a b", "ERR unknown command 'nosuch', with args beginning with: 'a' 'b' "),
        ("INCR text", "ERR value is not an integer or out of range"),
        ("LPUSH text x", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("CLIENT NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
        ("XADD s 0-0 f v", "ERR The ID specified in XADD must be greater than 0-0"),
        (
            "EVALSHA 0000000000000000000000000000000000000000 0",
            "NOSCRIPT No matching script. Please use EVAL.",
        ),
        ("SELECT 99", "ERR DB index is out of range"),
        ("SELECT x", "ERR value is not an integer or out of range"),
    ] {
        assert_eq!(client.call(request), in_its_words(error), "{request}");
    }
    assert_eq!(client.call("GET text"), Value::bulk("abc"));
}

fn every_type_of_resp3_passes_untouched(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client_resp3();
    let double: &[u8] = if chosen().release < 70 { b",3.1415926535900001\r\n" } else { b",3.141\r\n" };
    for (kind, bytes) in [
        ("string", &b"$11\r\nHello World\r\n"[..]),
        ("integer", b":12345\r\n"),
        ("double", double),
        ("null", b"_\r\n"),
        ("array", b"*3\r\n:0\r\n:1\r\n:2\r\n"),
        ("set", b"~3\r\n:0\r\n:1\r\n:2\r\n"),
        ("map", b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n"),
        ("bignum", b"(1234567999999999999999999999999999999\r\n"),
        ("true", b"#t\r\n"),
        ("false", b"#f\r\n"),
        ("verbatim", b"=29\r\ntxt:This is a verbatim\nstring\r\n"),
    ] {
        client.send(&["DEBUG", "PROTOCOL", kind]);
        assert_eq!(client.read_raw(bytes.len()), bytes, "{kind}");
    }
    client.send(&["DEBUG", "PROTOCOL", "attrib"]);
    let attribute = b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\nSome real reply following the attribute\r\n";
    assert_eq!(client.read_raw(attribute.len()), attribute);
    client.call("HSET h f v");
    client.call("ZADD z 1.5 m");
    assert_eq!(client.call("HGETALL h"), Value::Map(vec![(Value::bulk("f"), Value::bulk("v"))]));
    assert_eq!(client.call("ZSCORE z m"), Value::Double("1.5".to_owned()));
    assert_eq!(client.call("GET none"), Value::Nil);
    assert_eq!(client.call("SMEMBERS none"), Value::Set(vec![]));
}

fn both_protocols_are_spoken_at_once(way: Way) {
    let target = Target::new(way, 0);
    let (mut two, mut three) = (target.client(), target.client_resp3());
    two.call("HSET h f v");
    for _ in 0..20 {
        two.send(&["HGETALL", "h"]);
        three.send(&["HGETALL", "h"]);
        assert_eq!(two.read_raw(18), b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
        assert_eq!(three.read(), Value::Map(vec![(Value::bulk("f"), Value::bulk("v"))]));
    }
    assert_eq!(three.call("HELLO 2").get("proto"), Some(&Value::Int(2)));
    assert!(matches!(three.call("HGETALL h"), Value::Array(_)));
    let refusal = "NOPROTO unsupported protocol version";
    assert_eq!(three.call("HELLO 4"), Value::Error(refusal.to_owned()));
}

fn values_around_a_mebibyte_pass_whole(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let mut other = target.client();
    for size in [(1 << 20) - 40, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20] {
        let value: Vec<u8> = (0..size).map(|at: usize| (at.wrapping_mul(31) >> 3) as u8).collect();
        assert_eq!(client.cmd(&[b"SET", &b"big"[..], &value]), Value::ok());
        assert_eq!(client.cmd(&["STRLEN", "big"]), Value::Int(size as i64));
        other.call("SET small s");
        let got = client.pipelined(&[&["GET", "big"], &["GET", "small"], &["GET", "big"]]);
        let (big, small) = (Value::Bulk(value), Value::bulk("s"));
        assert!(got == [big.clone(), small, big], "size {size}");
        assert_eq!(other.call("GET small"), Value::bulk("s"));
    }
}

const SIZES: [usize; 11] =
    [3, 100, 16 << 10, 17_000, 40_000, 65_500, 65_526, 64 << 10, 66_000, 73_728, 150_000];

/// Around what one read takes and what is gathered, so that replies come whole, in two reads, and in pieces.
fn replies_of_every_size_come_in_order(way: Way) {
    let target = Target::new(way, 0);
    let value =
        |at: usize| (0..SIZES[at]).map(|byte: usize| ((byte * (at + 7)) >> 2) as u8).collect::<Vec<u8>>();
    for at in 0..SIZES.len() {
        assert_eq!(target.client().cmd(&[b"SET", at.to_string().as_bytes(), &value(at)]), Value::ok());
    }
    let address = target.address();
    let clients = (0..8).map(|number| {
        std::thread::spawn(move || {
            let mut client = Client::connect(address);
            for round in 0..40 {
                let at = |step: usize| (number * 5 + round * 3 + step * 7) % SIZES.len();
                let keys: [String; 4] = std::array::from_fn(|step| at(step).to_string());
                let get = |step: usize| ["GET", &keys[step]];
                let replies = client.pipelined(&[
                    &get(0)[..],
                    &get(1),
                    &["INCR", &keys[0]],
                    &get(2),
                    &["ECHO", "x"],
                    &get(3),
                ]);
                let got = |step: usize| Value::Bulk(value(at(step)));
                assert!(replies[2].error().is_some(), "it is no number");
                let expected = [got(0), got(1), replies[2].clone(), got(2), Value::bulk("x"), got(3)];
                assert!(replies == expected, "client {number}, round {round}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("every reply was the one that was asked for");
    }
}

/// Who does not read gets the same, from what waits for him.
fn replies_that_wait_for_their_reader_come_in_order(way: Way) {
    let target = Target::new(way, 0);
    let value = |at: usize| vec![b'a' + u8::try_from(at).expect("as many as letters"); 50_000 + at];
    for at in 0..26 {
        assert_eq!(target.client().cmd(&[b"SET", at.to_string().as_bytes(), &value(at)]), Value::ok());
    }
    let mut reader = target.client();
    let requests = (0..400).flat_map(|at| encode(&["GET", &(at % 26).to_string()])).collect::<Vec<_>>();
    reader.send_raw(&requests);
    let mut other = target.client();
    eventually(LONG, "replies wait for their reader", || {
        let list = other.call("CLIENT LIST").text().unwrap_or_default();
        list.lines().any(|row| row_field(row, "omem").is_some_and(|bytes| bytes.len() > 5))
    });
    for at in 0..400 {
        assert!(reader.read() == Value::Bulk(value(at % 26)), "reply {at}");
    }
}

fn many_clients_each_get_their_own(way: Way) {
    let target = Target::new(way, 0);
    let address = target.address();
    let clients = (0..32).map(|number| {
        std::thread::spawn(move || {
            let mut client = Client::connect(address);
            for round in 0..60 {
                let (key, value) = (format!("key:{number}"), format!("{number}:{round}"));
                let requests: [&[&str]; 4] =
                    [&["SET", &key, &value], &["GET", &key], &["ECHO", &value], &["STRLEN", &key]];
                let replies = client.pipelined(&requests);
                let length = Value::Int(value.len() as i64);
                assert_eq!(replies, [Value::ok(), Value::bulk(&value), Value::bulk(&value), length]);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("every reply was the client's own");
    }
}

fn quit_says_ok_and_closes(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k v\r\nQUIT\r\nSET k later\r\n");
    assert_eq!(client.read_to_close(), b"+OK\r\n+OK\r\n");
    assert_eq!(target.client().call("GET k"), Value::bulk("v"));
}

fn a_half_closed_client_gets_what_it_is_owed(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k v\r\nGET k\r\n");
    client.finish_sending();
    let got = client.read_to_close();
    // Redis closes as soon as it reads the end of the stream; what it answered before that has been sent.
    assert!(b"+OK\r\n$1\r\nv\r\n".starts_with(&got[..]), "{}", got.escape_ascii());
    assert_eq!(target.client().call("GET k"), Value::bulk("v"));
}

/// More replies than are kept for a slow reader at once: they come as fast as it reads, and all of them come.
fn a_pipeline_of_large_replies_comes_whole(ends: bool) {
    let target = Target::new(Way::Proxied, 0);
    let mut client = target.client();
    let value = vec![b'v'; 700_000];
    assert_eq!(client.cmd(&[b"SET", &b"big"[..], &value]), Value::ok());
    let length = 200 * [&b"$700000\r\n"[..], &value, b"\r\n"].concat().len();
    client.send_raw(&encode(&["GET", "big"]).repeat(200));
    if ends {
        client.finish_sending();
        assert_eq!(client.read_to_close().len(), length);
    } else {
        assert_eq!(client.read_raw(length).len(), length);
        assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
    }
}

#[test]
fn a_half_closed_client_gets_all_that_it_asked_for() {
    a_pipeline_of_large_replies_comes_whole(true);
}

#[test]
fn a_client_that_waits_for_large_replies_gets_them_without_asking_for_more() {
    a_pipeline_of_large_replies_comes_whole(false);
}
