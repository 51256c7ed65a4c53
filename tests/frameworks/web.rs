//! What web applications keep in Redis besides jobs: caches, sessions, and messages between their servers.

use serde_json::Value as Json;

use crate::rig::{Rig, tool};

/// Runs a program that kills the primary by itself, and returns what it reports.
#[track_caller]
fn report(rig: &mut Rig, words: &[&str]) -> Json {
    let output = rig.command(words).output().expect("setpriv (util-linux) and the program can be started");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Json =
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    println!("{}: {report}", words[1]);
    assert_eq!(report["exceptions"], Json::Array(vec![]), "{errors}");
    rig.group.node(0).reap();
    assert_eq!(rig.proxy.status()["epoch"], 2, "exactly one failover");
    report
}

/// What was acknowledged is read back, so it is on a replica before. What is the same twice is sent again: a site that sets a key would
/// rather set it once more than show an error.
#[test]
fn django() {
    if tool("venv/bin/django-admin").is_none() {
        return;
    }
    let mut rig = Rig::start_with(&[
        ("durability.mode", "\"semi_sync\""),
        ("durability.timeout", "\"10s\""),
        ("failover.in_flight", "\"retry_idempotent\""),
    ]);
    let report = report(&mut rig, &["python", "django_site.py"]);
    let number = |key: &str| report[key].as_u64().expect("a number");
    assert!(
        number("visits") >= 500 && number("cached") >= 500 && number("sessions") >= number("cached"),
        "{report}"
    );
    // A thread waits for one reply at a time.
    assert!(number("ambiguous") <= 8, "{report}");
}

#[test]
fn socket_io() {
    if tool("node/node_modules/@socket.io/redis-adapter").is_none() {
        return;
    }
    let mut rig = Rig::start(false);
    let report = report(&mut rig, &["node", "socket_io.js"]);
    assert_eq!((&report["before"], &report["after"]), (&300.into(), &300.into()));
}
