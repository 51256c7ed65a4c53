//! The proxy as a process of its own, so that its log does not disturb the view and it can be seen from outside.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::dev::{Servers, Wire};

/// How long it may take until it answers, and until it has drained.
const PATIENCE: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(20);

/// `redhold run`, ended when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    log: PathBuf,
}

impl Proxy {
    /// Starts it with this configuration and waits until a write is answered.
    ///
    /// # Errors
    /// A sentence with the end of its log.
    pub(super) fn start(
        servers: &Servers,
        scratch: &Path,
        config: &str,
        listen: SocketAddr,
    ) -> Result<Self, String> {
        let fault = |error: std::io::Error| format!("cannot start the proxy: {error}");
        // The watcher over the directory knows processes by `server.pid` and by their working directory.
        let dir = scratch.join("proxy");
        let (file, log) = (dir.join("redhold.toml"), dir.join("redhold.log"));
        fs::create_dir_all(&dir).and_then(|()| fs::write(&file, config)).map_err(fault)?;
        let output = File::create(&log).map_err(fault)?;
        let mut command = servers.with_us(&std::env::current_exe().map_err(fault)?);
        command.args(["run", "--config"]).arg(&file).current_dir(&dir).process_group(0);
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fault)?).stderr(output);
        let mut proxy = Self { child: command.spawn().map_err(fault)?, log };
        fs::write(dir.join("server.pid"), proxy.child.id().to_string()).map_err(fault)?;
        proxy.wait_ready(listen)?;
        Ok(proxy)
    }

    fn wait_ready(&mut self, listen: SocketAddr) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answers = Wire::open(listen).and_then(|mut wire| wire.ask(&[b"SET", b"demo:ready", b"1"]));
            if answers.is_ok_and(|reply| reply.is_ok()) {
                return Ok(());
            }
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                return Err(format!("the proxy does not answer; the end of its log:\n{}", self.log_tail()));
            }
            std::thread::sleep(BEAT);
        }
    }

    /// The last lines that it logged.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            std::thread::sleep(BEAT);
        }
    }
}
