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

    /// For a read that any eligible node may answer. `owed` tells how many replies a node owes the asking worker;
    /// among equals the lowest [`NodeId`] is taken, nodes of the preferred zone first. A replica that is not sure to
    /// have what the asking client wrote, as `shows` tells, is passed over, for the primary if need be.
    #[must_use]
    pub fn for_read(
        &self,
        settings: &Settings,
        owed: impl Fn(NodeId) -> usize,
        shows: impl Fn(NodeId) -> bool,
    ) -> Choice {
        let held = matches!(self.gate, Gate::Hold { .. });
        let eligible = |node: &NodeRoute| node.readable && Some(node.id) != self.primary;
        let replica = || self.best(settings, &owed, |node| eligible(node) && shows(node.id));
        let chosen = match settings.policy {
            _ if held => match settings.during_outage {
                DuringOutage::Replica => replica(),
                DuringOutage::Hold => None,
            },
            ReadPolicy::Primary => self.primary,
            ReadPolicy::PreferReplica => replica().or(self.primary),
            ReadPolicy::Replica if self.nodes.len() > 1 => {
                replica().or(self.primary.filter(|_| self.nodes.iter().any(eligible)))
            }
            ReadPolicy::Replica => self.primary,
            ReadPolicy::Any => {
                let fits =
                    |node: &NodeRoute| Some(node.id) == self.primary || eligible(node) && shows(node.id);
                self.best(settings, &owed, fits)
            }
        };
        chosen.map_or(Choice::Hold, Choice::Node)
    }

    fn best(
        &self,
        settings: &Settings,
        owed: &impl Fn(NodeId) -> usize,
        fits: impl Fn(&NodeRoute) -> bool,
    ) -> Option<NodeId> {
        let far = |node: &NodeRoute| !settings.zone.is_empty() && node.zone != settings.zone;
        let fitting = self.nodes.iter().filter(|node| fits(node));
        fitting.min_by_key(|node| (far(node), owed(node.id), node.id)).map(|node| node.id)
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
        RoutingTable { epoch: 1, primary: Some(NodeId(0)), gate: Gate::Open, nodes }
    }

    fn read(table: &RoutingTable, policy: ReadPolicy, owed: [usize; 3]) -> Choice {
        let settings = Settings { policy, ..Settings::default() };
        table.for_read(&settings, |node| owed[node.index()], |_| true)
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
        assert_eq!(held.for_read(&settings, |_| 0, |_| true), B);
    }

    #[test]
    fn a_zone_is_preferred_before_load() {
        let settings =
            Settings { policy: ReadPolicy::PreferReplica, zone: "z2".into(), ..Settings::default() };
        assert_eq!(table(&[false, true, true]).for_read(&settings, |node| node.index() * 10, |_| true), C);
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
            assert_eq!(all.for_read(&settings, |_| 0, only(NodeId(2))), first, "{policy:?}");
            assert_eq!(all.for_read(&settings, |_| 0, |_| false), none, "{policy:?}");
        }
        let settings = Settings { policy: ReadPolicy::Replica, ..Settings::default() };
        let unreadable = table(&[false, false, false]);
        assert_eq!(unreadable.for_read(&settings, |_| 0, |_| false), Choice::Hold, "no replica is eligible");
        let mut held = all;
        held.gate = Gate::Hold { since: Instant::now() };
        let settings = Settings { during_outage: DuringOutage::Replica, ..Settings::default() };
        assert_eq!(held.for_read(&settings, |_| 0, only(NodeId(2))), C);
        assert_eq!(held.for_read(&settings, |_| 0, |_| false), Choice::Hold, "the primary alone has it");
    }
}
