//! What Redhold says and hears on the nodes is not shown to clients, and clients cannot speak into it.

use std::collections::BTreeSet;

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, SHARD_CHANNELS, Value, eventually, installed,
};

/// Waits until Redhold listens on the primary, as the node itself tells.
fn wait_listening(group: &Group) {
    let mut node = group.nodes()[0].client();
    eventually(LONG, "Redhold listens on the node", || {
        let sharded = node.call("PUBSUB SHARDCHANNELS");
        node.call("PUBSUB NUMPAT") == Value::Int(1)
            && (sharded.error().is_some() || sharded == Value::Array(vec![Value::bulk("__redhold:hello")]))
    });
}

#[test]
fn what_only_redhold_subscribed_to_is_left_out() {
    for version in installed() {
        let group = Group::plain_with(0, &version.options());
        let proxy = Proxy::start(&group.addresses());
        wait_listening(&group);
        let direct = crate::support::Server::options().version(version).start();
        for resp3 in [false, true] {
            let connect =
                |address| if resp3 { Client::connect_resp3(address) } else { Client::connect(address) };
            let (mut client, mut alone) = (connect(proxy.address()), connect(direct.address()));
            for request in [
                "PUBSUB CHANNELS",
                "PUBSUB CHANNELS *hello",
                "PUBSUB NUMPAT",
                "PUBSUB NUMSUB",
                "PUBSUB NUMSUB __redhold:hello a __sentinel__:hello",
                "PUBSUB SHARDCHANNELS",
                "PUBSUB SHARDCHANNELS *",
                "PUBSUB SHARDNUMSUB",
                "PUBSUB SHARDNUMSUB __redhold:hello a",
                "PUBSUB NUMPAT x",
                "PUBSUB NOSUCH",
            ] {
                let expect = alone.call(request);
                eventually(LONG, "the reply is that of a node without Redhold", || {
                    client.call(request) == expect
                });
            }
        }
    }
}

#[test]
fn long_lists_and_lists_on_kept_connections_are_looked_through_too() {
    if !SHARD_CHANNELS.is_there() {
        return;
    }
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    wait_listening(&group);
    let mut subscriber = Client::connect_resp3(proxy.address());
    assert!(matches!(subscriber.call("SSUBSCRIBE first"), Value::Push(_)));
    assert_eq!(subscriber.call("PUBSUB SHARDCHANNELS"), Value::Array(vec![Value::bulk("first")]));
    eventually(LONG, "our pattern is not counted", || subscriber.call("PUBSUB NUMPAT") == Value::Int(0));
    // Several times as long as what is gathered before it is passed on in pieces.
    let names: BTreeSet<String> = (0..8_000).map(|number| format!("{number:050}")).collect();
    for chunk in names.iter().cloned().collect::<Vec<_>>().chunks(500) {
        let mut words = vec!["SSUBSCRIBE".to_owned()];
        words.extend(chunk.iter().cloned());
        subscriber.send(&words);
        chunk.iter().for_each(|_| drop(subscriber.read()));
    }
    for resp3 in [false, true] {
        let mut client = if resp3 { Client::connect_resp3(proxy.address()) } else { proxy.client() };
        for _ in 0..3 {
            let seen: Vec<String> =
                client.call("PUBSUB SHARDCHANNELS").items().iter().filter_map(Value::text).collect();
            assert_eq!(seen.len(), names.len() + 1);
            assert!(seen.iter().all(|name| names.contains(name) || name == "first"));
            assert_eq!(client.pipeline(&["PUBSUB SHARDCHANNELS none", "ECHO next"])[1], Value::bulk("next"));
        }
    }
}

#[test]
fn a_list_longer_than_a_client_may_be_owed_closes_that_client_only() {
    if !SHARD_CHANNELS.is_there() {
        return;
    }
    let group = Group::plain(0);
    let mut subscriber = group.nodes()[0].client();
    let names: Vec<String> = (0..8_000).map(|number| format!("{number:050}")).collect();
    let words: Vec<&str> = ["SSUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
    subscriber.send(&words);
    names.iter().for_each(|_| drop(subscriber.read()));
    let options = ProxyOptions::new(&group.addresses()).set("limits.client_output", "\"100KiB\"");
    let proxy = options.set("proxy.workers", "1").start();
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.send(&["PUBSUB", "SHARDCHANNELS"]);
    assert_eq!(client.read_to_close(), b"");
    for _ in 0..10 {
        assert_eq!(other.call("ECHO mine"), Value::bulk("mine"));
    }
}

#[test]
fn reserved_channels_are_refused_whatever_is_passed() {
    let group = Group::plain(0);
    for owned in ["refuse", "pass"] {
        let options =
            ProxyOptions::new(&group.addresses()).set("proxy.owned_commands", &format!("\"{owned}\""));
        let proxy = options.start();
        let mut client = proxy.client();
        let refused = |request: &str| {
            let name = request.split(' ').next().expect("a name").to_uppercase();
            let text = format!(
                "ERR channels whose names begin with __redhold: are Redhold's own; {name} was not executed"
            );
            Value::Error(text)
        };
        let requests = [
            "PUBLISH __redhold:hello 0123456789abcdef",
            "spublish __redhold:hello 0123456789abcdef",
            "SUBSCRIBE __redhold:hello",
            "SUBSCRIBE set __redhold:hello x",
            "SSUBSCRIBE __redhold:barrier",
        ];
        for request in requests {
            assert_eq!(client.call(request), refused(request), "{owned}");
        }
        assert_eq!(client.call("PUBLISH news __redhold:hello"), Value::Int(0));
        assert_eq!(client.call("PUBLISH __redhold x"), Value::Int(0));
        let replies = client.pipeline(&["MULTI", "PUBLISH __redhold:hello x", "SET k v", "EXEC"]);
        assert_eq!(replies[1], refused("PUBLISH"));
        assert!(replies[3].error().is_some_and(|text| text.starts_with("EXECABORT")), "{replies:?}");
        let mut subscriber = Client::connect_resp3(proxy.address());
        subscriber.call("SUBSCRIBE news");
        for request in requests {
            assert_eq!(subscriber.call(request), refused(request), "{owned}");
        }
        assert_eq!(subscriber.call("ECHO x"), Value::bulk("x"));
        // A pattern may match them and hears nothing of them.
        let mut all = proxy.client();
        all.call("PSUBSCRIBE __redhold:* *");
        all.read();
        group.nodes()[0].call("PUBLISH __redhold:barrier x");
        assert_eq!(client.call("PUBLISH news text"), Value::Int(2));
        assert_eq!(all.read().items().last(), Some(&Value::bulk("text")));
    }
}

/// The names in a reply to INFO commandstats.
fn counted(info: &Value) -> BTreeSet<String> {
    let text = info.clone().text().expect("a text");
    let names =
        text.lines().filter_map(|line| Some(line.strip_prefix("cmdstat_")?.split_once(':')?.0.to_owned()));
    names.collect()
}

#[test]
fn statistics_tell_of_what_clients_asked_for() {
    for version in installed() {
        let group = Group::plain_with(0, &version.options());
        let proxy = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").start();
        let (mut client, mut node) = (proxy.client(), group.nodes()[0].client());
        let asked = ["config|resetstat", "config", "info", "watch", "latency|histogram", "latency"];
        let is_asked = |name: &str| asked.contains(&name);
        // What is on its way when the node begins anew, or when it is asked, may be counted wrongly: then once more.
        eventually(LONG, "clients are told of what clients asked for", || {
            assert_eq!(client.call("CONFIG RESETSTAT"), Value::ok());
            let mut keeper = proxy.client();
            assert_eq!(keeper.call("WATCH k"), Value::ok());
            eventually(LONG, "the node counts what Redhold asks for", || {
                counted(&node.call("INFO commandstats")).contains("ping")
            });
            counted(&client.call("INFO commandstats")).iter().all(|name| is_asked(name))
        });
        eventually(LONG, "so do the histograms", || {
            let reply = client.call("LATENCY HISTOGRAM");
            let mut names = reply.items().iter().filter_map(|part| part.clone().text());
            reply.error().is_some() || names.all(|name| is_asked(&name))
        });
    }
}
