//! What the control thread needs to know: nodes, credentials, beats, state directory.

use std::path::PathBuf;
use std::sync::Arc;

use crate::users::User;
use crate::{durability, failover, routing, topology::NodeSpec};

use super::{Declared, NodeName};

/// User and password of the proxy's own work on the nodes (monitor, failover); never used for clients.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `backend.username`; empty: the default user.
    pub username: String,
    /// `backend.password` or the content of `backend.password_file`; empty: none.
    pub password: String,
}

impl Settings {
    /// What the configuration says of the nodes.
    #[must_use]
    pub fn declared(&self) -> Declared {
        let nodes = if self.written.is_empty() { &self.nodes } else { &self.written };
        Declared { nodes: nodes.clone(), names: self.names.clone() }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}:***)", self.username)
    }
}

/// The control thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `backend.nodes`, with those that names stand for in their places once [`Settings::find_nodes`] has put them there.
    pub nodes: Vec<NodeSpec>,
    /// Those of them that are names of several nodes.
    pub names: Vec<NodeName>,
    /// As they are written, where there are names among them that were looked up.
    pub written: Vec<NodeSpec>,
    /// Of the proxy's own work.
    pub credentials: Credentials,
    /// `[failover]` and `[health]`
    pub failover: failover::Settings,
    /// `[reads]`
    pub reads: routing::Settings,
    /// `failover.state_dir`; `None`: nothing is kept (`redhold dev`).
    pub state_dir: Option<PathBuf>,
    /// `failover.quarantine_files`
    pub quarantine_files: usize,
    /// `failover.quarantine_size`, in bytes
    pub quarantine_size: u64,
    /// `limits.script_cache`, in bytes; 0: no script is remembered
    pub script_cache: u64,
    /// `[durability]`, which the nodes must be able to keep.
    pub durability: durability::Settings,
    /// `[[users]]`
    pub users: Arc<Vec<User>>,
}
