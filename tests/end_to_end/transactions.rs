//! MULTI, EXEC, WATCH and DISCARD on a pinned connection.

use std::time::Duration;

use crate::support::{Client, Value, applies, chosen, in_its_words};
use crate::target::{Target, Way, both_ways};

both_ways!(
    a_transaction_is_executed_as_one,
    a_whole_transaction_in_one_write,
    a_watched_key_that_changed_makes_exec_answer_nil,
    unwatch_and_discard_let_go,
    a_refused_command_aborts_the_whole,
    what_would_end_the_server_or_the_connection_is_refused,
    words_of_a_wrong_length_change_nothing,
    misplaced_words_get_redis_answers,
    a_select_inside_outlasts_exec,
    other_clients_are_not_drawn_in,
    a_client_that_leaves_executes_nothing,
    a_transaction_of_many_large_commands,
    transactions_of_many_clients_do_not_mix,
);

fn queued() -> Value {
    Value::Simple("QUEUED".to_owned())
}

fn array(items: &[Value]) -> Value {
    Value::Array(items.to_vec())
}

fn error(text: &str) -> Value {
    in_its_words(text)
}

fn what_would_end_the_server_or_the_connection_is_refused(way: Way) {
    // Redhold refuses it by itself.
    if way == Way::Direct && !applies(chosen().release >= 70, "SHUTDOWN and SYNC are refused after MULTI") {
        return;
    }
    let target = Target::new(way, 0);
    let mut client = target.client();
    for request in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SYNC", "PSYNC ? -1"] {
        assert_eq!(client.call("MULTI"), Value::ok());
        let name = request.split(' ').next().expect("a word").to_lowercase();
        let refusal = match way == Way::Direct && chosen().valkey {
            true => format!("ERR Command '{name}' not allowed inside a transaction"),
            false => "ERR Command not allowed inside a transaction".to_owned(),
        };
        assert_eq!(client.call(request), error(&refusal), "{request}");
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.call("EXEC"), error(aborted), "{request}");
    }
    assert_eq!(client.call("SET k v"), Value::ok());
}

fn words_of_a_wrong_length_change_nothing(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let arity = |name: &str| error(&format!("ERR wrong number of arguments for '{name}' command"));
    assert_eq!(client.call("WATCH k"), Value::ok());
    assert_eq!(client.call("RESET none"), arity("reset"));
    target.client().call("SET k v");
    assert_eq!(client.call("MULTI x"), arity("multi"));
    assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()), "nothing is queued");
    assert_eq!(client.pipeline(&["MULTI", "GET k", "EXEC"])[2], Value::Nil, "the key is watched");
    let replies = client.pipeline(&["MULTI", "SET k w", "EXEC none"]);
    let discarded =
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    assert_eq!(replies[2], error(discarded));
    assert_eq!(client.call("EXEC"), error("ERR EXEC without MULTI"));
}

fn a_transaction_is_executed_as_one(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    assert_eq!(client.call("MULTI"), Value::ok());
    assert_eq!(client.call("SET k 1"), queued());
    assert_eq!(client.call("INCR k"), queued());
    assert_eq!(other.call("GET k"), Value::Nil, "nothing before EXEC");
    assert_eq!(client.call("LPUSH k x"), queued());
    let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_eq!(client.call("EXEC"), array(&[Value::ok(), Value::Int(2), wrong]));
    assert_eq!(other.call("GET k"), Value::bulk("2"));
    assert_eq!(client.pipeline(&["MULTI", "EXEC"])[1], array(&[]));
}

fn a_whole_transaction_in_one_write(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    for round in 1..=20 {
        let replies = client
            .pipeline(&["GET k", "MULTI", "INCR k", "GET k", "EXEC", "GET k", "MULTI", "INCR n", "EXEC"]);
        let now = Value::bulk(round.to_string());
        assert_eq!(replies[4], array(&[Value::Int(round), now.clone()]));
        assert_eq!(replies[5], now);
        assert_eq!(replies[8], array(&[Value::Int(round)]));
    }
}

fn a_watched_key_that_changed_makes_exec_answer_nil(way: Way) {
    let target = Target::new(way, 0);
    for (mut client, nil) in [(target.client(), &b"*-1\r\n"[..]), (target.client_resp3(), b"_\r\n")] {
        let mut other = target.client();
        client.call("SET k 1");
        assert_eq!(client.pipeline(&["WATCH k", "GET k"])[1], Value::bulk("1"));
        other.call("SET k 2");
        assert_eq!(client.pipeline(&["MULTI", "SET k 3"])[1], queued());
        client.send(&["EXEC"]);
        assert_eq!(client.read_raw(nil.len()), nil);
        assert_eq!(client.call("GET k"), Value::bulk("2"));
        let replies = client.pipeline(&["WATCH k", "MULTI", "SET k 4", "EXEC"]);
        assert_eq!(replies[3], array(&[Value::ok()]), "untouched, it is executed");
    }
}

fn unwatch_and_discard_let_go(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    for release in [&["UNWATCH"][..], &["MULTI", "DISCARD"]] {
        client.call("WATCH k");
        client.pipeline(release);
        other.call("SET k changed");
        let replies = client.pipeline(&["MULTI", "SET k mine", "EXEC"]);
        assert_eq!(replies[2], array(&[Value::ok()]));
    }
    assert_eq!(client.pipeline(&["MULTI", "SET k no", "DISCARD", "GET k"])[3], Value::bulk("mine"));
}

fn a_refused_command_aborts_the_whole(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let replies = client.pipeline(&["MULTI", "SET k 1", "SET k", "nosuch", "SET k 2", "EXEC", "GET k"]);
    assert_eq!(replies[2], error("ERR wrong number of arguments for 'set' command"));
    assert_eq!(replies[3], error("ERR unknown command 'nosuch', with args beginning with: "));
    assert_eq!(replies[4], queued());
    assert_eq!(replies[5], error("EXECABORT Transaction discarded because of previous errors."));
    assert_eq!(replies[6], Value::Nil);
}

fn misplaced_words_get_redis_answers(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    assert_eq!(client.call("EXEC"), error("ERR EXEC without MULTI"));
    assert_eq!(client.call("DISCARD"), error("ERR DISCARD without MULTI"));
    assert_eq!(client.call("UNWATCH"), Value::ok());
    assert_eq!(client.call("WATCH"), error("ERR wrong number of arguments for 'watch' command"));
    let replies = client.pipeline(&["MULTI", "MULTI", "WATCH k", "SET k 1", "EXEC"]);
    if chosen().valkey {
        assert_eq!(replies[1], error("ERR Command 'multi' not allowed inside a transaction"));
        assert_eq!(replies[2], error("ERR Command 'watch' not allowed inside a transaction"));
        assert_eq!(replies[4], error("EXECABORT Transaction discarded because of previous errors."));
        assert_eq!(client.call("SET k 1"), Value::ok());
    } else {
        assert_eq!(replies[1], error("ERR MULTI calls can not be nested"));
        assert_eq!(replies[2], error("ERR WATCH inside MULTI is not allowed"));
        assert_eq!(replies[4], array(&[Value::ok()]));
    }
    let replies = client.pipeline(&["MULTI", "BLPOP none 0", "PING", "ECHO x", "SELECT 99", "EXEC"]);
    let range = error("ERR DB index is out of range");
    assert_eq!(replies[5], array(&[Value::Nil, Value::Simple("PONG".to_owned()), Value::bulk("x"), range]));
    let arity = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    assert_eq!(client.pipeline(&["MULTI", "EXEC x", "GET k"])[1..], [error(arity), Value::bulk("1")]);
}

fn a_select_inside_outlasts_exec(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    client.pipeline(&["MULTI", "SELECT 3", "SET k three", "SELECT 99", "EXEC"]);
    assert_eq!(client.call("GET k"), Value::bulk("three"));
    assert_eq!(other.call("GET k"), Value::Nil);
    client.pipeline(&["MULTI", "SELECT 5", "DISCARD"]);
    assert_eq!(client.call("GET k"), Value::bulk("three"), "a discarded SELECT does not count");
    assert_eq!(client.pipeline(&["SELECT 0", "GET k"])[1], Value::Nil);
}

fn other_clients_are_not_drawn_in(way: Way) {
    let target = Target::new(way, 0);
    let mut holders: Vec<Client> = (0..10).map(|_| target.client()).collect();
    for holder in &mut holders {
        holder.pipeline(&["WATCH k", "MULTI", "SET k held"]);
    }
    let mut other = target.client();
    for round in 0..200 {
        assert_eq!(other.call(&format!("SET mine {round}")), Value::ok());
        assert_eq!(other.call("GET mine"), Value::bulk(round.to_string()));
    }
    for holder in &mut holders[..9] {
        holder.call("DISCARD");
    }
    assert_eq!(holders[9].call("EXEC"), array(&[Value::ok()]));
}

fn a_client_that_leaves_executes_nothing(way: Way) {
    let target = Target::new(way, 0);
    for _ in 0..20 {
        let mut client = target.client();
        client.pipeline(&["MULTI", "SET k left"]);
        drop(client);
        let mut next = target.client();
        assert_eq!(next.call("SET other v"), Value::ok(), "no MULTI is left standing on a reused connection");
        assert_eq!(next.pipeline(&["MULTI", "GET k", "EXEC"])[2], array(&[Value::Nil]));
    }
}

fn a_transaction_of_many_large_commands(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    let value = "x".repeat(300 << 10);
    assert_eq!(client.call("MULTI"), Value::ok());
    for number in 0..6 {
        assert_eq!(client.cmd(&["SET", &format!("k{number}"), &value]), queued());
    }
    assert_eq!(client.call("GET k3"), queued());
    let reply = client.call("EXEC");
    assert_eq!(reply.items().len(), 7);
    assert_eq!(reply.items()[6], Value::bulk(&value));
    client.set_read_timeout(Duration::from_secs(30));
    assert_eq!(client.call("STRLEN k5"), Value::Int(value.len() as i64));
}

fn transactions_of_many_clients_do_not_mix(way: Way) {
    let target = Target::new(way, 0);
    let address = target.address();
    let clients: Vec<_> = (0..12)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for round in 0..40 {
                    let (key, value) = (format!("k{number}"), format!("{number}.{round}"));
                    let replies = client.pipelined(&[
                        &["MULTI"][..],
                        &["SET", &key, &value],
                        &["GET", &key],
                        &["INCR", "all"],
                        &["EXEC"],
                        &["GET", &key],
                    ]);
                    assert_eq!(replies[4].items()[..2], [Value::ok(), Value::bulk(&value)]);
                    assert_eq!(replies[5], Value::bulk(&value));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every reply was the client's own");
    }
    assert_eq!(target.client().call("GET all"), Value::bulk("480"));
}
