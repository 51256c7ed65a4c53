//! End to end: real clients, the real program, real servers.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod blocking;
mod data_path;
mod failover;
mod failover_sessions;
mod identity;
mod kit;
mod node_faults;
mod primary_only;
mod pubsub;
mod shared_connection;
mod target;
mod transactions;
mod witness;
