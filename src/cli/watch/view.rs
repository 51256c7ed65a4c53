//! What the view knows, and what keys do to it. Pure: answers, keys and the time are given.

use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::admin::StatusBody;

/// What the lower part shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Clients,
    HotKeys,
    BigKeys,
    Slow,
    Failovers,
}

impl Panel {
    /// All, in the order of their numbers.
    pub(super) const ALL: [Self; 5] =
        [Self::Clients, Self::HotKeys, Self::BigKeys, Self::Slow, Self::Failovers];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::HotKeys => "hot keys",
            Self::BigKeys => "big keys",
            Self::Slow => "slow log",
            Self::Failovers => "failovers",
        }
    }

    /// The one that is so many further, around the end.
    fn further(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|panel| *panel == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// By what clients are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Rate,
    Memory,
    Requests,
}

impl Sort {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rate => "requests a second",
            Self::Memory => "memory",
            Self::Requests => "requests",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Memory,
            Self::Memory => Self::Requests,
            Self::Requests => Self::Rate,
        }
    }
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Quits,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct View {
    /// The endpoint.
    pub(super) url: String,
    /// What it last told, unless that came while the view stood still.
    pub(super) status: Option<StatusBody>,
    /// When it last told anything, or the view began.
    pub(super) heard: Instant,
    /// Why it could not be asked, and since when it cannot.
    pub(super) fault: Option<(String, Instant)>,
    pub(super) panel: Panel,
    pub(super) sort: Sort,
    /// What is shown stands still.
    pub(super) still: bool,
    /// Lines of the panel that are above what is shown; drawing shows its end at most.
    pub(super) above: usize,
}

impl View {
    /// Of an endpoint that was not asked yet.
    pub(super) fn new(url: String, now: Instant) -> Self {
        Self {
            url,
            status: None,
            heard: now,
            fault: None,
            panel: Panel::Clients,
            sort: Sort::Rate,
            still: false,
            above: 0,
        }
    }

    /// The endpoint has answered.
    pub(super) fn answered(&mut self, status: StatusBody, now: Instant) {
        (self.heard, self.fault) = (now, None);
        if !self.still || self.status.is_none() {
            self.status = Some(status);
        }
    }

    /// It has not.
    pub(super) fn failed(&mut self, reason: String, now: Instant) {
        let since = self.fault.as_ref().map_or(now, |(_, since)| *since);
        self.fault = Some((reason, since));
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Goes {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'C' | 'd') if control => return Goes::Quits,
            _ if control => {}
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Goes::Quits,
            KeyCode::Char('p' | ' ') => self.still = !self.still,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Tab | KeyCode::Right => self.show(self.panel.further(1)),
            KeyCode::BackTab | KeyCode::Left => self.show(self.panel.further(Panel::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='9') => {
                let number = digit.to_digit(10).unwrap_or(0) as usize;
                if let Some(panel) = Panel::ALL.get(number - 1) {
                    self.show(*panel);
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.above = self.above.saturating_add(1),
            KeyCode::PageUp => self.above = self.above.saturating_sub(10),
            KeyCode::PageDown => self.above = self.above.saturating_add(10),
            KeyCode::Home => self.above = 0,
            _ => {}
        }
        Goes::On
    }

    /// The panel has so many lines of which so many can be seen: what is above is no more than there is.
    pub(super) fn fit(&mut self, lines: usize, seen: usize) {
        self.above = self.above.min(lines.saturating_sub(seen));
    }

    fn show(&mut self, panel: Panel) {
        (self.panel, self.above) = (panel, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::status::tests::group;

    fn press(view: &mut View, code: KeyCode) -> Goes {
        view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_choose_the_panel_and_end_the_view() {
        let mut view = View::new("u".to_owned(), Instant::now());
        let mut after = |code| {
            assert_eq!(press(&mut view, code), Goes::On);
            view.panel
        };
        assert_eq!(after(KeyCode::Char('4')), Panel::Slow);
        assert_eq!(after(KeyCode::Char('9')), Panel::Slow, "there is none");
        assert_eq!(after(KeyCode::Tab), Panel::Failovers);
        assert_eq!(after(KeyCode::Tab), Panel::Clients, "around the end");
        assert_eq!(after(KeyCode::BackTab), Panel::Failovers);
        assert_eq!(after(KeyCode::Char('x')), Panel::Failovers);
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut view, code), Goes::Quits);
        }
        for (key, goes) in [('c', Goes::Quits), ('q', Goes::On)] {
            assert_eq!(
                view.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL)),
                goes,
                "Ctrl-{key}"
            );
        }
        assert_eq!(press(&mut view, KeyCode::Char('s')), Goes::On);
        assert_eq!(view.sort, Sort::Memory);
    }

    #[test]
    fn what_is_above_is_no_more_than_there_is_and_nothing_in_another_panel() {
        let mut view = View::new("u".to_owned(), Instant::now());
        (0..30).for_each(|_| assert_eq!(press(&mut view, KeyCode::Down), Goes::On));
        view.fit(12, 10);
        assert_eq!(view.above, 2);
        press(&mut view, KeyCode::Up);
        view.fit(12, 10);
        assert_eq!(view.above, 1);
        view.fit(5, 10);
        assert_eq!(view.above, 0);
        press(&mut view, KeyCode::PageDown);
        press(&mut view, KeyCode::Tab);
        assert_eq!(view.above, 0);
    }

    #[test]
    fn while_it_stands_still_nothing_new_is_shown_and_faults_are() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut view = View::new("u".to_owned(), start);
        press(&mut view, KeyCode::Char('p'));
        view.answered(group(), start);
        assert!(view.status.is_some(), "the first is shown");
        let mut later = group();
        later.epoch = 99;
        view.answered(later.clone(), start + second);
        assert_eq!(view.status.as_ref().map(|status| status.epoch), Some(41));
        view.failed("gone".to_owned(), start + 2 * second);
        view.failed("still gone".to_owned(), start + 3 * second);
        assert_eq!(view.fault, Some(("still gone".to_owned(), start + 2 * second)), "since the first time");
        press(&mut view, KeyCode::Char('p'));
        view.answered(later, start + 4 * second);
        assert_eq!((view.status.map(|status| status.epoch), view.fault), (Some(99), None));
    }
}
