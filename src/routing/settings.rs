//! `[reads]` as used.

use std::time::Duration;

/// Which nodes may answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// The primary alone.
    Primary,
    /// A replica when one is eligible, else the primary.
    PreferReplica,
    /// A replica; the primary only when no replica is declared.
    Replica,
    /// Whichever eligible node owes the fewest replies.
    Any,
}

/// What happens to reads while no primary is writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuringOutage {
    /// They wait like writes.
    Hold,
    /// An eligible replica answers.
    Replica,
}

/// Whose own writes a read is sure to see, beside those whose replies the same client still awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnWrites {
    /// Nobody's.
    Off,
    /// Those of the same connection.
    Session,
    /// Those of everybody who wrote the same key through this proxy.
    Key,
    /// Those of everybody who wrote through this proxy.
    Global,
}

/// `[reads]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `reads.policy`
    pub policy: ReadPolicy,
    /// `reads.read_your_writes`
    pub own_writes: OwnWrites,
    /// `reads.max_staleness`
    pub max_staleness: Duration,
    /// `reads.during_outage`
    pub during_outage: DuringOutage,
    /// `reads.zone`; empty: no preference.
    pub zone: String,
    /// `reads.spill`, in thousandths.
    pub spill_permille: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: ReadPolicy::Primary,
            own_writes: OwnWrites::Session,
            max_staleness: Duration::from_secs(1),
            during_outage: DuringOutage::Hold,
            zone: String::new(),
            spill_permille: 500,
        }
    }
}
