//! The words of tests/clients/README.md, for the programs in Rust.

use std::fmt::Display;
use std::future::Future;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

pub const WRITERS: u32 = 6;
pub const DEPTH: u32 = 4;
pub const ADD: &str = "return redis.call('INCRBY', KEYS[1], ARGV[1])";

static OVER: AtomicBool = AtomicBool::new(false);

/// Host and port of the command line; from now on the end of standard input is noticed.
pub fn begin() -> (String, u16) {
    let words: Vec<String> = std::env::args().collect();
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        OVER.store(true, Ordering::Relaxed);
    });
    (words[1].clone(), words[2].parse().expect("a port"))
}

/// Whether standard input has ended.
pub fn over() -> bool {
    OVER.load(Ordering::Relaxed)
}

pub fn say(line: impl Display) {
    let line = format!("{}\n", line.to_string().replace('\n', " "));
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is open");
}

/// One letter for a reply; what is neither good nor AMBIGUOUS is the application's to see.
pub fn verdict<T, E: Display>(reply: Result<T, E>) -> Result<char, E> {
    match reply {
        Ok(_) => Ok('o'),
        Err(fault) if fault.to_string().contains("AMBIGUOUS") => Ok('a'),
        Err(fault) => Err(fault),
    }
}

/// A writer, given what sends one SET; its four are on their way together.
pub async fn write<F, T, E>(number: u32, set: impl Fn(String, u32) -> F) -> Result<(), E>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    for first in (0..).step_by(DEPTH as usize) {
        if over() {
            break;
        }
        say(format!("sent {number} {DEPTH}"));
        let calls = (first..first + DEPTH).map(|sequence| set(format!("w:{number}:{sequence}"), sequence));
        let replies = futures_util::future::join_all(calls).await;
        let letters = replies.into_iter().map(verdict).collect::<Result<String, E>>()?;
        say(format!("got {number} {letters}"));
    }
    Ok(())
}

/// Plays a role, and tells the error that it ends with.
pub async fn guarded<E: Display>(role: &str, play: impl Future<Output = Result<(), E>>) -> bool {
    let outcome = play.await;
    if let Err(fault) = &outcome {
        say(format!("exception {role}: {fault}"));
    }
    outcome.is_ok()
}
