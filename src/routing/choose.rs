//! Which node takes a request, given the table. Pure.

use crate::topology::NodeId;

use super::{DuringOutage, Gate, NodeRoute, ReadPolicy, RoutingTable, Settings};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There.
    Node(NodeId),
    /// Nowhere yet: it waits.
    Hold,
}

impl RoutingTable {
    /// For what needs the primary.
    #[must_use]
    pub fn for_primary(&self) -> Choice {
        self.writable().map_or(Choice::Hold, |node| Choice::Node(node.id))
    }

    /// For a read that any eligible node may answer. `cost` tells how much a further read costs at a node, by what that
    /// owes the asking worker and by how slow it is; the cheapest is taken, nodes of the preferred zone first, and among
    /// equals the first whose id is `turn` or more. A replica that is not sure to have what is asked for, as `shows` tells,
    /// is passed over, for the primary if need be.
    #[must_use]
    pub fn for_read(
        &self,
        settings: &Settings,
        turn: usize,
        cost: impl Fn(NodeId) -> usize,
        shows: impl Fn(NodeId) -> bool,
    ) -> Choice {
        let held = matches!(self.gate, Gate::Hold { .. });
        let replica = || self.best(settings, turn, &cost, |node| self.is_reader(node) && shows(node.id));
        let chosen = match settings.policy {
            _ if held => match settings.during_outage {
                DuringOutage::Replica => replica(),
                DuringOutage::Hold => None,
            },
            ReadPolicy::Primary => self.primary,
            ReadPolicy::PreferReplica => replica().or(self.primary),
            ReadPolicy::Replica if self.nodes.len() > 1 => {
                replica().or(self.primary.filter(|_| self.has_reader()))
            }
            ReadPolicy::Replica => self.primary,
            ReadPolicy::Any => {
                let fits = |node: &NodeRoute| {
                    Some(node.id) == self.primary || self.is_reader(node) && shows(node.id)
                };
                self.best(settings, turn, &cost, fits)
            }
        };
        chosen.map_or(Choice::Hold, Choice::Node)
    }

    /// Whether a read that was given to the primary is one that replicas are there for, and none of them is usable. One
    /// that only has to show more than they have is none.
    #[must_use]
    pub fn spills(&self, settings: &Settings) -> bool {
        settings.policy == ReadPolicy::PreferReplica && self.nodes.len() > 1 && !self.has_reader()
    }

    fn is_reader(&self, node: &NodeRoute) -> bool {
        node.readable && Some(node.id) != self.primary
    }

    fn has_reader(&self) -> bool {
        self.nodes.iter().any(|node| self.is_reader(node))
    }

    fn best(
        &self,
        settings: &Settings,
        turn: usize,
        cost: &impl Fn(NodeId) -> usize,
        fits: impl Fn(&NodeRoute) -> bool,
    ) -> Option<NodeId> {
        let far = |node: &NodeRoute| !settings.zone.is_empty() && node.zone != settings.zone;
        // Where none was ever taken out of the list, ids are positions.
        let at = match turn.checked_sub(1).map(|last| self.nodes.get(last)) {
            None => 0,
            Some(Some(last)) if last.id.slot() + 1 == turn => turn,
            Some(_) => self.nodes.partition_point(|node| node.id.slot() < turn),
        };
        let (before, from) = self.nodes.split_at(at);
        let fitting = from.iter().chain(before).filter(|node| fits(node));
        fitting.min_by_key(|node| (far(node), cost(node.id))).map(|node| node.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Address;
    use std::time::Instant;

    fn table(readable: &[bool]) -> RoutingTable {
        let node = |(index, readable): (usize, &bool)| NodeRoute {
            id: NodeId(u16::try_from(index).unwrap()),
            address: Address { host: "h".into(), port: 1 },
            zone: format!("z{index}"),
            readable: *readable,
            generation: 0,
            run_id: None,
        };
        let nodes = readable.iter().enumerate().map(node).collect();
        RoutingTable {
            epoch: 1,
            primary: Some(NodeId(0)),
            gate: Gate::Open,
            holds: 0,
            planned: false,
            degraded: false,
            remedy: crate::topology::Remedy::Unjudged,
            nodes,
        }
    }

    fn read(table: &RoutingTable, policy: ReadPolicy, owed: [usize; 3]) -> Choice {
        let settings = Settings { policy, ..Settings::default() };
        table.for_read(&settings, 0, |node| owed[node.slot()], |_| true)
    }

    const A: Choice = Choice::Node(NodeId(0));
    const B: Choice = Choice::Node(NodeId(1));
    const C: Choice = Choice::Node(NodeId(2));

    #[test]
    fn the_policy_decides_and_the_least_busy_wins() {
        let all = table(&[false, true, true]);
        assert_eq!(read(&all, ReadPolicy::Primary, [9, 0, 0]), A);
        assert_eq!(read(&all, ReadPolicy::PreferReplica, [0, 2, 1]), C);
        assert_eq!(read(&all, ReadPolicy::Any, [0, 2, 1]), A);
        assert_eq!(read(&all, ReadPolicy::Any, [3, 2, 2]), B);
    }

    #[test]
    fn without_an_eligible_replica_the_primary_helps_only_where_the_policy_says_so() {
        let none = table(&[false, false, false]);
        assert_eq!(read(&none, ReadPolicy::PreferReplica, [0; 3]), A);
        assert_eq!(read(&none, ReadPolicy::Replica, [0; 3]), Choice::Hold);
        assert_eq!(read(&table(&[false]), ReadPolicy::Replica, [0; 3]), A);
    }

    #[test]
    fn an_outage_holds_reads_unless_replicas_may_answer() {
        let mut held = table(&[false, true, false]);
        held.gate = Gate::Hold { since: Instant::now() };
        assert_eq!(held.for_primary(), Choice::Hold);
        assert_eq!(read(&held, ReadPolicy::PreferReplica, [0; 3]), Choice::Hold);
        let settings = Settings { during_outage: DuringOutage::Replica, ..Settings::default() };
        assert_eq!(held.for_read(&settings, 0, |_| 0, |_| true), B);
    }

    #[test]
    fn a_zone_is_preferred_before_load() {
        let settings =
            Settings { policy: ReadPolicy::PreferReplica, zone: "z2".into(), ..Settings::default() };
        assert_eq!(table(&[false, true, true]).for_read(&settings, 0, |node| node.slot() * 10, |_| true), C);
    }

    /// Which nodes take the reads of one client after the other, the replies to which come at once.
    fn in_turn(table: &RoutingTable, settings: &Settings, cost: [usize; 4], reads: usize) -> Vec<u16> {
        let mut turn = 0;
        let mut take = || match table.for_read(settings, turn, |node| cost[node.slot()], |_| true) {
            Choice::Node(node) => {
                turn = node.slot() + 1;
                node.0
            }
            Choice::Hold => 99,
        };
        (0..reads).map(|_| take()).collect()
    }

    #[test]
    fn equals_take_turns_and_the_slow_one_waits() {
        let settings = Settings { policy: ReadPolicy::PreferReplica, ..Settings::default() };
        let all = table(&[false, true, true, true]);
        assert_eq!(in_turn(&all, &settings, [1; 4], 6), [1, 2, 3, 1, 2, 3]);
        assert_eq!(in_turn(&all, &settings, [1, 1, 9, 1], 4), [1, 3, 1, 3]);
        let any = Settings { policy: ReadPolicy::Any, ..settings };
        assert_eq!(in_turn(&all, &any, [1; 4], 5), [0, 1, 2, 3, 0]);
    }

    /// By policy and zone of the proxy: the order in which nodes answer as one after the other becomes unusable. The
    /// primary is in zone z0, the replicas in z1, z2 and z2.
    #[test]
    fn a_zone_is_preferred_as_long_as_one_of_it_is_usable_and_the_primary_has_its_own_place() {
        for (policy, zone, expected) in [
            (ReadPolicy::Primary, "z2", [0, 0, 0, 0]),
            (ReadPolicy::PreferReplica, "", [1, 2, 3, 0]),
            (ReadPolicy::PreferReplica, "z0", [1, 2, 3, 0]),
            (ReadPolicy::PreferReplica, "z2", [2, 3, 1, 0]),
            (ReadPolicy::PreferReplica, "none", [1, 2, 3, 0]),
            (ReadPolicy::Replica, "z2", [2, 3, 1, 99]),
            (ReadPolicy::Replica, "z0", [1, 2, 3, 99]),
            (ReadPolicy::Any, "z0", [0, 0, 0, 0]),
            (ReadPolicy::Any, "z2", [2, 3, 0, 0]),
            (ReadPolicy::Any, "z1", [1, 0, 0, 0]),
        ] {
            let settings = Settings { policy, zone: zone.to_owned(), ..Settings::default() };
            let mut left = table(&[false, true, true, true]);
            left.nodes[3].zone = "z2".to_owned();
            let order = [(); 4].map(|()| {
                let taken = in_turn(&left, &settings, [1; 4], 1)[0];
                if let Some(node) = left.nodes.get_mut(usize::from(taken)) {
                    node.readable = false;
                }
                taken
            });
            assert_eq!(order, expected, "{policy:?} in zone `{zone}`");
        }
    }

    #[test]
    fn only_a_read_without_any_usable_replica_spills() {
        let settings = |policy| Settings { policy, ..Settings::default() };
        let prefers = settings(ReadPolicy::PreferReplica);
        let shown = |table: &RoutingTable| table.for_read(&prefers, 0, |_| 0, |_| false);
        let (usable, none, single) =
            (table(&[false, true, false]), table(&[false, false, false]), table(&[false]));
        assert_eq!([shown(&usable), shown(&none), shown(&single)], [A; 3]);
        assert_eq!([&usable, &none, &single].map(|table| table.spills(&prefers)), [false, true, false]);
        for policy in [ReadPolicy::Primary, ReadPolicy::Replica, ReadPolicy::Any] {
            assert!(!none.spills(&settings(policy)), "{policy:?}");
        }
    }

    /// Clients that read one after the other from nodes that take so long, chosen by cost; each node's share in percent.
    fn shares(seed: u64, clients: usize, service: [u64; 3], weights: [usize; 3]) -> [u64; 3] {
        let all = table(&[true, true, true]);
        let settings = Settings { policy: ReadPolicy::Any, ..Settings::default() };
        let (mut owed, mut counts, mut turn, mut state) = ([0_usize; 3], [0; 3], 0, seed | 1);
        let mut ends = std::collections::BTreeSet::new();
        let mut next = (0..clients).map(|client| (0, client)).collect::<Vec<_>>();
        for _ in 0..20_000 {
            let (now, client) = next.pop().unwrap_or_else(|| {
                let (at, client, node): (u64, usize, usize) = ends.pop_first().unwrap();
                owed[node] -= 1;
                (at, client)
            });
            let cost = |node: NodeId| (owed[node.slot()] + 1) * weights[node.slot()];
            let Choice::Node(node) = all.for_read(&settings, turn, cost, |_| true) else {
                panic!("all are usable")
            };
            turn = node.slot() + 1;
            let node = node.slot();
            owed[node] += 1;
            counts[node] += 1;
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ends.insert((now + service[node] / 2 + (state >> 33) % service[node], client, node));
        }
        counts.map(|count: u64| count * 100 / 20_000)
    }

    #[test]
    fn an_equal_node_gets_its_share_and_a_slow_one_clearly_less() {
        for seed in 0..20 {
            for clients in [1, 2, 7, 50] {
                let equal = shares(seed, clients, [100; 3], [1; 3]);
                assert!(equal.iter().all(|share| (31..=35).contains(share)), "{clients}: {equal:?}");
                let slow = shares(seed, clients, [100, 1_000, 100], [1, 9, 1]);
                assert!(slow[1] <= 5 && slow[0] >= 44 && slow[2] >= 44, "{clients}: {slow:?}");
                let unknown = shares(seed, clients, [100, 1_000, 100], [1; 3]);
                assert!(unknown[1] <= 34, "{clients}: what it owes alone tells: {unknown:?}");
            }
            let crowd = shares(seed, 50, [100, 1_000, 100], [1; 3]);
            assert!(crowd[1] <= 10, "{crowd:?}");
        }
    }

    #[test]
    fn what_a_client_wrote_it_reads_from_a_node_that_has_it() {
        let only = |shown: NodeId| move |node: NodeId| node == shown;
        let all = table(&[false, true, true]);
        for (policy, first, none) in [
            (ReadPolicy::Primary, A, A),
            (ReadPolicy::PreferReplica, C, A),
            (ReadPolicy::Replica, C, A),
            (ReadPolicy::Any, A, A),
        ] {
            let settings = Settings { policy, ..Settings::default() };
            assert_eq!(all.for_read(&settings, 0, |_| 0, only(NodeId(2))), first, "{policy:?}");
            assert_eq!(all.for_read(&settings, 0, |_| 0, |_| false), none, "{policy:?}");
        }
        let settings = Settings { policy: ReadPolicy::Replica, ..Settings::default() };
        let unreadable = table(&[false, false, false]);
        assert_eq!(
            unreadable.for_read(&settings, 0, |_| 0, |_| false),
            Choice::Hold,
            "no replica is eligible"
        );
        let mut held = all;
        held.gate = Gate::Hold { since: Instant::now() };
        let settings = Settings { during_outage: DuringOutage::Replica, ..Settings::default() };
        assert_eq!(held.for_read(&settings, 0, |_| 0, only(NodeId(2))), C);
        assert_eq!(held.for_read(&settings, 0, |_| 0, |_| false), Choice::Hold, "the primary alone has it");
    }
}
