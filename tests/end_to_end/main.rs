//! End to end: real clients, the real program, real servers.

#[path = "../support/mod.rs"]
mod support;

mod kit;
