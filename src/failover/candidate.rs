//! Who would lead best, and why each other one not.

use std::fmt;
use std::time::Instant;

use crate::topology::NodeId;

use super::node::Node;

/// Why a node is not the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// `priority = 0` here or `replica-priority 0` there.
    NeverPromoted,
    /// No INFO since the trouble began.
    NotAnswering,
    /// Its data is not in memory yet.
    Loading,
    /// In the middle of a full synchronisation: its data is neither old nor new.
    Syncing,
    /// It calls itself primary already.
    AlreadyPrimary,
    /// Its replication id is not the group's.
    OtherHistory,
    /// `replica-read-only no`: it may hold writes of its own.
    Writable,
    /// It restarted since it was last in sync, or was never seen in sync: what it holds may be old.
    Restarted,
    /// Its disk takes nothing: as a primary it would refuse every write.
    CannotPersist,
    /// It has fewer bytes of the history than the best.
    Behind {
        /// How many.
        bytes: u64,
    },
    /// As fresh as the best, but it lacks what the primary has and replication does not carry.
    Lacks(String),
    /// As fresh as the best, but declared with a lower priority.
    LowerPriority,
    /// As good as the best, but declared later.
    Later,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverPromoted => "has priority 0",
            Self::NotAnswering => "does not answer",
            Self::Loading => "is loading its data",
            Self::Syncing => "is in the middle of a full synchronisation",
            Self::AlreadyPrimary => "is a primary already",
            Self::OtherHistory => "holds another history (replication id)",
            Self::Writable => "is a writable replica",
            Self::Restarted => "restarted since it was last in sync",
            Self::CannotPersist => "cannot write to its disk (MISCONF)",
            Self::Behind { bytes } => return write!(f, "is {bytes} bytes behind"),
            Self::Lacks(what) => return write!(f, "lacks {what}"),
            Self::LowerPriority => "has a lower priority",
            Self::Later => "is as good, but declared later",
        })
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranking {
    /// Those that may lead, best first.
    pub(super) order: Vec<NodeId>,
    /// Everyone else than the best, with the reason.
    pub(super) losers: Vec<(NodeId, Reason)>,
}

/// Compares `nodes` by facts at least as new as `after`: offset first, since a preferred node that lags would
/// lose acknowledged writes; then whether it lacks users or the password to follow others; then declared priority; then the
/// order of declaration.
pub(super) fn rank<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    lineage: &[String],
    after: Instant,
    forgive_restart: bool,
) -> Ranking {
    let mut able: Vec<(&Node, u64)> = Vec::new();
    let mut losers = Vec::new();
    for node in nodes {
        match node.ineligible(lineage, after) {
            Some(Reason::Restarted) if forgive_restart => able.push((node, offset(node))),
            Some(reason) => losers.push((node.id, reason)),
            None => able.push((node, offset(node))),
        }
    }
    able.sort_by(|(a, at), (b, bt)| {
        let lack = a.lacks.is_some().cmp(&b.lacks.is_some());
        bt.cmp(at).then(lack).then(b.spec.priority.cmp(&a.spec.priority)).then(a.id.cmp(&b.id))
    });
    if let Some((best, most)) = able.first().copied() {
        losers.extend(able[1..].iter().map(|(node, offset)| {
            let reason = if *offset < most {
                Reason::Behind { bytes: most - offset }
            } else if let Some(what) = node.lacks.clone().filter(|_| best.lacks.is_none()) {
                Reason::Lacks(what)
            } else if node.spec.priority < best.spec.priority {
                Reason::LowerPriority
            } else {
                Reason::Later
            };
            (node.id, reason)
        }));
    }
    Ranking { order: able.into_iter().map(|(node, _)| node.id).collect(), losers }
}

fn offset(node: &Node) -> u64 {
    node.facts.as_ref().map_or(0, |facts| facts.offset)
}
