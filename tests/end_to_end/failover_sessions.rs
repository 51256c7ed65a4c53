//! What clients hold on connections of their own, over the death of the primary.

use std::time::Duration;

use crate::support::{Client, Group, LONG, Load, Proxy, SHARD_CHANNELS, Value, eventually};

/// A group and the proxy, with a load whose faults count.
struct Scene {
    group: Group,
    proxy: Proxy,
    load: Option<Load>,
}

impl Scene {
    #[track_caller]
    fn start() -> Self {
        let group = Group::plain(1);
        let proxy = Proxy::start(&group.addresses());
        let load = Load::start(proxy.address(), 4, 4);
        Self { group, proxy, load: Some(load) }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    /// Kills the primary under load and waits until the load goes on.
    #[track_caller]
    fn kill(&mut self) {
        let load = self.load.take().expect("the load runs");
        load.strike(|| self.group.node(0).kill9());
        load.wait_for(200);
        let outcome = load.finish();
        assert!(outcome.faults().is_empty(), "{:?}", outcome.faults());
        assert_eq!(self.group.primary(), 1);
    }
}

#[test]
fn an_open_transaction_is_played_to_the_new_primary() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.pipeline(&["SELECT 2", "MULTI", "SET k 1", "INCR k"]);
    scene.kill();
    assert_eq!(client.call("INCR k"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(client.call("EXEC"), Value::Array(vec![Value::ok(), Value::Int(2), Value::Int(3)]));
    assert_eq!(scene.group.nodes()[1].client().pipeline(&["SELECT 2", "GET k"])[1], Value::bulk("3"));
}

#[test]
fn a_watched_transaction_answers_nil() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.pipeline(&["WATCH k", "MULTI", "SET k 1"]);
    let mut watcher = scene.client();
    watcher.call("WATCH k");
    scene.kill();
    assert_eq!(client.call("EXEC"), Value::Nil);
    assert_eq!(watcher.pipeline(&["MULTI", "SET k 2", "EXEC"])[2], Value::Nil);
    assert_eq!(client.call("GET k"), Value::Nil);
    let replies = client.pipeline(&["WATCH k", "MULTI", "SET k 3", "EXEC"]);
    assert_eq!(replies[3], Value::Array(vec![Value::ok()]), "the next try succeeds");
}

#[test]
fn a_parked_client_is_parked_again() {
    let mut scene = Scene::start();
    let mut parked: Vec<Client> = (0..5).map(|_| scene.client()).collect();
    for (number, client) in parked.iter_mut().enumerate() {
        client.send(&["BLPOP", &format!("q{number}"), "0"]);
    }
    let mut stream = scene.client();
    stream.send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
    eventually(LONG, "they are parked", || {
        scene.group.nodes()[0].info("blocked_clients").as_deref() == Some("6")
    });
    scene.kill();
    let mut other = scene.client();
    for (number, client) in parked.iter_mut().enumerate() {
        assert_eq!(other.call(&format!("RPUSH q{number} job")), Value::Int(1));
        assert_eq!(client.read(), Value::Array(vec![Value::bulk(format!("q{number}")), Value::bulk("job")]));
    }
    other.call("XADD s * f v");
    assert_eq!(stream.read().items()[0].items()[0], Value::bulk("s"));
}

#[test]
fn a_blocking_timeout_is_not_begun_anew() {
    let mut scene = Scene::start();
    let mut parked = scene.client();
    let start = std::time::Instant::now();
    parked.send(&["BLPOP", "q", "3"]);
    scene.kill();
    assert_eq!(parked.read(), Value::Nil);
    assert!(start.elapsed() >= Duration::from_millis(2_900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn subscribers_hear_messages_of_the_new_primary_and_nothing_else() {
    let mut scene = Scene::start();
    let (mut two, mut three) = (scene.client(), Client::connect_resp3(scene.proxy.address()));
    let shards = SHARD_CHANNELS.is_there();
    let kinds = if shards { 3 } else { 2 };
    for client in [&mut two, &mut three] {
        client.pipeline(&["SUBSCRIBE a", "PSUBSCRIBE b*", "SSUBSCRIBE c"][..kinds]);
    }
    scene.kill();
    let mut publisher = scene.client();
    eventually(LONG, "both are subscribed again", || {
        publisher.call("PUBSUB NUMSUB a").items()[1] == Value::Int(2)
            && publisher.call("PUBSUB NUMPAT") == Value::Int(1)
            && (!shards || publisher.call("PUBSUB SHARDNUMSUB c").items()[1] == Value::Int(2))
    });
    assert_eq!(publisher.call("PUBLISH a text"), Value::Int(2));
    publisher.call("PUBLISH bb text");
    publisher.call("SPUBLISH c text");
    for client in [&mut two, &mut three] {
        for first in &["message", "pmessage", "smessage"][..kinds] {
            assert_eq!(
                client.read().items()[0],
                Value::bulk(*first),
                "no confirmation of ours, nothing twice"
            );
        }
    }
    assert_eq!(two.call("SUBSCRIBE d").items()[2], Value::Int(3), "and the count goes on");
}

#[test]
fn a_monitor_goes_on() {
    let mut scene = Scene::start();
    let mut monitor = scene.client();
    assert_eq!(monitor.call("MONITOR"), Value::ok());
    scene.kill();
    let mut other = scene.client();
    eventually(LONG, "it sees what is sent to the new primary", || {
        other.call("SET seen again");
        loop {
            let line = monitor.read().text().expect("a line, never a second OK of ours");
            assert_ne!(line, "OK");
            if line.contains("\"again\"") {
                return true;
            }
            if line.contains("\"witness-end\"") {
                return false;
            }
            other.call("SET witness-end x");
        }
    });
}

#[test]
fn a_client_stays_who_it_is() {
    let mut scene = Scene::start();
    let mut client = Client::connect_resp3(scene.proxy.address());
    client.pipeline(&["SELECT 7", "CLIENT SETNAME alpha", "SET k seven"]);
    let id = client.call("CLIENT ID");
    let replica = scene.group.nodes()[1].address();
    eventually(LONG, "the replica has it", || {
        Client::connect(replica).pipeline(&["SELECT 7", "GET k"])[1] == Value::bulk("seven")
    });
    scene.kill();
    assert_eq!(client.call("GET k"), Value::bulk("seven"));
    assert_eq!(client.call("HGETALL none"), Value::Map(vec![]));
    assert_eq!((client.call("CLIENT GETNAME"), client.call("CLIENT ID")), (Value::bulk("alpha"), id));
}

#[test]
fn a_cursor_of_the_old_primary_is_refused() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    let requests: Vec<String> = (0..500).map(|number| format!("SADD s m{number}")).collect();
    client.pipeline(&requests.iter().map(String::as_str).collect::<Vec<_>>());
    let replica = scene.group.nodes()[1].address();
    eventually(LONG, "the replica has all", || Client::connect(replica).call("SCARD s") == Value::Int(500));
    let cursor = client.call("SSCAN s 0 COUNT 50").items()[0].text().expect("a cursor");
    assert_ne!(cursor, "0");
    let mut open = scene.client();
    open.pipeline(&["MULTI", &format!("SSCAN s {cursor}"), "SET k 1"]);
    scene.kill();
    let text = "ERR cursor belongs to epoch 1 (now 2): start again from 0";
    assert_eq!(client.call(&format!("SSCAN s {cursor}")), Value::Error(text.to_owned()));
    // Within a transaction it is refused when it is executed, as Redis refuses a bad cursor, and the rest is done.
    let inside = format!("SSCAN s {cursor}");
    let replies = client.pipeline(&["MULTI", &inside, "SET k v", "SSCAN s 0", "SSCAN s x", "EXEC"]);
    let items = replies[5].items();
    assert_eq!(items[..2], [Value::Error(text.to_owned()), Value::ok()], "{replies:?}");
    assert!(items[2].error().is_none(), "{replies:?}");
    assert_eq!(items[3], Value::Error("ERR invalid cursor".to_owned()));
    client.call("WATCH k");
    assert_eq!(client.call(&inside), Value::Error(text.to_owned()), "beside a transaction too");
    assert_eq!(client.call("UNWATCH"), Value::ok());
    let played = open.pipeline(&["SELECT 3", "EXEC"]);
    assert_eq!(played[1].items()[..2], [Value::Error(text.to_owned()), Value::ok()], "{played:?}");
    assert_eq!(
        open.pipeline(&["SET in 3", "SELECT 3", "GET in"])[2],
        Value::bulk("3"),
        "it is in database 3"
    );
    let mut seen = 0;
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.call(&format!("SSCAN s {cursor} COUNT 50"));
        seen += reply.items()[1].items().len();
        cursor = reply.items()[0].text().expect("a cursor");
        let small = cursor.parse::<u64>().expect("a number");
        assert!(small < 1 << 53, "libraries in JavaScript lose precision beyond: {small}");
        if cursor == "0" {
            break;
        }
    }
    assert!(seen >= 500, "{seen}");
}

#[test]
fn wait_promises_nothing_of_writes_to_the_old_primary() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.call("SET k v");
    scene.kill();
    assert_eq!(client.call("WAIT 1 10"), Value::Int(0));
    client.call("SET k w");
    assert_eq!(client.call("WAIT 0 10"), Value::Int(0), "no replica is left");
}
