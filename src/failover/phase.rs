//! The names of the states, and which may follow which.

/// Where the machine is. Each has its data in the variant of `State` of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nobody was decided yet, or a recorded decision is being compared with what the nodes say.
    Discover,
    /// The primary serves.
    Steady,
    /// Something is wrong with the primary; writes are held while it is asked.
    Suspect,
    /// It is dead as far as we see; witnesses and guards are consulted.
    Confirm,
    /// Replicas apply what they have received.
    Drain,
    /// Replicas are detached from the old primary, keeping history and offset. No way back without a new epoch.
    Seal,
    /// The freshest is chosen.
    Select,
    /// It is told to lead.
    Promote,
    /// It proves that it leads and takes writes; the others are attached to it beside.
    Verify,
    /// The new table is published.
    Release,
    /// Planned: the intent is being recorded; writes still go.
    Intend,
    /// Planned: writes in flight end.
    Quiesce,
    /// Planned: the old primary stops taking writes and says how far it is.
    Pause,
    /// Planned: the target gets that far.
    CatchUp,
    /// Planned: the old primary follows the target.
    Demote,
    /// Planned: something failed; everything is put back.
    Revert,
    /// It cannot go on by itself: writes are held, the reason is told, every change is looked at again.
    Blocked,
    /// Another brain decides, or nobody shall: the roles seen are followed.
    Observe,
}

impl Phase {
    /// Whether a planned switch is under way, up to its point of no return.
    #[must_use]
    pub fn is_planned(self) -> bool {
        matches!(
            self,
            Self::Intend | Self::Quiesce | Self::Pause | Self::CatchUp | Self::Demote | Self::Revert
        )
    }

    /// All of them, in the order of a failover, then of a switchover.
    pub const ALL: [Self; 18] = [
        Self::Discover,
        Self::Steady,
        Self::Suspect,
        Self::Confirm,
        Self::Drain,
        Self::Seal,
        Self::Select,
        Self::Promote,
        Self::Verify,
        Self::Release,
        Self::Intend,
        Self::Quiesce,
        Self::Pause,
        Self::CatchUp,
        Self::Demote,
        Self::Revert,
        Self::Blocked,
        Self::Observe,
    ];

    /// Lower case, as in notes, status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Steady => "steady",
            Self::Suspect => "suspect",
            Self::Confirm => "confirm",
            Self::Drain => "drain",
            Self::Seal => "seal",
            Self::Select => "select",
            Self::Promote => "promote",
            Self::Verify => "verify",
            Self::Release => "release",
            Self::Intend => "intend",
            Self::Quiesce => "quiesce",
            Self::Pause => "pause",
            Self::CatchUp => "catch_up",
            Self::Demote => "demote",
            Self::Revert => "revert",
            Self::Blocked => "blocked",
            Self::Observe => "observe",
        }
    }

    /// Whether `to` may follow `self`.
    #[must_use]
    pub fn allowed(self, to: Self) -> bool {
        use Phase::{
            Blocked, CatchUp, Confirm, Demote, Discover, Drain, Intend, Observe, Pause, Promote, Quiesce,
            Release, Revert, Seal, Select, Steady, Suspect, Verify,
        };
        match self {
            Discover => matches!(to, Steady | Suspect | Promote | Release | Observe),
            Steady => matches!(to, Suspect | Confirm | Intend | Promote | Release | Observe),
            Suspect => matches!(to, Steady | Confirm | Blocked | Promote | Release | Observe),
            Confirm => matches!(to, Steady | Drain | Blocked | Promote | Release | Observe),
            Drain => matches!(to, Steady | Seal | Blocked | Observe),
            Seal => matches!(to, Select | Blocked),
            Select => matches!(to, Promote | Blocked),
            Promote => matches!(to, Verify | Promote | Seal | Revert | Blocked),
            Verify => matches!(to, Release | Promote | Seal | Revert | Blocked),
            Release => matches!(to, Steady),
            Intend => matches!(to, Quiesce | Pause | Confirm),
            Quiesce => matches!(to, Pause | Revert | Confirm),
            Pause => matches!(to, CatchUp | Revert | Confirm),
            CatchUp => matches!(to, Demote | Revert | Confirm),
            Demote => matches!(to, Promote | Revert | Confirm),
            Revert => matches!(to, Steady | Promote | Suspect | Confirm),
            Blocked => matches!(to, Steady | Confirm | Promote | Release | Observe),
            Observe => matches!(to, Steady | Suspect),
        }
    }

    /// The diagram of all transitions, as it stands in `docs/failover.md`.
    #[must_use]
    pub fn diagram() -> String {
        let mut text = String::from("stateDiagram-v2\n    [*] --> discover\n");
        for from in Self::ALL {
            for to in Self::ALL.into_iter().filter(|to| from.allowed(*to)) {
                text.push_str(&format!("    {} --> {}\n", from.name(), to.name()));
            }
        }
        text
    }
}
