//! `durability.mode = "aof_local"` and `"aof_replicas"`: who is told that a write was executed knows that it is on disks.

use std::process::Command;

use crate::support::{Group, LONG, Proxy, ProxyOptions, V7_0, V8_2, VALKEY, Value, Version, eventually};

const UNSYNCED: &str = "NOTDURABLE executed on the primary, not on its disk within 200 ms";

const MISSED: &str =
    "NOTDURABLE executed on the primary, on the disks of 1 of 1 primary and 0 of 1 replicas within 200 ms";

fn with_disks() -> Vec<Version> {
    [V8_2, VALKEY].into_iter().filter(|version| version.is_there()).collect()
}

fn group(version: Version, appendonly: &str) -> Group {
    Group::plain_with(1, &version.options().set("appendonly", appendonly).set("appendfsync", "always"))
}

fn proxy(group: &Group, mode: &str, timeout: &str) -> Proxy {
    ProxyOptions::new(&group.addresses())
        .set("durability.mode", &format!("\"{mode}\""))
        .set("durability.timeout", &format!("\"{timeout}\""))
        .set("health.timeout", "\"30s\"")
        .set("health.busy_timeout", "\"30s\"")
        .start()
}

/// Versions side by side: each waits for its disks and looks around for a while.
fn on_each(versions: &[Version], test: impl Fn(Version) + Sync) {
    std::thread::scope(|scope| {
        for version in versions {
            let test = &test;
            scope.spawn(move || test(*version));
        }
    });
}

#[test]
fn a_write_waits_for_the_disk_of_the_primary() {
    on_each(&with_disks(), |version| {
        let group = group(version, "yes");
        let proxy = proxy(&group, "aof_local", "200ms");
        let mut client = proxy.client();
        group.nodes()[1].sigstop();
        for round in 0..20 {
            assert_eq!(client.call(&format!("SET k {round}")), Value::ok(), "{}", version.name);
        }
        assert_eq!(group.nodes()[0].call("CONFIG SET appendfsync no"), Value::ok());
        assert_eq!(client.call("SET k after").error(), Some(UNSYNCED), "{}", version.name);
        assert_eq!(client.call("GET k"), Value::bulk("after"), "{}", version.name);
        assert_eq!(group.nodes()[0].call("CONFIG SET appendfsync always"), Value::ok());
        eventually(LONG, "the disk is written to again", || client.call("SET k last") == Value::ok());
        group.nodes()[1].sigcont();
    });
}

#[test]
fn a_write_waits_for_the_disks_of_replicas() {
    on_each(&with_disks(), |version| {
        let group = group(version, "yes");
        let proxy = proxy(&group, "aof_replicas", "200ms");
        let mut client = proxy.client();
        // A replica tells of its disk once a second, so that one question in a few is answered in time.
        eventually(LONG, "a replica has it", || client.call("SET k before") == Value::ok());
        group.nodes()[1].sigstop();
        assert_eq!(client.call("SET k after").error(), Some(MISSED), "{}", version.name);
        assert_eq!(client.call("GET k"), Value::bulk("after"), "{}", version.name);
        group.nodes()[1].sigcont();
        eventually(LONG, "the replica has it", || client.call("SET k last") == Value::ok());
    });
}

#[test]
fn where_nobody_can_tell_of_disks_nothing_is_written() {
    let mut versions = with_disks();
    versions.push(V7_0);
    on_each(&versions, |version| {
        let (appendonly, why, finding) = match version == V7_0 {
            true => ("yes", "WAITAOF, which came with Redis 7.2", "without WAITAOF"),
            false => ("no", "appendonly", "has no append-only file"),
        };
        let group = group(version, appendonly);
        let proxy = proxy(&group, "aof_local", "200ms");
        let mut client = proxy.client();
        let reply = client.call("SET k v");
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with("ERR durability.mode can not be kept ("), "{}: {reply:?}", version.name);
        assert!(
            text.contains(why) && text.ends_with("command was not executed"),
            "{}: {reply:?}",
            version.name
        );
        assert_eq!(client.call("GET k"), Value::Nil, "{}", version.name);
        eventually(LONG, "the log says so from the start on", || proxy.log().contains(why));
        let mut check = Command::new(env!("CARGO_BIN_EXE_redhold"));
        let checked = check.args(["check", "--connect", "--config"]).arg(proxy.config_file()).output();
        let checked = checked.expect("the program can be started");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(!checked.status.success() && said.contains(finding), "{}: {said}", version.name);
    });
}
