//! PROXY HOTKEYS: which keys are asked for most.

use crate::support::{Client, ProxyOptions, Server, Value};

/// Each of them is asked for this often more than the next one.
const STEP: usize = 100;

/// Key, database, and how often it was sampled at least and at most.
fn keys(told: &Value) -> Vec<(String, i64, i64, i64)> {
    let number = |value: &Value| value.int().expect("a number");
    let key = |it: &Value| match it.items() {
        [key, db, least, most] => (key.text().expect("text"), number(db), number(least), number(most)),
        other => panic!("{other:?}"),
    };
    told.get("keys").expect("keys").items().iter().map(key).collect()
}

#[track_caller]
fn read(client: &mut Client, key: &str, times: usize) {
    let replies = client.pipeline(&vec![format!("GET {key}").as_str(); times]);
    assert!(replies.iter().all(|reply| *reply == Value::Nil), "{key}");
}

#[test]
fn hot_keys_are_found_among_a_thousand_in_their_order() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.hotkeys_one_in", "1").start();
    // On both workers.
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for round in 0..10 {
        for (at, client) in clients.iter_mut().enumerate() {
            let cold: Vec<String> =
                (0..25).map(|key| format!("GET cold:{}", (round * 4 + at) * 25 + key)).collect();
            client.pipeline(&cold.iter().map(String::as_str).collect::<Vec<_>>());
            for rank in 0..10 {
                // A tenth of what each of four clients asks for in all.
                read(client, &format!("hot:{rank}"), STEP * (10 - rank) / 40);
            }
        }
    }
    let told = clients[0].call("PROXY HOTKEYS");
    let found = keys(&told);
    let expected: Vec<String> = (0..10).map(|rank| format!("hot:{rank}")).collect();
    assert_eq!(found.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), expected);
    for (rank, (key, db, least, most)) in found.iter().enumerate() {
        let asked = i64::try_from(STEP * (10 - rank) / 40 * 40).expect("few");
        assert!(
            *db == 0 && *least <= asked && asked <= *most,
            "{key}: {least} to {most}, asked {asked} times"
        );
    }
    assert_eq!(told.get("one-in"), Some(&Value::Int(1)));
    let asked: usize = 1_000 + (0..10).map(|rank| STEP * (10 - rank) / 40 * 40).sum::<usize>();
    assert_eq!(told.get("sampled"), Some(&Value::Int(i64::try_from(asked).expect("few"))));
    assert!(told.get("seconds").and_then(Value::int).is_some_and(|seconds| seconds < 120), "{told:?}");
    assert_eq!(keys(&clients[1].call("PROXY HOTKEYS 3")).len(), 3);
    assert_eq!(keys(&clients[1].call("PROXY HOTKEYS 0")), []);
}

#[test]
fn every_way_to_a_node_counts_and_databases_differ() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.hotkeys_one_in", "1").start();
    let mut client = proxy.client();
    for request in ["MULTI", "INCR in-multi", "INCR in-multi", "EXEC", "EVAL return(1) 2 scripted scripted"] {
        assert!(client.call(request).error().is_none(), "{request}");
    }
    client.call("MSET a 1 b 2 a 3 b 4 b 5");
    let long = "k".repeat(200);
    (0..9).for_each(|_| drop(client.call(&format!("GET {long}"))));
    client.call("SELECT 3");
    (0..5).for_each(|_| drop(client.call("GET a")));
    assert!(matches!(client.call("HELLO 3"), Value::Map(_)));
    let told = client.call("PROXY HOTKEYS -1");
    assert!(matches!(told, Value::Map(_)), "{told:?}");
    let cut = format!("{}... (72 more bytes)", "k".repeat(128));
    let exact = |key: &str, db, count| (key.to_owned(), db, count, count);
    assert_eq!(
        keys(&told),
        [
            exact(&cut, 0, 9),
            exact("a", 3, 5),
            exact("b", 0, 3),
            exact("a", 0, 2),
            exact("in-multi", 0, 2),
            exact("scripted", 0, 2),
        ]
    );
}

#[test]
fn without_a_sample_it_says_so() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.hotkeys_one_in", "0").start();
    let refusal = Value::Error("ERR no keys are counted, since log.hotkeys_one_in is 0".to_owned());
    assert_eq!(proxy.client().call("PROXY HOTKEYS"), refusal);
}
