use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::super::view::Goes;
use super::*;
use crate::admin::{BigKeyBody, ClientBody, DetailsBody, HeldBody, HotKeyBody, HotKeysBody, SlowBody};
use crate::cli::status::tests::group;

fn client(address: &str, per_second: u64, memory_bytes: u64) -> ClientBody {
    ClientBody {
        id: 1,
        address: address.to_owned(),
        name: "jobs".to_owned(),
        user: "app".to_owned(),
        command: "GET".to_owned(),
        requests_per_second: per_second,
        requests: 900,
        memory_bytes,
        connected_for_ms: 5,
    }
}

fn big(key: &str, bytes: u64) -> BigKeyBody {
    BigKeyBody {
        key: key.to_owned(),
        keys: 3,
        db: 0,
        command: "MGET".to_owned(),
        bytes,
        times: 2,
        at: "2000-02-29T12:00:03.000Z".to_owned(),
        node: "a:1".to_owned(),
        client: "10.0.0.9:7".to_owned(),
        client_name: String::new(),
        user: "app".to_owned(),
    }
}

/// A group under load.
fn busy() -> StatusBody {
    let mut status = group();
    status.at = "2000-02-29T12:00:01.000Z".to_owned();
    status.history.requests = vec![0, 100, 200, 400];
    status.history.p99_us = vec![None, Some(800), Some(3_200), Some(1_600)];
    status.history.age_ms = vec![3_000, 2_000, 1_000, 0];
    let slow = SlowBody {
        at: "2000-02-29T12:00:02.000Z".to_owned(),
        took_us: 12_340,
        request: "KEYS *".to_owned(),
        client: "10.0.0.9:7".to_owned(),
        client_name: "jobs".to_owned(),
        node: Some("a:1".to_owned()),
        held_us: 0,
        server_us: Some(11_000),
    };
    let hot = HotKeyBody { key: "user:1".to_owned(), db: 0, at_least: 40, at_most: 44 };
    let mut details = DetailsBody {
        slow: vec![slow],
        hot_keys: HotKeysBody { seconds: 60, one_in: 1000, sampled: 100, keys: vec![hot] },
        clients: vec![client("10.0.0.9:7", 300, 10), client("10.0.0.8:7", 5, 4_096)],
        ..DetailsBody::default()
    };
    details.big_keys.min_bytes = Some(1);
    (details.big_keys.requests, details.big_keys.replies) = (vec![big("r", 2_048)], vec![big("s", 3 << 20)]);
    status.details = Some(details);
    status
}

/// What is known of `status`, after these keys.
fn view(status: StatusBody, keys: &[KeyCode], now: Instant) -> View {
    let mut view = View::new("http://p:9380".to_owned(), now);
    view.answered(status, now);
    for key in keys {
        assert_eq!(view.key(KeyEvent::new(*key, KeyModifiers::NONE)), Goes::On);
    }
    view
}

/// The lines of a terminal of this size, without what is blank at their ends; and the colour of the cell at `at`.
fn drawn(view: &mut View, (width, height): (u16, u16), now: Instant, at: (u16, u16)) -> (Vec<String>, Color) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(view, frame, now)).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..height).map(line).collect(), buffer.cell(at).map_or(Color::Reset, |cell| cell.fg))
}

fn lines_of(status: StatusBody, keys: &[KeyCode], size: (u16, u16)) -> Vec<String> {
    let now = Instant::now();
    drawn(&mut view(status, keys, now), size, now, (0, 0)).0
}

#[test]
fn a_usual_terminal_shows_all_of_it() {
    let now = Instant::now();
    let (lines, state) = drawn(&mut view(busy(), &[], now), (80, 24), now, (24, 1));
    let expected = [
        "redhold  http://p:9380  0.1.0  as of 12:00:01",
        "primary  a:1  epoch 41  writable",
        "clients  3  held 0  failovers left 2  steady",
        "NODE  ROLE      STATE  LAG   STALE  PING     VERSION  KEYS  REMARK",
        "a:1   primary*  up     -     -      1.23 ms  7.0.15   7",
        "b:22  replica   up     14 B  1.2 s  1.23 ms  7.0.15   7",
        "requests/s  400 now, 400 at most         99 of 100 within  1.60 ms now, 3.20 ms",
    ];
    assert_eq!(lines[..7], expected);
    assert_eq!(state, Color::Green);
    // Newest right: 300 samples on 39 columns are 8 to a column, so that four are one.
    assert_eq!((lines[9].chars().nth(38), lines[9].chars().nth(79)), (Some('█'), Some('█')), "{lines:#?}");
    let expected = [
        "last  B  failover, b:22 -> a:1, epoch 40 -> 41, took 500 ms, writes held 400 ms",
        "1 clients by requests a second  2 hot keys  3 big keys  4 slow log  5 failovers",
        "CLIENT      REQ/S  HOLDS    REQUESTS  LAST  USER  NAME",
        "10.0.0.9:7  300    10 B     900       GET   app   jobs",
        "10.0.0.8:7  5      4.0 KiB  900       GET   app   jobs",
    ];
    assert_eq!(lines[10..15], expected);
    assert!(lines[15..23].iter().all(String::is_empty), "{lines:#?}");
    assert_eq!(lines[23], "q quit  Tab or 1-5 list  p stand still  s sort  Up/Down scroll");
}

#[test]
fn each_list_has_its_own_columns() {
    let panel = |keys: &[KeyCode]| lines_of(busy(), keys, (100, 24))[12..15].to_vec();
    assert_eq!(
        panel(&[KeyCode::Char('s')])[1],
        "10.0.0.8:7  5      4.0 KiB  900       GET   app   jobs",
        "by memory"
    );
    assert_eq!(
        panel(&[KeyCode::Char('2')]),
        ["SHARE   SAMPLED   DB  KEY", "40.0 %  40 to 44  0   user:1", ""]
    );
    let expected = [
        "LARGEST  WHAT     COMMAND  TIMES  AT        DB  KEY           CLIENT",
        "3.0 MiB  reply    MGET     2      12:00:03  0   s and 2 more  10.0.0.9:7",
        "2.0 KiB  request  MGET     2      12:00:03  0   r and 2 more  10.0.0.9:7",
    ];
    assert_eq!(panel(&[KeyCode::Char('3')]), expected);
    let expected = [
        "AT        TOOK      HELD  IN REDIS  WHERE  REQUEST  CLIENT",
        "12:00:02  12.34 ms  0 us  11.00 ms  a:1    KEYS *   10.0.0.9:7 jobs",
        "",
    ];
    assert_eq!(panel(&[KeyCode::Char('4')]), expected);
    let failovers = panel(&[KeyCode::Char('5')]);
    assert_eq!(failovers[1], "    +5 ms  suspect  a:1 is silent", "{failovers:?}");
    let mut refused = busy();
    (refused.details, refused.details_refused) = (None, Some("a token is needed".to_owned()));
    assert_eq!(lines_of(refused, &[], (100, 24))[12], "Not shown: a token is needed.");
}

#[test]
fn trouble_is_seen_first() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut status = busy();
    status.writable = false;
    status.held = Some(HeldBody { since: "S".to_owned(), for_ms: 2_500, reason: "a:1 is silent".to_owned() });
    (status.degraded, status.paused, status.read_only) = (true, true, true);
    status.advice = vec!["one".to_owned(), "two".to_owned()];
    status.nodes[1].out_of_parity = vec!["refused ACL SETUSER app".to_owned()];
    let mut view = view(status, &[KeyCode::Char('p')], start);
    let (lines, state) = drawn(&mut view, (80, 24), start, (24, 1));
    assert_eq!(lines[0], "redhold  http://p:9380  0.1.0  as of 12:00:01  stands still");
    assert_eq!(
        (lines[1].as_str(), state),
        ("primary  a:1  epoch 41  HELD for 2.5 s: a:1 is silent", Color::Red)
    );
    assert!(lines[3].starts_with("DEGRADED") && lines[5].starts_with("READ-ONLY"), "{lines:#?}");
    assert_eq!(lines[6], "and 3 more");
    let (lines, _) = drawn(&mut view, (80, 24), start + 2 * second, (0, 0));
    assert!(!lines[1].contains("NO ANSWER"), "one answer may be late: {lines:#?}");
    let (lines, _) = drawn(&mut view, (80, 24), start + 4 * second, (0, 0));
    assert_eq!(lines[1], "NO ANSWER for 4 s");
    view.failed("nobody listens".to_owned(), start + 5 * second);
    let (lines, color) = drawn(&mut view, (80, 24), start + 9 * second, (0, 1));
    assert_eq!((lines[1].as_str(), color), ("NO ANSWER for 4 s: nobody listens", Color::Red));
    assert!(lines[2].starts_with("primary  a:1"), "what was known stays: {lines:#?}");
}

#[test]
fn before_the_first_answer_the_reason_is_shown() {
    let now = Instant::now();
    let mut view = View::new("http://p:9380".to_owned(), now);
    let (lines, _) = drawn(&mut view, (40, 3), now, (0, 0));
    assert_eq!(lines, ["redhold  http://p:9380", "asking", ""]);
    view.failed("nobody listens at http://p:9380".to_owned(), now);
    let (lines, _) = drawn(&mut view, (40, 3), now, (0, 0));
    assert_eq!(lines[1], "NO ANSWER for 0 s: nobody listens at htt");
}

#[test]
fn a_small_terminal_shows_the_most_important() {
    let lines = lines_of(busy(), &[], (30, 6));
    let expected = [
        "redhold  http://p:9380  0.1.0",
        "primary  a:1  epoch 41  writab",
        "clients  3  held 0  failovers",
        "NODE  ROLE      STATE  LAG   S",
        "a:1   primary*  up     -     -",
        "b:22  replica   up     14 B  1",
    ];
    assert_eq!(lines, expected);
    let lines = lines_of(busy(), &[], (40, 12));
    assert_eq!(lines[6], "1 clients by requests a second  2 hot ke", "no charts, no keys: {lines:#?}");
    for size in [(0, 0), (1, 1), (3, 40), (500, 1), (20, 9), (200, 100)] {
        for panel in '1'..='5' {
            let lines = lines_of(busy(), &[KeyCode::Char(panel), KeyCode::PageDown], size);
            assert_eq!(lines.len(), usize::from(size.1), "{size:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_reached_by_scrolling_below_its_head() {
    let mut status = busy();
    let clients = (0..40).map(|at| client(&format!("10.0.0.9:{at}"), 100 - at, 0)).collect();
    status.details.as_mut().expect("details").clients = clients;
    let now = Instant::now();
    let mut view = view(status, &[KeyCode::PageDown, KeyCode::Down], now);
    let (lines, _) = drawn(&mut view, (80, 24), now, (0, 0));
    assert!(lines[12].starts_with("CLIENT") && lines[13].starts_with("10.0.0.9:11 "), "{lines:#?}");
    for _ in 0..9 {
        assert_eq!(view.key(KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE)), Goes::On);
    }
    let (lines, _) = drawn(&mut view, (80, 24), now, (0, 0));
    assert!(lines[22].starts_with("10.0.0.9:39 "), "no further than the end: {lines:#?}");
}

#[test]
fn hostile_texts_stay_in_their_cells() {
    let mut status = busy();
    let evil = "\x1b[2J\r\n\u{202e}\u{9b}evil";
    status.nodes[1].remark = Some(evil.to_owned());
    status.details.as_mut().expect("details").clients[0].name = evil.to_owned();
    let body = serde_json::to_string(&status).expect("JSON");
    let lines = lines_of(crate::cli::status::read("u", &body).expect("it is understood"), &[], (120, 24));
    let shown = "\\u{1b}[2J\\r\\n\\u{202e}\\u{9b}evil";
    assert!(lines[5].ends_with(shown) && lines[13].ends_with(shown), "{lines:#?}");
    // What is not escaped is not drawn either.
    let lines = lines_of(status, &[], (120, 24));
    assert!(lines.concat().chars().all(|c| !c.is_control()), "{lines:#?}");
}
