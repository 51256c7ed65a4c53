use std::path::Path;

use super::super::testing::{Server, binaries, eventually};
use super::*;
use crate::topology::Address;
use crate::users::{Digest, User};

fn settings(servers: &[&Server]) -> Settings {
    let node = |server: &&Server| NodeSpec {
        address: server.address(),
        peer_address: None,
        zone: String::new(),
        priority: 100,
    };
    Settings { nodes: servers.iter().map(node).collect(), ..Settings::default() }
}

fn redis(more: &[&[&str]]) -> Server {
    Server::start(Path::new("redis-server"), more)
}

fn follow(leader: &Server, binary: &Path, more: &[&[&str]]) -> Server {
    let port = leader.port.to_string();
    let first: &[&str] = &["replicaof", "127.0.0.1", &port];
    let lines: Vec<&[&str]> = std::iter::once(first).chain(more.iter().copied()).collect();
    let server = Server::start(binary, &lines);
    eventually("the replica follows", || server.info().contains("master_link_status:up"));
    server
}

fn check(settings: &Settings) -> Vec<Finding> {
    preflight(settings, None).unwrap()
}

/// The one finding whose text has all `words`.
#[track_caller]
fn find<'a>(findings: &'a [Finding], words: &[&str]) -> &'a Finding {
    let fits = |finding: &&Finding| words.iter().all(|word| finding.text.contains(word));
    let found: Vec<&Finding> = findings.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{words:?} in {findings:#?}");
    found[0]
}

#[test]
fn a_sound_group_of_any_version_gets_no_warning() {
    for binary in binaries() {
        let sized: &[&[&str]] = &[&["repl-backlog-size", "64mb"]];
        let primary = Server::start(&binary, sized);
        let replica = follow(&primary, &binary, sized);
        let findings = check(&settings(&[&primary, &replica]));
        let loud: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Info).collect();
        assert!(loud.is_empty(), "{binary:?} {loud:#?}");
        find(&findings, &["is the primary", &primary.port.to_string()]);
        find(&findings, &["replica of 127.0.0.1", "link up"]);
    }
}

#[test]
fn nodes_that_could_not_stand_in_for_each_other_are_named() {
    let sized: &[&str] = &["repl-backlog-size", "64mb"];
    let primary = redis(&[&["maxmemory", "100mb"], &["user", "app", "on", "nopass", "+@all", "~*"], sized]);
    let replica =
        follow(&primary, Path::new("redis-server"), &[&["maxmemory", "50mb"], &["maxclients", "500"]]);
    let findings = check(&settings(&[&primary, &replica]));
    let memory = find(&findings, &["maxmemory differs", "104857600", "52428800"]);
    assert!(memory.severity == Severity::Warning && memory.cure.contains("CONFIG SET maxmemory"));
    find(&findings, &["ACL users differ", "app"]);
    assert_eq!(memory.node, Some(NodeId(1)), "it is compared with the primary");
    assert_eq!(find(&findings, &["maxclients 500 leaves 300"]).node, Some(NodeId(1)));
    assert_eq!(find(&findings, &["repl-backlog-size"]).node, Some(NodeId(1)));
}

#[test]
fn a_node_that_could_not_follow_is_an_error_and_no_secret_is_printed() {
    let secrets: &[&[&str]] = &[&["requirepass", "hush-hush"], &["masterauth", "hush-hush"]];
    let primary = redis(secrets);
    let port = primary.port.to_string();
    let stray = redis(&[
        &["replicaof", "127.0.0.1", &port],
        &["requirepass", "hush-other"],
        &["masterauth", "wrong-one"],
    ]);
    let mut settings = settings(&[&primary, &stray]);
    settings.credentials.password = "hush-hush".to_owned();
    let findings = check(&settings);
    assert_eq!(find(&findings, &["gives no INFO", "WRONGPASS"]).severity, Severity::Error);
    drop(stray);

    let stray = redis(&[
        &["replicaof", "127.0.0.1", &port],
        &["requirepass", "hush-hush"],
        &["masterauth", "wrong-one"],
    ]);
    settings.nodes[1].address = stray.address();
    let findings = check(&settings);
    let error = find(&findings, &[&format!("could not follow 127.0.0.1:{port}: WRONGPASS")]);
    assert_eq!((error.severity, error.node), (Severity::Error, Some(NodeId(1))));
    let text = format!("{findings:?}");
    assert!(!text.contains("hush-hush") && !text.contains("wrong-one"), "{text}");
}

#[test]
fn missing_rights_are_listed_and_dead_nodes_are_named() {
    let primary =
        redis(&[&["user", "ops", "on", ">words", "+@all", "-replicaof", "-config|set", "~*", "&*"]]);
    let dead = Address { host: "127.0.0.1".into(), port: 1 };
    let mut settings = settings(&[&primary, &primary]);
    settings.nodes[1].address = dead;
    settings.credentials = Credentials { username: "ops".to_owned(), password: "words".to_owned() };
    let findings = check(&settings);
    let missing = find(&findings, &["may not run"]);
    assert_eq!(missing.severity, Severity::Error);
    assert!(
        missing.text.ends_with("may not run: REPLICAOF NO ONE; CONFIG SET repl-timeout 60"),
        "{missing:?}"
    );
    assert_eq!(find(&findings, &["127.0.0.1:1", "gives no INFO"]).severity, Severity::Error);
    let weak =
        redis(&[&["user", "ops", "on", ">words", "+@all", "-acl|setuser", "-script|flush", "~*", "&*"]]);
    settings.nodes[0].address = weak.address();
    let findings = check(&settings);
    let missing = find(&findings, &["may not run: ACL SETUSER app; SCRIPT FLUSH;"]);
    assert_eq!(missing.severity, Severity::Warning, "{missing:?}");
}

#[test]
fn two_primaries_and_another_proxy_are_told() {
    let (one, two) = (redis(&[]), redis(&[]));
    for server in [&one, &two] {
        server.say("SET some data");
    }
    let settings = settings(&[&one, &two]);
    let marks = Arc::new(Marks::new(Instant::now()));
    let (handle, running) = super::super::start(settings.clone(), None, None, marks).unwrap();
    eventually("the proxy has seen both", || {
        handle.status.load().nodes.iter().all(|node| node.seen.is_some())
    });
    let findings = check(&settings);
    assert_eq!(find(&findings, &["2 nodes say that they are primary"]).severity, Severity::Error);
    find(&findings, &["another brain", "Redhold "]);
    running.stop();
}

#[test]
fn whether_a_node_can_have_the_users_of_the_proxys_own_is_told() {
    let primary = redis(&[
        &["user", "ops", "on", ">words", "+@all", "-acl|setuser", "~*", "&*"],
        &["user", "there", "on", ">words", "+@all", "~*"],
        &["user", "app", "on", ">old", "+@all", "~*"],
        &["user", "same", "on", ">pw", "+@all", "~*"],
        &["masteruser", "replicator"],
    ]);
    let user = |name: &str, backend_user: &str| User {
        name: name.to_owned(),
        password: Some(Digest::of(b"pw")),
        backend_user: backend_user.to_owned(),
        ..User::default()
    };
    let mut settings = settings(&[&primary]);
    settings.users = [("app", ""), ("known", "there"), ("lost", "nowhere"), ("same", ""), ("replicator", "")]
        .map(|(name, backend_user)| user(name, backend_user))
        .to_vec()
        .into();
    settings.credentials = Credentials { username: "ops".to_owned(), password: "words".to_owned() };
    let findings = check(&settings);
    let given = find(&findings, &["can not be given user `app` of [[users]]", "ACL SETUSER"]);
    assert_eq!((given.severity, given.node), (Severity::Error, Some(NodeId(0))));
    let lost = find(&findings, &["has no user `nowhere`, which users `lost` is to be"]);
    assert_eq!(lost.severity, Severity::Error);
    assert!(!format!("{findings:?}").contains("`there`"), "{findings:#?}");
    let replaced = find(&findings, &["has a user `app` with another password"]);
    assert_eq!(replaced.severity, Severity::Warning);
    assert!(!format!("{findings:?}").contains("`same`"), "{findings:#?}");
    assert_eq!(find(&findings, &["follows others as `replicator`"]).severity, Severity::Error);
    settings.credentials = Credentials::default();
    let findings = check(&settings);
    assert!(!format!("{findings:?}").contains("can not be given"), "{findings:#?}");
}
