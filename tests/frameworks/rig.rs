//! What every framework is tested with: a group with the proxy in front, a server beside it on which jobs write down that
//! they were done, and programs that are started again when they end, as a supervisor does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::{Group, Proxy, ProxyOptions, Server, Value, dying_with_us, eventually, scratch_folder};

/// Jobs a queue gets.
pub const JOBS: usize = 10_000;
/// Ten times and more what 10,000 jobs of the slowest framework take.
pub const DEADLINE: Duration = Duration::from_secs(400);

/// Where a framework is installed, as `tests/tools/frameworks.sh` does it. `None`: it is not, which is a failure where everything
/// is to be tested.
pub fn tool(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/frameworks").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("REDHOLD_ALL").is_none(), "{} is not installed", path.display());
    eprintln!("not installed, so not tested: {}", path.display());
    None
}

/// Whether a program of the system's is there, as `tool`.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(found || std::env::var_os("REDHOLD_ALL").is_none(), "{name} is not installed");
    if !found {
        eprintln!("not installed, so not tested: {name}");
    }
    found
}

/// The folder of the applications.
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks/apps")
}

/// See the module's text.
pub struct Rig {
    pub group: Group,
    pub proxy: Proxy,
    pub ledger: Server,
    folder: PathBuf,
}

impl Rig {
    /// A primary with two replicas. `semi_sync`: what is acknowledged is on a replica, so that a death of the primary may lose
    /// nothing of it.
    pub fn start(semi_sync: bool) -> Self {
        // A replica that gets no processor for a while is late, and no answer to a job.
        let settings = [("durability.mode", "\"semi_sync\""), ("durability.timeout", "\"10s\"")];
        Self::start_with(if semi_sync { &settings } else { &[] })
    }

    /// The same with settings of the proxy.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let group = Group::plain(2);
        let options = settings
            .iter()
            .fold(ProxyOptions::new(&group.addresses()), |options, (key, value)| options.set(key, value));
        Self { group, proxy: options.start(), ledger: Server::start(), folder: scratch_folder("frameworks") }
    }

    /// A program of the applications' folder that finds the proxy and the ledger in its environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = dying_with_us(words[0].as_ref());
        command.args(&words[1..]).current_dir(apps()).stdin(Stdio::null());
        command.env("BROKER", format!("redis://{}/0", self.proxy.address()));
        command.env("RQ_REDIS_URL", format!("redis://{}/0", self.proxy.address()));
        command.env("PRIMARY", self.group.nodes()[0].pid().to_string());
        command.env("LEDGER", self.ledger.port().to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", apps());
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/frameworks");
        command.env("NODE_PATH", tools.join("node/node_modules"));
        let system = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{system}", tools.join("venv/bin").display()));
        command
    }

    /// How often each job was done so far.
    pub fn done(&self) -> BTreeMap<usize, usize> {
        let number =
            |value: &Value| value.text().and_then(|text| text.parse().ok()).expect("jobs write numbers");
        let reply = self.ledger.client().call("HGETALL done");
        reply.items().chunks(2).map(|pair| (number(&pair[0]), number(&pair[1]))).collect()
    }

    /// Jobs that a worker had got when it ended, as it says itself.
    pub fn held(&self) -> Vec<usize> {
        let reply = self.ledger.client().call("SMEMBERS held");
        let number = |value: &Value| value.text().and_then(|text| text.parse().ok());
        reply.items().iter().map(|value| number(value).expect("workers write numbers")).collect()
    }

    /// How many different ones were.
    pub fn count_done(&self) -> usize {
        let count = self.ledger.client().call("HLEN done").int();
        usize::try_from(count.expect("a number")).expect("not negative")
    }

    /// Kills the primary in the way of a crash once a third of the jobs is done. How many were.
    #[track_caller]
    pub fn kill_in_the_middle(&mut self) -> usize {
        eventually(DEADLINE, "a third of the jobs is done", || self.count_done() >= JOBS / 3);
        self.group.node(0).kill9();
        self.count_done()
    }

    /// What numbers these requests are answered with, all in all.
    pub fn sum(&self, requests: &[&str]) -> i64 {
        let mut client = self.proxy.client();
        requests.iter().map(|request| client.call(request).int().expect("it counts something")).sum()
    }

    /// Clients that wait in a blocking command at the primary.
    pub fn parked(&self) -> usize {
        let info = self.proxy.client().call("INFO clients");
        let text = info.text().expect("it is text");
        let count = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.and_then(|count| count.trim().parse().ok()).expect("every server counts them")
    }

    /// Starts a worker, with a log of its own.
    pub fn worker(&self, name: &str, command: impl Fn(&Self) -> Command + 'static) -> Worker {
        let log = self.folder.join(name);
        let child = spawn(command(self), &log);
        Worker { command: Box::new(command), log, child, restarts: 0, finished: false }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A program that is started again when it ends before it was asked to.
pub struct Worker {
    command: Box<dyn Fn(&Rig) -> Command>,
    log: PathBuf,
    child: Child,
    /// How often that was.
    pub restarts: usize,
    finished: bool,
}

impl Worker {
    /// Does what a supervisor does. Call it now and then.
    pub fn supervise(&mut self, rig: &Rig) {
        if self.has_ended() && !self.finished {
            assert!(self.restarts < 20, "it ends again and again: {}", self.log());
            self.start_again(rig);
            self.restarts += 1;
        }
    }

    /// Starts it once more after its end.
    pub fn start_again(&mut self, rig: &Rig) {
        self.child = spawn((self.command)(rig), &self.log);
        self.finished = false;
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours to wait for").is_some()
    }

    /// Asks it to finish what it has begun, and waits until it has.
    #[track_caller]
    pub fn finish(&mut self) {
        self.finished = true;
        if !self.has_ended() {
            kill(&self.child, Signal::TERM);
        }
        eventually(DEADLINE, "a worker ends when it is asked to", || self.has_ended());
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {}", self.log.display());
            lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("{line}"));
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process_group(pid, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

fn kill(child: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(child), signal).expect("it was not waited for yet");
}

/// In a process group of its own, that its children end with it.
fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("the temporary folder is writable");
    command.stdout(log.try_clone().expect("descriptors are left")).stderr(log);
    command.process_group(0).spawn().expect("setpriv (util-linux) and the program can be started")
}
