//! The test kit: real servers, a raw client, scripted nodes, the real proxy, and waiting on conditions.
//!
//! A test binary includes it by `#[path = "../support/mod.rs"] mod support;`. Everything started here is stopped
//! when its value is dropped, and by the kernel when the test process dies. Nothing sleeps for a fixed time:
//! [`eventually`] awaits a condition, with deadlines at least ten times what an idle machine needs.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses a part of the kit")]

mod agree;
mod bystander;
mod certificates;
mod client;
mod client_list;
mod collector;
mod counts;
mod fake_node;
mod features;
mod group;
mod load;
mod memory;
mod process;
mod proxy;
mod relay;
mod samples;
mod server;
mod size;
mod stream;
mod successor;
mod tunnel;
mod value;
mod versions;
mod wait;

pub use agree::{Findings, agree, compare, seed};
pub use bystander::{Bystander, Seen};
pub use certificates::{Authority, Certificate, CertificateFolder};
pub use client::{Client, encode};
pub use client_list::row_field;
pub use collector::{Collector, Span};
pub use counts::Counts;
pub use fake_node::{FakeNode, Script};
pub use features::{
    BLMPOP, CONFIG_SET_SEVERAL, EVAL_RO, FUNCTIONS, Feature, NO_EVICT, SHARD_CHANNELS, applies, in_its_words,
};
pub use group::Group;
pub use load::{Load, Outcome, Verdict};
pub use memory::Memory;
pub use process::{Home, dying_with_us, free_port, listen, rss_bytes};
pub use proxy::{Proxy, ProxyOptions, spend_spare};
pub use relay::Relay;
pub use server::{Server, ServerOptions, info_field, scratch_folder, server_binary, speaks_tls};
pub use size::number;
pub use stream::{Sample, Stream, sampled};
pub use successor::{Successor, signal};
pub use tunnel::{Tunnel, trusting};
pub use value::Value;
pub use versions::{V6_2, V7_0, V8_2, VALKEY, Version, chosen, for_each_server, installed, others};
pub use wait::{LONG, eventually, eventually_some};
