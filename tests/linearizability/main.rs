//! Whether clients of the proxy see one register per key, through faults: `make linearizability`.
//!
//! With `durability.mode = "semi_sync"`, `durability.reads = "committed"` and `failover.in_flight = "error"` every history of reads
//! and writes has to be one that a single copy without faults could have given.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod history;
mod judge;
mod load;
mod oracle;
mod runs;
