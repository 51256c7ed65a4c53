//! What survives a restart of the proxy, and what is told to people.

use std::time::Duration;

/// The group's record as kept in `state_dir`. Nodes are named by address so that a changed list is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Number of the last decision.
    pub epoch: u64,
    /// Address of the decided primary.
    pub primary: String,
    /// Replication id of the decided primary's history.
    pub replid: String,
    /// Offset at which the history of this epoch left that of the previous one.
    pub fork_offset: u64,
    /// True when the group held no key when last seen: an empty restart then loses nothing.
    pub empty: bool,
    /// The voters: run_id of each node when it was last in sync, by address.
    pub run_ids: Vec<(String, String)>,
    /// Nodes that led an older epoch, or were to lead and could not, and have not followed since: they may not lead by themselves.
    pub deposed: Vec<String>,
    /// The primary is being replaced: written before the first node is touched for it, gone with the next decision. A life that finds it
    /// brings the change to its end.
    pub intent: Option<Intent>,
    /// Settings of nodes that were changed for a time and are to be put back.
    pub borrowed: Vec<Borrowed>,
}

/// A setting that one life of a node has otherwise for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// Whose, by address.
    pub node: String,
    /// In which life of it.
    pub run_id: String,
    /// Name of the setting.
    pub name: String,
    /// Value now.
    pub value: String,
    /// What is to be put back.
    pub before: String,
}

/// A change of primary that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The primary is taken for dead; who follows it is chosen later.
    Failover,
    /// A planned switch to the node of this address.
    Switch(String),
}

/// How much attention a note wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A state change.
    Info,
    /// Someone may want to look tomorrow.
    Warn,
    /// Now.
    Error,
}

/// One line of the timeline: log, `status` and `/api/status` all print this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much attention it wants.
    pub level: Level,
    /// Since the episode (SUSPECT) began; zero outside one.
    pub since: Duration,
    /// The phase's name in lower case (`suspect`, `drain` …).
    pub phase: &'static str,
    /// One sentence.
    pub text: String,
}
