//! Every metric: name, kind, unit, help, labels. The only place that spells a metric's name.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, with a sum and a count.
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its full name; the unit is its end.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What is counted: seconds, bytes, or the things themselves.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Names of its labels, and the bound on the values of each.
    pub labels: &'static [(&'static str, &'static str)],
}

const NODE: (&str, &str) = ("node", "addresses of backend.nodes");
const COMMAND: (&str, &str) = ("command", "names of the command table, and `unknown`");
const COUNTER: MetricKind = MetricKind::Counter;
const GAUGE: MetricKind = MetricKind::Gauge;
const HISTOGRAM: MetricKind = MetricKind::Histogram;

macro_rules! metrics {
    ($($id:ident = $name:literal, $kind:ident, $unit:literal, [$($label:expr),*], $help:literal;)*) => {
        $(pub(super) static $id: Metric =
            Metric { name: $name, kind: $kind, unit: $unit, help: $help, labels: &[$($label),*] };)*
        /// Every metric, in the order of printing.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BUILD_INFO = "redhold_build_info", GAUGE, "1", [("version", "the running version")],
        "Always 1; the version is in the label.";
    EPOCH = "redhold_epoch", GAUGE, "decisions", [],
        "Number of the routing decision in force; grows by one at each change of primary.";
    DEGRADED = "redhold_durability_degraded", GAUGE, "0 or 1", [],
        "Whether replicas have been away for durability.degrade_after, so that writes wait for none.";
    NODE_UP = "redhold_node_up", GAUGE, "0 or 1", [NODE],
        "Whether the last look at the node was answered.";
    NODE_ROLE = "redhold_node_role", GAUGE, "0 or 1", [NODE, ("role", "primary, replica, unknown")],
        "1 for the role that the node says it has, 0 for the others; unknown while it is down.";
    NODE_LAG = "redhold_node_replication_lag_bytes", GAUGE, "bytes", [NODE],
        "Bytes of the primary's history that the replica has not applied; absent while unknown.";
    NODE_STALENESS = "redhold_node_staleness_seconds", GAUGE, "seconds", [NODE],
        "How old the replica's data may be; absent while unknown.";
    NODE_PARITY = "redhold_node_parity", GAUGE, "0 or 1", [NODE],
        "Whether the node has the users, settings and scripts that it has to share with the primary; absent while unknown. What differs is in the status.";
    NODE_SLOW = "redhold_node_slow", GAUGE, "0 or 1", [NODE],
        "Whether the node has answered PING ten times as late as it used to for health.busy_timeout, while another one did not; absent while unknown.";
    NODE_PING = "redhold_node_ping_seconds", HISTOGRAM, "seconds", [NODE],
        "Time from the monitor's PING to the node's answer.";
    CLIENTS = "redhold_clients", GAUGE, "clients", [],
        "Clients connected.";
    CLIENT_MEMORY = "redhold_client_memory_bytes", GAUGE, "bytes", [],
        "Requests that were read and not yet served, and replies that were not yet written, of all clients: what limits.memory bounds.";
    CLIENT_CONNECTIONS = "redhold_client_connections_total", COUNTER, "connections", [],
        "Client connections accepted.";
    COMMANDS = "redhold_commands_total", COUNTER, "requests", [COMMAND, ("node_role", "primary, replica")],
        "Requests answered by nodes, by command and by the role of the node.";
    COMMAND_DURATION = "redhold_command_duration_seconds", HISTOGRAM, "seconds", [COMMAND],
        "Time that a request was held, and from its first departure to its reply; one that is parked and moves to another node begins anew. What replies wait for replicas is redhold_barrier_duration_seconds.";
    BACKEND_DURATION = "redhold_backend_duration_seconds", HISTOGRAM, "seconds", [NODE],
        "Time from a request's departure towards the node to its reply's arrival; not of requests that park there, as BLPOP and WAIT do.";
    ERRORS = "redhold_errors_total", COUNTER, "replies",
        [("kind", "hold_expired, out_of_reach, ambiguous, not_durable, no_replicas, no_barrier, uncommitted, in_flight_at_death, no_replica, no_connection, managed, cursor, transaction_lost, large_cut, unreadable, unauthorised, rate_limited, protocol, max_clients, clients_per_address, denied, proxy_header, tls_handshake, client_output, memory, idle_timeout, node_refused, node_closed")],
        "Error replies of the proxy's own and clients closed by it, by kind.";
    EXPIRY = "redhold_certificate_expiry_timestamp_seconds", GAUGE, "Unix time",
        [("section", "proxy.tls, backend.tls, admin.tls")],
        "When the first certificate of the chain expires that the proxy shows to clients, nodes or operators now; absent where it shows none.";
    PAUSED = "redhold_paused", GAUGE, "0 or 1", [],
        "1 while requests wait by order (PROXY PAUSE).";
    READ_ONLY = "redhold_read_only", GAUGE, "0 or 1", [],
        "1 while writes are refused by order (PROXY READONLY ON).";
    HELD = "redhold_held_requests", GAUGE, "requests", [],
        "Requests that wait for a writable primary, or were refused and are kept back; one a client.";
    HOLD_DURATION = "redhold_hold_duration_seconds", HISTOGRAM, "seconds", [],
        "How long held requests waited until they were sent or answered.";
    BARRIER_DURATION = "redhold_barrier_duration_seconds", HISTOGRAM, "seconds", [],
        "Time from the departure of a barrier, for which replies wait ([durability]), to its answer.";
    FAILOVERS = "redhold_failovers_total", COUNTER, "episodes",
        [("kind", "failover, switchover"), ("result", "changed, unchanged")],
        "Episodes ended, by whether the primary changed; unchanged ones are false alarms and refusals. Finding the first primary is none.";
    FAILOVER_DURATION = "redhold_failover_duration_seconds", HISTOGRAM, "seconds",
        [("phase", "suspect, confirm, drain, seal, select, promote, verify, blocked, observe, of a planned change intend, quiesce, pause, catch_up, demote, revert; and total")],
        "Time spent in each phase of an episode that changed the primary; `total`: from its first sign to its end.";
    QUARANTINED = "redhold_quarantined_bytes_total", COUNTER, "bytes", [("result", "kept, given_up")],
        "Writes that only a returning old primary had: kept in failover.state_dir, or given up for want of it or of room in it.";
    AMBIGUOUS = "redhold_ambiguous_writes_total", COUNTER, "requests", [],
        "Writes answered with AMBIGUOUS: whether they were executed is unknown.";
    LOST_POPS = "redhold_lost_pops_total", COUNTER, "requests", [],
        "Pops (LPOP, BRPOP, BZPOPMIN, SPOP, GETDEL ...) that were sent and whose connection was lost before their reply, parked ones included: an upper bound of the pops whose elements were taken out and reached nobody.";
    BYTES = "redhold_bytes_total", COUNTER, "bytes", [("side", "client, backend"), ("direction", "in, out")],
        "Bytes read (in) and written (out) by the proxy on the side of clients and of nodes; of its own work there only what goes over such connections.";
    REISSUED = "redhold_reissued_total", COUNTER, "requests", [],
        "Requests sent again after their connection was lost, parked ones included.";
    SPILLED = "redhold_spilled_reads_total", COUNTER, "requests", [],
        "Reads that reads.policy = \"prefer_replica\" gave to the primary since no replica was usable.";
    RESUBSCRIPTIONS = "redhold_resubscriptions_total", COUNTER, "clients", [],
        "Clients whose subscriptions were made again after their connection was lost.";
    TRACE_SPANS = "redhold_trace_spans_total", COUNTER, "spans", [("outcome", "sent, dropped, failed")],
        "Spans of traces ([tracing]): taken by the collector; dropped, since too many waited for it; failed, since it took them at none of five tries, or would never.";
}

/// `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(include_str!("reference_head.txt"));
    text.push_str("\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for metric in ALL {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|(name, bound)| format!("`{name}`: {bound}")).collect();
        let (name, unit, help) = (metric.name, metric.unit, metric.help);
        let _ = writeln!(text, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join("; "));
    }
    text
}
