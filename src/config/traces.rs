//! The keys of `[tracing]`. Data.

use crate::traces::Endpoint;

use super::keys::set;
use super::kind::{Key, Kind, key};

pub(super) const TRACING: &[Key] = &[
    key(
        "otlp",
        Kind::Text(Some(|c, v| {
            let collector = if v.is_empty() { None } else { Some(Endpoint::parse(&v)?) };
            set(&mut c.traces.collector, collector)
        })),
        r#""""#,
        "Base URL of an OpenTelemetry collector that takes OTLP over HTTP, http://host:4318; traces go to its /v1/traces. Empty: none.",
    ),
    key(
        "sample",
        Kind::Share(Some(|c, v| set(&mut c.frontend.limits.traced_ppm, per_million(v)))),
        "0.0",
        "Share of the requests that is traced, in millionths; changes of primary are all traced.",
    ),
];

/// Whoever asks for a few gets some.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
fn per_million(share: f64) -> u32 {
    (share * 1_000_000.0).ceil() as u32
}
