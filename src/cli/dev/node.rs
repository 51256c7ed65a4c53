//! One throwaway server: its directory, its configuration, its process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::servers::Servers;
use super::wire;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_millis(20);

/// A server of the group, running or not.
#[derive(Debug)]
pub(super) struct Node {
    /// On loopback; kept over restarts.
    pub(super) port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Writes the configuration into a directory of its own and starts the server. It boots sealed: after a restart it follows nobody
    /// and is nobody's primary until the proxy says what it is.
    ///
    /// # Errors
    /// A sentence, when the files cannot be written or the program cannot be started.
    pub(super) fn start(servers: &Servers, scratch: &Path, port: u16) -> Result<Self, String> {
        let dir = scratch.join(format!("node-{port}"));
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(dir.join("server.conf"), configuration(&dir, port)))
            .map_err(|error| format!("cannot write to {}: {error}", dir.display()))?;
        let mut node = Self { port, dir, child: None };
        node.spawn(servers)?;
        Ok(node)
    }

    /// Starts the server again on the same port.
    ///
    /// # Errors
    /// A sentence, when the program cannot be started.
    pub(super) fn spawn(&mut self, servers: &Servers) -> Result<(), String> {
        // A group of its own: Ctrl-C is for the proxy, which still wants to drain.
        let spawned = servers.command(&self.dir.join("server.conf")).process_group(0).spawn();
        self.child =
            Some(spawned.map_err(|error| format!("cannot start {}: {error}", servers.program().display()))?);
        Ok(())
    }

    /// The process, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, once, when it ended since the last call.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// `kill -9`; the end is reported by `ended`.
    pub(super) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
        }
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    /// A sentence with the server's own last words.
    pub(super) fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            if self.ended().is_some() {
                return Err(format!("the server on port {} ended at once: {}", self.port, self.last_words()));
            }
            match wire::ask(self.port, &["INFO", "server"]) {
                Ok(info) if self.is_ours(&info) => return Ok(()),
                Ok(_) => return Err(format!("port {} belongs to another server", self.port)),
                Err(_) if Instant::now() < deadline => std::thread::sleep(BEAT),
                Err(error) => {
                    return Err(format!("the server on port {} does not answer: {error}", self.port));
                }
            }
        }
    }

    /// Another server may have taken the port between our look and our start.
    fn is_ours(&self, info: &str) -> bool {
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        pid.and_then(|pid| pid.trim().parse().ok()) == self.pid()
    }

    /// The last line of the server's log.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
        log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it logged nothing").to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Nothing is saved. The rest lets a replica that lost its link go on where it was: a large backlog that is never freed, short pings
/// and timeouts, no delay before a full synchronisation.
fn configuration(dir: &Path, port: u16) -> String {
    let quoted = |file: &str| format!("{:?}", dir.join(file));
    [
        "bind 127.0.0.1".to_owned(),
        format!("port {port}"),
        format!("dir {:?}", dir),
        format!("pidfile {}", quoted("server.pid")),
        format!("logfile {}", quoted("server.log")),
        "save \"\"".to_owned(),
        "appendonly no".to_owned(),
        "replicaof 127.0.0.1 0".to_owned(),
        "repl-backlog-size 64mb".to_owned(),
        "repl-backlog-ttl 0".to_owned(),
        "repl-ping-replica-period 1".to_owned(),
        "repl-timeout 5".to_owned(),
        "repl-diskless-sync yes".to_owned(),
        "repl-diskless-sync-delay 0".to_owned(),
        "client-output-buffer-limit replica 256mb 128mb 60".to_owned(),
        "tcp-keepalive 10".to_owned(),
        String::new(),
    ]
    .join("\n")
}
