use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::load::{Load, Memory, counter, key};
use super::readback::{Readback, Says, primary, read_back, roles};
use super::report::Report;
use super::view::chart;
use crate::cli::dev::{Group, Scratch, Servers, ask};

fn report(readback: Readback, memories: Vec<Memory>) -> Report {
    Report { began: Instant::now(), moments: Vec::new(), memories, dropped: 0, in_flight: 40, readback }
}

/// The load speaks to a server directly: what it remembers is there, and what is deleted behind its back is found.
#[test]
fn a_load_finds_what_was_lost_and_what_came_twice() {
    let scratch = Scratch::create(None).unwrap();
    let group = Group::start(Servers::find().unwrap(), scratch.path(), 1, |_| {}).unwrap();
    let port = group.ports()[0];
    let seen = roles(group.ports());
    assert_eq!(seen, [Says::Primary, Says::Replica]);
    assert_eq!(primary(group.ports(), &seen), Some(port));
    let load = Load::start(SocketAddr::from(([127, 0, 0, 1], port)), 4);
    let deadline = Instant::now() + Duration::from_secs(30);
    while load.counts.acknowledged.load(std::sync::atomic::Ordering::Relaxed) < 1000 {
        assert!(Instant::now() < deadline, "{:?}", load.counts);
        std::thread::yield_now();
    }
    let memories = load.stop();
    assert!(memories.iter().all(|memory| memory.wrong == 0 && memory.errors.is_empty()), "{memories:?}");
    let sets: usize = memories.iter().map(|memory| memory.acknowledged.len()).sum();
    let whole = read_back(port, &memories).unwrap();
    assert_eq!(whole, Readback { expected: sets as u64, ..Readback::default() });

    ask(port, &["DEL", &key(1, 0), &key(2, 1)]).unwrap();
    ask(port, &["SET", &key(3, 2), "other"]).unwrap();
    ask(port, &["DECRBY", &counter(0), "2"]).unwrap();
    ask(port, &["INCR", &counter(3)]).unwrap();
    let damaged = read_back(port, &memories).unwrap();
    assert_eq!((damaged.lost, damaged.increments_lost, damaged.increments_twice), (3, 2, 1));
}

#[test]
fn the_verdict_names_the_broken_promise() {
    assert_eq!(report(Readback::default(), vec![Memory::default()]).verdict(), Ok(()));
    let lost = Readback { lost: 2, increments_lost: 1, ..Readback::default() };
    assert!(report(lost, Vec::new()).verdict().unwrap_err().starts_with("3 acknowledged writes were lost"));
    let twice = Readback { increments_twice: 1, ..Readback::default() };
    assert!(report(twice, Vec::new()).verdict().unwrap_err().contains("1 INCRs were executed twice"));
    let wrong = Memory { wrong: 5, ..Memory::default() };
    assert!(
        report(Readback::default(), vec![wrong]).verdict().unwrap_err().starts_with("5 replies belonged")
    );
}

#[test]
fn the_report_tells_the_longest_gap_and_counts_errors_by_kind() {
    let mut slow =
        Memory { gap: Duration::from_millis(312), gap_from: Some(Instant::now()), ..Memory::default() };
    slow.errors.insert("AMBIGUOUS write may have been executed".to_owned(), 3);
    slow.errors.insert("TRYAGAIN no writable primary".to_owned(), 2);
    let text = report(Readback::default(), vec![Memory::default(), slow]).text();
    assert!(text.contains("longest time without a reply   312 ms"), "{text}");
    assert!(text.contains("-AMBIGUOUS replies             3 (40 requests were in flight)"), "{text}");
    assert!(text.contains("other errors                   2"), "{text}");
    assert!(text.contains("the first reply after it: 312 ms"), "{text}");
}

#[test]
fn the_chart_shows_nothing_only_where_nothing_was() {
    assert_eq!(chart(&VecDeque::from([0, 1, 500, 1000])), " ▁▄█");
    assert_eq!(chart(&VecDeque::from([0, 0])), "  ");
}
