//! A network of one's own: each node and the proxy in a network namespace, we between them as their router, so that packets can be
//! dropped on the way, silently and each direction alone. The kernel needs no packet filter for it: a routing rule that leads nowhere
//! drops without a word.
//!
//! We go on in a network and a mount namespace of our own first. So nothing of all this is seen outside, and nothing of it is left when
//! the last process in it ends, however that comes about: nodes and proxy die with us.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::Home;

const INSIDE: &str = "FAULT_RUNS_INSIDE";

/// Starts us once more in namespaces of our own, if we may make any. To be called before anything is started.
pub fn enter() {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up\n");
        return;
    }
    if may_make_namespaces().is_ok() {
        let own = std::env::current_exe().expect("a process has a program");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--"]).arg(own).args(std::env::args_os().skip(1));
        let fault = command.env(INSIDE, "1").exec();
        panic!("{command:?}: {fault}");
    }
}

fn may_make_namespaces() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    match Command::new("unshare").args(["--net", "--mount", "--", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(fault) => Err(format!("unshare: {fault}")),
    }
}

/// Why there can be no such network, nor a mount.
pub fn why_not() -> Option<String> {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let prepare = || {
        if std::env::var_os(INSIDE).is_none() {
            return may_make_namespaces();
        }
        fs::create_dir_all("/run/netns").map_err(|fault| format!("/run/netns: {fault}"))?;
        let script = "mount -t tmpfs none /run/netns && echo 1 >/proc/sys/net/ipv4/ip_forward && ip netns add try && \
                      ip netns del try && nsenter --version";
        let done =
            Command::new("sh").args(["-c", script]).output().map_err(|fault| format!("sh: {fault}"))?;
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        if done.status.success() { Ok(()) } else { Err(said) }
    };
    READY.get_or_init(prepare).clone().err()
}

/// Namespaces in a star around ours. Removed when dropped.
#[derive(Debug)]
pub struct Net {
    nodes: usize,
    /// What is dropped, from whom to whom.
    rules: Vec<(IpAddr, IpAddr)>,
}

impl Net {
    pub fn new(nodes: usize) -> Self {
        let net = Self { nodes, rules: Vec::new() };
        for place in 0..=nodes {
            let name = net.name(place);
            ip(&format!(
                "netns add {name}\n\
                 link add {name} type veth peer name eth0 netns {name}\n\
                 addr add 10.77.{place}.1/30 dev {name}\n\
                 link set {name} up\n"
            ));
            ip_in(&name, &format!("link set lo up\naddr add 10.77.{place}.2/30 dev eth0\n"));
            net.plug(place);
        }
        net
    }

    pub fn node(&self, node: usize) -> Home {
        Home { namespace: Some(self.name(node)), ip: IpAddr::from([10, 77, node as u8, 2]) }
    }

    pub fn proxy(&self) -> Home {
        self.node(self.nodes)
    }

    /// Packets from the first to the second of each pair are dropped from now on. We ourselves still reach everybody.
    pub fn cut(&mut self, pairs: &[(IpAddr, IpAddr)]) {
        ip(&rules("add", pairs));
        self.rules.extend(pairs);
    }

    pub fn heal(&mut self) {
        ip(&rules("del", &self.rules));
        self.rules.clear();
    }

    /// The address is gone from now on, for us too.
    pub fn unplug(&self, place: usize) {
        ip_in(&self.name(place), "link set eth0 down\n");
    }

    pub fn plug(&self, place: usize) {
        ip_in(&self.name(place), &format!("link set eth0 up\nroute add default via 10.77.{place}.1\n"));
    }

    fn name(&self, place: usize) -> String {
        if place == self.nodes { "proxy".to_owned() } else { format!("node{place}") }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for place in 0..=self.nodes {
            drop(Command::new("ip").args(["link", "del", &self.name(place)]).status());
            drop(Command::new("ip").args(["netns", "del", &self.name(place)]).status());
        }
        if !std::thread::panicking() && !self.rules.is_empty() {
            self.heal();
        }
    }
}

fn rules(verb: &str, pairs: &[(IpAddr, IpAddr)]) -> String {
    pairs.iter().map(|(from, to)| format!("rule {verb} from {from} to {to} blackhole\n")).collect()
}

#[track_caller]
fn ip(batch: &str) {
    say(Command::new("ip").args(["-batch", "-"]), batch);
}

#[track_caller]
fn ip_in(namespace: &str, batch: &str) {
    say(Command::new("ip").args(["-n", namespace, "-batch", "-"]), batch);
}

#[track_caller]
fn say(command: &mut Command, batch: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
    child.stdin.take().expect("it is piped").write_all(batch.as_bytes()).expect("it reads");
    let status = child.wait().expect("the child is ours to wait for");
    assert!(status.success(), "{command:?}: {batch}");
}
