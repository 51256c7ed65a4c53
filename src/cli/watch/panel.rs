//! The lower part of the view: a list of what clients do, or of the last failovers. Pure.

use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;

use crate::admin::{BigKeyBody, ClientBody, DetailsBody, StatusBody};
use crate::cli::status;

use super::text::{aligned, clock, duration, size};
use super::view::{Panel, Sort, View};

/// The lines of the panel: the first is the head of its columns, unless there is nothing to show.
pub(super) fn lines(view: &View, status: &StatusBody) -> Vec<Line<'static>> {
    if view.panel == Panel::Failovers {
        return failovers(status);
    }
    let Some(details) = &status.details else {
        let why = status.details_refused.as_deref().unwrap_or("this proxy does not tell them");
        return vec![quiet(format!("Not shown: {why}."))];
    };
    let rows = match view.panel {
        Panel::Clients => clients(details, view.sort),
        Panel::HotKeys => hot_keys(details),
        Panel::BigKeys => big_keys(details),
        Panel::Slow => slow(details),
        Panel::Failovers => Vec::new(),
    };
    if rows.len() > 1 { headed(rows) } else { vec![quiet(nothing(view.panel, details).to_owned())] }
}

fn nothing(panel: Panel, details: &DetailsBody) -> &'static str {
    match panel {
        Panel::Clients => "There are none.",
        Panel::HotKeys if details.hot_keys.one_in == 0 => "None are counted, since log.hotkeys_one_in is 0.",
        Panel::HotKeys => "None stands out.",
        Panel::BigKeys if details.big_keys.min_bytes.is_none() => {
            "None are remembered, since log.bigkeys_min is 0."
        }
        Panel::BigKeys => "None was as large as log.bigkeys_min.",
        Panel::Slow => "None took as long as log.slowlog.",
        Panel::Failovers => "There was none.",
    }
}

fn quiet(text: String) -> Line<'static> {
    Line::from(text).fg(Color::DarkGray)
}

/// With the first line as the head.
fn headed(lines: Vec<String>) -> Vec<Line<'static>> {
    let style = |at: usize| if at == 0 { Style::new().bold().underlined() } else { Style::new() };
    lines.into_iter().enumerate().map(|(at, line)| Line::styled(line, style(at))).collect()
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    aligned(&rows)
}

fn clients(details: &DetailsBody, sort: Sort) -> Vec<String> {
    let mut sorted: Vec<&ClientBody> = details.clients.iter().collect();
    sorted.sort_by_key(|client| {
        std::cmp::Reverse(match sort {
            Sort::Rate => client.requests_per_second,
            Sort::Memory => client.memory_bytes,
            Sort::Requests => client.requests,
        })
    });
    let row = |client: &&ClientBody| {
        [
            client.address.clone(),
            client.requests_per_second.to_string(),
            size(client.memory_bytes),
            client.requests.to_string(),
            client.command.clone(),
            client.user.clone(),
            client.name.clone(),
        ]
    };
    table(["CLIENT", "REQ/S", "HOLDS", "REQUESTS", "LAST", "USER", "NAME"], sorted.iter().map(row))
}

fn hot_keys(details: &DetailsBody) -> Vec<String> {
    let found = &details.hot_keys;
    let rows = found.keys.iter().map(|key| {
        // In tenths of a per cent.
        let share = key.at_least.saturating_mul(1_000) / found.sampled.max(1);
        [
            format!("{}.{} %", share / 10, share % 10),
            format!("{} to {}", key.at_least, key.at_most),
            key.db.to_string(),
            key.key.clone(),
        ]
    });
    table(["SHARE", "SAMPLED", "DB", "KEY"], rows)
}

fn big_keys(details: &DetailsBody) -> Vec<String> {
    let found = &details.big_keys;
    let row = |what: &str, big: &BigKeyBody| {
        let more = if big.keys > 1 { format!(" and {} more", big.keys - 1) } else { String::new() };
        [
            size(big.bytes),
            what.to_owned(),
            big.command.clone(),
            big.times.to_string(),
            clock(&big.at).to_owned(),
            big.db.to_string(),
            format!("{}{more}", big.key),
            format!("{} {}", big.client, big.client_name).trim_end().to_owned(),
        ]
    };
    let mut all: Vec<_> = found.requests.iter().map(|big| ("request", big)).collect();
    all.extend(found.replies.iter().map(|big| ("reply", big)));
    all.sort_by_key(|(_, big)| std::cmp::Reverse(big.bytes));
    let rows = all.into_iter().map(|(what, big)| row(what, big));
    table(["LARGEST", "WHAT", "COMMAND", "TIMES", "AT", "DB", "KEY", "CLIENT"], rows)
}

fn slow(details: &DetailsBody) -> Vec<String> {
    let rows = details.slow.iter().map(|slow| {
        [
            clock(&slow.at).to_owned(),
            duration(slow.took_us),
            duration(slow.held_us),
            slow.server_us.map_or_else(|| "-".to_owned(), duration),
            slow.node.clone().unwrap_or_else(|| "proxy".to_owned()),
            slow.request.clone(),
            format!("{} {}", slow.client, slow.client_name).trim_end().to_owned(),
        ]
    });
    table(["AT", "TOOK", "HELD", "IN REDIS", "WHERE", "REQUEST", "CLIENT"], rows)
}

/// The newest first, it alone with its timeline.
fn failovers(status: &StatusBody) -> Vec<Line<'static>> {
    if status.episodes.is_empty() {
        return vec![quiet("There was none.".to_owned())];
    }
    let text = status::episodes(status);
    text.lines().map(|line| Line::from(line.to_owned())).collect()
}
