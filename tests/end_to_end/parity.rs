//! What a client changes on the primary and replication does not carry, every node gets: users, settings, scripts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{
    CONFIG_SET_SEVERAL, Client, Group, LONG, Proxy, ProxyOptions, Server, Value, eventually, installed,
};

fn setting(node: &Server, name: &str) -> String {
    let reply = node.call(&format!("CONFIG GET {name}"));
    reply.items().get(1).and_then(Value::text).unwrap_or_default()
}

/// A node that is told to follow another one closes its clients' connections.
fn tells(node: &Server, request: &str) -> Option<Value> {
    Client::try_connect(node.address()).ok()?.try_cmd(&request.split(' ').collect::<Vec<_>>()).ok()
}

/// ACL LIST without a default that some servers say and some do not.
fn rules(node: &Server) -> Vec<String> {
    let lines = tells(node, "ACL LIST");
    let lines = lines.iter().flat_map(Value::items).filter_map(Value::text);
    lines.map(|line| line.replace(" sanitize-payload", "")).collect()
}

fn has_user(node: &Server, name: &str) -> bool {
    node.call("ACL USERS").items().contains(&Value::bulk(name))
}

fn has_script(node: &Server, sha: &str) -> bool {
    node.call(&format!("SCRIPT EXISTS {sha}")).items() == [Value::Int(1)]
}

fn faults(proxy: &Proxy, node: usize) -> String {
    proxy.status()["nodes"][node]["out_of_parity"].to_string()
}

fn parity(proxy: &Proxy, node: &Server) -> Option<f64> {
    proxy.metric(&format!("redhold_node_parity{{node=\"{}\"}}", node.address()))
}

/// As long as the answer to a change waits for every node to have it. Who is answered sooner finds it on all of them.
const PATIENCE: Duration = Duration::from_millis(100);

/// Asks for a change, and returns the answer when every node has it, which is at once where it did not take long.
#[track_caller]
fn on_all<T>(group: &Group, has: impl Fn(&Server) -> bool, ask: impl FnOnce() -> T) -> T {
    let asked = Instant::now();
    let answer = ask();
    let in_time = asked.elapsed() < PATIENCE;
    let all = || group.nodes().iter().all(&has);
    if in_time {
        assert!(all(), "it was answered and is not everywhere");
    } else {
        eventually(LONG, "it is everywhere", all);
    }
    answer
}

#[test]
fn once_a_client_has_its_answer_every_node_has_the_change() {
    for version in installed() {
        let group = Group::plain_with(2, &version.options());
        let proxy = Proxy::start(&group.addresses());
        let mut client = proxy.client();
        println!("{}", version.name);
        let is = |name: &'static str, value: &'static str| move |node: &Server| setting(node, name) == value;
        let made = on_all(
            &group,
            |node| has_user(node, "app"),
            || client.call("ACL SETUSER app on >secret ~* +@all"),
        );
        assert_eq!(made, Value::ok());
        assert!(group.nodes().iter().all(|node| node.client().call("AUTH app secret") == Value::ok()));
        let gone = on_all(&group, |node| !has_user(node, "app"), || client.call("ACL DELUSER app nobody"));
        assert_eq!(gone, Value::Int(1));
        let set =
            on_all(&group, is("slowlog-max-len", "77"), || client.call("config set slowlog-max-len 77"));
        assert_eq!(set, Value::ok());
        let script = "return 'a script'";
        let sha = group.nodes()[0].client().cmd(&["SCRIPT", "LOAD", script]).text().expect("a digest");
        let loaded =
            on_all(&group, |node| has_script(node, &sha), || client.cmd(&["SCRIPT", "LOAD", script]));
        assert_eq!(loaded.text(), Some(sha.clone()));
        let flushed = on_all(&group, |node| !has_script(node, &sha), || client.call("SCRIPT FLUSH"));
        assert_eq!(flushed, Value::ok());
        // On one connection, all at once, in their order.
        let many: Vec<String> = (1..100).map(|n| format!("CONFIG SET slowlog-max-len {n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let replies = on_all(&group, is("slowlog-max-len", "99"), || client.pipeline(&many));
        assert!(replies.iter().all(|reply| *reply == Value::ok()));
        for node in &group.nodes()[1..] {
            eventually(LONG, "it is counted", || parity(&proxy, node) == Some(1.0));
        }
    }
}

#[test]
fn what_the_primary_refuses_and_what_is_one_nodes_place_goes_nowhere() {
    let group = Group::plain_with(1, &Server::options().set("enable-protected-configs", "yes"));
    let proxy = Proxy::start(&group.addresses());
    let (mut client, replica) = (proxy.client(), &group.nodes()[1]);
    let dir = setting(replica, "dir");
    assert_eq!(client.call("CONFIG SET dir /tmp"), Value::ok());
    assert!(client.call("ACL SETUSER app nonsense").error().is_some());
    assert!(client.call("CONFIG SET slowlog-max-len many").error().is_some());
    assert!(client.cmd(&["SCRIPT", "LOAD", "not lua"]).error().is_some());
    assert_eq!(client.call("ACL SETUSER weak on nopass ~* +@all -config -acl -script"), Value::ok());
    let mut weak = proxy.client();
    assert_eq!(weak.call("AUTH weak x"), Value::ok());
    for request in
        ["CONFIG SET slowlog-max-len 7", "ACL SETUSER other on", "SCRIPT LOAD return", "SCRIPT FLUSH"]
    {
        let reply = weak.call(request);
        assert!(reply.error().is_some_and(|text| text.starts_with("NOPERM")), "{request}: {reply:?}");
    }
    // What comes last is there, so what came before would be.
    let each = ["CONFIG SET dbfilename other.rdb", "CONFIG SET slowlog-log-slower-than 5"];
    let both = ["CONFIG SET dbfilename other.rdb slowlog-log-slower-than 5"];
    for request in if CONFIG_SET_SEVERAL.is_there() { &both[..] } else { &each } {
        assert_eq!(client.call(request), Value::ok());
    }
    eventually(LONG, "it is there", || setting(replica, "slowlog-log-slower-than") == "5");
    assert_ne!(setting(replica, "dbfilename"), "other.rdb");
    assert_eq!((setting(replica, "dir"), setting(replica, "slowlog-max-len").as_str()), (dir, "128"));
    assert!(!has_user(replica, "app") && !has_user(replica, "other"));
}

#[test]
fn a_transaction_and_a_connection_of_ones_own_reach_every_node_too() {
    for version in installed() {
        let group = Group::plain_with(1, &version.options());
        let proxy = Proxy::start(&group.addresses());
        let (mut client, replica) = (proxy.client(), &group.nodes()[1]);
        client.pipeline(&["MULTI", "ACL SETUSER gone on", "DISCARD"]);
        client.pipeline(&["MULTI", "ACL SETUSER app on", "SET k v", "CONFIG SET slowlog-max-len x"]);
        assert_eq!(client.cmd(&["SCRIPT", "LOAD", "return 5"]), Value::Simple("QUEUED".to_owned()));
        assert_eq!(client.call("CONFIG SET slowlog-max-len 11"), Value::Simple("QUEUED".to_owned()));
        assert!(!has_user(replica, "app"), "nothing was executed yet");
        let executed = client.call("EXEC");
        assert!(executed.items()[2].error().is_some(), "{executed:?}");
        let sha = executed.items()[3].text().expect("a digest");
        eventually(LONG, "the last of them arrives", || setting(replica, "slowlog-max-len") == "11");
        assert!(has_user(replica, "app") && has_script(replica, &sha), "{}", version.name);
        assert!(!has_user(replica, "gone"), "{}", version.name);
        let mut tracking = Client::connect_resp3(proxy.address());
        assert_eq!(tracking.call("CLIENT TRACKING ON"), Value::ok());
        assert_eq!(tracking.call("CONFIG SET slowlog-max-len 12"), Value::ok());
        eventually(LONG, "it arrives", || setting(replica, "slowlog-max-len") == "12");
        assert_eq!(client.call("GET k"), Value::bulk("v"));
    }
}

#[test]
fn who_loses_the_primary_the_next_moment_finds_the_user_on_the_new_one() {
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let set = "ACL SETUSER app on >secret ~* +@all";
    let made = on_all(&group, |node| has_user(node, "app"), || proxy.client().call(set));
    assert_eq!(made, Value::ok());
    group.node(0).kill9();
    let mut client = proxy.client();
    assert_eq!(client.call("AUTH app secret"), Value::ok());
    assert_eq!(client.call("SET k v"), Value::ok());
    proxy.wait_replaced();
}

#[test]
fn who_refuses_is_named_until_it_accepts_and_no_secret_is_told() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { panic!("two nodes") };
    for node in [primary, replica] {
        assert_eq!(node.call("ACL SETUSER ops on >words ~* &* +@all"), Value::ok());
    }
    assert_eq!(replica.call("ACL SETUSER ops -acl"), Value::ok());
    let proxy = ProxyOptions::new(&group.addresses())
        .set("backend.username", "\"ops\"")
        .set("backend.password", "\"words\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.call("ACL SETUSER app on >hush-hush"), Value::ok());
    eventually(LONG, "it is named", || faults(&proxy, 1).contains("refused ACL SETUSER app: NOPERM"));
    eventually(LONG, "it is counted", || parity(&proxy, replica) == Some(0.0));
    assert_eq!(replica.call("ACL SETUSER ops reset on >words ~* &* +@all"), Value::ok());
    assert_eq!(client.call("ACL SETUSER app on >hush-hush ~k"), Value::ok());
    eventually(LONG, "it is in parity", || parity(&proxy, replica) == Some(1.0));
    assert_eq!(faults(&proxy, 1), "[]");
    assert!(!proxy.log().contains("hush"), "{}", proxy.log());
}

#[test]
fn who_hangs_delays_the_answer_by_moments_and_is_named() {
    let group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    group.nodes()[1].sigstop();
    let mut client = proxy.client();
    client.set_read_timeout(std::time::Duration::from_secs(10));
    assert_eq!(client.call("CONFIG SET slowlog-max-len 33"), Value::ok());
    eventually(LONG, "the other one has it", || setting(&group.nodes()[2], "slowlog-max-len") == "33");
    eventually(LONG, "it is named", || faults(&proxy, 1).contains("missed CONFIG SET slowlog-max-len"));
    group.nodes()[1].sigcont();
}

#[test]
fn who_was_away_is_brought_what_clients_changed_meanwhile_and_before() {
    for version in installed() {
        let mut group = Group::plain_with(2, &version.options());
        let proxy = Proxy::start(&group.addresses());
        let mut client = proxy.client();
        assert_eq!(client.call("ACL SETUSER old on"), Value::ok());
        assert_eq!(client.call("ACL SETUSER before on >hush ~k resetchannels &c -@all +get"), Value::ok());
        if version.release >= 70 {
            let selector = ["ACL", "SETUSER", "selects", "on", ">hush", "%R~j", "(+set ~z)"];
            assert_eq!(client.cmd(&selector), Value::ok());
        }
        group.node(1).kill9();
        assert_eq!(client.call("ACL DELUSER old"), Value::Int(1));
        assert_eq!(client.call("ACL SETUSER app on >hush ~* +@all"), Value::ok());
        assert_eq!(client.call("CONFIG SET slowlog-max-len 44"), Value::ok());
        eventually(LONG, "what it missed is told", || faults(&proxy, 1).contains("missed"));
        group.node(1).restart();
        let users = rules(&group.nodes()[0]);
        eventually(LONG, "it has all users", || rules(&group.nodes()[1]) == users);
        eventually(LONG, "it has the setting", || {
            tells(&group.nodes()[1], "CONFIG GET slowlog-max-len")
                .is_some_and(|reply| reply.items().contains(&Value::bulk("44")))
        });
        eventually(LONG, "it is in parity", || parity(&proxy, &group.nodes()[1]) == Some(1.0));
        assert!(!proxy.log().contains("hush"), "{}", proxy.log());
        // The old primary forgets when it is started again, and is brought it by the new one.
        group.node(0).kill9();
        assert_eq!(proxy.client().call("AUTH app hush"), Value::ok(), "{}", version.name);
        group.node(0).restart();
        eventually(LONG, "the old primary has it", || {
            tells(&group.nodes()[0], "ACL USERS")
                .is_some_and(|reply| reply.items().contains(&Value::bulk("app")))
        });
    }
}

#[test]
fn what_somebody_else_changed_is_told_with_its_cure_and_left() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\"").start();
    let [primary, replica] = group.nodes() else { panic!("two nodes") };
    let mut client = proxy.client();
    eventually(LONG, "they agree", || parity(&proxy, replica) == Some(1.0));
    assert_eq!(proxy.status()["advice"].to_string(), "[]");
    for request in ["CONFIG SET maxmemory 1234567", "CONFIG SET masterauth hush", "ACL SETUSER app on"] {
        assert_eq!(replica.call(request), Value::ok());
    }
    assert_eq!(primary.call("CONFIG SET maxmemory-policy allkeys-lru"), Value::ok());
    // What a client changes has them compared.
    assert_eq!(client.call("CONFIG SET slowlog-max-len 9"), Value::ok());
    eventually(LONG, "it is told", || faults(&proxy, 1).contains("maxmemory differs"));
    let told = faults(&proxy, 1);
    for words in
        ["by CONFIG SET maxmemory and in its redis.conf", "masterauth differs", "***", "ACL users differ"]
    {
        assert!(told.contains(words), "{words} in {told}");
    }
    eventually(LONG, "it is counted", || parity(&proxy, replica) == Some(0.0));
    assert!(proxy.status()["advice"].to_string().contains("LRU/LFU clocks"));
    assert!(!proxy.log().contains("hush") && !told.contains("hush"));
    assert_eq!(setting(replica, "maxmemory"), "1234567", "nobody changed it through the proxy");
    for request in ["CONFIG SET maxmemory 0", "CONFIG SET masterauth ", "ACL DELUSER app"] {
        replica.client().cmd(&request.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(replica.call("CONFIG SET maxmemory-policy allkeys-lru"), Value::ok());
    assert_eq!(client.call("CONFIG SET slowlog-max-len 10"), Value::ok());
    eventually(LONG, "they agree again", || parity(&proxy, replica) == Some(1.0));
}

#[test]
fn who_lacks_a_user_is_not_chosen_where_another_has_it() {
    let group = Group::plain(2);
    let [a, b, c] = group.addresses()[..] else { panic!("three nodes") };
    let preferred = format!(r#"["{a}", {{ address = "{b}", priority = 200 }}, "{c}"]"#);
    let proxy = ProxyOptions::new(&group.addresses()).set("backend.nodes", &preferred).start();
    // By hand, behind the proxy's back: the order has the nodes compared first.
    for node in [0, 2] {
        assert_eq!(group.nodes()[node].call("ACL SETUSER app on"), Value::ok());
    }
    proxy.switch_over();
    eventually(LONG, "it leads", || proxy.status()["primary"] == c.to_string());
    assert!(!has_user(&group.nodes()[1], "app"), "nobody changed it through the proxy");
}

/// Calls scripts by their digests, many at a time, until it is told to stop; the errors that came.
fn calls(proxy: &Proxy, digests: &[String], stop: &AtomicBool) -> Vec<String> {
    let mut client = proxy.client();
    let mut errors = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let batch: Vec<Vec<&str>> = digests
            .iter()
            .cycle()
            .take(50)
            .map(|digest| vec!["EVALSHA", digest.as_str(), "1", "k"])
            .collect();
        let batch: Vec<&[&str]> = batch.iter().map(Vec::as_slice).collect();
        let replies = client.pipelined(&batch);
        errors.extend(replies.iter().filter_map(Value::error).map(str::to_owned));
    }
    errors
}

#[test]
fn a_script_that_was_said_once_is_known_to_a_new_primary() {
    for version in installed() {
        let mut group = Group::plain_with(2, &version.options());
        let proxy = Proxy::start(&group.addresses());
        let mut client = proxy.client();
        let writes = |n: u32| format!("return redis.call('SET', KEYS[1], '{n}')");
        let digest =
            |n: u32| group.nodes()[2].client().cmd(&["SCRIPT", "LOAD", &writes(n)]).text().expect("a digest");
        let (two, three) = (digest(2), digest(3));
        assert_eq!(group.nodes()[2].call("SCRIPT FLUSH"), Value::ok());
        let one = client.cmd(&["SCRIPT", "LOAD", &writes(1)]).text().expect("a digest");
        // As clients do that try the digest first, and as those that say the body once and the digest ever after.
        let missing = client.call(&format!("EVALSHA {two} 1 k"));
        assert!(missing.error().is_some_and(|text| text.starts_with("NOSCRIPT")), "{missing:?}");
        for n in [2, 3] {
            assert_eq!(client.cmd(&["EVAL", &writes(n), "1", "k"]), Value::ok());
        }
        eventually(LONG, "every node has what was asked for", || {
            group.nodes()[1..].iter().all(|node| has_script(node, &two))
        });
        let scripts = [one, two, three];
        let stop = AtomicBool::new(false);
        let errors = std::thread::scope(|scope| {
            let calling: Vec<_> = (0..4).map(|_| scope.spawn(|| calls(&proxy, &scripts, &stop))).collect();
            group.node(0).kill9();
            proxy.wait_replaced();
            for script in &scripts {
                let reply = client.call(&format!("EVALSHA {script} 1 k"));
                assert_eq!(reply, Value::ok(), "{}: {script}", version.name);
            }
            stop.store(true, Ordering::SeqCst);
            calling.into_iter().flat_map(|it| it.join().expect("it ends")).collect::<Vec<_>>()
        });
        let unknown = errors.iter().filter(|text| !text.starts_with("AMBIGUOUS"));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new(), "{}", version.name);
    }
}

#[test]
fn flushed_scripts_are_forgotten_and_without_room_none_is_remembered() {
    for cache in ["16MiB", "0B"] {
        let mut group = Group::plain(1);
        let proxy =
            ProxyOptions::new(&group.addresses()).set("limits.script_cache", &format!("\"{cache}\"")).start();
        let mut client = proxy.client();
        let said = |client: &mut Client, body: &str| client.cmd(&["EVAL", body, "0"]);
        assert_eq!(said(&mut client, "return 1"), Value::Int(1));
        assert_eq!(said(&mut client, "return 2"), Value::Int(2));
        eventually(LONG, "they are forgotten everywhere", || {
            let asked = Instant::now();
            assert_eq!(client.call("SCRIPT FLUSH"), Value::ok());
            asked.elapsed() < PATIENCE
        });
        assert_eq!(said(&mut client, "return 1"), Value::Int(1), "a body that was said before it");
        // Elsewhere: 6.2 would have its replicas load them too.
        let elsewhere = Server::start();
        let sha = |body: &str| elsewhere.client().cmd(&["SCRIPT", "LOAD", body]).text().expect("a digest");
        let (one, two) = (sha("return 1"), sha("return 2"));
        group.node(0).kill9();
        let mut client = proxy.client();
        assert_eq!(client.call("SET k v"), Value::ok());
        let known = client.call(&format!("SCRIPT EXISTS {one} {two}"));
        let expected = [i64::from(cache != "0B"), 0].map(Value::Int);
        assert_eq!(known, Value::Array(expected.to_vec()), "{cache}");
    }
}
