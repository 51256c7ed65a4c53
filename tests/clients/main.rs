//! Real client libraries, unchanged, through the proxy and over the death of the primary; README.md has the contract of the
//! programs beside this file. `tests/tools/clients.sh` installs the libraries; without them, and unless `REDHOLD_ALL` is set, a
//! test says so and is over.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod handshakes;
mod judge;
mod libraries;
mod page;
mod program;
mod tls;

use libraries::Library;
use program::Program;
use support::{CertificateFolder, Group, LONG, ProxyOptions, Server, ServerOptions, V8_2};

/// Acknowledged writes before the kill, and after it.
const ENOUGH: usize = 1_000;
/// Requests of writers that are under way when the primary dies, of the 24 that can be.
const IN_FLIGHT: usize = 10;

/// Nodes that know CLIENT SETINFO, where there are any, so that what libraries say of themselves is seen.
pub fn nodes() -> ServerOptions {
    if V8_2.is_there() { V8_2.options() } else { Server::options() }
}

/// What is sent again of the worker and of a transaction alone: BLPOP, MULTI and what stands in it.
const OTHERS: f64 = 4.0;
/// A primary that died between the writers' batches tells nothing, and another one is killed. It dies with writes on its hands in every
/// second or third try, so that so many are enough.
const TRIES: usize = 30;

/// Plays a library over the death of a primary that took writes with it; with certificates over TLS, both sides showing one.
#[track_caller]
pub fn play(library: &Library, certificates: Option<&CertificateFolder>) {
    for _ in 0..TRIES {
        match kill_once(library, certificates) {
            Some(sent_again) if sent_again <= OTHERS => {}
            _ => return,
        }
    }
    panic!("{}: {TRIES} primaries died with no write on its way", library.name);
}

/// Plays a library's program over the death of the primary and judges what it said and what the nodes have. Returns how many requests
/// the proxy sent again; `None`: the library is not installed.
#[track_caller]
fn kill_once(library: &Library, certificates: Option<&CertificateFolder>) -> Option<f64> {
    let mut group = Group::plain_with(2, &nodes());
    let options = ProxyOptions::new(&group.addresses());
    let options = match certificates {
        None => options,
        Some(folder) => folder.asked_by(folder.shown_by(options)),
    };
    let proxy = options.start();
    let mut program = Program::start(library, proxy.address(), certificates)?;
    let mut guest = judge::guest(&proxy);
    guest.call("RPUSH jobs first");
    program.until("the subscriber and the worker are served", |seen| {
        if seen.heard.is_empty() {
            guest.call("PUBLISH news before");
        }
        !seen.heard.is_empty() && !seen.jobs.is_empty()
    });
    program.until("enough writes and a transaction", |seen| {
        seen.acknowledged() >= ENOUGH && seen.transactions > 0
    });
    let before = judge::Connections::of(&proxy);
    program.until("enough is on its way to make the kill count", |seen| seen.in_flight() >= IN_FLIGHT);
    group.node(0).kill9();
    let goal = program.seen().acknowledged() + ENOUGH;
    program.until("writes go on", |seen| seen.acknowledged() >= goal);
    before.still_there(&proxy, program.seen());
    assert_eq!(program.seen().jobs.len(), 1, "nothing was to be had from the queue");
    guest.call("RPUSH jobs last");
    program.until("the parked worker gets its job", |seen| seen.jobs.len() > 1);
    program.until("the subscriber hears the new primary", |seen| {
        if seen.heard.last().is_none_or(|text| text != "after") {
            guest.call("PUBLISH news after");
        }
        seen.heard.last().is_some_and(|text| text == "after")
    });
    let seen = program.finish(LONG);
    let sent_again = proxy.metric("redhold_reissued_total").expect("it is counted");
    println!("{}, {sent_again} requests sent again", seen.summary());
    judge::judge(library, &seen, &before, &proxy, &group);
    Some(sent_again)
}
