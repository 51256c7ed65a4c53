//! Real client libraries, unchanged, through the proxy and over the death of the primary. `tests/tools/clients.sh`
//! installs them; without them, and unless `REDHOLD_ALL` is set, a test says so and is over.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use support::{Client, Group, Proxy, Value};

fn tool(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("REDHOLD_ALL").is_none(), "{} is not installed", path.display());
    eprintln!("not installed, so not tested: {}", path.display());
    None
}

/// Runs a script that kills the primary by itself and returns its report.
#[track_caller]
fn run(mut command: Command, proxy: &Proxy, group: &Group) -> Json {
    let address = proxy.address();
    command.arg(address.ip().to_string()).arg(address.port().to_string());
    let output = command.arg(group.nodes()[0].pid().to_string()).output().expect("the interpreter starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Json =
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    assert!(output.status.success(), "{errors}\n{}", report["exceptions"]);
    report
}

/// What holds for every library: the kill counted, nothing reached the application but ambiguous replies, at most one for
/// each request in flight, and the new primary has what was acknowledged.
#[track_caller]
fn check(report: &Json, proxy: &Proxy, group: &mut Group, prefix: &str) {
    group.node(0).reap();
    let number = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key} in {report}"));
    println!(
        "{}: acknowledged {}, in flight {}, ambiguous {}, longest gap {} ms, messages {}, jobs {}",
        report["client"],
        number("acknowledged"),
        number("in_flight"),
        number("ambiguous"),
        number("longest_gap_ms"),
        number("messages"),
        number("jobs")
    );
    assert_eq!(report["exceptions"], Json::Array(vec![]), "no exception reached application code");
    assert!(number("in_flight") >= 10 && number("acknowledged") >= 2_000);
    let possible = 6 * 4 + 1;
    assert!(number("ambiguous") <= possible, "{} ambiguous", number("ambiguous"));
    assert!(number("longest_gap_ms") < 10_000, "{} ms", number("longest_gap_ms"));
    assert!(number("messages") >= 2 && number("jobs") == 2 && number("script") == 7);
    assert_eq!(proxy.status()["epoch"], 2, "exactly one failover");
    let leader = group.primary();
    let mut node = Client::connect(group.nodes()[leader].address());
    let mut missing = 0;
    for (writer, verdicts) in report["writes"].as_object().expect("a map") {
        for (sequence, verdict) in verdicts.as_array().expect("a list").iter().enumerate() {
            let found = node.call(&format!("GET {prefix}:{writer}:{sequence}"));
            missing += u64::from(*verdict == "ok" && found != Value::bulk(sequence.to_string()));
        }
    }
    // Replication is asynchronous: what was acknowledged in the instant of the death may be known to nobody.
    assert!(missing <= possible, "{missing} acknowledged writes are missing on the node that leads now");
    assert!(number("scanned") >= report["writes"]["0"].as_array().map_or(0, Vec::len) as u64 - possible);
}

#[test]
fn redis_py() {
    let Some(python) = tool("venv/bin/python") else { return };
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/redis_py.py"));
    let report = run(command, &proxy, &group);
    check(&report, &proxy, &mut group, "py");
    assert_eq!(report["protocol"], "3", "its default");
}

#[test]
fn ioredis() {
    let Some(modules) = tool("node/node_modules") else { return };
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", modules)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/ioredis.js"));
    let report = run(command, &proxy, &group);
    check(&report, &proxy, &mut group, "js");
}
