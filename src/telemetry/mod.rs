//! Metrics and logs. The only folder that names `prometheus`.
//!
//! Workers count into blocks of their own ([`WorkerMetrics`]): one writer each, no lock, no lookup. A scrape sums
//! the blocks ([`Metrics::render`]). Label values come from the declared nodes and the command table, so a client
//! can never create a new series.

mod brake;
mod buckets;
mod group;
mod log;
mod metrics;
mod names;
mod settings;
mod traffic;
mod worker;

#[cfg(test)]
mod tests;

pub use brake::Brake;
pub use buckets::Durations;
pub use group::{Episode, NodeRole, NodeView};
pub use log::{LevelHandle, init};
pub use metrics::{Metrics, SpanOutcome};
pub use names::{ALL, Metric, MetricKind, reference};
pub use settings::{Format, Settings};
pub use traffic::{BigKey, BigKeys, BusyClient, HotKey, HotKeys, SlowRequest, Traffic, TrafficReader};
pub use worker::{Direction, ErrorKind, Side, WorkerMetrics};
