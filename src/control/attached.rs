//! How many replicas follow the primary: too few, and no write can become safe. Pure.

use crate::topology::{Replication, Role};

/// Replicas of the primary, by what was last seen of each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// Those that follow; none before the primary was seen to lead.
    pub(super) following: u32,
    /// Nodes that are there, and may follow yet.
    pub(super) coming: u32,
}

/// Who follows, of nodes in one order, among which the primary has this position. `None` when the primary is absent: one that is
/// gone lacks nothing. A moment later the table says that writes wait, and until then none is refused.
pub(super) fn attached(
    primary: Option<usize>,
    facts: &[Option<&Replication>],
    absent: &[bool],
) -> Option<Attached> {
    let mut attached = Attached { following: 0, coming: 0 };
    let Some(primary) = primary else { return Some(attached) };
    if absent[primary] {
        return None;
    }
    let leads = facts[primary].filter(|facts| facts.role == Role::Primary);
    let follows = |facts: &Replication| {
        let same = leads.is_some_and(|leads| leads.replid == facts.replid);
        facts.role == Role::Replica && facts.link_up && !facts.syncing && same
    };
    for (_, facts) in facts.iter().enumerate().filter(|(node, _)| *node != primary && !absent[*node]) {
        let is_one = facts.is_some_and(follows);
        *(if is_one { &mut attached.following } else { &mut attached.coming }) += 1;
    }
    Some(attached)
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

    const FIRST: Option<usize> = Some(0);

    #[test]
    fn who_follows_the_primary_in_its_history_counts() {
        let (a, b, other) = (leads("x"), follows("x"), follows("y"));
        let (cut, syncing) =
            (Replication { link_up: false, ..b.clone() }, Replication { syncing: true, ..b.clone() });
        let of = |following, coming| Some(Attached { following, coming });
        let count = |nodes: &[Option<&Replication>]| attached(FIRST, nodes, &vec![false; nodes.len()]);
        assert_eq!(count(&[Some(&a), Some(&b), Some(&b)]), of(2, 0));
        assert_eq!(count(&[Some(&a), Some(&b), Some(&other), Some(&cut), Some(&syncing), None]), of(1, 4));
        assert_eq!(count(&[Some(&b), Some(&b)]), of(0, 1), "it was not seen to lead");
        assert_eq!(count(&[None, Some(&b)]), of(0, 1));
        assert_eq!(attached(None, &[Some(&a), Some(&b)], &[false, false]), of(0, 0));
        assert_eq!(attached(FIRST, &[Some(&a), Some(&b), Some(&b)], &[false, true, false]), of(1, 0));
        assert_eq!(attached(FIRST, &[Some(&a), Some(&b), Some(&cut)], &[false, true, false]), of(0, 1));
    }

    #[test]
    fn a_primary_that_is_gone_lacks_nothing_whoever_was_looked_at() {
        let (a, b) = (leads("x"), follows("x"));
        assert_eq!(attached(FIRST, &[Some(&a), Some(&b)], &[true, false]), None);
    }
}
