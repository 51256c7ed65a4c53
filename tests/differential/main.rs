//! Random requests to a server and to the proxy in front of another: every reply is the same, as far as the command table
//! says that those of two servers are.
//!
//! `SEED=17 COMMANDS=200000` says that script and no other. A difference is told with the shortest script found that shows it.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod connection;
mod dice;
mod edges;
mod judge;
mod lines;
mod play;
mod runs;
mod safe;
mod script;
mod shrink;
mod tracking;
mod words;
