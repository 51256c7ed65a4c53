//! `redhold dev` and `redhold demo` as people run them: the real program, real servers, signals.

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};
use support::{Client, LONG, Value, eventually, eventually_some, free_port};

/// A running command whose output is read line by line. Killed when dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    dir: PathBuf,
}

impl Running {
    /// Starts `redhold` with these words and a directory of its own.
    fn start(words: &[&str]) -> Self {
        Self::start_with(words, &[])
    }

    /// The same, with these variables in its environment.
    fn start_with(words: &[&str], variables: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("redhold-test-{}-{}", std::process::id(), free_port()));
        fs::create_dir_all(&dir).expect("the temporary folder is writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_redhold"));
        command.args(words).arg("--dir").arg(&dir).envs(variables.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        Self { child, lines, dir }
    }

    /// `dev` on free ports, ready.
    fn dev(more: &[&str]) -> (Self, SocketAddr) {
        let [listen, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let running = Self::start(&[&["dev", "--listen", &listen, "--admin", &admin], more].concat());
        running.line("Ctrl-C removes everything");
        (running, listen.parse().expect("an address"))
    }

    /// The next line of output with this in it.
    #[track_caller]
    fn line(&self, part: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {part:?} in:\n{}", seen.join("\n")),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it was not waited for");
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        eventually_some(LONG, "the command ends", || self.child.try_wait().expect("our child"))
    }

    /// Waits until no process works in the directory and nothing is in it.
    #[track_caller]
    fn leaves_nothing(&self) {
        eventually(LONG, "no server is left", || processes_in(&self.dir).is_empty());
        eventually(LONG, "no file is left", || fs::read_dir(&self.dir).expect("it is ours").next().is_none());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        processes_in(&self.dir).iter().for_each(|&pid| {
            let _ = kill_process(Pid::from_raw(pid).expect("above 0"), Signal::KILL);
        });
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Processes whose working directory is inside `dir`.
fn processes_in(dir: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let inside = processes
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)));
    inside.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn set_and_get(address: SocketAddr) {
    let mut client = Client::connect(address);
    assert_eq!(client.cmd(&["SET", "k", "v"]), Value::Simple("OK".to_owned()));
    assert_eq!(client.cmd(&["GET", "k"]), Value::Bulk(b"v".to_vec()));
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let (mut dev, listen) = Running::dev(&[]);
    set_and_get(listen);
    assert_eq!(processes_in(&dev.dir).len(), 3);
    dev.signal(Signal::INT);
    assert_eq!(dev.wait().code(), Some(0));
    assert!(processes_in(&dev.dir).is_empty());
    assert_eq!(fs::read_dir(&dev.dir).unwrap().count(), 0);
}

#[test]
fn a_crash_of_the_proxy_leaves_nothing_behind() {
    let (mut dev, listen) = Running::dev(&["--replicas", "1"]);
    set_and_get(listen);
    assert_eq!(processes_in(&dev.dir).len(), 2);
    dev.signal(Signal::KILL);
    dev.wait();
    dev.leaves_nothing();
}

#[test]
fn taken_ports_are_told_and_the_next_free_ones_used() {
    let holders = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [listen, admin] = holders.each_ref().map(|holder| holder.local_addr().unwrap().to_string());
    let dev = Running::start(&["dev", "--replicas", "0", "--listen", &listen, "--admin", &admin]);
    assert!(dev.line("is taken").contains(&listen));
    assert!(dev.line("is taken").contains(&admin));
    let endpoint = dev.line("endpoint");
    let endpoint: SocketAddr = endpoint.split_whitespace().last().unwrap().parse().unwrap();
    assert_ne!(endpoint.to_string(), listen);
    set_and_get(endpoint);
}

#[test]
fn a_killed_primary_is_replaced_and_comes_back() {
    let (dev, listen) = Running::dev(&[]);
    let mut client = Client::connect(listen);
    assert_eq!(client.cmd(&["SET", "before", "1"]), Value::Simple("OK".to_owned()));
    let info = client.cmd(&["INFO", "server"]);
    let Value::Bulk(info) = info else { panic!("{info:?}") };
    let info = String::from_utf8(info).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap();
    assert!(processes_in(&dev.dir).contains(&pid));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(client.cmd(&["SET", "after", "1"]), Value::Simple("OK".to_owned()));
    assert_eq!(client.cmd(&["GET", "before"]), Value::Bulk(b"1".to_vec()));
    dev.line("runs again");
    eventually(LONG, "three servers run", || processes_in(&dev.dir).len() == 3);
}

#[test]
fn without_a_server_program_the_line_to_type_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_redhold")).arg("dev").env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("sudo apt-get install -y redis-server"), "{text}");
}

/// A demonstration with this `durability.mode`; returns how many acknowledged writes it found lost, and told.
fn lost_in_demonstration(mode: &str) -> u64 {
    let [listen, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let words = ["demo", "--seconds", "1", "--listen", &listen, "--admin", &admin];
    let mut demo = Running::start_with(&words, &[("REDHOLD_DURABILITY_MODE", mode)]);
    demo.line("kill -9 of the primary");
    assert!(demo.line("connections lost").ends_with(" 0"));
    assert!(demo.line("replies of another request").ends_with(" 0"));
    let lost = ["acknowledged SETs", "acknowledged INCRs"].map(|what| {
        let line = demo.line(what);
        let (_, lost) = line.split_once("of which lost: ").expect("it says so");
        lost.parse::<u64>().expect("a number")
    });
    assert!(demo.line("INCRs executed twice").ends_with(" 0"));
    let lost = lost.iter().sum();
    if lost > 0 {
        demo.line(&format!("{lost} acknowledged writes were lost: replication is asynchronous"));
    }
    assert_eq!(demo.wait().success(), lost == 0);
    demo.leaves_nothing();
    lost
}

#[test]
fn the_demonstration_kills_a_primary_and_nobody_loses_anything() {
    assert_eq!(lost_in_demonstration("semi_sync"), 0);
}

/// What no replica had when its primary was killed is gone, a few writes in one run of hundreds.
#[test]
fn the_demonstration_tells_what_asynchronous_replication_lost() {
    lost_in_demonstration("async");
}

#[test]
fn a_crash_of_the_demonstration_leaves_nothing_behind() {
    let [listen, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let mut demo = Running::start(&["demo", "--listen", &listen, "--admin", &admin]);
    demo.line("writes acknowledged");
    assert_eq!(processes_in(&demo.dir).len(), 4);
    demo.signal(Signal::KILL);
    demo.wait();
    demo.leaves_nothing();
}
