//! How many replicas follow the primary: too few, and no write can become safe. Pure.

use crate::topology::{NodeId, Replication, Role};

/// The number of replicas that follow, by what was last seen of each node; none before the primary was seen to lead. `None`
/// when the primary is absent: one that is gone lacks nothing. A moment later the table says that writes wait, and until then
/// none is refused.
pub(super) fn attached(
    primary: Option<NodeId>,
    facts: &[Option<&Replication>],
    absent: &[bool],
) -> Option<u32> {
    let Some(primary) = primary.map(NodeId::index) else { return Some(0) };
    if absent[primary] {
        return None;
    }
    let Some(leads) = facts[primary].filter(|facts| facts.role == Role::Primary) else { return Some(0) };
    let follows = |facts: &Replication| {
        facts.role == Role::Replica && facts.link_up && !facts.syncing && facts.replid == leads.replid
    };
    let present = facts.iter().zip(absent).filter(|(_, absent)| !**absent).filter_map(|(facts, _)| *facts);
    Some(u32::try_from(present.filter(|facts| follows(facts)).count()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(replid: &str) -> Replication {
        Replication { role: Role::Primary, replid: replid.to_owned(), ..Replication::default() }
    }

    fn follows(replid: &str) -> Replication {
        Replication {
            role: Role::Replica,
            replid: replid.to_owned(),
            link_up: true,
            ..Replication::default()
        }
    }

    const FIRST: Option<NodeId> = Some(NodeId(0));

    #[test]
    fn who_follows_the_primary_in_its_history_counts() {
        let (a, b, other) = (leads("x"), follows("x"), follows("y"));
        let (cut, syncing) =
            (Replication { link_up: false, ..b.clone() }, Replication { syncing: true, ..b.clone() });
        let count = |nodes: &[Option<&Replication>]| attached(FIRST, nodes, &vec![false; nodes.len()]);
        assert_eq!(count(&[Some(&a), Some(&b), Some(&b)]), Some(2));
        assert_eq!(count(&[Some(&a), Some(&b), Some(&other), Some(&cut), Some(&syncing), None]), Some(1));
        assert_eq!(count(&[Some(&b), Some(&b)]), Some(0), "it was not seen to lead");
        assert_eq!(count(&[None, Some(&b)]), Some(0));
        assert_eq!(attached(None, &[Some(&a), Some(&b)], &[false, false]), Some(0));
        assert_eq!(attached(FIRST, &[Some(&a), Some(&b), Some(&b)], &[false, true, false]), Some(1));
    }

    #[test]
    fn a_primary_that_is_gone_lacks_nothing_whoever_was_looked_at() {
        let (a, b) = (leads("x"), follows("x"));
        assert_eq!(attached(FIRST, &[Some(&a), Some(&b)], &[true, false]), None);
    }
}
