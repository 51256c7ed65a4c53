//! One worker's counters: written by that worker alone, read by a scrape.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::error::{Failure, Undurable};

use super::buckets::{Histogram, bump};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Client,
    /// A node.
    Backend,
}

/// Which way bytes go, seen from the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Read.
    In,
    /// Written.
    Out,
}

/// What kind of error a client met that the proxy itself made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// [`Failure::HoldExpired`]
    HoldExpired,
    /// [`Failure::OutOfReach`]
    OutOfReach,
    /// [`Failure::Ambiguous`]
    Ambiguous,
    /// [`Undurable::Missed`] and the like.
    NotDurable,
    /// [`Undurable::NoReplicas`]
    NoReplicas,
    /// [`Undurable::Unasked`]
    NoBarrier,
    /// [`Failure::Uncommitted`]
    Uncommitted,
    /// [`Failure::InFlightAtDeath`]
    InFlightAtDeath,
    /// [`Failure::NoReplica`]
    NoReplica,
    /// [`Failure::NoConnection`]
    NoConnection,
    /// [`Failure::Managed`]
    Managed,
    /// [`Failure::Cursor`]
    Cursor,
    /// [`Failure::TransactionLost`]
    TransactionLost,
    /// [`Failure::LargeCut`]
    LargeCut,
    /// [`Failure::Unreadable`]
    Unreadable,
    /// [`Failure::Unauthorised`]
    Unauthorised,
    /// [`Failure::RateLimited`]
    RateLimited,
    /// The client broke the protocol and was closed as Redis would.
    Protocol,
    /// One client too many.
    MaxClients,
    /// One client too many from its address.
    ClientsPerAddress,
    /// A client from a network that may not come.
    Denied,
    /// Who is trusted to send a PROXY header sent none.
    ProxyHeader,
    /// No TLS session came about with a client.
    TlsHandshake,
    /// A client that did not read its replies was closed.
    ClientOutput,
    /// The client that took most memory was closed.
    Memory,
    /// A client that did nothing for long was closed.
    IdleTimeout,
    /// A client was closed because a node takes its user no more.
    NodeRefused,
    /// A subscriber was closed because its node had closed its connection.
    NodeClosed,
}

impl ErrorKind {
    /// All of them, with their label.
    pub(super) const ALL: [(Self, &'static str); 28] = [
        (Self::HoldExpired, "hold_expired"),
        (Self::OutOfReach, "out_of_reach"),
        (Self::Ambiguous, "ambiguous"),
        (Self::NotDurable, "not_durable"),
        (Self::NoReplicas, "no_replicas"),
        (Self::NoBarrier, "no_barrier"),
        (Self::Uncommitted, "uncommitted"),
        (Self::InFlightAtDeath, "in_flight_at_death"),
        (Self::NoReplica, "no_replica"),
        (Self::NoConnection, "no_connection"),
        (Self::Managed, "managed"),
        (Self::Cursor, "cursor"),
        (Self::TransactionLost, "transaction_lost"),
        (Self::LargeCut, "large_cut"),
        (Self::Unreadable, "unreadable"),
        (Self::Unauthorised, "unauthorised"),
        (Self::RateLimited, "rate_limited"),
        (Self::Protocol, "protocol"),
        (Self::MaxClients, "max_clients"),
        (Self::ClientsPerAddress, "clients_per_address"),
        (Self::Denied, "denied"),
        (Self::ProxyHeader, "proxy_header"),
        (Self::TlsHandshake, "tls_handshake"),
        (Self::ClientOutput, "client_output"),
        (Self::Memory, "memory"),
        (Self::IdleTimeout, "idle_timeout"),
        (Self::NodeRefused, "node_refused"),
        (Self::NodeClosed, "node_closed"),
    ];
}

impl From<&Failure> for ErrorKind {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::HoldExpired { .. } => Self::HoldExpired,
            Failure::OutOfReach { .. } => Self::OutOfReach,
            Failure::Ambiguous { .. } => Self::Ambiguous,
            Failure::Undurable(
                Undurable::Missed { .. }
                | Undurable::Unsynced { .. }
                | Undurable::MissedDisks { .. }
                | Undurable::Unawaited,
            ) => Self::NotDurable,
            Failure::Undurable(Undurable::NoReplicas) => Self::NoReplicas,
            Failure::Undurable(Undurable::Unasked { .. }) => Self::NoBarrier,
            Failure::Uncommitted => Self::Uncommitted,
            Failure::InFlightAtDeath { .. } => Self::InFlightAtDeath,
            Failure::NoReplica { .. } => Self::NoReplica,
            Failure::NoConnection { .. } => Self::NoConnection,
            Failure::Managed { .. }
            | Failure::ManagedSetting { .. }
            | Failure::Redirect
            | Failure::ReadOnly
            | Failure::Reserved { .. }
            | Failure::Forged { .. }
            | Failure::TooLarge { .. }
            | Failure::Uncounted { .. }
            | Failure::Hidden { .. } => Self::Managed,
            Failure::Unauthorised { .. } => Self::Unauthorised,
            Failure::RateLimited { .. } => Self::RateLimited,
            Failure::Cursor { .. } => Self::Cursor,
            Failure::TransactionLost { .. } => Self::TransactionLost,
            Failure::LargeCut => Self::LargeCut,
            Failure::Unreadable => Self::Unreadable,
        }
    }
}

/// Counters of one row of the command table.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) on_primary: AtomicU64,
    pub(super) on_replica: AtomicU64,
    pub(super) duration: Histogram,
}

/// One worker's block. **One thread writes it**: additions are a load and a store, so a second writer would lose
/// counts. Any thread may read. Aligned so that no two workers' blocks share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    pub(super) clients: AtomicI64,
    pub(super) client_memory: AtomicI64,
    pub(super) held: AtomicI64,
    pub(super) connections: AtomicU64,
    pub(super) ambiguous: AtomicU64,
    pub(super) lost_pops: AtomicU64,
    pub(super) reissued: AtomicU64,
    pub(super) resubscribed: AtomicU64,
    pub(super) spilled: AtomicU64,
    pub(super) bytes: [[AtomicU64; 2]; 2],
    pub(super) errors: [AtomicU64; ErrorKind::ALL.len()],
    pub(super) hold_duration: Histogram,
    pub(super) barrier_duration: Histogram,
    /// By id; filled when the node first answers. Who is given the id of one that has gone counts on from it.
    nodes: Box<[OnceLock<Box<Histogram>>]>,
    /// By row of the command table; the last one takes every row that the table does not have.
    pub(super) rows: Vec<Row>,
}

impl WorkerMetrics {
    pub(super) fn new(rows: usize, ids: usize) -> Self {
        Self {
            clients: AtomicI64::new(0),
            client_memory: AtomicI64::new(0),
            held: AtomicI64::new(0),
            connections: AtomicU64::new(0),
            ambiguous: AtomicU64::new(0),
            lost_pops: AtomicU64::new(0),
            reissued: AtomicU64::new(0),
            resubscribed: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            bytes: Default::default(),
            errors: Default::default(),
            hold_duration: Histogram::default(),
            barrier_duration: Histogram::default(),
            nodes: (0..ids).map(|_| OnceLock::new()).collect(),
            rows: (0..=rows).map(|_| Row::default()).collect(),
        }
    }

    /// Counts `n` requests of a row of the command table, answered by a node. A row that the table does not have
    /// counts as `unknown`.
    pub fn command(&self, row: u16, on_primary: bool, n: u64) {
        let row = self.row(row);
        bump(if on_primary { &row.on_primary } else { &row.on_replica }, n);
    }

    /// Counts `n` requests of a row that took `micros` each, from arrival to reply.
    pub fn duration(&self, row: u16, micros: u64, n: u64) {
        self.row(row).duration.add(micros, n);
    }

    /// Counts `n` replies of the node with this id that took `micros` each.
    pub fn backend_duration(&self, node: u16, micros: u64, n: u64) {
        if let Some(node) = self.nodes.get(usize::from(node)) {
            node.get_or_init(Box::default).add(micros, n);
        }
    }

    /// What a node took.
    pub(super) fn node(&self, node: u16) -> Option<&Histogram> {
        self.nodes.get(usize::from(node))?.get().map(|histogram| &**histogram)
    }

    /// Counts an error of the proxy's own.
    pub fn error(&self, kind: ErrorKind) {
        bump(&self.errors[kind as usize], 1);
    }

    /// Changes the number of held requests.
    pub fn held(&self, change: i64) {
        shift(&self.held, change);
    }

    /// Counts a held request that waited `micros` until it was sent or answered.
    pub fn hold_duration(&self, micros: u64) {
        self.hold_duration.add(micros, 1);
    }

    /// Counts a barrier that was answered after `micros`.
    pub fn barrier_duration(&self, micros: u64) {
        self.barrier_duration.add(micros, 1);
    }

    /// Counts writes answered with AMBIGUOUS.
    pub fn ambiguous(&self, n: u64) {
        bump(&self.ambiguous, n);
    }

    /// Counts pops that were sent and whose reply was lost.
    pub fn lost_pops(&self, n: u64) {
        bump(&self.lost_pops, n);
    }

    /// Counts requests sent a second time.
    pub fn reissued(&self, n: u64) {
        bump(&self.reissued, n);
    }

    /// Counts clients subscribed again.
    pub fn resubscribed(&self, n: u64) {
        bump(&self.resubscribed, n);
    }

    /// Counts reads meant for replicas that went to the primary since none was usable.
    pub fn spilled(&self, n: u64) {
        bump(&self.spilled, n);
    }

    /// Counts bytes.
    pub fn bytes(&self, side: Side, direction: Direction, n: u64) {
        bump(&self.bytes[side as usize][direction as usize], n);
    }

    /// Changes the number of clients.
    pub fn clients(&self, change: i64) {
        shift(&self.clients, change);
    }

    /// Changes the bytes of clients' requests and replies.
    pub fn client_memory(&self, change: i64) {
        shift(&self.client_memory, change);
    }

    /// Counts accepted connections.
    pub fn client_connections(&self, n: u64) {
        bump(&self.connections, n);
    }

    fn row(&self, row: u16) -> &Row {
        self.rows.get(usize::from(row)).unwrap_or_else(|| &self.rows[self.rows.len() - 1])
    }
}

fn shift(cell: &AtomicI64, change: i64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(change), Ordering::Relaxed);
}
