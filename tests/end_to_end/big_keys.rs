//! PROXY BIGKEYS: which keys have the largest requests and replies.

use crate::support::{Client, ProxyOptions, Server, Value};

/// `log.bigkeys_min` here.
const MIN: usize = 2_000;

/// One that is told: key, how many keys, database, command, bytes, how often.
#[derive(Debug, PartialEq)]
struct Told(String, i64, i64, String, i64, i64);

fn told(answer: &Value, direction: &str) -> Vec<Told> {
    let number = |value: &Value| value.int().expect("a number");
    let text = |value: &Value| value.text().expect("text");
    let one = |it: &Value| match it.items() {
        [key, keys, db, command, bytes, times, ..] => {
            Told(text(key), number(keys), number(db), text(command), number(bytes), number(times))
        }
        other => panic!("{other:?}"),
    };
    answer.get(direction).expect("a direction").items().iter().map(one).collect()
}

/// Bytes of these words as they are sent.
fn sent(words: &[&str]) -> i64 {
    let word = |word: &&str| format!("${}\r\n\r\n", word.len()).len() + word.len();
    let bytes = format!("*{}\r\n", words.len()).len() + words.iter().map(word).sum::<usize>();
    i64::try_from(bytes).expect("few")
}

/// Bytes of a bulk string of so many.
fn bulk(len: usize) -> i64 {
    i64::try_from(format!("${len}\r\n\r\n").len() + len).expect("few")
}

fn set(client: &mut Client, key: &str, len: usize) -> i64 {
    let value = "v".repeat(len);
    assert_eq!(client.cmd(&["SET", key, &value]), Value::ok(), "{key}");
    sent(&["SET", key, &value])
}

#[test]
fn the_largest_requests_and_replies_are_told_whatever_way_they_took() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("log.bigkeys_min", format!("\"{MIN}B\"").as_str()).start();
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(client.call("CLIENT SETNAME me"), Value::ok());
    let of = |key: &str, keys, db, command: &str, bytes, times| {
        Told(key.to_owned(), keys, db, command.to_owned(), bytes, times)
    };
    // Small, shared, longer than a pipeline gathers, and longer than is kept.
    set(&mut client, "small", MIN - 100);
    let a = set(&mut client, "a", 3_000);
    let b = set(&mut client, "b", 150_000);
    let huge = set(&mut client, "huge", 3 << 20);
    let values = "w".repeat(2_500);
    assert_eq!(client.cmd(&["MSET", "c", &values, "d", &values]), Value::ok());
    let mset = sent(&["MSET", "c", &values, "d", &values]);
    let mut expected = vec![of("huge", 1, 0, "SET", huge, 1), of("b", 1, 0, "SET", b, 1)];
    expected.extend([of("c", 2, 0, "MSET", mset, 1), of("a", 1, 0, "SET", a, 1)]);
    let answer = client.call("PROXY BIGKEYS");
    assert_eq!(told(&answer, "requests"), expected);
    assert_eq!(answer.get("min-bytes"), Some(&Value::Int(i64::try_from(MIN).expect("few"))));
    assert!(answer.get("seconds").and_then(Value::int).is_some_and(|seconds| seconds < 7_200), "{answer:?}");
    assert_eq!(answer.get("replies").expect("replies").items(), []);
    let [.., unix, node, address, name, user] = answer.get("requests").expect("requests").items()[0].items()
    else {
        panic!("{answer:?}")
    };
    assert!(unix.int().is_some_and(|unix| unix > 1_700_000_000), "{unix:?}");
    assert_eq!(node.text(), Some(server.address().to_string()));
    assert!(address.text().is_some_and(|address| address.starts_with("127.0.0.1:")), "{address:?}");
    assert_eq!((name.text().as_deref(), user.text().as_deref()), (Some("me"), Some("default")));

    // Replies: in a batch with others and an error, in pieces, of a connection of its own, of a transaction.
    let replies = client.pipeline(&["GET small", "GET a", "INCR a", "GET a", "GET b"]);
    assert!(replies[2].error().is_some() && replies[4].text().is_some_and(|it| it.len() == 150_000));
    assert!(client.call("MGET a b nothing").items()[1].text().is_some_and(|it| it.len() == 150_000));
    assert!(other.call("GET huge").text().is_some_and(|it| it.len() == 3 << 20));
    for request in ["SELECT 3", "RPUSH list x", "MULTI"] {
        assert!(other.call(request).error().is_none(), "{request}");
    }
    for key in ["e", "f"] {
        assert_eq!(other.cmd(&["SET", key, &"v".repeat(3_000)]), Value::Simple("QUEUED".to_owned()));
    }
    assert_eq!(other.call("GET e"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(other.call("EXEC").items().len(), 3);
    let answer = client.call("PROXY BIGKEYS -1");
    let exec = "*3\r\n+OK\r\n+OK\r\n".len();
    let mget = "*3\r\n$-1\r\n".len();
    let expected = [
        of("huge", 1, 0, "GET", bulk(3 << 20), 1),
        of("a", 3, 0, "MGET", bulk(3_000) + bulk(150_000) + i64::try_from(mget).expect("few"), 1),
        of("b", 1, 0, "GET", bulk(150_000), 1),
        of("", 0, 3, "EXEC", bulk(3_000) + i64::try_from(exec).expect("few"), 1),
        of("a", 1, 0, "GET", bulk(3_000), 2),
    ];
    assert_eq!(told(&answer, "replies"), expected);
    let queued = told(&answer, "requests").into_iter().filter(|it| it.2 == 3).map(|it| it.0);
    assert_eq!(queued.collect::<Vec<_>>(), ["e", "f"]);
    let big = &proxy.status()["details"]["big_keys"];
    assert_eq!(
        (big["replies"][0]["key"].as_str(), big["replies"][0]["command"].as_str()),
        (Some("huge"), Some("GET"))
    );
    assert_eq!(big["min_bytes"].as_u64(), Some(MIN as u64));

    assert_eq!(told(&client.call("PROXY BIGKEYS 1"), "replies").len(), 1);
    assert_eq!(client.call("PROXY BIGKEYS RESET"), Value::ok());
    let answer = client.call("PROXY BIGKEYS");
    assert!(told(&answer, "requests").is_empty() && told(&answer, "replies").is_empty(), "{answer:?}");
}

#[test]
fn alike_requests_of_one_batch_are_told_apart() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("log.bigkeys_min", format!("\"{MIN}B\"").as_str()).start();
    let mut client = proxy.client();
    let (short, long) = ("v".repeat(MIN / 2), "v".repeat(MIN));
    let requests: Vec<String> =
        (0..8).map(|at| format!("SET k{at} {}", if at == 5 { &long } else { &short })).collect();
    client.pipeline(&requests.iter().map(String::as_str).collect::<Vec<_>>());
    let reads: Vec<String> = (0..8).map(|at| format!("GET k{at}")).collect();
    client.pipeline(&reads.iter().map(String::as_str).collect::<Vec<_>>());
    let answer = client.call("PROXY BIGKEYS");
    let keys = |direction| told(&answer, direction).into_iter().map(|it| (it.0, it.5)).collect::<Vec<_>>();
    assert_eq!((keys("requests"), keys("replies")), (vec![("k5".to_owned(), 1)], vec![("k5".to_owned(), 1)]));
    let none = ProxyOptions::new(&[server.address()]).set("log.bigkeys_min", "\"0B\"").start();
    let refusal = Value::Error("ERR none are remembered, since log.bigkeys_min is 0".to_owned());
    for request in ["PROXY BIGKEYS", "PROXY BIGKEYS RESET"] {
        assert_eq!(none.client().call(request), refusal, "{request}");
    }
}
