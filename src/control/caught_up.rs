//! How far replicas have followed, in looks at the primary: what a client did before look 7 began, every replica has
//! applied that is as far as look 7 found the primary. Pure.

use std::collections::VecDeque;

use crate::topology::{NodeId, Replication, Role};

/// Looks at the primary with an offset of their own that are remembered: more than ten seconds on the ordinary beat.
/// A replica that is further behind is not known to have caught up with any.
const KEPT: usize = 128;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct CaughtUp {
    primary: Option<NodeId>,
    replid: String,
    /// Number and offset, both rising: of looks with the same offset the latest.
    looks: VecDeque<(u64, u64)>,
}

impl CaughtUp {
    /// Takes what look number `look` found of `node`, while `primary` leads. For a replica: the number of the latest
    /// look at the primary that it has caught up with, 0 when none is known.
    pub(super) fn note(
        &mut self,
        primary: Option<NodeId>,
        node: NodeId,
        look: u64,
        facts: &Replication,
    ) -> Option<u64> {
        if self.primary != primary {
            *self = Self { primary, ..Self::default() };
        }
        if primary == Some(node) {
            if facts.role == Role::Primary {
                self.note_primary(look, facts);
            }
            return None;
        }
        if facts.role != Role::Replica || facts.replid != self.replid {
            return Some(0);
        }
        let reached = self.looks.iter().rev().find(|(_, offset)| *offset <= facts.offset);
        Some(reached.map_or(0, |(number, _)| *number))
    }

    fn note_primary(&mut self, look: u64, facts: &Replication) {
        if self.replid != facts.replid {
            self.replid.clone_from(&facts.replid);
            self.looks.clear();
        }
        match self.looks.back_mut() {
            // Looks overtake each other when one of them is slow.
            Some((number, offset)) if *number >= look || *offset > facts.offset => {}
            Some((number, offset)) if *offset == facts.offset => *number = look,
            _ => self.looks.push_back((look, facts.offset)),
        }
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Option<NodeId> = Some(NodeId(0));

    fn facts(role: Role, replid: &str, offset: u64) -> Replication {
        Replication { role, replid: replid.to_owned(), offset, ..Replication::default() }
    }

    /// Looks at the primary in the history `a`: number and offset.
    fn after(looks: &[(u64, u64)]) -> CaughtUp {
        let mut known = CaughtUp::default();
        for (look, offset) in looks {
            let noted = known.note(PRIMARY, NodeId(0), *look, &facts(Role::Primary, "a", *offset));
            assert_eq!(noted, None);
        }
        known
    }

    fn reached(known: &mut CaughtUp, replid: &str, offset: u64) -> Option<u64> {
        known.note(PRIMARY, NodeId(1), 99, &facts(Role::Replica, replid, offset))
    }

    #[test]
    fn a_replica_has_caught_up_with_the_latest_look_that_found_no_more_than_it_has() {
        let mut known = after(&[(1, 10), (4, 20), (7, 30)]);
        for (offset, look) in [(9, 0), (10, 1), (19, 1), (20, 4), (30, 7), (31, 7)] {
            assert_eq!(reached(&mut known, "a", offset), Some(look), "offset {offset}");
        }
        assert_eq!(reached(&mut known, "a", 10), Some(1), "and may fall back, when it comes again with less");
    }

    #[test]
    fn an_idle_primary_is_caught_up_with_by_its_last_look() {
        assert_eq!(reached(&mut after(&[(1, 10), (3, 10), (5, 10)]), "a", 10), Some(5));
    }

    #[test]
    fn a_look_that_was_overtaken_says_nothing() {
        assert_eq!(reached(&mut after(&[(1, 10), (5, 20), (3, 20)]), "a", 20), Some(5));
        assert_eq!(reached(&mut after(&[(1, 10), (5, 20), (6, 15)]), "a", 15), Some(1));
    }

    #[test]
    fn another_history_or_another_primary_begins_anew() {
        let mut known = after(&[(1, 10)]);
        assert_eq!(reached(&mut known, "b", 10), Some(0));
        known.note(PRIMARY, NodeId(0), 2, &facts(Role::Primary, "b", 5));
        assert_eq!(reached(&mut known, "a", 10), Some(0));
        assert_eq!(reached(&mut known, "b", 10), Some(2));
        let other = known.note(Some(NodeId(2)), NodeId(1), 3, &facts(Role::Replica, "b", 10));
        assert_eq!(other, Some(0));
    }

    #[test]
    fn what_is_no_replica_has_caught_up_with_nothing() {
        let mut known = after(&[(1, 10)]);
        assert_eq!(known.note(PRIMARY, NodeId(1), 2, &facts(Role::Primary, "a", 10)), Some(0));
    }

    #[test]
    fn only_so_many_looks_are_kept() {
        let looks: Vec<_> = (1..=2 * KEPT as u64).map(|look| (look, 10 * look)).collect();
        let mut known = after(&looks);
        assert_eq!(known.looks.len(), KEPT);
        assert_eq!(reached(&mut known, "a", 10 * KEPT as u64), Some(0), "too far behind");
        assert_eq!(reached(&mut known, "a", 10 * (KEPT as u64 + 1)), Some(KEPT as u64 + 1));
    }
}
