//! The command table against the servers themselves: Redis 6.2, 7.0 and 8.2, Valkey 9.1.
//!
//! `tests/tools/servers.sh` puts the servers there. 7.0.15 is required; the others are named when they are absent, and
//! required as well when `REDHOLD_ALL_SERVERS=1`.

#[path = "../support/mod.rs"]
mod support;

mod docs;
mod flags;
mod key_positions;
mod live;
mod names;
mod replies;
mod shared;
mod twice;
