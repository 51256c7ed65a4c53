//! The states with their data: what is only true in one state can only be said there.

use std::fmt;
use std::time::Instant;

use crate::topology::NodeId;

use super::{OrderId, Phase};

/// What made the primary suspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No process listens.
    Refused(String),
    /// No byte on any connection.
    Silent,
    /// It has another run_id than when it was decided.
    Restarted,
    /// It loads its data, so it restarted.
    Loading,
    /// Its offset went back.
    Regressed {
        /// What it had.
        from: u64,
        /// What it has.
        to: u64,
    },
    /// It calls itself a replica.
    Demoted,
    /// Somebody ordered a failover.
    Ordered,
    /// It is recorded, and was not found at the start.
    Missing,
    /// A planned switch left it in doubt.
    Switch,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => write!(f, "refuses connections ({text})"),
            Self::Silent => f.write_str("is silent"),
            Self::Restarted => f.write_str("restarted"),
            Self::Loading => f.write_str("restarted and is loading its data"),
            Self::Regressed { from, to } => write!(f, "went back from offset {from} to {to}"),
            Self::Demoted => f.write_str("calls itself a replica"),
            Self::Ordered => f.write_str("is to be replaced by order"),
            Self::Missing => f.write_str("is recorded as primary but does not lead"),
            Self::Switch => f.write_str("was lost during a planned switch"),
        }
    }
}

/// A suspicion on its way to a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// Evidence counts from here.
    pub(super) began: Instant,
    pub(super) cause: Cause,
    /// An order asks for the change: guards that forbid it are passed over.
    pub(super) order: Option<OrderId>,
    /// Whom the order wants.
    pub(super) to: Option<NodeId>,
}

/// What a promotion is for, and what it leans on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    pub(super) kind: GoalKind,
    /// Who ordered it.
    pub(super) order: Option<OrderId>,
    /// Replication ids that count as the group's history.
    pub(super) lineage: Vec<String>,
    /// Whoever holds less of it may lack writes that were acknowledged. `None`: not known, or no matter.
    pub(super) floor: Option<u64>,
}

/// The kinds of promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GoalKind {
    /// The primary died.
    Failover,
    /// A first primary is made, or the recorded one is made primary again after all nodes restarted.
    Begin,
    /// An operator named it.
    Adopt,
    /// A planned switch; the old primary follows the candidate already.
    Switch(Switch),
    /// A planned switch is undone: the old primary leads again.
    Rollback(Switch),
}

/// A planned switch under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) order: Option<OrderId>,
    /// What for, when nobody ordered it.
    pub(super) why: String,
    /// When the pause of writes was ordered.
    pub(super) paused_at: Option<Instant>,
    /// How far the old primary was when paused.
    pub(super) offset: u64,
    /// Whether it goes on as a replica although its disk takes nothing.
    pub(super) spared: Spared,
}

/// Whether a node was told to go on as a replica whose disk takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spared {
    Unasked,
    Asked,
    Set,
    /// It may end itself; why.
    Refused(String),
}

/// Last sample of a replica's offsets while it drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) node: NodeId,
    pub(super) offset: u64,
    pub(super) read: Option<u64>,
    /// When these offsets were first seen.
    pub(super) first: Instant,
    /// When they were last looked at.
    pub(super) last: Instant,
    /// Looks with these offsets.
    pub(super) looks: u32,
    pub(super) drained: bool,
}

/// Where the machine is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Discover { since: Instant },
    Steady,
    Suspect { trial: Trial },
    Confirm { since: Instant, trial: Trial },
    Drain { since: Instant, trial: Trial, samples: Vec<Sample> },
    Seal { since: Instant, targets: Vec<NodeId>, to: Option<NodeId>, goal: Goal },
    Select { since: Instant, targets: Vec<NodeId>, to: Option<NodeId>, goal: Goal },
    Promote { since: Instant, candidate: NodeId, rest: Vec<NodeId>, goal: Goal, unknown: Option<Instant> },
    Verify { since: Instant, candidate: NodeId, rest: Vec<NodeId>, goal: Goal, again: Instant, lowered: bool },
    Release { primary: NodeId, goal: Goal },
    Intend { since: Instant, switch: Switch },
    Quiesce { switch: Switch },
    Pause { switch: Switch },
    CatchUp { since: Instant, switch: Switch },
    Demote { since: Instant, switch: Switch, unknown: bool },
    Revert { since: Instant, switch: Switch, why: String },
    Blocked { since: Instant, reason: String, sealed: bool },
    Observe { since: Instant },
}

impl State {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Discover { .. } => Phase::Discover,
            Self::Steady => Phase::Steady,
            Self::Suspect { .. } => Phase::Suspect,
            Self::Confirm { .. } => Phase::Confirm,
            Self::Drain { .. } => Phase::Drain,
            Self::Seal { .. } => Phase::Seal,
            Self::Select { .. } => Phase::Select,
            Self::Promote { .. } => Phase::Promote,
            Self::Verify { .. } => Phase::Verify,
            Self::Release { .. } => Phase::Release,
            Self::Intend { .. } => Phase::Intend,
            Self::Quiesce { .. } => Phase::Quiesce,
            Self::Pause { .. } => Phase::Pause,
            Self::CatchUp { .. } => Phase::CatchUp,
            Self::Demote { .. } => Phase::Demote,
            Self::Revert { .. } => Phase::Revert,
            Self::Blocked { .. } => Phase::Blocked,
            Self::Observe { .. } => Phase::Observe,
        }
    }

    /// Moves the instants from which time is counted to `now`: after a stall of our own nothing was late but us.
    pub(super) fn postpone(&mut self, now: Instant) {
        match self {
            Self::Drain { since, .. }
            | Self::Seal { since, .. }
            | Self::Verify { since, .. }
            | Self::CatchUp { since, .. }
            | Self::Demote { since, .. }
            | Self::Revert { since, .. } => *since = now,
            Self::Discover { .. }
            | Self::Steady
            | Self::Suspect { .. }
            | Self::Confirm { .. }
            | Self::Select { .. }
            | Self::Promote { .. }
            | Self::Release { .. }
            | Self::Intend { .. }
            | Self::Quiesce { .. }
            | Self::Pause { .. }
            | Self::Blocked { .. }
            | Self::Observe { .. } => {}
        }
    }
}
