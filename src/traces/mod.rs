//! Traces: what single requests and changes of primary did and for how long, told to an OpenTelemetry collector.
//!
//! Whoever serves clients or follows the group puts a record into the queue of [`Traces`], which never waits. A thread of its own
//! ([`Exporter`]) makes spans of the records and posts them in batches, so that neither a worker nor the control thread looks a
//! name up, writes JSON or waits for a collector. Without a collector there is no queue and no thread.
//!
//! The protocol is OTLP 1.x over HTTP with its JSON encoding (opentelemetry.io, "OTLP Specification"); names of attributes are
//! those of the semantic conventions for databases, or begin with `redhold.`.

mod change;
mod encode;
mod exporter;
mod ids;
mod post;
mod queue;
mod request;
mod settings;
mod span;
mod verdict;

pub use change::{Change, Step};
pub use exporter::{Exporter, Settings};
pub use queue::Traces;
pub use request::{AtNode, Code, Ends, Request};
pub use settings::{Endpoint, NodePlace};
