//! What was last seen of a node. Always old: the reader compares `at` with its own now.

use std::time::Instant;

use super::{Address, NodeId, Role};

/// One look at one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Whom it speaks of.
    pub node: NodeId,
    /// When it was asked for: several looks may be under way, and their answers overtake each other.
    pub began: Instant,
    /// When the answer arrived, or when its absence was established.
    pub at: Instant,
    /// What the look found.
    pub health: Health,
}

/// The outcome of a look.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    /// INFO was answered.
    Answered(Box<Replication>),
    /// The server answered PING or INFO with an error that says why it cannot serve (LOADING, BUSY,
    /// MASTERDOWN, NOAUTH …); the text is Redis's, without the leading `-`.
    Refused(String),
    /// Connecting was refused or an established connection was reset: no process listens.
    Down(String),
    /// Nothing came back in time.
    Silent,
}

/// What the sections of INFO said that the control thread asks for, and PING where named. Missing fields keep their default.
#[derive(Clone, Debug, PartialEq)]
pub struct Replication {
    /// 40 hex digits, new at each start of the process.
    pub run_id: String,
    /// `tcp_port`, by which other nodes' lists of replicas name it; 0 when it has none.
    pub port: u16,
    /// Server version, e.g. `7.0.15`.
    pub version: String,
    /// What the node says it is.
    pub role: Role,
    /// Whom it follows (`master_host:master_port`); the sealing address `127.0.0.1:0` parses as `None` with
    /// `sealed` set.
    pub primary: Option<Address>,
    /// True when the node follows the sealing address (`replicaof 127.0.0.1 0`).
    pub sealed: bool,
    /// `master_link_status:up`.
    pub link_up: bool,
    /// `master_last_io_seconds_ago`; grain one second.
    pub last_io_seconds: Option<u64>,
    /// `master_sync_in_progress:1`.
    pub syncing: bool,
    /// `loading:1`.
    pub loading: bool,
    /// `master_replid`.
    pub replid: String,
    /// `master_replid2`.
    pub replid2: String,
    /// `second_repl_offset`, -1 when there is none.
    pub second_offset: i64,
    /// `master_repl_offset` of a primary, `slave_repl_offset` of a replica: applied bytes of the history `replid`.
    pub offset: u64,
    /// `slave_read_repl_offset`: received, maybe not yet applied; absent before 6.2.6.
    pub read_offset: Option<u64>,
    /// `slave_priority`; 0 is never promoted.
    pub priority: u32,
    /// `slave_read_only`.
    pub read_only: bool,
    /// Replicas that a primary names: address and state `online`.
    pub replicas: Vec<(Address, bool)>,
    /// `min_slaves_good_slaves` when the primary demands replicas.
    pub good_replicas: Option<u32>,
    /// Number of keys over all databases, from `INFO keyspace`.
    pub keys: u64,
    /// `shutdown_in_milliseconds` when a shutdown was ordered (7.0+).
    pub shutting_down: bool,
    /// PING was answered with MISCONF: its disk takes nothing, and it takes no write.
    pub cannot_persist: bool,
    /// Full resynchronisations served since start (`sync_full`).
    pub sync_full: u64,
    /// `maxclients`: connections that it allows, replicas and ours included.
    pub max_clients: Option<u64>,
}

impl Default for Replication {
    fn default() -> Self {
        Self {
            run_id: String::new(),
            port: 0,
            version: String::new(),
            role: Role::Replica,
            primary: None,
            sealed: false,
            link_up: false,
            last_io_seconds: None,
            syncing: false,
            loading: false,
            replid: String::new(),
            replid2: String::new(),
            second_offset: -1,
            offset: 0,
            read_offset: None,
            priority: 100,
            read_only: true,
            replicas: Vec::new(),
            good_replicas: None,
            keys: 0,
            shutting_down: false,
            cannot_persist: false,
            sync_full: 0,
            max_clients: None,
        }
    }
}
