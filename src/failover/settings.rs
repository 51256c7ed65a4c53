//! `[failover]` and the parts of `[health]` that decide, as used.

use std::time::Duration;

/// `failover.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Promotes by itself.
    Auto,
    /// Detects and holds; acts on order only.
    Manual,
    /// Never acts; follows the roles seen.
    Off,
}

/// `failover.in_flight`: what happens to a write whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// `retry_idempotent` with `durability.mode = "async"`, else `error`.
    Auto,
    /// Always `-AMBIGUOUS`.
    Error,
    /// Idempotent ones are sent again.
    RetryIdempotent,
    /// Everything is sent again once.
    RetryAll,
}

/// `failover.on_no_quorum`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNoQuorum {
    /// Hold and report.
    Hold,
    /// Proceed and report possible loss.
    Proceed,
}

/// `failover.empty_primary`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyPrimary {
    /// A primary that comes back empty is not followed while another holder of the data exists.
    Refuse,
    /// It is.
    Accept,
}

/// `health.slow_primary`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPrimary {
    /// It is told, and nothing else.
    Observe,
    /// It is switched away from, as by an order.
    Switchover,
    /// Nobody looks.
    Off,
}

/// `[durability]`, as far as it decides who may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Replicas that the strictest writes wait for; 0: none does.
    pub replicas: usize,
    /// `durability.degrade_after`; zero: never.
    pub degrade_after: Duration,
}

/// What the machine needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `failover.mode`
    pub mode: Mode,
    /// `health.interval`
    pub interval: Duration,
    /// `health.timeout`: silence after which a node counts as hung.
    pub timeout: Duration,
    /// `health.busy_timeout`: used instead while a long request explains the silence.
    pub busy_timeout: Duration,
    /// `health.slow_primary`
    pub slow_primary: SlowPrimary,
    /// `failover.hold`
    pub hold: Duration,
    /// `failover.in_flight`
    pub in_flight: InFlight,
    /// `failover.on_no_quorum`
    pub on_no_quorum: OnNoQuorum,
    /// `failover.burst`
    pub burst: u32,
    /// `failover.refill`
    pub refill: Duration,
    /// `failover.empty_primary`
    pub empty_primary: EmptyPrimary,
    /// `failover.tune_nodes`
    pub tune_nodes: bool,
    /// `[durability]`
    pub durability: Durability,
    /// `reads.max_staleness`: a replica that is further behind answers no reads.
    pub max_staleness: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            interval: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
            busy_timeout: Duration::from_secs(10),
            slow_primary: SlowPrimary::Observe,
            hold: Duration::from_secs(5),
            in_flight: InFlight::Auto,
            on_no_quorum: OnNoQuorum::Hold,
            burst: 2,
            refill: Duration::from_secs(60),
            empty_primary: EmptyPrimary::Refuse,
            tune_nodes: true,
            durability: Durability::default(),
            max_staleness: Duration::from_secs(1),
        }
    }
}
