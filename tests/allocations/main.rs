//! What the proxy allocates: nothing for a request in steady state, and after a burst no more than before it.
//!
//! This program is both: started with the words of `redhold` it is the proxy under an allocator that counts, else it starts itself so
//! and judges the counts. So nothing that a test allocates is counted. A word names the tests that are to run by a part of their names.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod burst;
mod counted;
mod counting;
mod idle;
mod requests;
mod streams;

use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// One test, by its name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [run, _, config] = &words[..]
        && run == "run"
    {
        counting::serve(&Path::new(config).with_file_name(counted::SOCKET)).expect("the folder is writable");
        return redhold::cli::main();
    }
    let names: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let is_meant = |(name, _): &&Test| names.is_empty() || names.iter().any(|word| name.contains(*word));
    let run = |tests: &[Test]| {
        let failed = tests.iter().filter(is_meant).filter(|(name, test)| {
            println!("test {name} ...");
            catch_unwind(test).is_err()
        });
        failed.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    // The first waits half a minute for its buffers to shrink; each counts a proxy of its own.
    let failed = thread::scope(|scope| {
        let waits = scope.spawn(|| run(burst::TESTS));
        let failed = run(&[requests::TESTS, idle::TESTS, streams::TESTS].concat());
        [failed, waits.join().expect("panics are caught")].concat()
    });
    println!("failed: {failed:?}");
    ExitCode::from(u8::from(!failed.is_empty()))
}
