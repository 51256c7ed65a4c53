//! Frameworks that applications are built with, unchanged, through the proxy and over the death of the primary.
//! `tests/tools/frameworks.sh` installs them; without them, and unless `REDHOLD_ALL` is set, a test says so and is over.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod jobs;
mod queues;
mod rig;
mod web;
