//! `check --connect`: what the nodes themselves say, before the proxy is trusted with them. It reads, and changes
//! nothing.

mod judge;
mod look;
mod report;
mod wire;

#[cfg(test)]
mod tests;

pub(super) use report::examine;
