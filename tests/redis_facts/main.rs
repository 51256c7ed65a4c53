//! Facts about Redis and Valkey that the program stands on, one short test each, on every server version that is
//! installed (`tests/tools/servers.sh`).
//!
//! A test that fails here says that a server does not do what the code believes; the code is wrong then, not the test.

#[path = "../support/mod.rs"]
mod support;

mod busy;
mod divergence;
mod durability;
mod framing;
mod greeting;
mod own_traffic;
mod parity;
mod pause;
mod refusals;
mod replication;
mod scan;
mod sessions;
mod slow_log;
mod strangers;
mod transactions;
mod users;
