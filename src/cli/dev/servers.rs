//! Which server program is there, and how it is started so that it ends with us.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// In this order: the first one found on PATH.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// The server program on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    program: PathBuf,
    setpriv: Option<PathBuf>,
}

impl Servers {
    /// Looks on PATH.
    ///
    /// # Errors
    /// A sentence with the line to type, when there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let program = PROGRAMS.iter().find_map(|name| on_path(name)).ok_or(
            "no redis-server and no valkey-server on PATH; type: sudo apt-get install -y redis-server",
        )?;
        Ok(Self { program, setpriv: on_path("setpriv").filter(|path| has_death_signal(path)) })
    }

    /// The file that is run.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that runs `program` so that it ends with us. Where setpriv is there, the kernel kills it when the thread
    /// that spawned it ends, so that thread has to live as long as the process.
    pub(crate) fn with_us(&self, program: &Path) -> Command {
        let Some(setpriv) = &self.setpriv else { return Command::new(program) };
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// The command that runs a server on `config`, see [`Self::with_us`].
    pub(super) fn command(&self, config: &Path) -> Command {
        let mut command = self.with_us(&self.program);
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// util-linux before 2.33 has a setpriv without it.
fn has_death_signal(setpriv: &Path) -> bool {
    let mut command = Command::new(setpriv);
    command
        .args(["--pdeathsig", "KILL", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
