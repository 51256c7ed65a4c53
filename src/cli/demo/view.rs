//! The live view: redrawn on a terminal, one line a second elsewhere.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::load::Counts;

/// Time that one column of the chart stands for.
pub(super) const BEAT: Duration = Duration::from_millis(100);
/// Columns of the chart.
const COLUMNS: usize = 60;
/// Lines of the timeline that are shown while it grows.
const LINES: usize = 8;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Something that happened, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) text: String,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    began: Instant,
    terminal: bool,
    columns: VecDeque<u64>,
    answered: u64,
    beats: u64,
    drawn_lines: usize,
}

impl View {
    /// An empty view; `began` is the zero of its clock.
    pub(super) fn new(began: Instant) -> Self {
        let columns = VecDeque::with_capacity(COLUMNS);
        Self { began, terminal: stdout().is_terminal(), columns, answered: 0, beats: 0, drawn_lines: 0 }
    }

    /// Shows the present state; called once every [`BEAT`].
    pub(super) fn show(&mut self, counts: &Counts, nodes: &[String], moments: &[Moment]) {
        let answered = counts.answered.load(Ordering::Relaxed);
        if self.columns.len() == COLUMNS {
            self.columns.pop_front();
        }
        self.columns.push_back(answered.saturating_sub(self.answered));
        self.answered = answered;
        self.beats += 1;
        if self.terminal {
            self.redraw(counts, nodes, moments);
        } else if self.beats.is_multiple_of(10) {
            let second: u64 = self.columns.iter().rev().take(10).sum();
            println!(
                "{:7.1} s  {second:>7} replies/s  {}",
                self.began.elapsed().as_secs_f64(),
                counters(counts)
            );
        }
    }

    fn redraw(&mut self, counts: &Counts, nodes: &[String], moments: &[Moment]) {
        let mut text = String::new();
        if self.drawn_lines > 0 {
            write!(text, "\x1b[{}A", self.drawn_lines).expect("a String takes every write");
        }
        let mut lines = vec![String::new()];
        lines.extend(nodes.iter().map(|node| format!("  {node}")));
        lines.push(String::new());
        lines.push(format!("  {}", counters(counts)));
        lines.push(format!("  replies in {} ms, last {} s:", BEAT.as_millis(), COLUMNS / 10));
        lines.push(format!("  {}", chart(&self.columns)));
        lines.push(String::new());
        let shown = &moments[moments.len().saturating_sub(LINES)..];
        lines.extend(shown.iter().map(|moment| format!("  {}", sentence(self.began, moment))));
        lines.resize(nodes.len() + 6 + LINES, String::new());
        for line in &lines {
            writeln!(text, "\x1b[2K{line}").expect("a String takes every write");
        }
        self.drawn_lines = lines.len();
        print!("{text}");
        // A view that cannot be drawn is no reason to end the demonstration.
        drop(stdout().flush());
    }
}

/// A moment with its time since the beginning.
pub(super) fn sentence(began: Instant, moment: &Moment) -> String {
    format!("{:7.3} s  {}", moment.at.saturating_duration_since(began).as_secs_f64(), moment.text)
}

fn counters(counts: &Counts) -> String {
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{} writes acknowledged, {} in flight, {} ambiguous, {} errors, {} connections lost",
        of(&counts.acknowledged),
        of(&counts.in_flight),
        of(&counts.ambiguous),
        of(&counts.errors),
        of(&counts.dropped)
    )
}

/// Bars in proportion to the largest; what is not nothing is never drawn as nothing.
pub(super) fn chart(columns: &VecDeque<u64>) -> String {
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let last = BARS.len() as u64 - 1;
    let bar =
        |&count: &u64| BARS[usize::try_from((count * last).div_ceil(most)).unwrap_or(0).min(BARS.len() - 1)];
    columns.iter().map(bar).collect()
}
