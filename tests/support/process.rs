//! Child processes that do not outlive the test, and ports that nobody else takes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::{LONG, eventually_some};

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);

/// A TCP port on which nobody listens. It lies below the range from which the kernel takes ports for outgoing
/// connections, so that it also stays free while a server is away to be started again.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    // Test processes that run side by side start at different places.
    let origin = std::process::id().wrapping_mul(2_654_435_761) % COUNT;
    for _ in 0..COUNT {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + (origin + step) % COUNT).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// A listener on such a port, also when somebody else tries the same one at the moment.
pub fn listen() -> TcpListener {
    eventually_some(LONG, "a port to listen on", || TcpListener::bind(("127.0.0.1", free_port())).ok())
}

/// Whether it is this process that listens there, over IPv4; a connection would not tell it from another on the same port.
pub fn is_listened_at(pid: u32, port: u16) -> bool {
    let Ok(table) = File::open(format!("/proc/{pid}/net/tcp")) else { return false };
    let lines = BufReader::new(table).lines().skip(1).map_while(Result::ok);
    // Those that listen come first; the others, closed ones included, may be tens of thousands.
    let listening = lines.map_while(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[3] == "0A").then(|| (fields[1].to_owned(), format!("socket:[{}]", fields[9])))
    });
    let place = format!(":{port:04X}");
    let sockets: Vec<_> =
        listening.filter(|(at, _)| at.ends_with(&place)).map(|(_, socket)| socket).collect();
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
}

/// A command whose process the kernel kills when the thread that started it ends, so that a test that is
/// interrupted leaves nothing behind. The process id stays that of the program.
pub fn dying_with_us(program: &OsStr) -> Command {
    Home::default().command(program)
}

/// Where a process lives on the network: on loopback, or in a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// As `ip netns` names it; `None`: ours.
    pub namespace: Option<String>,
    /// Its address there.
    pub ip: IpAddr,
}

impl Default for Home {
    fn default() -> Self {
        Self { namespace: None, ip: Ipv4Addr::LOCALHOST.into() }
    }
}

impl Home {
    /// As [`dying_with_us`], there.
    pub fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(namespace) = &self.namespace {
            command.args(["nsenter", &format!("--net=/run/netns/{namespace}"), "--"]);
        }
        command.arg(program);
        command
    }
}

/// Sends `signal` to a child that was not waited for yet.
pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap_or_else(|fault| panic!("signal {signal:?} to {pid:?}: {fault}"));
}

/// Resident memory of a process in bytes.
pub fn rss_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel reports VmRSS");
    let kibibytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kibibytes.expect("VmRSS is a number of kB") << 10
}
