//! What only an old primary had is kept when it returns, or it is said why not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{
    Group, LONG, Proxy, ProxyOptions, ServerOptions, Value, encode, eventually, eventually_some,
};

fn kept(proxy: &Proxy) -> Vec<PathBuf> {
    let dir = fs::read_dir(proxy.state_dir().join("quarantine"));
    let mut files: Vec<PathBuf> =
        dir.into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// What the timeline of the last change of primary says of its return.
fn told(proxy: &Proxy) -> String {
    eventually_some(LONG, "the timeline tells of the return", || {
        let status = proxy.status();
        let episodes = status["episodes"].as_array().expect("a list of episodes");
        let notes = episodes.last()?["notes"].as_array()?;
        let mut texts = notes.iter().filter_map(|note| note["text"].as_str());
        texts.find(|text| text.contains("returns as a primary")).map(str::to_owned)
    })
}

fn bytes(proxy: &Proxy, result: &str) -> Option<f64> {
    proxy.metric(&format!("redhold_quarantined_bytes_total{{result=\"{result}\"}}"))
}

/// Nothing goes down the stream but what clients write.
fn quiet() -> ServerOptions {
    ServerOptions::default().set("repl-ping-replica-period", "3600")
}

/// Orders the other of two nodes to lead after `leader` has taken a write that the other did not receive.
#[track_caller]
fn lose_a_write(group: &Group, proxy: &Proxy, leader: usize, value: &str) {
    let mut client = proxy.client();
    assert_eq!(client.call("SET k received"), Value::ok());
    group.wait_in_sync(leader);
    let other = &group.nodes()[1 - leader];
    assert_eq!(other.call("REPLICAOF 127.0.0.1 0"), Value::ok());
    assert_eq!(client.cmd(&["SET", "k", value]), Value::ok());
    proxy.force_failover(other.address());
    group.wait_following(leader, 1 - leader);
    assert_eq!(group.nodes()[leader].call("GET k"), Value::bulk("received"));
}

/// Two nodes whose first primary has lost this write, and a proxy that looks at them once a minute, with this setting.
#[track_caller]
fn having_lost(value: &str, key: &str, setting: &str) -> (Group, Proxy) {
    let group = Group::plain_with(1, &quiet());
    let options = ProxyOptions::new(&group.addresses()).looking_once_a_minute();
    let proxy = options.set(key, setting).start();
    lose_a_write(&group, &proxy, 0, value);
    (group, proxy)
}

#[test]
fn acknowledged_writes_that_only_a_stopped_primary_had_are_kept_byte_for_byte() {
    let group = Group::plain(2);
    let proxy = ProxyOptions::new(&group.addresses()).noticing_silence().start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k received"), Value::ok());
    group.wait_in_sync(0);
    let [old, replicas @ ..] = group.nodes() else { panic!("three nodes") };
    let mut past = old.client();
    replicas.iter().for_each(|replica| replica.sigstop());
    past.call("CLIENT KILL TYPE replica");
    let lost: [&[&str]; 6] = [
        &["RPUSH", "l", "lost0"],
        &["MULTI"],
        &["INCR", "c"],
        &["SET", "q", "\r\n1"],
        &["EXEC"],
        &["SET", "k", "acknowledged"],
    ];
    assert!(client.pipelined(&lost).iter().all(|reply| reply.error().is_none()));
    old.sigstop();
    replicas.iter().for_each(|replica| replica.sigcont());
    eventually(LONG, "another leads", || proxy.primary_changes() == 1);
    assert_eq!(kept(&proxy), Vec::<PathBuf>::new());
    old.sigcont();
    let text = told(&proxy);
    let leader = group.primaries().into_iter().find(|node| *node != 0).expect("another leads");
    group.wait_following(0, leader);

    let [file] = &kept(&proxy)[..] else { panic!("{:?}; {text}", kept(&proxy)) };
    let wanted: Vec<u8> = lost.iter().flat_map(|words| encode(words)).collect();
    let content = fs::read(file).expect("the file is there");
    assert_eq!(String::from_utf8_lossy(&content), String::from_utf8_lossy(&wanted));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    let (count, size, path) = (lost.len(), wanted.len(), file.display());
    let words =
        format!("{count} commands ({size} bytes) of its history were never replicated; kept in {path}");
    assert!(text.contains(&words), "{text}");
    assert!(
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("2-127.0.0.1_")),
        "{path}"
    );
    eventually(LONG, "the bytes are counted", || bytes(&proxy, "kept") == Some(size as f64));
    eventually(LONG, "the change of primary is charged with them", || {
        let status = proxy.status();
        let last = status["episodes"].as_array().and_then(|all| all.last().cloned()).expect("one took place");
        last["toll"]["quarantined_bytes"] == size && last["toll"]["given_up_bytes"] == 0
    });

    assert_eq!(group.nodes()[leader].call("GET k"), Value::bulk("received"));
    let replay = |program| {
        let mut command = Command::new(program);
        command.args(["-p", &proxy.address().port().to_string(), "--pipe"]);
        command.stdin(fs::File::open(file).expect("the file is there")).output()
    };
    let replayed = replay("redis-cli").or_else(|_| replay("valkey-cli")).expect("it comes with the server");
    let said = String::from_utf8_lossy(&replayed.stdout);
    assert!(said.contains(&format!("errors: 0, replies: {count}")), "{said}");
    let replies = ["LRANGE l 0 -1", "GET c", "GET q", "GET k"].map(|request| client.call(request));
    let values = ["1", "\r\n1", "acknowledged"].map(Value::bulk);
    assert_eq!((replies[0].items(), &replies[1..]), (&[Value::bulk("lost0")][..], &values[..]));
}

#[test]
fn where_nothing_was_lost_nothing_is_kept_and_nothing_copied() {
    let group = Group::plain_with(1, &quiet());
    let options = ProxyOptions::new(&group.addresses()).noticing_silence();
    let proxy = options.set("failover.tune_nodes", "false").start();
    assert_eq!(proxy.client().call("SET k received"), Value::ok());
    group.wait_in_sync(0);
    let [old, new] = group.nodes() else { panic!("two nodes") };
    old.sigstop();
    eventually(LONG, "another leads", || proxy.primary_changes() == 1);
    old.sigcont();
    assert!(told(&proxy).ends_with("all of its history was replicated"), "{}", told(&proxy));
    group.wait_following(0, 1);
    assert_eq!(new.info("sync_full").as_deref(), Some("0"), "it went on where it was");
    assert_eq!(kept(&proxy), Vec::<PathBuf>::new());
    assert_eq!((bytes(&proxy, "kept"), bytes(&proxy, "given_up")), (Some(0.0), Some(0.0)));
}

#[test]
fn beyond_the_bound_on_files_nothing_is_removed_and_the_loss_is_told() {
    let (group, proxy) = having_lost("first", "failover.quarantine_files", "1");
    let first = kept(&proxy);
    assert_eq!(first.len(), 1);
    lose_a_write(&group, &proxy, 1, "second");
    assert_eq!(kept(&proxy), first);
    let size = encode(&["SET", "k", "second"]).len();
    let text = told(&proxy);
    let words =
        format!("1 command ({size} bytes) of its history was never replicated and given up, not kept: ");
    assert!(text.contains(&words) && text.contains("failover.quarantine_files"), "{text}");
    eventually(LONG, "the bytes are counted", || bytes(&proxy, "given_up") == Some(size as f64));
    assert_eq!(bytes(&proxy, "kept"), Some(encode(&["SET", "k", "first"]).len() as f64));
}

#[test]
fn what_is_longer_than_the_bound_on_bytes_is_not_even_read() {
    let (_group, proxy) = having_lost(&"x".repeat(100), "failover.quarantine_size", "\"64B\"");
    let text = told(&proxy);
    assert!(text.ends_with("it is longer than failover.quarantine_size"), "{text}");
    assert_eq!(kept(&proxy), Vec::<PathBuf>::new());
}

/// Its offsets went with its process.
#[test]
fn of_a_restarted_primary_it_is_not_known_what_it_alone_had() {
    let mut group = Group::plain_with(1, &quiet().set("appendonly", "yes").set("appendfsync", "always"));
    let proxy = Proxy::start(&group.addresses());
    assert_eq!(proxy.client().call("SET k received"), Value::ok());
    group.wait_in_sync(0);
    group.node(0).kill9();
    eventually(LONG, "another leads", || proxy.primary_changes() == 1);
    group.node(0).restart();
    let text = told(&proxy);
    assert!(text.ends_with("it restarted, so what it held alone is unknown and given up"), "{text}");
    group.wait_following(0, 1);
    assert_eq!(kept(&proxy), Vec::<PathBuf>::new());
}
