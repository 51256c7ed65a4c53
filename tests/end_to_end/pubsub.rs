//! Subscribers, MONITOR and tracking: connections of their own.

use std::time::Duration;

use crate::support::{
    Client, LONG, Proxy, ProxyOptions, SHARD_CHANNELS, Server, Value, eventually, in_its_words,
};
use crate::target::{Target, Way, both_ways};

both_ways!(
    messages_reach_subscribers_of_both_protocols,
    confirmations_count_and_come_one_for_each_name,
    a_resp2_subscriber_may_say_little,
    a_resp3_subscriber_may_say_everything,
    after_the_last_channel_a_client_is_ordinary_again,
    shard_channels_work_beside_the_others,
    a_pipeline_may_subscribe_in_its_middle,
    pubsub_counts_subscribers,
    monitor_shows_what_others_send,
    tracking_tells_what_changed,
    reset_and_quit_end_a_subscription,
);

fn bulks(words: &[&str]) -> Vec<Value> {
    words.iter().map(Value::bulk).collect()
}

fn message(client: &mut Client, resp3: bool, words: &[&str]) {
    let expected = if resp3 { Value::Push(bulks(words)) } else { Value::Array(bulks(words)) };
    assert_eq!(client.read(), expected);
}

fn confirmation(resp3: bool, verb: &str, name: &str, count: i64) -> Value {
    let items = vec![Value::bulk(verb), Value::bulk(name), Value::Int(count)];
    if resp3 { Value::Push(items) } else { Value::Array(items) }
}

fn messages_reach_subscribers_of_both_protocols(way: Way) {
    let target = Target::new(way, 0);
    let (mut two, mut three, mut publisher) = (target.client(), target.client_resp3(), target.client());
    for (client, resp3) in [(&mut two, false), (&mut three, true)] {
        assert_eq!(client.call("SUBSCRIBE news"), confirmation(resp3, "subscribe", "news", 1));
        assert_eq!(client.call("PSUBSCRIBE n*s"), confirmation(resp3, "psubscribe", "n*s", 2));
    }
    for round in 0..200 {
        let text = format!("text {round}");
        assert_eq!(publisher.cmd(&["PUBLISH", "news", &text]), Value::Int(4));
        for (client, resp3) in [(&mut two, false), (&mut three, true)] {
            message(client, resp3, &["message", "news", &text]);
            message(client, resp3, &["pmessage", "n*s", "news", &text]);
        }
    }
    let large = "x".repeat(3 << 20);
    publisher.cmd(&["PUBLISH", "news", &large]);
    message(&mut two, false, &["message", "news", &large]);
}

fn confirmations_count_and_come_one_for_each_name(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send(&["SUBSCRIBE", "a", "b", "a"]);
    for (name, count) in [("a", 1), ("b", 2), ("a", 2)] {
        assert_eq!(client.read(), confirmation(false, "subscribe", name, count));
    }
    client.send(&["UNSUBSCRIBE"]);
    let mut names: Vec<_> = (0..2).filter_map(|_| client.read().items()[1].text()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    for request in ["UNSUBSCRIBE", "PUNSUBSCRIBE"] {
        let reply = client.call(request);
        let verb = Value::bulk(request.to_lowercase());
        assert_eq!(reply, Value::Array(vec![verb, Value::Nil, Value::Int(0)]));
    }
    let arity = "ERR wrong number of arguments for 'subscribe' command";
    assert_eq!(client.call("SUBSCRIBE"), Value::Error(arity.to_owned()));
    assert_eq!(client.call("SET k v"), Value::ok());
}

fn a_resp2_subscriber_may_say_little(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.call("SUBSCRIBE a");
    for (request, name) in
        [("GET k", "get"), ("config get maxmemory", "config|get"), ("MULTI", "multi"), ("HELLO 3", "hello")]
    {
        let text = format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        );
        assert_eq!(client.call(request), in_its_words(&text), "{request}");
    }
    assert_eq!(client.call("PING"), Value::Array(bulks(&["pong", ""])));
    assert_eq!(client.call("PING text"), Value::Array(bulks(&["pong", "text"])));
    let unknown = "ERR unknown command 'nosuch', with args beginning with: ";
    assert_eq!(client.call("nosuch"), in_its_words(unknown));
}

fn a_resp3_subscriber_may_say_everything(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client_resp3(), target.client());
    client.call("SUBSCRIBE a");
    for round in 0..20 {
        assert_eq!(client.call(&format!("SET k {round}")), Value::ok());
        assert_eq!(client.call("GET k"), Value::bulk(round.to_string()));
        assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned()));
        other.call(&format!("PUBLISH a {round}"));
        message(&mut client, true, &["message", "a", &round.to_string()]);
    }
    let replies = client.pipeline(&["MULTI", "INCR n", "EXEC"]);
    assert_eq!(replies[2], Value::Array(vec![Value::Int(1)]));
}

fn after_the_last_channel_a_client_is_ordinary_again(way: Way) {
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    for _ in 0..5 {
        client.pipeline(&["SUBSCRIBE a", "PSUBSCRIBE b*", "UNSUBSCRIBE a", "PUNSUBSCRIBE b*"]);
        assert_eq!(client.call("SET k v"), Value::ok());
        assert_eq!(other.call("PUBLISH a x"), Value::Int(0));
        assert_eq!(client.pipeline(&["SELECT 2", "GET k", "SELECT 0", "GET k"])[3], Value::bulk("v"));
    }
}

fn shard_channels_work_beside_the_others(way: Way) {
    if !SHARD_CHANNELS.is_there() {
        return;
    }
    let target = Target::new(way, 0);
    let (mut client, mut other) = (target.client(), target.client());
    assert_eq!(client.call("SUBSCRIBE c"), confirmation(false, "subscribe", "c", 1));
    assert_eq!(client.call("SSUBSCRIBE c"), confirmation(false, "ssubscribe", "c", 1));
    assert_eq!(other.call("SPUBLISH c sharded"), Value::Int(1));
    assert_eq!(other.call("PUBLISH c plain"), Value::Int(1));
    message(&mut client, false, &["smessage", "c", "sharded"]);
    message(&mut client, false, &["message", "c", "plain"]);
}

fn a_pipeline_may_subscribe_in_its_middle(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k v\r\nGET k\r\nSUBSCRIBE a b\r\nPING\r\nUNSUBSCRIBE a b\r\nGET k\r\n");
    assert_eq!((client.read(), client.read()), (Value::ok(), Value::bulk("v")));
    assert_eq!(client.read(), confirmation(false, "subscribe", "a", 1));
    assert_eq!(client.read(), confirmation(false, "subscribe", "b", 2));
    assert_eq!(client.read(), Value::Array(bulks(&["pong", ""])));
    assert_eq!(client.read(), confirmation(false, "unsubscribe", "a", 1));
    assert_eq!(client.read(), confirmation(false, "unsubscribe", "b", 0));
    assert_eq!(client.read(), Value::bulk("v"));
}

fn pubsub_counts_subscribers(way: Way) {
    let target = Target::new(way, 0);
    let (mut a, mut b, mut other) = (target.client(), target.client(), target.client());
    a.call("SUBSCRIBE news");
    b.call("SUBSCRIBE news");
    b.call("PSUBSCRIBE n*");
    let count = Value::Array(vec![Value::bulk("news"), Value::Int(2)]);
    assert_eq!(other.call("PUBSUB NUMSUB news"), count);
    // Redhold may just be about to note that it listens.
    eventually(LONG, "one pattern counts", || other.call("PUBSUB NUMPAT") == Value::Int(1));
    for request in ["PUBSUB CHANNELS", "PUBSUB CHANNELS *", "PUBSUB CHANNELS n*"] {
        assert_eq!(other.call(request), Value::Array(bulks(&["news"])), "{request}");
    }
    assert_eq!(other.call("PUBSUB CHANNELS __*"), Value::Array(Vec::new()));
    let shards = SHARD_CHANNELS.is_there();
    if shards {
        assert_eq!(other.call("PUBSUB SHARDCHANNELS"), Value::Array(Vec::new()));
        b.call("SSUBSCRIBE shard");
        assert_eq!(other.call("PUBSUB SHARDCHANNELS"), Value::Array(bulks(&["shard"])));
    }
    for subcommand in if shards { &["NUMSUB", "SHARDNUMSUB"][..] } else { &["NUMSUB"] } {
        let counts = other.call(&format!("PUBSUB {subcommand} __redhold:hello __sentinel__:hello shard"));
        let shard = i64::from(*subcommand == "SHARDNUMSUB");
        let counts: Vec<_> = counts.items().iter().filter_map(Value::int).collect();
        assert_eq!(counts, [0, 0, shard], "{subcommand}");
    }
    drop(a);
    eventually(LONG, "the one that left is no subscriber", || {
        other.call("PUBSUB NUMSUB news").items()[1] == Value::Int(1)
    });
}

fn monitor_shows_what_others_send(way: Way) {
    let target = Target::new(way, 0);
    let (mut watcher, mut other) = (target.client(), target.client());
    assert_eq!(watcher.call("MONITOR"), Value::ok());
    for round in 0..20 {
        other.call(&format!("SET seen {round}"));
        let line = loop {
            let line = watcher.read().text().expect("a line");
            if line.contains("\"seen\"") {
                break line;
            }
            assert!(
                way == Way::Direct || !line.to_lowercase().contains("\"info\""),
                "of the proxy's own: {line}"
            );
        };
        assert!(line.ends_with(&format!("\"SET\" \"seen\" \"{round}\"")), "{line}");
    }
}

fn tracking_tells_what_changed(way: Way) {
    let target = Target::new(way, 0);
    let (mut cache, mut other) = (target.client_resp3(), target.client());
    assert_eq!(cache.call("CLIENT TRACKING ON"), Value::ok());
    other.call("SET k 1");
    assert_eq!(cache.call("GET k"), Value::bulk("1"));
    other.call("SET k 2");
    assert_eq!(cache.read(), Value::Push(vec![Value::bulk("invalidate"), Value::Array(bulks(&["k"]))]));
    assert_eq!(cache.call("CLIENT TRACKING OFF"), Value::ok());
    cache.call("GET k");
    other.call("SET k 3");
    assert!(cache.is_silent_for(Duration::from_millis(50)));
    assert_eq!(cache.call("GET k"), Value::bulk("3"));
}

fn reset_and_quit_end_a_subscription(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.call("SUBSCRIBE a");
    assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()));
    assert_eq!(client.call("SET k v"), Value::ok());
    client.call("SUBSCRIBE a");
    client.send(&["QUIT"]);
    assert_eq!(client.read_to_close(), b"+OK\r\n");
}

#[test]
fn a_list_of_any_length_shows_no_channel_of_redholds() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut listener = server.client();
    // More than a connection keeps of a reply before it hands it on in pieces.
    let names: Vec<String> = (0..5_000).map(|number| format!("channel-{number:020}")).collect();
    let ours = (0..50).map(|number| format!("__redhold:{number}"));
    let request: Vec<String> =
        ["SUBSCRIBE".to_owned()].into_iter().chain(names.clone()).chain(ours).collect();
    listener.send(&request);
    (1..request.len()).for_each(|_| drop(listener.read()));
    let mut counts = vec!["PUBSUB".to_owned(), "NUMSUB".to_owned(), "__redhold:0".to_owned()];
    counts.extend(names.iter().cloned());
    for connect in [Client::connect, Client::connect_resp3] {
        let mut watching = connect(proxy.address());
        assert_eq!(watching.call("WATCH k"), Value::ok());
        let mut plain = connect(proxy.address());
        for client in [&mut plain, &mut watching] {
            let mut shown: Vec<String> =
                client.call("PUBSUB CHANNELS").items().iter().filter_map(Value::text).collect();
            shown.sort();
            assert!(shown == names, "{} channels, {:?} among them", shown.len(), shown.first());
            let reply = client.cmd(&counts);
            assert_eq!(reply.items().len(), counts.len() * 2 - 4);
            assert_eq!((&reply.items()[1], &reply.items()[3]), (&Value::Int(0), &Value::Int(1)));
            assert_eq!(client.call("ECHO x"), Value::bulk("x"));
        }
    }
    // What is longer than a client may be owed is not shown in part either.
    let proxy = ProxyOptions::new(&[server.address()]).set("limits.client_output", "\"64KiB\"").start();
    for (number, first) in ["WATCH k", "SET k v"].into_iter().enumerate() {
        let mut client = proxy.client();
        assert_eq!(client.call(first), Value::ok());
        client.send(&["PUBSUB", "CHANNELS"]);
        let shown = client.read_to_close();
        assert_eq!(shown.escape_ascii().to_string(), "");
        let closed = proxy.metric("redhold_errors_total{kind=\"client_output\"}");
        assert_eq!(closed, Some((number + 1) as f64), "once each");
    }
}
