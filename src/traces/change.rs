//! A change of primary, and the spans that it becomes. Pure.

use std::time::{Duration, SystemTime};

use super::ids::Ids;
use super::span::{Attributes, Event, Kind, Span, Value, length, nanos};

/// Something that was noted in the course of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the change began.
    pub since: Duration,
    /// The phase's name in lower case.
    pub phase: &'static str,
    /// One sentence.
    pub text: String,
}

/// An episode that is over: a failover, a switchover, or a false alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// It began with an order.
    pub ordered: bool,
    /// When.
    pub began: SystemTime,
    /// Until it was over.
    pub took: Duration,
    /// For how long writes were held in it.
    pub held: Duration,
    /// Epoch and primary at its beginning.
    pub before: (u64, Option<String>),
    /// Epoch and primary at its end.
    pub after: (u64, Option<String>),
    /// What happened, in order.
    pub steps: Vec<Step>,
}

impl Change {
    /// How many spans it becomes.
    pub(super) fn spans(&self) -> u64 {
        1 + self.phases().count() as u64
    }

    /// Steps of the same phase that follow each other.
    fn phases(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(|one, next| one.phase == next.phase)
    }

    /// The whole, and each phase in its turn: from its first step to the first of the next one, or to the end.
    pub(super) fn append<'a>(&'a self, ids: &mut Ids, spans: &mut Vec<Span<'a>>) {
        let (trace, root, start) = (ids.trace(), ids.span(), nanos(self.began));
        // What is noted afterwards belongs to the end.
        let at = |since: Duration| start.saturating_add(length(since.min(self.took)));
        let span = |id, parent, name: &'a str, start, end, attributes, events| {
            let (name, kind) = (name.into(), Kind::Internal);
            Span { trace, id, parent, name, kind, start, end, attributes, events, failed: false }
        };
        let name = if self.ordered { "switchover" } else { "failover" };
        spans.push(span(root, None, name, start, at(self.took), self.about(), Vec::new()));
        let mut phases = self.phases().peekable();
        while let Some(steps) = phases.next() {
            let end = phases.peek().map_or(self.took, |next| next[0].since);
            let events = steps.iter().map(|step| Event { at: at(step.since), name: &step.text }).collect();
            spans.push(span(
                ids.span(),
                Some(root),
                steps[0].phase,
                at(steps[0].since),
                at(end),
                Vec::new(),
                events,
            ));
        }
    }

    fn about(&self) -> Attributes<'_> {
        let number = |epoch: u64| Value::Number(i64::try_from(epoch).unwrap_or(i64::MAX));
        let held = Value::Number(i64::try_from(self.held.as_millis()).unwrap_or(i64::MAX));
        let mut about = vec![
            ("db.system.name", "redis".into()),
            ("redhold.changed", Value::Flag(self.before.1 != self.after.1)),
            ("redhold.epoch.before", number(self.before.0)),
            ("redhold.epoch.after", number(self.after.0)),
            ("redhold.held_ms", held),
        ];
        for (name, primary) in
            [("redhold.primary.before", &self.before.1), ("redhold.primary.after", &self.after.1)]
        {
            about.extend(primary.as_ref().map(|primary| (name, primary.as_str().into())));
        }
        about
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn change(steps: &[(u64, &'static str)]) -> Change {
        let ms = Duration::from_millis;
        let step = |(since, phase): &(u64, &'static str)| Step {
            since: ms(*since),
            phase,
            text: format!("{phase} at {since}"),
        };
        Change {
            ordered: false,
            began: UNIX_EPOCH + ms(1_000),
            took: ms(500),
            held: ms(400),
            before: (41, Some("a:1".to_owned())),
            after: (42, Some("b:2".to_owned())),
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn each_phase_lasts_until_the_next_one_and_the_last_to_the_end() {
        let change =
            change(&[(0, "suspect"), (20, "suspect"), (100, "seal"), (300, "suspect"), (700, "suspect")]);
        let mut spans = Vec::new();
        change.append(&mut Ids::new(1), &mut spans);
        assert_eq!(spans.len() as u64, change.spans());
        let ms = 1_000_000;
        let times: Vec<_> =
            spans.iter().map(|it| (it.name.as_ref(), it.start / ms, it.end / ms, it.events.len())).collect();
        assert_eq!(
            times,
            [
                ("failover", 1_000, 1_500, 0),
                ("suspect", 1_000, 1_100, 2),
                ("seal", 1_100, 1_300, 1),
                ("suspect", 1_300, 1_500, 2),
            ]
        );
        assert!(spans[1..].iter().all(|it| it.parent == Some(spans[0].id) && it.trace == spans[0].trace));
        assert_eq!(spans[3].events[1], Event { at: 1_500 * ms, name: "suspect at 700" });
    }

    #[test]
    fn a_switchover_and_a_false_alarm_are_told() {
        let nothing = Change { ordered: true, after: (41, Some("a:1".to_owned())), ..change(&[]) };
        let mut spans = Vec::new();
        nothing.append(&mut Ids::new(1), &mut spans);
        assert_eq!((spans.len(), spans[0].name.as_ref()), (1, "switchover"));
        let has = |name, value| spans[0].attributes.contains(&(name, value));
        assert!(has("redhold.changed", Value::Flag(false)) && has("redhold.epoch.after", Value::Number(41)));
        assert!(has("redhold.primary.before", "a:1".into()) && has("redhold.held_ms", Value::Number(400)));
    }
}
