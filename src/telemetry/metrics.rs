//! All blocks together: handed out to their writers, summed and written as text at a scrape.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};

use super::buckets::Durations;
use super::group::{Episode, Group, NodeRole, NodeView, micros};
use super::names::{self, Metric, MetricKind};
use super::worker::{ErrorKind, WorkerMetrics};

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// A collector has taken it.
    Sent,
    /// There was no room for it among those that wait.
    Dropped,
    /// No collector took it, however often it was posted.
    Failed,
}

impl SpanOutcome {
    /// All of them, with their label.
    const ALL: [(Self, &'static str); 3] =
        [(Self::Sent, "sent"), (Self::Dropped, "dropped"), (Self::Failed, "failed")];
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    commands: Vec<String>,
    workers: Vec<Arc<WorkerMetrics>>,
    group: Mutex<Group>,
    /// By [`SpanOutcome`]; any thread adds to them, and only for what is traced.
    spans: [AtomicU64; SpanOutcome::ALL.len()],
}

impl Metrics {
    /// Metrics for these rows of the command table, these nodes by address, with the first of so many ids, and so many workers. The
    /// names bound the values of the labels.
    #[must_use]
    pub fn new(commands: Vec<String>, nodes: Vec<String>, ids: usize, workers: usize) -> Self {
        let block = |_| Arc::new(WorkerMetrics::new(commands.len(), ids));
        // One more for the acceptor.
        let workers = (0..=workers).map(block).collect();
        let metrics = Self { commands, workers, group: Mutex::default(), spans: Default::default() };
        metrics.declare((0..).zip(nodes));
        metrics
    }

    /// These are the nodes from now on, by id, with their addresses. Those that are no longer among them have no series any more.
    pub fn declare(&self, nodes: impl Iterator<Item = (u16, String)>) {
        self.group().declare(nodes);
    }

    /// The block of one worker, which that worker alone writes.
    ///
    /// # Panics
    /// When `index` is not below the number of workers.
    #[must_use]
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        self.workers[index].clone()
    }

    /// The block of the acceptor, which it alone writes.
    ///
    /// # Panics
    /// Never: there is always one.
    #[must_use]
    pub fn acceptor(&self) -> Arc<WorkerMetrics> {
        self.workers.last().expect("beside the workers'").clone()
    }

    /// Clients connected at present, over all workers.
    #[must_use]
    pub fn clients(&self) -> i64 {
        self.sum(|worker| &worker.clients)
    }

    /// Requests held at present, over all workers.
    #[must_use]
    pub fn held(&self) -> i64 {
        self.sum(|worker| &worker.held)
    }

    /// How long requests took, over all commands and workers, since the start. Reads a few ten thousand numbers.
    #[must_use]
    pub fn durations(&self) -> Durations {
        let mut sum = Durations::default();
        let rows = self.workers.iter().flat_map(|worker| &worker.rows);
        rows.for_each(|row| sum.take(&row.duration));
        sum
    }

    /// Sets the epoch, whether writes wait for no replica though they should, and the nodes, by id; those that are not declared are
    /// left out.
    pub fn set_group(&self, epoch: u64, degraded: bool, nodes: &[(u16, NodeView)]) {
        let mut group = self.group();
        (group.epoch, group.degraded) = (epoch, degraded);
        for (id, view) in nodes {
            if let Some(node) = group.nodes.get_mut(id) {
                node.view = *view;
            }
        }
    }

    /// Sets the bytes that old primaries alone had since the start: those kept, and those given up.
    pub fn set_quarantined(&self, kept: u64, given_up: u64) {
        self.group().quarantined = [kept, given_up];
    }

    /// Sets whether requests wait, and whether writes are refused, by order.
    pub fn set_restraint(&self, paused: bool, read_only: bool) {
        self.group().restraint = (paused, read_only);
    }

    /// Sets when the first certificate that is shown for each of these sections expires, Unix time in seconds; `None`: none is.
    pub fn set_expiries(&self, expiries: [(&'static str, Option<u64>); 3]) {
        self.group().expiries = expiries;
    }

    /// Counts an answered PING of the node with this id.
    pub fn ping(&self, node: u16, took: Duration) {
        if let Some(node) = self.group().nodes.get(&node) {
            node.ping.add(micros(took), 1);
        }
    }

    /// Counts an ended episode.
    pub fn episode(&self, episode: &Episode) {
        self.group().episode(episode);
    }

    /// Counts spans of traces.
    pub fn spans(&self, outcome: SpanOutcome, n: u64) {
        self.spans[outcome as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// How many there were since the start.
    #[must_use]
    pub fn spans_so_far(&self, outcome: SpanOutcome) -> u64 {
        self.spans[outcome as usize].load(Ordering::Relaxed)
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// The encoder's own sentence; it does not happen with the names declared here.
    pub fn render(&self) -> Result<String, String> {
        let mut families = Vec::with_capacity(names::ALL.len());
        self.collect_group(&mut families);
        self.collect_workers(&mut families);
        let spans =
            SpanOutcome::ALL.map(|(outcome, label)| (vec![label], number(self.spans_so_far(outcome))));
        families.push(family(&names::TRACE_SPANS, spans));
        // A family without a series (no replica's lag is known yet) is not a text that the encoder takes.
        families.retain(|family: &MetricFamily| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).map_err(|error| error.to_string())
    }

    fn collect_group(&self, families: &mut Vec<MetricFamily>) {
        let group = self.group();
        let nodes = || group.nodes.values().map(|node| (node.name.as_str(), &node.view));
        let flag = |is: bool| if is { 1.0 } else { 0.0 };
        families.push(family(&names::BUILD_INFO, [(vec![env!("CARGO_PKG_VERSION")], Value::Number(1.0))]));
        families.push(family(&names::EPOCH, [(vec![], number(group.epoch))]));
        let expiries = group.expiries.iter().filter_map(|(name, at)| Some((vec![*name], number((*at)?))));
        families.push(family(&names::EXPIRY, expiries));
        families.push(family(&names::PAUSED, [(vec![], Value::Number(flag(group.restraint.0)))]));
        families.push(family(&names::READ_ONLY, [(vec![], Value::Number(flag(group.restraint.1)))]));
        families.push(family(&names::DEGRADED, [(vec![], Value::Number(flag(group.degraded)))]));
        families
            .push(family(&names::NODE_UP, nodes().map(|(name, n)| (vec![name], Value::Number(flag(n.up))))));
        let roles = nodes().flat_map(|(name, node)| {
            NodeRole::ALL.map(|(role, label)| (vec![name, label], Value::Number(flag(node.role == role))))
        });
        families.push(family(&names::NODE_ROLE, roles));
        let lags = nodes().filter_map(|(name, node)| Some((vec![name], number(node.lag_bytes?))));
        families.push(family(&names::NODE_LAG, lags));
        let ages = nodes()
            .filter_map(|(name, node)| Some((vec![name], Value::Number(node.staleness?.as_secs_f64()))));
        families.push(family(&names::NODE_STALENESS, ages));
        let parity =
            nodes().filter_map(|(name, node)| Some((vec![name], Value::Number(flag(node.in_parity?)))));
        families.push(family(&names::NODE_PARITY, parity));
        let slow = nodes().filter_map(|(name, node)| Some((vec![name], Value::Number(flag(node.slow?)))));
        families.push(family(&names::NODE_SLOW, slow));
        let pings = group.nodes.values().map(|node| (vec![node.name.as_str()], summed([&node.ping])));
        families.push(family(&names::NODE_PING, pings));
        let episodes = [(0, "failover"), (1, "switchover")].into_iter().flat_map(|(ordered, kind)| {
            let of = &group.episodes[ordered];
            [(vec![kind, "changed"], number(of[1])), (vec![kind, "unchanged"], number(of[0]))]
        });
        families.push(family(&names::FAILOVERS, episodes));
        let phases = group.phases.iter().map(|(phase, histogram)| (vec![*phase], summed([histogram])));
        families.push(family(&names::FAILOVER_DURATION, phases));
        let [kept, given_up] = group.quarantined.map(number);
        families.push(family(&names::QUARANTINED, [(vec!["kept"], kept), (vec!["given_up"], given_up)]));
    }

    fn collect_workers(&self, families: &mut Vec<MetricFamily>) {
        let total = |of: fn(&WorkerMetrics) -> &AtomicU64| [(vec![], number(self.total(of)))];
        families.push(family(&names::CLIENTS, [(vec![], signed(self.clients()))]));
        families.push(family(&names::CLIENT_MEMORY, [(vec![], signed(self.sum(|w| &w.client_memory)))]));
        families.push(family(&names::CLIENT_CONNECTIONS, total(|w| &w.connections)));
        families.push(family(&names::HELD, [(vec![], signed(self.held()))]));
        families.push(family(&names::AMBIGUOUS, total(|w| &w.ambiguous)));
        families.push(family(&names::LOST_POPS, total(|w| &w.lost_pops)));
        families.push(family(&names::REISSUED, total(|w| &w.reissued)));
        families.push(family(&names::SPILLED, total(|w| &w.spilled)));
        families.push(family(&names::RESUBSCRIPTIONS, total(|w| &w.resubscribed)));
        let holds = summed(self.workers.iter().map(|worker| &worker.hold_duration));
        families.push(family(&names::HOLD_DURATION, [(vec![], holds)]));
        let barriers = summed(self.workers.iter().map(|worker| &worker.barrier_duration));
        families.push(family(&names::BARRIER_DURATION, [(vec![], barriers)]));
        let errors = ErrorKind::ALL
            .map(|(kind, label)| (vec![label], number(self.total(|worker| &worker.errors[kind as usize]))));
        families.push(family(&names::ERRORS, errors));
        let bytes = [(0, "client"), (1, "backend")].into_iter().flat_map(|(side, side_label)| {
            [(0, "in"), (1, "out")].map(|(direction, label)| {
                (vec![side_label, label], number(self.total(|worker| &worker.bytes[side][direction])))
            })
        });
        families.push(family(&names::BYTES, bytes));
        let group = self.group();
        let nodes = group.nodes.iter().map(|(id, node)| {
            let of_workers = self.workers.iter().filter_map(|worker| worker.node(*id));
            (vec![node.name.as_str()], summed(of_workers))
        });
        families.push(family(&names::BACKEND_DURATION, nodes));
        drop(group);
        self.collect_rows(families);
    }

    /// Series per command: only those that ever counted, since the table has hundreds of rows.
    fn collect_rows(&self, families: &mut Vec<MetricFamily>) {
        let commands = || self.commands.iter().map(String::as_str).chain(["unknown"]).enumerate();
        let counts = commands().flat_map(|(row, name)| {
            let on_primary = self.total(|worker| &worker.rows[row].on_primary);
            let on_replica = self.total(|worker| &worker.rows[row].on_replica);
            [(vec![name, "primary"], on_primary), (vec![name, "replica"], on_replica)]
        });
        let counts = counts.filter(|(_, n)| *n > 0).map(|(labels, n)| (labels, number(n)));
        families.push(family(&names::COMMANDS, counts));
        let durations = commands().filter_map(|(row, name)| {
            let mut sum = Durations::default();
            self.workers.iter().for_each(|worker| sum.take(&worker.rows[row].duration));
            (sum.count() > 0).then(|| (vec![name], Value::Histogram(sum)))
        });
        families.push(family(&names::COMMAND_DURATION, durations));
    }

    fn total(&self, of: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum()
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> &AtomicI64) -> i64 {
        self.workers.iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum()
    }

    /// Numbers are whole at any moment, so a writer that panicked leaves nothing torn.
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Value {
    Number(f64),
    Histogram(Durations),
}

#[expect(clippy::cast_precision_loss, reason = "the text format holds 64-bit floats")]
fn number(n: u64) -> Value {
    Value::Number(n as f64)
}

#[expect(clippy::cast_precision_loss, reason = "the text format holds 64-bit floats")]
fn signed(n: i64) -> Value {
    Value::Number(n as f64)
}

fn summed<'a>(histograms: impl IntoIterator<Item = &'a super::buckets::Histogram>) -> Value {
    let mut sum = Durations::default();
    histograms.into_iter().for_each(|histogram| sum.take(histogram));
    Value::Histogram(sum)
}

fn family<'a>(metric: &Metric, series: impl IntoIterator<Item = (Vec<&'a str>, Value)>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(series.into_iter().map(|(labels, value)| sample(metric, &labels, &value)).collect());
    family
}

fn sample(metric: &Metric, labels: &[&str], value: &Value) -> prometheus::proto::Metric {
    let pairs = metric.labels.iter().zip(labels).map(|((name, _), value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut sample = prometheus::proto::Metric::from_label(pairs.collect());
    match value {
        Value::Number(n) if metric.kind == MetricKind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(*n);
            sample.set_counter(counter);
        }
        Value::Number(n) => {
            let mut gauge = Gauge::default();
            gauge.set_value(*n);
            sample.set_gauge(gauge);
        }
        Value::Histogram(sum) => sample.set_histogram(histogram(sum)),
    }
    sample
}

fn histogram(sum: &Durations) -> Histogram {
    let buckets = sum.cumulative().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(sum.count());
    histogram.set_sample_sum(sum.seconds());
    histogram
}
