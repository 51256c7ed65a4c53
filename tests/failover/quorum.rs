//! The rule of `failover::required`, model-checked at small sizes: every order of writes, acknowledgements, lost links, restarts and
//! seals before and after one promotion.

use redhold::failover::required;
use stateright::{Checker, Model, Property};

/// Writes that the primary executes at most.
const WRITES: u8 = 2;

/// Whom a replica takes writes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    /// The primary.
    Up,
    /// Nobody; it may connect again.
    Cut,
    /// Nobody: it was told to let go.
    Sealed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Replica {
    /// Writes that it holds.
    holds: u8,
    link: Link,
    /// It was not started again since it was last in sync.
    trusted: bool,
}

/// The group until one promotion and beyond: the old primary goes on with those who were not sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    executed: u8,
    /// The furthest write that was acknowledged.
    acknowledged: u8,
    replicas: Vec<Replica>,
    /// What the promoted one held.
    promoted: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Execute,
    Acknowledge(u8),
    Apply(usize),
    Cut(usize),
    Connect(usize),
    /// It comes back empty.
    Restart(usize),
    /// It is seen in sync.
    Trust(usize),
    Seal(usize),
    Promote,
}

/// So many replicas, a write waits for `acknowledgements` of them, and a promotion for `asked`.
struct Rule {
    replicas: usize,
    acknowledgements: usize,
    asked: usize,
}

impl Rule {
    /// The furthest write that the primary may acknowledge.
    fn covered(&self, group: &Group) -> u8 {
        let holders = |write: u8| {
            let holds = |one: &&Replica| one.link == Link::Up && one.holds >= write;
            group.replicas.iter().filter(holds).count()
        };
        (0..=group.executed).rev().find(|write| holders(*write) >= self.acknowledgements).unwrap_or(0)
    }

    /// What the one holds that may lead.
    fn candidate(&self, group: &Group) -> Option<u8> {
        let asked = group.replicas.iter().filter(|one| one.link == Link::Sealed && one.trusted);
        let furthest = asked.clone().map(|one| one.holds).max()?;
        (asked.count() >= self.asked && group.promoted.is_none()).then_some(furthest)
    }
}

impl Model for Rule {
    type State = Group;
    type Action = Step;

    fn init_states(&self) -> Vec<Group> {
        let fresh = Replica { holds: 0, link: Link::Up, trusted: true };
        vec![Group { executed: 0, acknowledged: 0, replicas: vec![fresh; self.replicas], promoted: None }]
    }

    fn actions(&self, group: &Group, steps: &mut Vec<Step>) {
        if group.executed < WRITES {
            steps.push(Step::Execute);
        }
        if self.covered(group) > group.acknowledged {
            steps.push(Step::Acknowledge(self.covered(group)));
        }
        for (index, one) in group.replicas.iter().enumerate() {
            match one.link {
                Link::Up if one.holds < group.executed => steps.push(Step::Apply(index)),
                Link::Up if !one.trusted => steps.push(Step::Trust(index)),
                Link::Cut => steps.push(Step::Connect(index)),
                Link::Up | Link::Sealed => {}
            }
            if one.link == Link::Up {
                steps.push(Step::Cut(index));
            }
            if one.link != Link::Sealed {
                steps.push(Step::Restart(index));
                steps.push(Step::Seal(index));
            }
        }
        if self.candidate(group).is_some() {
            steps.push(Step::Promote);
        }
    }

    fn next_state(&self, group: &Group, step: Step) -> Option<Group> {
        let mut next = group.clone();
        match step {
            Step::Execute => next.executed += 1,
            Step::Acknowledge(write) => next.acknowledged = write,
            Step::Apply(one) => next.replicas[one].holds += 1,
            Step::Cut(one) => next.replicas[one].link = Link::Cut,
            Step::Connect(one) => next.replicas[one].link = Link::Up,
            Step::Restart(one) => next.replicas[one] = Replica { holds: 0, link: Link::Cut, trusted: false },
            Step::Trust(one) => next.replicas[one].trusted = true,
            Step::Seal(one) => next.replicas[one].link = Link::Sealed,
            Step::Promote => next.promoted = self.candidate(group),
        }
        (next != *group).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("what was acknowledged survives", |_, group| {
                group.promoted.is_none_or(|holds| holds >= group.acknowledged)
            }),
            Property::<Self>::sometimes("somebody leads with an acknowledged write", |_, group| {
                group.promoted.is_some() && group.acknowledged > 0
            }),
        ]
    }
}

#[test]
fn as_many_as_required_lose_nothing_and_one_less_does() {
    for replicas in 1..=3 {
        for acknowledgements in 1..=replicas {
            let needed = required(replicas, acknowledgements);
            let rule = |asked| Rule { replicas, acknowledgements, asked };
            let checker = rule(needed).checker().spawn_bfs().join();
            checker.assert_properties();
            let states = checker.unique_state_count();
            println!("{replicas} replicas, {acknowledgements} acknowledge, {needed} asked: {states} states");
            if needed > 1 {
                let fewer = rule(needed - 1).checker().spawn_bfs().join();
                assert!(
                    fewer.discovery("what was acknowledged survives").is_some(),
                    "{} of {replicas} would do as well",
                    needed - 1
                );
            }
        }
    }
}
