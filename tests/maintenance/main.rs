//! What operators do to a proxy in service, and what its clients see of it: notices of a
//! change of primary and of the end, requests that wait by order, writes that are refused by order,
//! where a request would go, and what Prometheus and Grafana are given.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod libraries;
mod notices;
mod prometheus;
mod restraints;
mod route;
