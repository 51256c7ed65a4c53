//! End to end: real clients, the real program, real servers.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod ailing_primary;
mod another_process;
mod bad_input;
mod black_box;
mod blocking;
mod bounds;
mod client_table;
mod data_path;
mod durability;
mod durability_degraded;
mod durability_disks;
mod durability_edges;
mod durability_quorum;
mod failover;
mod failover_rows;
mod failover_sessions;
mod forced_failover;
mod hidden;
mod identity;
mod idle_connections;
mod kit;
mod large_requests;
mod monitor;
mod node_faults;
mod own_connection;
mod own_state;
mod own_traffic;
mod owned;
mod parity;
mod pause;
mod pinned_lanes;
mod pinned_max;
mod primary_only;
mod proxy_command;
mod pubsub;
mod quarantine;
mod read_outage;
mod read_spread;
mod read_tokens;
mod reads;
mod refusals;
mod replies;
mod scan_epochs;
mod shared_connection;
mod slow_primary;
mod standing;
mod strangers;
mod streams;
mod switchover_pinned;
mod target;
mod transactions;
mod wait;
