//! `status`: the group as a running proxy sees it, for people.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::Value;

use crate::admin::{EpisodeBody, LostRequestBody, NodeBody, StatusBody};

use super::args::{AdminUrl, StatusArgs};
use super::http::{ask, token_in};
use super::program::{Fault, print};
use super::watch;

/// Pause between two looks of `--watch`.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// Episodes shown with their notes; older ones are one line each.
const TOLD_IN_FULL: usize = 1;

pub(super) fn status(args: &StatusArgs) -> Result<(), Fault> {
    let fills = args.watch && !args.json && is_screen();
    // What needs a token is not shown in the text for people, and a token goes no way that it need not.
    let path = args.admin.token_file.as_deref().filter(|_| args.json || fills);
    let token = path.map(token_in).transpose().map_err(Fault::Failed)?;
    if fills {
        return watch::watch(&args.admin, token);
    }
    let token = token.as_ref().map(|token| token.as_str());
    if !args.watch {
        return print(&look(args, token).map_err(Fault::Failed)?);
    }
    loop {
        // A proxy that is away for a moment is what one watches for.
        match look(args, token) {
            Ok(text) => print(&text)?,
            // Whoever reads JSON reads nothing else there.
            Err(reason) if args.json => eprintln!("redhold: {reason}"),
            Err(reason) => print(&format!("{reason}\n"))?,
        }
        std::thread::sleep(BEAT);
    }
}

/// Whether what is written is seen on a terminal that can be drawn on.
fn is_screen() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn look(args: &StatusArgs, token: Option<&str>) -> Result<String, String> {
    let body = asked(&args.admin, token)?;
    if args.json { Ok(body) } else { read(&args.admin.admin, &body).map(|status| render(&status)) }
}

/// The JSON of `/api/status`.
///
/// # Errors
/// A sentence that names the endpoint.
pub(super) fn asked(admin: &AdminUrl, token: Option<&str>) -> Result<String, String> {
    let answer = ask(admin, token, "GET", "/api/status", "")?;
    if answer.code != 200 {
        return Err(format!("{} answered {}: {}", admin.admin, answer.code, answer.body.trim_end()));
    }
    Ok(answer.body)
}

/// What that JSON says, its texts as they may be written to a terminal.
///
/// # Errors
/// A sentence that names the endpoint.
pub(super) fn read(url: &str, body: &str) -> Result<StatusBody, String> {
    let mut value =
        serde_json::from_str(body).map_err(|error| format!("{url} speaks of something else: {error}"))?;
    make_harmless(&mut value);
    serde_json::from_value(value).map_err(|error| format!("{url} speaks of something else: {error}"))
}

fn make_harmless(value: &mut Value) {
    match value {
        Value::String(text) => *text = harmless(text),
        Value::Array(values) => values.iter_mut().for_each(make_harmless),
        Value::Object(fields) => fields.values_mut().for_each(make_harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// With what would move a terminal's cursor or turn text around escaped.
pub(super) fn harmless(text: &str) -> String {
    let escape = |c: char| {
        if matches!(c, '\\' | '\'' | '"') { c.to_string() } else { c.escape_debug().to_string() }
    };
    text.chars().map(escape).collect()
}

fn render(status: &StatusBody) -> String {
    let mut text = String::new();
    let state = state(status);
    let draining = if status.draining { ", draining" } else { "" };
    let primary = status.primary.as_deref().unwrap_or("none yet");
    let _ = writeln!(text, "primary   {primary}  (epoch {}, {state})", status.epoch);
    let _ = writeln!(text, "proxy     {} {}{draining}, as of {}", status.version, status.phase, status.at);
    let _ = writeln!(
        text,
        "clients   {}, {} requests held, {} failovers allowed at once",
        status.clients, status.held_requests, status.failovers_left
    );
    for trouble in troubles(status) {
        let _ = writeln!(text, "{trouble}");
    }
    text.push('\n');
    nodes(&mut text, status);
    out_of_parity(&mut text, status);
    if !status.settings_changed.is_empty() {
        text.push_str("\nSettings changed on nodes\n");
        for s in &status.settings_changed {
            let _ = writeln!(text, "  {}  {} = {} (was {})", s.node, s.name, s.value, s.before);
        }
    }
    lost(&mut text, status);
    if !status.episodes.is_empty() {
        text.push_str("\nLast failovers, newest first\n");
    }
    text + &episodes(status)
}

/// Whether writes go on.
pub(super) fn state(status: &StatusBody) -> String {
    match (&status.held, status.writable) {
        (Some(held), _) => format!("HELD for {}: {}", span(held.for_ms), held.reason),
        (None, true) => "writable".to_owned(),
        (None, false) => "NOT WRITABLE".to_owned(),
    }
}

/// What is not as it should be about the proxy, a line each.
pub(super) fn troubles(status: &StatusBody) -> Vec<String> {
    let mut lines = Vec::new();
    if status.degraded {
        lines.push("DEGRADED  writes wait for no replica until enough are back".to_owned());
    }
    if status.paused {
        lines.push("PAUSED    requests wait by order, until PROXY RESUME or POST /api/resume".to_owned());
    }
    if status.read_only {
        lines.push("READ-ONLY writes are refused by order, until PROXY READONLY OFF".to_owned());
    }
    lines.extend(status.upgrade.iter().map(|upgrade| format!("UPGRADE   {upgrade}")));
    if let Some(fault) = &status.record_unwritten {
        lines.push(format!("RECORD    {fault}; without it a restart of this proxy may not know who leads"));
    }
    let brain = |brain: &String| format!("OBSERVING only: another brain was heard: {brain}");
    lines.extend(status.other_brains.iter().map(brain));
    lines.extend(status.advice.iter().map(|advice| format!("ADVICE    {advice}")));
    lines
}

/// The last failovers, the newest first; it alone with its notes.
pub(super) fn episodes(status: &StatusBody) -> String {
    let mut text = String::new();
    for (age, episode) in status.episodes.iter().rev().enumerate() {
        if age < TOLD_IN_FULL {
            timeline(&mut text, episode);
        } else {
            headline(&mut text, episode);
        }
    }
    text
}

fn out_of_parity(text: &mut String, status: &StatusBody) {
    let mut faults = status.nodes.iter().flat_map(|node| node.out_of_parity.iter().map(move |it| (node, it)));
    let first = faults.next();
    if first.is_some() {
        text.push_str("\nOut of parity with the primary\n");
    }
    for (node, fault) in first.into_iter().chain(faults) {
        let _ = writeln!(text, "  {}  {fault}", node.address);
    }
}

fn lost(text: &mut String, status: &StatusBody) {
    if !status.lost.is_empty() {
        text.push_str("\nUnanswered when connections were lost, the likeliest cause first\n");
    }
    for lost in &status.lost {
        let one = |request: &LostRequestBody| {
            let twice = if request.sent_twice { ", sent twice" } else { "" };
            format!("{} (after {}{twice})", request.request, span(request.waited_ms))
        };
        let named: Vec<_> = lost.requests.iter().map(one).collect();
        let _ = writeln!(text, "  {}  {}  {} in all: {}", lost.at, lost.node, lost.count, named.join("; "));
    }
}

/// A line for each node below one that says what they are.
pub(super) fn nodes(text: &mut String, status: &StatusBody) {
    let head =
        ["NODE", "ROLE", "STATE", "LAG", "STALE", "PING", "VERSION", "KEYS", "REMARK"].map(str::to_owned);
    let rows = status.nodes.iter().map(|node| row(node, status.primary.as_deref() == Some(&node.address)));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    text.push_str(&aligned(&rows));
}

fn row(node: &NodeBody, is_primary: bool) -> [String; 9] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let remarks = [&node.works_on, &node.remark, &node.error, &node.ineligible];
    let remarks: Vec<_> = remarks.into_iter().flatten().map(String::as_str).collect();
    [
        node.address.clone(),
        format!("{}{}{}", if node.up { "" } else { "was " }, node.role, if is_primary { "*" } else { "" }),
        if node.up { "up".to_owned() } else { format!("DOWN {}", span(node.silent_for_ms)) },
        or_dash(node.lag_bytes.map(|bytes| format!("{bytes} B"))),
        or_dash(node.staleness_ms.map(span)),
        or_dash(node.ping_us.map(|us| format!("{}.{:02} ms", us / 1000, us % 1000 / 10))),
        or_dash(node.version.clone()),
        or_dash(node.keys.map(|keys| keys.to_string())),
        remarks.join("; "),
    ]
}

/// Columns of equal width, two spaces apart, nothing at the ends of lines.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// An episode in one line.
pub(super) fn headline(text: &mut String, episode: &EpisodeBody) {
    let (from, to) = (&episode.primary_before, &episode.primary_after);
    let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "none".to_owned());
    let change =
        if from == to { format!("{} leads", name(to)) } else { format!("{} -> {}", name(from), name(to)) };
    let what = format!("{}, {change}", episode.kind.replace('_', " "));
    let end = if episode.ended.is_none() { "going on for" } else { "took" };
    let _ = writeln!(
        text,
        "  {}  {what}, epoch {} -> {}, {end} {}, writes held {}",
        episode.began,
        episode.epoch_before,
        episode.epoch_after,
        span(episode.duration_ms),
        span(episode.held_ms),
    );
}

/// An episode with its notes.
pub(super) fn timeline(text: &mut String, episode: &EpisodeBody) {
    headline(text, episode);
    let rows: Vec<_> = episode
        .notes
        .iter()
        .map(|note| [format!("    +{} ms", note.after_ms), note.phase.clone(), note.text.clone()])
        .collect();
    text.push_str(&aligned(&rows));
}

/// Milliseconds as people say them.
fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admin::{HeldBody, HistoryBody, LostBody, NoteBody, SettingBody, TollBody};

    fn node(address: &str, role: &str) -> NodeBody {
        NodeBody {
            address: address.to_owned(),
            peer_address: address.to_owned(),
            zone: String::new(),
            role: role.to_owned(),
            up: true,
            readable: false,
            lag_bytes: (role == "replica").then_some(14),
            staleness_ms: (role == "replica").then_some(1250),
            ping_us: Some(1234),
            silent_for_ms: 3_700_000,
            version: Some("7.0.15".to_owned()),
            offset: Some(1),
            keys: Some(7),
            ineligible: None,
            remark: None,
            follows: None,
            link_up: None,
            parity: Some(true),
            out_of_parity: vec![],
            works_on: None,
            error: None,
        }
    }

    /// A primary, a replica, and one failover.
    pub(in crate::cli) fn group() -> StatusBody {
        let note = NoteBody {
            after_ms: 5,
            level: "info".to_owned(),
            phase: "suspect".to_owned(),
            text: "a:1 is silent".to_owned(),
        };
        let episode = EpisodeBody {
            kind: "failover".to_owned(),
            began: "B".to_owned(),
            ended: Some("E".to_owned()),
            duration_ms: 500,
            ordered: false,
            epoch_before: 40,
            epoch_after: 41,
            primary_before: Some("b:22".to_owned()),
            primary_after: Some("a:1".to_owned()),
            held_ms: 400,
            toll: TollBody::default(),
            notes: vec![note],
        };
        StatusBody {
            version: "0.1.0".to_owned(),
            at: "T".to_owned(),
            phase: "steady".to_owned(),
            epoch: 41,
            primary: Some("a:1".to_owned()),
            writable: true,
            held: None,
            draining: false,
            upgrade: None,
            clients: 3,
            paused: false,
            read_only: false,
            degraded: false,
            held_requests: 0,
            failovers_left: 2,
            record_unwritten: None,
            other_brains: vec![],
            nodes: vec![node("a:1", "primary"), node("b:22", "replica")],
            advice: vec![],
            settings_changed: vec![],
            lost: vec![],
            episodes: vec![episode],
            history: HistoryBody::default(),
            may_order: true,
            token_needed: false,
            details: None,
            details_refused: None,
        }
    }

    #[test]
    fn a_healthy_group_in_few_lines() {
        let expected = "\
primary   a:1  (epoch 41, writable)
proxy     0.1.0 steady, as of T
clients   3, 0 requests held, 2 failovers allowed at once

NODE  ROLE      STATE  LAG   STALE  PING     VERSION  KEYS  REMARK
a:1   primary*  up     -     -      1.23 ms  7.0.15   7
b:22  replica   up     14 B  1.2 s  1.23 ms  7.0.15   7

Last failovers, newest first
  B  failover, b:22 -> a:1, epoch 40 -> 41, took 500 ms, writes held 400 ms
    +5 ms  suspect  a:1 is silent
";
        assert_eq!(render(&group()), expected);
    }

    #[test]
    fn a_proxy_of_another_version_is_understood() {
        let mut body = serde_json::to_value(group()).expect("JSON");
        let fields = body.as_object_mut().expect("an object");
        for newer in ["upgrade", "history", "may_order", "token_needed", "lost", "advice", "degraded"] {
            assert!(fields.remove(newer).is_some(), "{newer}");
        }
        fields.insert("newest".to_owned(), 1.into());
        for node in fields["nodes"].as_array_mut().expect("a list") {
            for newer in ["follows", "link_up", "parity"] {
                assert!(node.as_object_mut().expect("an object").remove(newer).is_some(), "{newer}");
            }
        }
        let read: StatusBody = serde_json::from_value(body).expect("it is understood");
        let mut expected = group();
        expected.may_order = false;
        expected.nodes.iter_mut().for_each(|node| node.parity = None);
        assert_eq!(read, expected);
    }

    #[test]
    fn what_would_move_the_cursor_is_escaped() {
        let mut hostile = group();
        hostile.version = "\x1b[2J\r\n\u{202e}x\"\\'y\u{9b}2J".to_owned();
        hostile.nodes[0].remark = Some("\x07".to_owned());
        let body = serde_json::to_string(&hostile).expect("JSON");
        let status = read("u", &body).expect("it is understood");
        assert_eq!(status.version, "\\u{1b}[2J\\r\\n\\u{202e}x\"\\'y\\u{9b}2J");
        assert_eq!(status.nodes[0].remark.as_deref(), Some("\\u{7}"));
        assert_eq!(read("u", &serde_json::to_string(&group()).expect("JSON")), Ok(group()));
        assert!(read("u", "{").is_err_and(|error| error.starts_with("u speaks of something else")));
    }

    #[test]
    fn trouble_stands_out() {
        let mut status = group();
        status.held =
            Some(HeldBody { since: "S".to_owned(), for_ms: 2500, reason: "a:1 is silent".to_owned() });
        status.writable = false;
        status.draining = true;
        status.upgrade = Some("process 7 serves clients yet".to_owned());
        status.record_unwritten = Some("the record of epoch 2 was not written: full".to_owned());
        status.other_brains.push("sentinel-1".to_owned());
        status.advice.push("evicts what replicas serve".to_owned());
        status.nodes[0].up = false;
        status.nodes[0].error = Some("no answer".to_owned());
        status.nodes[0].works_on = Some("works on EVAL for 900 ms".to_owned());
        let setting = ["b:22", "repl-timeout", "10", "60"].map(str::to_owned);
        let [node, name, value, before] = setting;
        status.settings_changed.push(SettingBody { node, name, value, before });
        status.nodes[1].out_of_parity.push("refused ACL SETUSER app: NOPERM".to_owned());
        let one = |request: &str, sent_twice| LostRequestBody {
            request: request.to_owned(),
            waited_ms: 3,
            sent_twice,
        };
        status.lost.push(LostBody {
            node: "a:1".to_owned(),
            at: "L".to_owned(),
            count: 5,
            requests: vec![one("DEBUG", false), one("GET k", true)],
        });
        let mut open = status.episodes[0].clone();
        (open.ended, open.primary_before) = (None, open.primary_after.clone());
        open.kind = "false_alarm".to_owned();
        status.episodes.push(open);
        let text = render(&status);
        for line in [
            "primary   a:1  (epoch 41, HELD for 2.5 s: a:1 is silent)",
            "proxy     0.1.0 steady, draining, as of T",
            "RECORD    the record of epoch 2 was not written: full; without it a restart of this proxy may not know who leads",
            "UPGRADE   process 7 serves clients yet",
            "ADVICE    evicts what replicas serve",
            "OBSERVING only: another brain was heard: sentinel-1",
            "a:1   was primary*  DOWN 1 h  -     -      1.23 ms  7.0.15   7     works on EVAL for 900 ms; no answer",
            "  b:22  repl-timeout = 10 (was 60)",
            "  b:22  refused ACL SETUSER app: NOPERM",
            "  L  a:1  5 in all: DEBUG (after 3 ms); GET k (after 3 ms, sent twice)",
            "  B  false alarm, a:1 leads, epoch 40 -> 41, going on for 500 ms, writes held 400 ms",
            "  B  failover, b:22 -> a:1, epoch 40 -> 41, took 500 ms, writes held 400 ms",
        ] {
            assert!(text.lines().any(|told| told == line), "no line `{line}` in\n{text}");
        }
    }
}
