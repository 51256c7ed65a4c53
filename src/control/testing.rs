//! Real servers for the tests of this folder: on free ports, their process ids verified, killed on drop and with
//! the test's thread.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::topology::Address;

/// Longest wait for anything that happens within milliseconds on an idle machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The server binaries at hand: the one on PATH, and every version under `.tools/servers`.
pub(super) fn binaries() -> Vec<PathBuf> {
    let place = std::env::var_os("REDHOLD_SERVERS_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/servers"), PathBuf::from);
    let fetched = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<_> = fetched.map(|entry| entry.path().join("redis-server")).collect();
    found.retain(|path| path.is_file());
    found.push(PathBuf::from("redis-server"));
    found
}

/// A folder of its own, removed on drop.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("redhold-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A redis-server.
pub(super) struct Server {
    pub(super) port: u16,
    child: Child,
    _dir: Scratch,
}

impl Server {
    /// Starts one with more lines of redis.conf, each a list of words, and waits until it answers.
    pub(super) fn start(binary: &Path, more: &[&[&str]]) -> Self {
        loop {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let dir = Scratch::new();
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
            command.current_dir(&dir.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let port_text = port.to_string();
            let usual: [&[&str]; 5] = [
                &["port", &port_text],
                &["save", ""],
                &["bind", "127.0.0.1"],
                &["repl-diskless-sync-delay", "0"],
                &["enable-debug-command", "yes"],
            ];
            for line in usual.iter().chain(more) {
                if line[0] != "enable-debug-command" || !old(binary) {
                    command.arg(format!("--{}", line[0])).args(&line[1..]);
                }
            }
            let mut server = Self { port, child: command.spawn().unwrap(), _dir: dir };
            if server.answers(more) {
                return server;
            }
        }
    }

    pub(super) fn address(&self) -> Address {
        Address { host: "127.0.0.1".into(), port: self.port }
    }

    /// Sends one inline command and returns the raw reply to it (one line, or the body of a bulk string).
    pub(super) fn say(&self, line: &str) -> String {
        say(self.port, &[line]).unwrap().pop().unwrap()
    }

    pub(super) fn info(&self) -> String {
        self.say("INFO everything")
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the first answer; false when the port went to somebody else meanwhile.
    fn answers(&mut self, more: &[&[&str]]) -> bool {
        let password = more.iter().find(|line| line[0] == "requirepass").map(|line| line[1]);
        let auth = format!("AUTH {}", password.unwrap_or("none"));
        let wanted = format!("process_id:{}\r\n", self.child.id());
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(replies) = say(self.port, &[&auth, "INFO server"]) {
                return replies[1].contains(&wanted);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server on {} did not answer", self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn old(binary: &Path) -> bool {
    binary.to_string_lossy().contains("6.2")
}

fn say(port: u16, lines: &[&str]) -> std::io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    lines.iter().map(|line| exchange(&mut stream, line)).collect()
}

fn exchange(stream: &mut TcpStream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let first = read_line(stream)?;
    match first.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            let mut body = vec![0; length + 2];
            stream.read_exact(&mut body)?;
            body.truncate(length);
            Ok(String::from_utf8_lossy(&body).into_owned())
        }
        None => Ok(first),
    }
}

fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
}
