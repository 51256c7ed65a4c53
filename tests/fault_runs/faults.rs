//! What is done to a group, and what may come of it.

use std::time::Duration;

use crate::ground::Ground;
use crate::rig::Keeper;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Term,
    Stop,
    Stall,
    Replica,
    Switch,
    Cut(Cut),
    Loss,
    Vanish,
    Hogs,
    Respawn(Left),
    Flap,
    FullDisk,
    SlowDisk,
}

/// Which packets are dropped. Nobody is told: no reset, no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Between the primary and everybody, both ways.
    All,
    /// The same, but the replicas lose it first: what it acknowledges until the proxy loses it too nobody else has.
    Steps,
    /// To the primary.
    Inward,
    /// From the primary.
    Outward,
    /// Between primary and proxy, both ways; the replicas still follow.
    Proxy,
}

/// What a supervisor that starts the primary again at once finds of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The append-only file.
    Log,
    /// A dump from before the load.
    Dump,
    Nothing,
    /// Nothing, and the configuration names no primary either, so that it leads.
    PlainNothing,
}

struct Kind {
    name: &'static str,
    says: &'static str,
    ground: Ground,
    /// Changes of primary.
    changes: u64,
    /// The longest pause that is asked for in milliseconds, median and worst.
    goal: (u64, u64),
}

impl Fault {
    pub const ALL: [Self; 21] = [
        Self::Kill,
        Self::Term,
        Self::Stop,
        Self::Stall,
        Self::Replica,
        Self::Switch,
        Self::Hogs,
        Self::Respawn(Left::Dump),
        Self::Respawn(Left::Nothing),
        Self::Cut(Cut::All),
        Self::Cut(Cut::Steps),
        Self::Cut(Cut::Inward),
        Self::Cut(Cut::Outward),
        Self::Cut(Cut::Proxy),
        Self::Loss,
        Self::Vanish,
        Self::Respawn(Left::PlainNothing),
        Self::Respawn(Left::Log),
        Self::Flap,
        Self::FullDisk,
        Self::SlowDisk,
    ];

    fn kind(self) -> Kind {
        use Ground::{AppendOnly, Braked, Loopback, Namespaces, Plain, SlowDisks, SmallDisks};
        let (name, says, ground, changes, goal) = match self {
            Self::Kill => ("kill", "kill -9 of the primary", Loopback, 1, (25, 100)),
            Self::Term => ("term", "SIGTERM of the primary", Loopback, 1, (25, 150)),
            Self::Stop => ("stop", "SIGSTOP of the primary, SIGCONT after 4 s", Loopback, 1, (1_200, 1_500)),
            Self::Stall => ("stall", "the primary stalls for 0.7 s", Loopback, 0, (700, 750)),
            Self::Replica => ("replica", "kill -9 of a replica", Loopback, 0, (20, 20)),
            Self::Switch => ("switch", "planned change of primary", Loopback, 1, (5, 20)),
            Self::Cut(Cut::All) => {
                ("cut", "the primary is cut off from everybody for 4 s", Namespaces, 1, (1_200, 1_500))
            }
            Self::Cut(Cut::Steps) => (
                "cut-steps",
                "... from the replicas, from the proxy 0.15 s later",
                Namespaces,
                1,
                (1_400, 1_700),
            ),
            Self::Cut(Cut::Inward) => {
                ("cut-in", "what is sent to the primary is dropped for 4 s", Namespaces, 1, (1_200, 2_500))
            }
            Self::Cut(Cut::Outward) => {
                ("cut-out", "what the primary sends is dropped for 4 s", Namespaces, 1, (1_200, 1_500))
            }
            Self::Cut(Cut::Proxy) => (
                "cut-proxy",
                "the primary is cut off from the proxy alone for 4 s",
                Namespaces,
                1,
                (2_200, 2_500),
            ),
            Self::Loss => ("loss", "20 ms of each 100 ms are lost for 1 s", Namespaces, 0, (450, 1_000)),
            Self::Vanish => ("vanish", "the primary's host is gone, no reset", Namespaces, 1, (1_200, 1_500)),
            Self::Hogs => ("hogs", "two busy loops a core", Loopback, 0, (100, 1_000)),
            Self::Respawn(Left::Log) => (
                "respawn",
                "kill -9, started again at once with its append-only file",
                AppendOnly,
                1,
                (50, 150),
            ),
            Self::Respawn(Left::Dump) => {
                ("respawn-dump", "kill -9, started again at once with an old dump", Loopback, 1, (50, 150))
            }
            Self::Respawn(Left::Nothing) => {
                ("respawn-empty", "kill -9, started again at once, empty", Loopback, 1, (50, 150))
            }
            Self::Respawn(Left::PlainNothing) => {
                ("respawn-plain", "kill -9, started again at once, empty and leading", Plain, 1, (50, 150))
            }
            // Two failovers by itself, one on order when it is seen to be held.
            Self::Flap => ("flap", "each new primary is killed (pause: the first two)", Braked, 3, (50, 150)),
            Self::FullDisk => ("full-disk", "the primary's disk is full", SmallDisks, 1, (100, 250)),
            Self::SlowDisk => (
                "slow-disk",
                "each fsync of the primary takes 50 ms longer for 2 s",
                SlowDisks,
                0,
                (200, 400),
            ),
        };
        Kind { name, says, ground, changes, goal }
    }

    pub fn name(self) -> &'static str {
        self.kind().name
    }

    pub fn says(self) -> &'static str {
        self.kind().says
    }

    pub fn ground(self) -> Ground {
        self.kind().ground
    }

    /// How often the primary is another one afterwards.
    pub fn changes(self) -> u64 {
        self.kind().changes
    }

    /// The longest pause that is asked for, median and worst.
    pub fn goal(self) -> (Duration, Duration) {
        let (median, worst) = self.kind().goal;
        (Duration::from_millis(median), Duration::from_millis(worst))
    }

    /// Whether this keeper can be asked for it.
    pub fn is_for(self, keeper: Keeper) -> bool {
        self != Self::Flap || keeper.is_ours()
    }

    /// Whether the old primary may come back with writes that nobody else has, as a process that has not restarted.
    pub fn brings_back(self) -> bool {
        matches!(self, Self::Stop | Self::Cut(_))
    }

    /// Whether acknowledged writes may be gone: where writes wait for nobody, what had reached no replica is gone with its primary.
    pub fn may_lose(self, keeper: Keeper) -> bool {
        let parted = matches!(
            self,
            Self::Kill | Self::Stop | Self::Cut(_) | Self::Vanish | Self::Respawn(_) | Self::Flap
        );
        parted && keeper != Keeper::SemiSync
    }

    /// Whether they are then at most what was in flight: the kernel still sends what a process that is killed had written.
    pub fn loses_what_was_in_flight(self) -> bool {
        matches!(self, Self::Kill | Self::Respawn(_))
    }

    /// What one of fifty requests must have taken at least, or nothing was done to anybody.
    pub fn trace(self) -> Duration {
        Duration::from_millis(match self {
            Self::SlowDisk => 50,
            Self::Loss => 15,
            _ => 0,
        })
    }

    /// Whether it is among those that are played when none is named: one run of everything takes longer than a
    /// merge may.
    pub fn is_sample(self, keeper: Keeper) -> bool {
        match self {
            Self::Kill | Self::Term | Self::Stop | Self::Stall | Self::Replica | Self::Switch => true,
            Self::Cut(Cut::Steps) => keeper == Keeper::Redhold,
            Self::Cut(Cut::Inward) | Self::Respawn(Left::Dump) => false,
            _ => keeper == Keeper::SemiSync,
        }
    }
}
