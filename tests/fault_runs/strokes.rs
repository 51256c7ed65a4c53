//! How each fault is done and undone.

use std::net::IpAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::faults::{Cut, Fault, Left};
use crate::rig::Rig;
use crate::support::{LONG, Value, dying_with_us, eventually};

/// How long a process stays stopped, and a cut lasts: longer than any keeper waits.
const STOPPED: Duration = Duration::from_secs(4);
/// A stall that nobody may take for death.
const STALLED: Duration = Duration::from_millis(700);
/// How long the proxy is left to a primary that has lost its replicas: less than `durability.timeout`.
const STEP: Duration = Duration::from_millis(150);
/// Packets are lost for so long in all, and in each slot so much of it.
const LOSS: Duration = Duration::from_secs(1);
const SLOT: Duration = Duration::from_millis(100);
const LOST: Duration = Duration::from_millis(20);
/// How long a disk is slow, and by how much.
const SLOW: Duration = Duration::from_secs(2);
const SLOW_BY: Duration = Duration::from_millis(50);
/// Times a new primary is killed: one more than failovers may follow at once.
const FLAPS: u64 = 3;

/// What is seen while it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    /// The pause that counts is over by then.
    pub until: Option<Instant>,
    /// Changes of primary before the brake held.
    pub braked_after: Option<u64>,
}

/// One fault of one run.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    pub fault: Fault,
    /// Who leads before it.
    pub leader: usize,
    /// Changes of primary before it.
    pub epoch: u64,
    /// How long the busy loops go on.
    pub hogs: Duration,
}

impl Stroke {
    /// Before the load.
    pub fn prepare(&self, rig: &mut Rig) {
        match self.fault {
            Fault::Respawn(Left::Dump) => {
                assert_eq!(rig.group.nodes()[self.leader].call("SAVE"), Value::ok());
            }
            Fault::FullDisk => rig.disks().nearly_fill(self.leader),
            _ => {}
        }
    }

    /// At the instant that counts.
    pub fn strike(&self, rig: &mut Rig) {
        let leader = self.leader;
        match self.fault {
            Fault::Kill | Fault::Flap => rig.group.node(leader).kill9(),
            Fault::Term => rig.group.node(leader).sigterm(),
            Fault::Stop | Fault::Stall => rig.group.node(leader).sigstop(),
            Fault::Replica => {
                let replica = another(rig, leader);
                rig.group.node(replica).kill9();
            }
            Fault::Switch => rig.switch(),
            Fault::Cut(cut) => cut_off(rig, cut, leader),
            Fault::Vanish => {
                rig.net().unplug(leader);
                rig.group.node(leader).kill9();
            }
            Fault::Respawn(left) => {
                rig.group.node(leader).kill9();
                if matches!(left, Left::Nothing | Left::PlainNothing) {
                    rig.group.nodes()[leader].lose_data();
                }
                rig.group.node(leader).restart();
            }
            Fault::FullDisk => rig.disks().fill(leader),
            Fault::SlowDisk => rig.disks().slow_down(leader, SLOW_BY),
            Fault::Loss | Fault::Hogs => {}
        }
    }

    /// From then on, and its end.
    pub fn last(&self, rig: &mut Rig, struck: Instant) -> Sight {
        let rest = |whole: Duration| std::thread::sleep(whole.saturating_sub(struck.elapsed()));
        match self.fault {
            Fault::Stop | Fault::Stall => {
                rest(if self.fault == Fault::Stop { STOPPED } else { STALLED });
                rig.group.node(self.leader).sigcont();
            }
            Fault::Cut(_) => {
                rest(STOPPED);
                rig.net().heal();
            }
            Fault::Vanish => eventually(LONG, "another one leads", || rig.epoch() > self.epoch),
            Fault::Loss => lose_packets(rig, self.leader, struck),
            Fault::Hogs => {
                let hogs = start_hogs();
                rest(self.hogs);
                end(hogs);
            }
            Fault::Flap => return self.flap(rig),
            Fault::FullDisk => {
                while struck.elapsed() < STOPPED && rig.epoch() == self.epoch {
                    std::thread::sleep(Duration::from_millis(5));
                }
                rig.disks().free(self.leader);
            }
            Fault::SlowDisk => {
                rest(SLOW);
                rig.disks().slow_down(self.leader, Duration::ZERO);
            }
            Fault::Kill | Fault::Term | Fault::Replica | Fault::Switch | Fault::Respawn(_) => {}
        }
        Sight::default()
    }

    /// A supervisor starts at once whoever was killed; as soon as all is well the next primary is killed.
    fn flap(&self, rig: &mut Rig) -> Sight {
        let (mut victim, mut until) = (self.leader, None);
        for _ in 1..FLAPS {
            rig.group.node(victim).restart();
            rig.settle();
            victim = rig.leader();
            until = Some(Instant::now());
            rig.group.node(victim).kill9();
        }
        rig.group.node(victim).restart();
        let braked_after = Some(rig.wait_braked() - self.epoch);
        rig.force(another(rig, victim));
        Sight { until, braked_after }
    }

    /// After the load: everybody is there again.
    pub fn repair(&self, rig: &mut Rig) {
        match self.fault {
            Fault::Kill | Fault::Term => rig.group.node(self.leader).restart(),
            Fault::Replica => {
                let replica = another(rig, self.leader);
                rig.group.node(replica).restart();
            }
            Fault::Vanish => {
                rig.net().plug(self.leader);
                rig.group.node(self.leader).restart();
            }
            Fault::Respawn(Left::Dump) => rig.group.nodes()[self.leader].lose_data(),
            // From 7.0 on a replica that cannot write its append-only file ends itself.
            Fault::FullDisk if rig.group.node(self.leader).has_exited() => {
                rig.group.node(self.leader).restart()
            }
            _ => {}
        }
    }
}

fn another(rig: &Rig, leader: usize) -> usize {
    (leader + 1) % rig.group.nodes().len()
}

/// The primary, the proxy and the replicas.
fn parties(rig: &mut Rig, leader: usize) -> (IpAddr, IpAddr, Vec<IpAddr>) {
    let addresses = rig.group.addresses();
    let others = addresses.iter().enumerate().filter(|(node, _)| *node != leader);
    (addresses[leader].ip(), rig.net().proxy().ip, others.map(|(_, address)| address.ip()).collect())
}

fn cut_off(rig: &mut Rig, cut: Cut, leader: usize) {
    let (primary, proxy, replicas) = parties(rig, leader);
    let to = |others: &[IpAddr]| others.iter().map(|other| (*other, primary)).collect::<Vec<_>>();
    let from = |others: &[IpAddr]| others.iter().map(|other| (primary, *other)).collect::<Vec<_>>();
    let both = |others: &[IpAddr]| [to(others), from(others)].concat();
    let everybody = [replicas.clone(), vec![proxy]].concat();
    match cut {
        Cut::All => rig.net().cut(&both(&everybody)),
        Cut::Inward => rig.net().cut(&to(&everybody)),
        Cut::Outward => rig.net().cut(&from(&everybody)),
        Cut::Proxy => rig.net().cut(&both(&[proxy])),
        Cut::Steps => {
            rig.net().cut(&both(&replicas));
            std::thread::sleep(STEP);
            rig.net().cut(&both(&[proxy]));
        }
    }
}

/// In each slot at another moment, so that what is sent again after a round time is not lost again for that alone.
fn lose_packets(rig: &mut Rig, leader: usize, struck: Instant) {
    let (primary, proxy, replicas) = parties(rig, leader);
    let everybody = replicas.into_iter().chain([proxy]);
    let pairs: Vec<(IpAddr, IpAddr)> =
        everybody.flat_map(|other| [(other, primary), (primary, other)]).collect();
    let (mut slot, mut dice) = (Duration::ZERO, 0x9e37_79b9_u32 ^ leader as u32);
    while slot < LOSS {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let begin = slot + (SLOT - LOST) * (dice >> 24) / 256;
        std::thread::sleep(begin.saturating_sub(struck.elapsed()));
        rig.net().cut(&pairs);
        std::thread::sleep((begin + LOST).saturating_sub(struck.elapsed()));
        rig.net().heal();
        slot += SLOT;
    }
}

fn start_hogs() -> Vec<Child> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let hog =
        |_| dying_with_us("sh".as_ref()).args(["-c", "while :; do :; done"]).spawn().expect("sh is there");
    (0..2 * cores).map(hog).collect()
}

fn end(children: Vec<Child>) {
    for mut child in children {
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours to wait for");
    }
}
