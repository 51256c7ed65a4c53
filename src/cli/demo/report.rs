//! The end of the demonstration: what happened when, what the clients saw, what the nodes hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::load::Memory;
use super::readback::Readback;
use super::view::{Moment, sentence};

/// Errors are listed by text, most frequent first, up to this many.
const ERRORS: usize = 5;

/// Everything that is known in the end.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) began: Instant,
    pub(super) moments: Vec<Moment>,
    pub(super) memories: Vec<Memory>,
    pub(super) dropped: u64,
    pub(super) in_flight: u64,
    pub(super) readback: Readback,
}

impl Report {
    /// The text for people.
    pub(super) fn text(&mut self) -> String {
        self.add_gap();
        let mut text = String::from("\nTimeline\n");
        self.moments.sort_by_key(|moment| moment.at);
        for moment in &self.moments {
            line(&mut text, &sentence(self.began, moment));
        }
        text.push_str("\nWhat the clients saw\n");
        let errors = self.errors();
        let ambiguous: u64 =
            errors.iter().filter(|(text, _)| text.starts_with("AMBIGUOUS ")).map(|(_, n)| n).sum();
        let others: u64 = errors.iter().map(|(_, count)| count).sum::<u64>() - ambiguous;
        line(&mut text, &format!("longest time without a reply   {} ms", self.gap().as_millis()));
        line(&mut text, &format!("connections lost               {}", self.dropped));
        line(&mut text, &format!("replies of another request     {}", self.wrong()));
        line(
            &mut text,
            &format!(
                "-AMBIGUOUS replies             {ambiguous} ({} requests were in flight)",
                self.in_flight
            ),
        );
        line(&mut text, &format!("other errors                   {others}"));
        for (error, count) in errors.iter().take(ERRORS) {
            line(&mut text, &format!("  {count} times: {error}"));
        }
        text.push_str("\nWhat the new primary holds, asked directly\n");
        let increments: u64 = self.memories.iter().map(|memory| memory.increments).sum();
        let Readback { expected, lost, increments_lost, increments_twice } = self.readback;
        line(&mut text, &format!("acknowledged SETs              {expected}, of which lost: {lost}"));
        line(
            &mut text,
            &format!("acknowledged INCRs             {increments}, of which lost: {increments_lost}"),
        );
        line(&mut text, &format!("INCRs executed twice           {increments_twice}"));
        text
    }

    /// # Errors
    /// A sentence, when a promise was broken.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let lost = self.readback.lost + self.readback.increments_lost;
        match (self.wrong(), self.readback.increments_twice, lost) {
            (0, 0, 0) => Ok(()),
            (0, 0, lost) => Err(format!(
                "{lost} acknowledged writes were lost: replication is asynchronous, and they had reached no replica when the \
                 primary was killed"
            )),
            (wrong, twice, _) => {
                Err(format!("{wrong} replies belonged to other requests, {twice} INCRs were executed twice"))
            }
        }
    }

    fn wrong(&self) -> u64 {
        self.memories.iter().map(|memory| memory.wrong).sum()
    }

    fn gap(&self) -> Duration {
        self.memories.iter().map(|memory| memory.gap).max().unwrap_or_default()
    }

    fn add_gap(&mut self) {
        let Some(longest) = self.memories.iter().max_by_key(|memory| memory.gap) else { return };
        let Some(from) = longest.gap_from else { return };
        let until = from + longest.gap;
        self.moments.push(Moment { at: from, text: "the last reply before the longest silence".to_owned() });
        let text = format!("the first reply after it: {} ms", longest.gap.as_millis());
        self.moments.push(Moment { at: until, text });
    }

    fn errors(&self) -> Vec<(String, u64)> {
        let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
        for (text, count) in self.memories.iter().flat_map(|memory| &memory.errors) {
            *errors.entry(text).or_default() += count;
        }
        let mut errors: Vec<(String, u64)> =
            errors.into_iter().map(|(text, count)| (text.to_owned(), count)).collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        errors
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "  {line}").expect("a String takes every write");
}
