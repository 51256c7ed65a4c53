//! What of the view is drawn where. Pure: a function of what is known, of the time and of the size of the terminal. What does not
//! fit is left out, the least important first: the charts, the last failover, the lower part, nodes.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, RenderDirection, Sparkline};

use crate::admin::StatusBody;
use crate::cli::status;

use super::panel;
use super::text::{clock, duration, mean, most, squeezed};
use super::view::{Panel, View};

/// Samples of the history that the charts show: its five minutes, one a second.
const SPAN: usize = 300;

/// An endpoint that was not heard for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sentences about trouble that are shown at a time.
const TROUBLES_MAX: usize = 4;

/// Lines of the lower part, its tabs included, that are left before charts are drawn.
const PANEL_MIN: u16 = 8;

/// Draws all of it.
pub(super) fn draw(view: &mut View, frame: &mut Frame<'_>, now: Instant) {
    let mut left = frame.area();
    let head = head(view, now);
    lines(frame, &mut left, head);
    let Some(status) = view.status.take() else { return };
    let keys = bottom(&mut left);
    let nodes = nodes(&status);
    lines(frame, &mut left, nodes);
    if left.height >= PANEL_MIN + 4 {
        charts(frame, top(&mut left, 4), &status);
    }
    if left.height >= PANEL_MIN
        && let Some(last) = status.episodes.last()
    {
        let mut text = String::new();
        status::headline(&mut text, last);
        lines(frame, &mut left, vec![Line::from(format!("last  {}", text.trim()))]);
    }
    lower(view, frame, left, &status);
    if let Some(keys) = keys {
        let still = if view.still { "p go on" } else { "p stand still" };
        let text = format!("q quit  Tab or 1-5 list  {still}  s sort  Up/Down scroll");
        frame.render_widget(Line::from(text).fg(Color::DarkGray), keys);
    }
    view.status = Some(status);
}

/// Takes so many lines off the top.
fn top(left: &mut Rect, height: u16) -> Rect {
    let height = height.min(left.height);
    let taken = Rect { height, ..*left };
    *left = Rect { y: left.y + height, height: left.height - height, ..*left };
    taken
}

/// Takes the last line, if the others are worth it.
fn bottom(left: &mut Rect) -> Option<Rect> {
    if left.height < PANEL_MIN {
        return None;
    }
    left.height -= 1;
    Some(Rect { y: left.bottom(), height: 1, ..*left })
}

fn lines(frame: &mut Frame<'_>, left: &mut Rect, lines: Vec<Line<'_>>) {
    let area = top(left, u16::try_from(lines.len()).unwrap_or(u16::MAX));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Who is asked, and what is to be known first.
fn head(view: &View, now: Instant) -> Vec<Line<'static>> {
    let mut title = vec![Span::from("redhold").bold(), Span::from(format!("  {}", view.url))];
    if let Some(status) = &view.status {
        title.push(Span::from(format!("  {}  as of {}", status.version, clock(&status.at))));
    }
    if view.still {
        title.push(Span::from("  stands still").yellow());
    }
    let mut head = vec![Line::from(title)];
    let silent = now.saturating_duration_since(view.heard);
    let fault = match &view.fault {
        Some((reason, since)) => {
            let ago = now.saturating_duration_since(*since).as_secs();
            Some(format!("NO ANSWER for {ago} s: {reason}"))
        }
        None if silent >= PATIENCE => Some(format!("NO ANSWER for {} s", silent.as_secs())),
        None if view.status.is_none() => Some("asking".to_owned()),
        None => None,
    };
    head.extend(fault.map(|fault| Line::from(fault).red()));
    if let Some(status) = &view.status {
        head.extend(state(status));
        let mut troubles = status::troubles(status);
        for node in status.nodes.iter().filter(|node| !node.out_of_parity.is_empty()) {
            let (count, first) = (node.out_of_parity.len(), &node.out_of_parity[0]);
            troubles.push(format!("PARITY    {} lacks or has otherwise {count}: {first}", node.address));
        }
        if troubles.len() > TROUBLES_MAX {
            let more = troubles.len() - (TROUBLES_MAX - 1);
            troubles.truncate(TROUBLES_MAX - 1);
            troubles.push(format!("and {more} more"));
        }
        head.extend(troubles.into_iter().map(|trouble| Line::from(trouble).yellow()));
    }
    head
}

/// Who leads, and whether writes go on.
fn state(status: &StatusBody) -> [Line<'static>; 2] {
    let (state, color) = match (&status.held, status.writable) {
        (Some(_), _) => (status::state(status), Color::Red),
        (None, true) => (status::state(status), Color::Green),
        (None, false) => (status::state(status), Color::Red),
    };
    let primary = status.primary.as_deref().unwrap_or("none yet");
    [
        Line::from(vec![
            Span::from("primary  "),
            Span::from(primary.to_owned()).bold(),
            Span::from(format!("  epoch {}  ", status.epoch)),
            Span::styled(state, Style::new().fg(color).bold()),
        ]),
        Line::from(format!(
            "clients  {}  held {}  failovers left {}  {}{}",
            status.clients,
            status.held_requests,
            status.failovers_left,
            status.phase,
            if status.draining { "  draining" } else { "" },
        )),
    ]
}

fn nodes(status: &StatusBody) -> Vec<Line<'static>> {
    let up = |at: usize| at.checked_sub(1).and_then(|at| status.nodes.get(at)).map(|node| node.up);
    let style = |at: usize| match up(at) {
        None => Style::new().bold().underlined(),
        Some(true) => Style::new(),
        Some(false) => Style::new().fg(Color::Red),
    };
    let mut text = String::new();
    status::nodes(&mut text, status);
    text.lines().enumerate().map(|(at, line)| Line::styled(line.to_owned(), style(at))).collect()
}

/// Requests a second, and what the slowest took.
fn charts(frame: &mut Frame<'_>, area: Rect, status: &StatusBody) {
    let [rate, slowest] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    let slow: Vec<u64> = status.history.p99_us.iter().map(|micros| micros.unwrap_or(0)).collect();
    let requests = &status.history.requests;
    let now = |samples: &[u64]| samples.last().copied().unwrap_or(0);
    let title = format!("requests/s  {} now, {} at most", now(requests), most(requests));
    chart(frame, rate, (title, Color::Cyan), squeezed(requests, SPAN, usize::from(rate.width), mean));
    let title = format!("99 of 100 within  {} now, {} at most", duration(now(&slow)), duration(most(&slow)));
    chart(frame, slowest, (title, Color::Magenta), squeezed(&slow, SPAN, usize::from(slowest.width), most));
}

/// The newest on the right.
fn chart(frame: &mut Frame<'_>, mut area: Rect, (title, color): (String, Color), newest_first: Vec<u64>) {
    lines(frame, &mut area, vec![Line::from(title).bold()]);
    let chart = Sparkline::default().data(newest_first).direction(RenderDirection::RightToLeft);
    frame.render_widget(chart.style(Style::new().fg(color)), area);
}

/// The names of the lists, and the one that is chosen.
fn lower(view: &mut View, frame: &mut Frame<'_>, mut left: Rect, status: &StatusBody) {
    let mut tabs = Vec::new();
    for (number, panel) in (1..).zip(Panel::ALL) {
        let chosen = panel == view.panel;
        let style = if chosen { Style::new().reversed() } else { Style::new() };
        let sort = if chosen && panel == Panel::Clients {
            format!(" by {}", view.sort.title())
        } else {
            String::new()
        };
        tabs.push(Span::styled(format!("{number} {}{sort}", panel.title()), style));
        tabs.push(Span::from("  "));
    }
    lines(frame, &mut left, vec![Line::from(tabs)]);
    let all = panel::lines(view, status);
    view.fit(all.len(), usize::from(left.height));
    // The head stays.
    let (head, rows) = all.split_at(usize::from(view.panel != Panel::Failovers).min(all.len()));
    let shown = head.iter().chain(rows.iter().skip(view.above)).cloned().collect();
    frame.render_widget(Paragraph::<'_>::new::<Vec<Line<'_>>>(shown), left);
}

#[cfg(test)]
mod tests;
