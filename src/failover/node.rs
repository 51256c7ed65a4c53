//! What the machine knows of one node: what it said, when, and what was ordered of it.

use std::time::{Duration, Instant};

use crate::topology::{Address, Health, NodeId, NodeSpec, OfNode, Replication, Role};

use super::tuning::Changed;
use super::{Divergence, Settings, candidate::Reason};

/// Refusals in a row, and the time over which they must be spread, that mean a dead process without any witness.
pub(super) const REFUSALS: u32 = 3;
pub(super) const REFUSALS_SPAN: Duration = Duration::from_millis(10);

/// How the last look ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sight {
    /// Nobody looked yet.
    Unseen,
    /// INFO was answered.
    Answered,
    /// An error was answered; Redis's text.
    Refused(String),
    /// No process listens: how often in a row, first and last time.
    Down { count: u32, first: Instant, text: String },
    /// Nothing came.
    Silent,
}

/// How a node comes back under the primary.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rejoin {
    /// Nothing is being done; not again before this instant.
    Idle { not_before: Instant },
    /// Its writes are being paused.
    Pausing,
    /// What only it has is being read.
    Capturing(Divergence),
    /// It is being told to follow.
    Following { paused: bool },
    /// The pause is being lifted.
    Unpausing,
}

/// How far a process must have come to count as in sync: it holds again what its life before it may have acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// So many looks at the primary ended since the process was first seen.
    Looks(u32),
    /// What the primary had then.
    At(u64),
}

/// Looks at the primary after which one of them began when the process was there already.
const LOOKS_AFTER: u32 = 2;

/// One declared node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) spec: NodeSpec,
    /// Its address in print.
    name: String,
    /// Where the others were seen to reach it.
    pub(super) learned: Option<Address>,
    /// What it was called in its life before: whoever still follows that name may look for it in the wrong place.
    pub(super) former: Option<Address>,
    /// Since when its link to its primary has been down in all looks.
    pub(super) link_down_since: Option<Instant>,
    /// The last INFO.
    pub(super) facts: Option<Box<Replication>>,
    /// When that was.
    pub(super) seen_at: Instant,
    /// The last byte on any connection.
    pub(super) alive_at: Instant,
    /// When a replica's offset last grew.
    pub(super) moved_at: Option<Instant>,
    pub(super) sight: Sight,
    /// Silence until then was ordered.
    pub(super) paused_until: Option<Instant>,
    /// A long request explains its silence.
    pub(super) busy: bool,
    /// run_id when it was last in sync with the group's history (as its primary or replica).
    pub(super) in_sync: Option<String>,
    /// What it must reach before it is.
    pub(super) floor: Floor,
    /// It led an older epoch, or was told to lead and passed over: it may not lead by itself.
    pub(super) deposed: bool,
    /// When a step that changes it was last answered.
    pub(super) changed_at: Instant,
    /// The monitor's next answer may still be from before that.
    pub(super) skip_look: bool,
    pub(super) rejoin: Rejoin,
    /// run_id for which settings were tuned.
    pub(super) tuned: Option<String>,
    /// Settings changed by us and not put back.
    pub(super) changed: Vec<Changed>,
    /// They could not be put back, and are tried again then.
    pub(super) put_back_again: Option<Instant>,
    /// run_id of the process whose round trips are known.
    pub(super) timed: String,
    /// Its writes were paused by us, and not unpaused since.
    pub(super) paused: bool,
    /// What makes it a bad primary beside its data, in few words.
    pub(super) lacks: Option<String>,
    /// Declared dead: once per death.
    pub(super) dead: bool,
    pub(super) generation: u64,
    /// What people should know about it; told once when it changes.
    pub(super) remark: Option<String>,
}

impl OfNode for Node {
    fn node(&self) -> NodeId {
        self.id
    }
}

impl Node {
    pub(super) fn new(id: NodeId, spec: NodeSpec, now: Instant) -> Self {
        Self {
            id,
            name: spec.address.to_string(),
            spec,
            learned: None,
            former: None,
            link_down_since: None,
            facts: None,
            seen_at: now,
            alive_at: now,
            moved_at: None,
            sight: Sight::Unseen,
            paused_until: None,
            busy: false,
            in_sync: None,
            floor: Floor::Looks(0),
            deposed: false,
            changed_at: now,
            skip_look: false,
            rejoin: Rejoin::Idle { not_before: now },
            tuned: None,
            changed: Vec::new(),
            put_back_again: None,
            timed: String::new(),
            paused: false,
            lacks: None,
            dead: false,
            generation: 0,
            remark: None,
        }
    }

    /// Its address, as people know it.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Where others reach it.
    pub(super) fn peer(&self) -> Address {
        self.spec.peer_address.clone().or_else(|| self.learned.clone()).unwrap_or(self.spec.address.clone())
    }

    /// Whether `address` is one of its names.
    pub(super) fn is_called(&self, address: &Address) -> bool {
        self.is_called_now(address) || self.former.as_ref() == Some(address)
    }

    /// The same, but for the name of its life before.
    pub(super) fn is_called_now(&self, address: &Address) -> bool {
        *address == self.spec.address
            || self.spec.peer_address.as_ref() == Some(address)
            || self.learned.as_ref() == Some(address)
    }

    /// The facts of an INFO that was answered and not contradicted since.
    pub(super) fn answered(&self) -> Option<&Replication> {
        match self.sight {
            Sight::Answered => self.facts.as_deref(),
            Sight::Unseen | Sight::Refused(_) | Sight::Down { .. } | Sight::Silent => None,
        }
    }

    /// The same, no older than `after`.
    pub(super) fn answered_since(&self, after: Instant) -> Option<&Replication> {
        self.answered().filter(|_| self.seen_at >= after)
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.sight, Sight::Down { .. })
    }

    /// Refusals enough to call the process dead by themselves.
    pub(super) fn refused_for_good(&self) -> bool {
        match &self.sight {
            Sight::Down { count, first, .. } => {
                *count >= REFUSALS && self.seen_at.saturating_duration_since(*first) >= REFUSALS_SPAN
            }
            Sight::Unseen | Sight::Answered | Sight::Refused(_) | Sight::Silent => false,
        }
    }

    /// Silence after which it counts as hung.
    pub(super) fn patience(&self, settings: &Settings) -> Duration {
        if self.busy { settings.busy_timeout.max(settings.timeout) } else { settings.timeout }
    }

    /// When silence will have lasted for `patience`, a pause that was ordered not counted.
    pub(super) fn silent_at(&self, patience: Duration) -> Instant {
        self.paused_until.map_or(self.alive_at, |until| until.max(self.alive_at)) + patience
    }

    /// A replica in sync with history `replid`.
    pub(super) fn is_in_step(&self, replid: &str) -> bool {
        self.answered().is_some_and(|facts| {
            facts.role == Role::Replica
                && facts.link_up
                && !facts.syncing
                && !facts.loading
                && facts.replid == replid
        })
    }

    /// The primary was looked at, and was at `offset`.
    pub(super) fn measure(&mut self, offset: u64) {
        let Floor::Looks(looks) = self.floor else { return };
        // Of a process whose former life nobody knows nothing is known to have been acknowledged either.
        let known = self.in_sync.is_none() || looks + 1 >= LOOKS_AFTER;
        self.floor = if known { Floor::At(offset) } else { Floor::Looks(looks + 1) };
    }

    /// Attached to history `replid`, and as far as it must be.
    pub(super) fn is_caught_up(&self, replid: &str) -> bool {
        let reached = |floor| self.facts.as_ref().is_some_and(|facts| facts.offset >= floor);
        self.is_in_step(replid) && matches!(self.floor, Floor::At(floor) if reached(floor))
    }

    /// Why it cannot be promoted into a history named by `lineage`; facts must be at least as new as `after`.
    pub(super) fn ineligible(&self, lineage: &[String], after: Instant) -> Option<Reason> {
        if self.spec.priority == 0 || self.facts.as_ref().is_some_and(|facts| facts.priority == 0) {
            return Some(Reason::NeverPromoted);
        }
        self.untrusted(lineage, after).or_else(|| {
            self.answered_since(after)
                .is_some_and(|facts| facts.cannot_persist)
                .then_some(Reason::CannotPersist)
        })
    }

    /// Why it may not hold what it once acknowledged of a history named by `lineage`, or is not known to.
    pub(super) fn untrusted(&self, lineage: &[String], after: Instant) -> Option<Reason> {
        let Some(facts) = self.answered_since(after) else {
            return Some(Reason::NotAnswering);
        };
        if facts.loading {
            Some(Reason::Loading)
        } else if facts.syncing {
            Some(Reason::Syncing)
        } else if facts.role == Role::Primary {
            Some(Reason::AlreadyPrimary)
        } else if !lineage.contains(&facts.replid) {
            Some(Reason::OtherHistory)
        } else if !facts.read_only {
            Some(Reason::Writable)
        } else if self.in_sync.as_ref() != Some(&facts.run_id) {
            Some(Reason::Restarted)
        } else {
            None
        }
    }

    /// Whether `facts` are those of a look that began before the last one was answered and found less: the answers of two that were
    /// under way have overtaken each other, as they do on a slow way.
    fn is_overtaken(&self, facts: &Replication, began: Instant) -> bool {
        self.answered().is_some_and(|known| {
            let same =
                (&facts.run_id, &facts.replid, facts.role) == (&known.run_id, &known.replid, known.role);
            same && facts.offset < known.offset && began < self.seen_at
        })
    }

    /// In few words, what it says of itself.
    pub(super) fn says(&self) -> String {
        let said = match (&self.sight, &self.facts) {
            (Sight::Unseen, _) | (Sight::Answered, None) => "was not reached yet".to_owned(),
            (Sight::Down { text, .. }, _) => format!("is down ({text})"),
            (Sight::Silent, _) => "is silent".to_owned(),
            (Sight::Refused(text), _) => format!("refuses ({text})"),
            (Sight::Answered, Some(facts)) => describe(facts),
        };
        format!("{} {said}", self.name())
    }
}

/// In few words, what INFO said.
fn describe(facts: &Replication) -> String {
    let keys = match facts.keys {
        0 => "no keys".to_owned(),
        1 => "1 key".to_owned(),
        more => format!("{more} keys"),
    };
    match (facts.role, &facts.primary) {
        _ if facts.loading => "is loading its data".to_owned(),
        (Role::Primary, _) => format!("is a primary with {keys}, offset {}", facts.offset),
        (Role::Replica, _) if facts.sealed => format!("is sealed with {keys}, offset {}", facts.offset),
        (Role::Replica, Some(primary)) => {
            let link = if facts.link_up { "up" } else { "down" };
            format!("follows {primary}, link {link}, {keys}, offset {}", facts.offset)
        }
        (Role::Replica, None) => format!("follows nobody with {keys}, offset {}", facts.offset),
    }
}

/// Keeps what a look at `node` found that began at `began`. Looks older than what is known are dropped.
pub(super) fn look(node: &mut Node, health: &Health, began: Instant, at: Instant) {
    if at < node.seen_at && node.sight != Sight::Unseen {
        return;
    }
    if let Health::Answered(facts) = health
        && node.is_overtaken(facts, began)
    {
        node.alive_at = node.alive_at.max(at);
        return;
    }
    match health {
        Health::Answered(facts) => {
            let before = node.facts.as_ref();
            if before.is_some_and(|before| before.run_id == facts.run_id && before.offset < facts.offset) {
                node.moved_at = Some(at);
            }
            node.changed.retain(|changed| changed.run_id == facts.run_id);
            if before.is_none_or(|before| before.run_id != facts.run_id) {
                node.floor = Floor::Looks(0);
            }
            if before.is_some_and(|before| before.run_id != facts.run_id) {
                node.generation += 1;
                node.moved_at = None;
                node.busy = false;
                node.put_back_again = None;
                node.paused_until = None;
                // Started again it may have another address, as containers do.
                node.former = node.learned.take().or(node.former.take());
            }
            let down = facts.role == Role::Replica && !facts.link_up && !facts.syncing;
            node.link_down_since = down.then_some(node.link_down_since.unwrap_or(at));
            node.alive_at = node.alive_at.max(at);
            node.facts = Some(facts.clone());
            node.sight = Sight::Answered;
            node.dead = false;
        }
        Health::Refused(text) => {
            node.alive_at = node.alive_at.max(at);
            node.sight = Sight::Refused(text.clone());
            node.dead = false;
        }
        Health::Down(text) => {
            let (count, first) = match &node.sight {
                Sight::Down { count, first, .. } => (count + 1, *first),
                Sight::Unseen | Sight::Answered | Sight::Refused(_) | Sight::Silent => (1, at),
            };
            node.sight = Sight::Down { count, first, text: text.clone() };
        }
        // One look that got nothing is not yet silence: `alive_at` decides.
        Health::Silent => {
            if !matches!(node.sight, Sight::Down { .. }) {
                node.sight = Sight::Silent;
            }
        }
    }
    node.seen_at = at;
}
