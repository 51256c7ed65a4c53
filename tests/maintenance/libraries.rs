//! Client libraries that act on notices, unchanged: over a switchover they lose nothing, and when the proxy drains they go by
//! themselves where they are told. `tests/tools/maintenance_clients.sh` installs them; without them, and unless `REDHOLD_ALL`
//! is set, a test says so and is over.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::support::{Group, ProxyOptions, Relay};

fn tool(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/maint").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("REDHOLD_ALL").is_none(), "{} is not installed", path.display());
    eprintln!("not installed, so not tested: {}", path.display());
    None
}

/// Runs a script against a proxy that sends its clients to `announced` when it drains, or to `next`. The script orders a
/// switchover and, once there is a proxy where `next` leads, sends SIGTERM. Two at once would not lead a group.
#[track_caller]
fn run(mut command: Command, script: &str, announced: Option<&str>) {
    let group = Group::plain(1);
    let next = Relay::to(group.addresses()[0]);
    let announced = announced.map_or_else(|| next.address().to_string(), str::to_owned);
    let mut first = ProxyOptions::new(&group.addresses())
        .set("proxy.drain_delay", "\"5s\"")
        .set("proxy.announce", &format!("\"{announced}\""))
        .start();
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    let words = [first.address().port().into(), first.admin_address().port().into(), first.pid()];
    command.args(words.map(|word| word.to_string())).arg(next.address().port().to_string());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the interpreter starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("switched"));
    let second = ProxyOptions::new(&group.addresses()).set("failover.mode", "\"off\"").start();
    next.lead_to(second.address());
    child.stdin.take().expect("a pipe").write_all(b"go\n").expect("it reads");
    let text = lines.next().expect("a report");
    let report: Json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no report: {text}"));
    println!("{report}");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(report["exceptions"], Json::Array(vec![]), "no exception reached application code");
    for kind in ["MIGRATING", "MIGRATED", "MOVING"] {
        assert!(report["notices"][kind].as_u64() >= Some(1), "{kind}: {report}");
    }
    assert_eq!(report["moved"], true, "it is where it was sent: {report}");
    assert!(first.wait_exit().success());
}

#[test]
fn redis_py() {
    let Some(python) = tool("venv/bin/python") else { return };
    // It takes the host of the address and keeps its port; who listens there is the script's matter.
    run(Command::new(python), "maint_redis_py.py", Some("127.0.0.2:1"));
}

#[test]
fn node_redis() {
    let Some(modules) = tool("node/node_modules") else { return };
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).env("REDIS_EMIT_DIAGNOSTICS", "1");
    run(command, "maint_node_redis.js", None);
}
