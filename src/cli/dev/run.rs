//! The command itself: servers, proxy, and a few lines that say where they are.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::{app, config};

use super::args::DevArgs;
use super::group::{Group, RESTART_AFTER};
use super::ports::next_free;
use super::scratch::Scratch;
use super::servers::Servers;

/// Runs until SIGINT or SIGTERM; then the proxy drains, and the servers and their directory are gone.
///
/// # Errors
/// A sentence, when something could not be started.
pub(crate) fn run(args: &DevArgs) -> Result<(), String> {
    let servers = Servers::find()?;
    let listen = next_free(args.listen)?;
    let admin = next_free(args.admin)?;
    let scratch = Scratch::create(args.dir.as_deref())?;
    let program = servers.program().display().to_string();
    let group = Group::start(servers, scratch.path(), args.replicas, |event| eprintln!("{event}"))?;
    let config = configuration(group.ports(), listen, admin)?;
    app::run(config, None, |bound| print!("{}", banner(args, &program, &group, bound.listen[0], bound.admin)))
}

/// Variables that say what `dev` says itself.
const OURS: [&str; 4] =
    ["REDHOLD_PROXY_LISTEN", "REDHOLD_BACKEND_NODES", "REDHOLD_ADMIN_LISTEN", "REDHOLD_ADMIN_TOKEN_FILE"];

/// Defaults, but for addresses, nodes, and the record, which throwaway nodes do not need. Variables such as
/// `REDHOLD_LOG_LEVEL` count.
fn configuration(ports: &[u16], listen: SocketAddr, admin: SocketAddr) -> Result<config::Config, String> {
    let text = config_text(ports, listen, admin);
    let environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let mut config = config::parse(&text, environment.filter(|(key, _)| !OURS.contains(&key.as_str())))
        .map_err(|faults| faults.to_string())?;
    config.control.state_dir = None;
    Ok(config)
}

/// A configuration for nodes on these ports of 127.0.0.1.
pub(crate) fn config_text(ports: &[u16], listen: SocketAddr, admin: SocketAddr) -> String {
    let nodes: Vec<String> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!(
        "[proxy]\nlisten = [\"{listen}\"]\n[backend]\nnodes = [{}]\n[admin]\nlisten = \"{admin}\"\n",
        nodes.join(", ")
    )
}

fn banner(args: &DevArgs, program: &str, group: &Group, listen: SocketAddr, admin: SocketAddr) -> String {
    let mut text = String::new();
    for (what, wanted, got) in [("clients", args.listen, listen), ("admin", args.admin, admin)] {
        if wanted != got && wanted.port() != 0 {
            writeln!(text, "{wanted} is taken; {what}: {got} instead").expect("a String takes every write");
        }
    }
    let ports: Vec<String> = group.ports().iter().map(u16::to_string).collect();
    let (primary, replicas) = ports.split_first().expect("a group has a primary");
    let replicas = if replicas.is_empty() {
        "no replica".to_owned()
    } else {
        format!("replicas on {}", replicas.join(", "))
    };
    writeln!(
        text,
        "\nRedhold is ready. Behind it: {program}, primary on 127.0.0.1:{primary}, {replicas}.\n\n  \
         endpoint  {listen}\n            redis-cli -h {} -p {}\n  \
         admin     {admin}\n            http://{admin}/ in a browser, or curl http://{admin}/api/status\n\n\
         A server that dies is started again after {} s, sealed and empty: kill -9 one and go on typing.\n\
         Ctrl-C removes everything.\n",
        listen.ip(),
        listen.port(),
        RESTART_AFTER.as_secs(),
    )
    .expect("a String takes every write");
    text
}
