//! End to end: real clients, the real program, real servers.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod blocking;
mod client_table;
mod data_path;
mod failover;
mod failover_rows;
mod failover_sessions;
mod identity;
mod idle_connections;
mod kit;
mod monitor;
mod node_faults;
mod owned;
mod pinned_lanes;
mod primary_only;
mod proxy_command;
mod pubsub;
mod shared_connection;
mod switchover_pinned;
mod target;
mod transactions;
mod witness;
