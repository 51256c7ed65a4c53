//! A configuration file that is read again while the process runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::control::Declared;
use crate::frontend::LimitsInForce;
use crate::telemetry::LevelHandle;

use super::fault::Faults;
use super::keys::SECTIONS;
use super::kind::Form;
use super::read::{Config, Reading, load, preset_of, same};

/// The level of the log, which an order changes as well.
const LEVEL: &str = "log.level";

/// The list of nodes, which names may stand in.
const NODES: &str = "backend.nodes";

/// Limits that are taken while the process runs, beside [`LEVEL`] and [`NODES`].
const LIVE: &[&str] = &[
    "proxy.max_clients",
    "proxy.idle_timeout",
    "proxy.drain_delay",
    "proxy.drain_timeout",
    "proxy.proxy_protocol",
    "proxy.trusted",
    "proxy.allow",
    "proxy.deny",
    "limits.memory",
    "limits.clients_per_address",
    "limits.connections_per_second",
    "tracing.sample",
];

/// Whether a reload takes this key.
pub(super) fn is_live(path: &str) -> bool {
    path == LEVEL || path == NODES || LIVE.contains(&path)
}

/// Faults of one reading that are told; a file that is no configuration may have thousands.
const TOLD_MAX: usize = 100;

impl Reading {
    /// The keys on which two readings differ, in the order of the table. The same value in other words is no difference, and neither
    /// is a default that is written.
    fn differing(&self, other: &Self) -> Vec<String> {
        let mut differing = Vec::new();
        for section in SECTIONS {
            if matches!(section.form, Form::Rows(_)) {
                if self.given.get(section.name) != other.given.get(section.name) {
                    differing.push(section.name.to_owned());
                }
                continue;
            }
            for key in section.keys {
                let path = format!("{}.{}", section.name, key.name);
                let default = preset_of(key);
                let [ours, theirs] = [self, other].map(|of| of.given.get(&path).or(default.as_ref()));
                let agree = match (ours, theirs) {
                    (Some(ours), Some(theirs)) => same(key, ours, theirs),
                    (None, None) => true,
                    (None, Some(_)) | (Some(_), None) => false,
                };
                if !agree || path == "backend.password_file" && self.other_secret(other) {
                    differing.push(path);
                }
            }
        }
        differing
    }

    /// Whether what the same password file holds is no longer the same.
    fn other_secret(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|of| &of.config.control.credentials.password);
        self.given.contains_key("backend.password_file") && ours != theirs
    }
}

/// Where a configuration came from, and what it said.
pub struct Origin {
    path: PathBuf,
    reading: Reading,
}

impl fmt::Debug for Origin {
    /// Without what was written, as there are secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Origin {
    /// Reads a file and the process's environment.
    ///
    /// # Errors
    /// Every fault; an unreadable file is one.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Ok(Self { path: path.to_owned(), reading: load(path)? })
    }

    /// What it said.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.reading.config
    }
}

/// Has these be the nodes; what has changed, or why nothing has.
pub type Declare = Box<dyn Fn(Declared) -> Result<String, String> + Send>;

/// Reads the file again and takes what can be taken while the process runs.
pub struct Reload {
    origin: Option<Origin>,
    level: LevelHandle,
    limits: LimitsInForce,
    declare: Declare,
    /// The last one that was sound.
    taken: Option<Origin>,
}

impl Reload {
    /// `origin`: what the process runs with; `None`: no file says it.
    #[must_use]
    pub fn new(origin: Option<Origin>, level: LevelHandle, limits: LimitsInForce, declare: Declare) -> Self {
        Self { origin, level, limits, declare, taken: None }
    }

    /// What it came to, in one line: what is now so, and which keys differ from what the process runs with and wait for another one. A
    /// level of the log that was changed while the process ran is again what the file says.
    ///
    /// # Errors
    /// The first faults of the file, in one line; nothing has changed then.
    pub fn again(&mut self) -> Result<String, String> {
        let Some(origin) = &self.origin else {
            return Err("no file holds this configuration; nothing has changed".to_owned());
        };
        let next = load(&origin.path).map_err(|faults| refusal(&origin.path, &faults))?;
        let mut taken = self.taken.as_ref().unwrap_or(origin).reading.differing(&next);
        let mut said = Vec::new();
        // What may be refused comes first.
        if taken.iter().any(|path| path == NODES) {
            let nodes = self.declare_nodes(origin, &next);
            said.push(nodes.map_err(|why| refused(&origin.path, &format!("{NODES}: {why}")))?);
        }
        let (before, level) = (self.level.get(), next.config.log.level.as_str());
        if before != level {
            // Before it is so: a level that shows less would not show it.
            tracing::warn!("log.level changes from {before} to {level}");
            self.level.set(level)?;
            said.push(format!("log.level is now {level}"));
        }
        taken.retain(|path| LIVE.contains(&path.as_str()));
        let limits = Arc::new(next.config.frontend.limits.clone());
        if taken.is_empty() && limits != self.limits.load_full() {
            // A share, of a cgroup that has changed.
            taken.push("limits.memory".to_owned());
        }
        if !taken.is_empty() {
            let taken = taken.join(", ");
            tracing::warn!("the configuration file changes {taken}");
            said.push(format!("now as the file says: {taken}"));
        }
        self.limits.store(limits);
        let mut waiting = origin.reading.differing(&next);
        waiting.retain(|path| !is_live(path));
        if !waiting.is_empty() {
            said.push(format!(
                "{} waits for an upgrade in place (`redhold upgrade`) or a restart",
                waiting.join(", ")
            ));
        }
        self.taken = Some(Origin { path: origin.path.clone(), reading: next });
        Ok(if said.is_empty() { "nothing has changed".to_owned() } else { said.join("; ") })
    }

    fn declare_nodes(&self, origin: &Origin, next: &Reading) -> Result<String, String> {
        let mut control = next.config.control.clone();
        // What is in force, whatever the file says by now.
        control.durability.clone_from(&origin.config().control.durability);
        control.look_for_nodes()?;
        Ok(format!("nodes: {}", (self.declare)(control.declared())?))
    }
}

fn refusal(path: &Path, faults: &Faults) -> String {
    let mut told: Vec<String> = faults.0.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    let untold = faults.0.len() - told.len();
    if untold > 0 {
        told.push(format!("and {untold} more"));
    }
    refused(path, &told.join("; "))
}

fn refused(path: &Path, why: &str) -> String {
    // What was written is repeated, and may have lines of its own.
    format!("{}: nothing has changed: {why}", path.display()).replace(char::is_control, " ")
}
