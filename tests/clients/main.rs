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

use libraries::Library;
use program::Program;
use support::{Group, LONG, Proxy, Server, ServerOptions, V8_2};

/// Acknowledged writes before the kill, and after it.
const ENOUGH: usize = 1_000;
/// Requests of writers that are under way when the primary dies, of the 24 that can be.
const IN_FLIGHT: usize = 10;

/// Nodes that know CLIENT SETINFO, where there are any, so that what libraries say of themselves is seen.
pub fn nodes() -> ServerOptions {
    if V8_2.is_there() { V8_2.options() } else { Server::options() }
}

/// Plays a library's program over the death of the primary and judges what it said and what the nodes have.
#[track_caller]
pub fn play(library: &Library) {
    let mut group = Group::plain_with(2, &nodes());
    let proxy = Proxy::start(&group.addresses());
    let Some(mut program) = Program::start(library, proxy.address()) else { return };
    let mut guest = judge::guest(&proxy);
    guest.call("RPUSH jobs first");
    program.until("the subscriber and the worker are served", |seen| {
        if seen.heard.is_empty() {
            guest.call("PUBLISH news before");
        }
        !seen.heard.is_empty() && !seen.jobs.is_empty()
    });
    program.until("enough writes to make the kill count", |seen| {
        seen.acknowledged() >= ENOUGH && seen.in_flight() >= IN_FLIGHT && seen.transactions > 0
    });
    let before = judge::Connections::of(&proxy);
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
    println!("{}", seen.summary());
    judge::judge(library, &seen, &before, &proxy, &group);
}
