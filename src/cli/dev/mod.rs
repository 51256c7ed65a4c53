//! `redhold dev`: a throwaway primary and its replicas, real servers, with the proxy in front. Nothing of it outlives the proxy.

mod args;
mod group;
mod node;
mod ports;
mod run;
mod scratch;
mod servers;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use args::DevArgs;
pub(crate) use group::{Group, NodeEvent};
pub(crate) use ports::next_free;
pub(crate) use run::{config_text, run};
pub(crate) use scratch::Scratch;
pub(crate) use servers::Servers;
pub(crate) use wire::{Wire, ask};
