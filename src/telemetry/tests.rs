//! A metric that no test moves is not a metric: each is moved here by a known amount.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::error::Failure;

fn metrics() -> Metrics {
    let commands = ["GET", "SET", "DEL"].map(str::to_owned).to_vec();
    let nodes = ["a:1", "b:2"].map(str::to_owned).to_vec();
    Metrics::new(commands, nodes, 2, 2)
}

/// Value of a series, written as in the text.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Does `act` and says by how much each series then differs, those that did not exist counted from 0.
fn moved(metrics: &Metrics, act: impl FnOnce()) -> Vec<(String, f64)> {
    let before = metrics.render().unwrap();
    act();
    let after = metrics.render().unwrap();
    let series = after.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    series
        .map(|(name, now)| {
            (name.to_owned(), now.parse::<f64>().unwrap() - value(&before, name).unwrap_or(0.0))
        })
        .filter(|(name, change)| *change != 0.0 && !name.contains("_bucket{"))
        .collect()
}

fn owned(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
    pairs.iter().map(|(name, change)| ((*name).to_owned(), *change)).collect()
}

#[test]
fn each_of_a_workers_counters_moves_its_own_series_by_its_own_amount() {
    let metrics = metrics();
    let (first, second) = (metrics.worker(0), metrics.worker(1));
    let check = |act: &dyn Fn(), expected: &[(&str, f64)]| assert_eq!(moved(&metrics, act), owned(expected));
    check(
        &|| first.command(0, true, 3),
        &[(r#"redhold_commands_total{command="GET",node_role="primary"}"#, 3.0)],
    );
    check(
        &|| second.command(0, true, 2),
        &[(r#"redhold_commands_total{command="GET",node_role="primary"}"#, 2.0)],
    );
    check(
        &|| second.command(1, false, 1),
        &[(r#"redhold_commands_total{command="SET",node_role="replica"}"#, 1.0)],
    );
    check(
        &|| first.command(999, true, 4),
        &[(r#"redhold_commands_total{command="unknown",node_role="primary"}"#, 4.0)],
    );
    check(
        &|| second.duration(1, 500_000, 2),
        &[
            (r#"redhold_command_duration_seconds_sum{command="SET"}"#, 1.0),
            (r#"redhold_command_duration_seconds_count{command="SET"}"#, 2.0),
        ],
    );
    check(
        &|| first.backend_duration(1, 250_000, 4),
        &[
            (r#"redhold_backend_duration_seconds_sum{node="b:2"}"#, 1.0),
            (r#"redhold_backend_duration_seconds_count{node="b:2"}"#, 4.0),
        ],
    );
    check(&|| first.backend_duration(9, 1, 1), &[]);
    check(&|| first.held(3), &[("redhold_held_requests", 3.0)]);
    check(&|| first.held(-3), &[("redhold_held_requests", -3.0)]);
    check(
        &|| first.hold_duration(2_000_000),
        &[("redhold_hold_duration_seconds_sum", 2.0), ("redhold_hold_duration_seconds_count", 1.0)],
    );
    check(&|| first.ambiguous(5), &[("redhold_ambiguous_writes_total", 5.0)]);
    check(&|| first.lost_pops(9), &[("redhold_lost_pops_total", 9.0)]);
    check(&|| second.reissued(6), &[("redhold_reissued_total", 6.0)]);
    check(&|| second.spilled(8), &[("redhold_spilled_reads_total", 8.0)]);
    check(&|| second.resubscribed(7), &[("redhold_resubscriptions_total", 7.0)]);
    check(&|| first.clients(2), &[("redhold_clients", 2.0)]);
    check(&|| second.clients(-1), &[("redhold_clients", -1.0)]);
    check(&|| first.client_connections(7), &[("redhold_client_connections_total", 7.0)]);
    for (side, direction, series) in [
        (Side::Client, Direction::In, r#"redhold_bytes_total{side="client",direction="in"}"#),
        (Side::Client, Direction::Out, r#"redhold_bytes_total{side="client",direction="out"}"#),
        (Side::Backend, Direction::In, r#"redhold_bytes_total{side="backend",direction="in"}"#),
        (Side::Backend, Direction::Out, r#"redhold_bytes_total{side="backend",direction="out"}"#),
    ] {
        check(&|| first.bytes(side, direction, 10), &[(series, 10.0)]);
    }
    assert_eq!((metrics.clients(), metrics.held()), (1, 0));
}

#[test]
fn each_kind_of_error_has_its_own_series() {
    let metrics = metrics();
    for (kind, label) in super::worker::ErrorKind::ALL {
        let series = format!("redhold_errors_total{{kind=\"{label}\"}}");
        assert_eq!(moved(&metrics, || metrics.worker(1).error(kind)), [(series, 1.0)]);
    }
    let labels = super::worker::ErrorKind::ALL.map(|(_, label)| label);
    assert_eq!(
        super::names::ERRORS.labels,
        [("kind", labels.join(", ").as_str())],
        "the reference names them all"
    );
    let failure = Failure::Ambiguous { from: 1, to: 2 };
    assert_eq!(ErrorKind::from(&failure), ErrorKind::Ambiguous);
}

#[test]
fn what_the_snapshot_says_is_shown() {
    let metrics = metrics();
    let primary = NodeView { up: true, role: NodeRole::Primary, slow: Some(true), ..NodeView::default() };
    let replica = NodeView {
        up: true,
        role: NodeRole::Replica,
        lag_bytes: Some(14),
        staleness: Some(Duration::from_millis(250)),
        slow: None,
        in_parity: Some(true),
    };
    let changes =
        moved(&metrics, || metrics.set_group(41, true, &[(0, primary), (1, replica), (2, replica)]));
    let expected = [
        ("redhold_epoch", 41.0),
        ("redhold_durability_degraded", 1.0),
        (r#"redhold_node_up{node="a:1"}"#, 1.0),
        (r#"redhold_node_up{node="b:2"}"#, 1.0),
        (r#"redhold_node_role{node="a:1",role="primary"}"#, 1.0),
        (r#"redhold_node_role{node="a:1",role="unknown"}"#, -1.0),
        (r#"redhold_node_role{node="b:2",role="replica"}"#, 1.0),
        (r#"redhold_node_role{node="b:2",role="unknown"}"#, -1.0),
        (r#"redhold_node_replication_lag_bytes{node="b:2"}"#, 14.0),
        (r#"redhold_node_staleness_seconds{node="b:2"}"#, 0.25),
        (r#"redhold_node_parity{node="b:2"}"#, 1.0),
        (r#"redhold_node_slow{node="a:1"}"#, 1.0),
    ];
    assert_eq!(changes, owned(&expected));
    let changes = moved(&metrics, || metrics.set_restraint(true, true));
    assert_eq!(changes, owned(&[("redhold_paused", 1.0), ("redhold_read_only", 1.0)]));
    let changes = moved(&metrics, || metrics.set_quarantined(11, 7));
    let expected = [
        (r#"redhold_quarantined_bytes_total{result="kept"}"#, 11.0),
        (r#"redhold_quarantined_bytes_total{result="given_up"}"#, 7.0),
    ];
    assert_eq!(changes, owned(&expected));
    metrics.set_group(42, false, &[(0, NodeView::default()), (1, primary)]);
    let text = metrics.render().unwrap();
    assert_eq!(value(&text, r#"redhold_node_up{node="a:1"}"#), Some(0.0));
    assert!(!text.contains("redhold_node_replication_lag_bytes{"), "an unknown lag is no lag of 0");
}

#[test]
fn pings_and_episodes_are_counted() {
    let metrics = metrics();
    assert_eq!(
        moved(&metrics, || metrics.ping(1, Duration::from_millis(500))),
        owned(&[
            (r#"redhold_node_ping_seconds_sum{node="b:2"}"#, 0.5),
            (r#"redhold_node_ping_seconds_count{node="b:2"}"#, 1.0),
        ])
    );
    let episode = |ordered, changed| Episode {
        ordered,
        changed,
        total: Duration::from_secs(2),
        phases: vec![("suspect", Duration::from_millis(500)), ("promote", Duration::from_millis(1500))],
    };
    let changes = moved(&metrics, || metrics.episode(&episode(false, true)));
    let expected = [
        (r#"redhold_failovers_total{kind="failover",result="changed"}"#, 1.0),
        (r#"redhold_failover_duration_seconds_sum{phase="promote"}"#, 1.5),
        (r#"redhold_failover_duration_seconds_count{phase="promote"}"#, 1.0),
        (r#"redhold_failover_duration_seconds_sum{phase="suspect"}"#, 0.5),
        (r#"redhold_failover_duration_seconds_count{phase="suspect"}"#, 1.0),
        (r#"redhold_failover_duration_seconds_sum{phase="total"}"#, 2.0),
        (r#"redhold_failover_duration_seconds_count{phase="total"}"#, 1.0),
    ];
    assert_eq!(changes, owned(&expected));
    for (ordered, kind) in [(false, "failover"), (true, "switchover")] {
        let series = format!("redhold_failovers_total{{kind=\"{kind}\",result=\"unchanged\"}}");
        assert_eq!(moved(&metrics, || metrics.episode(&episode(ordered, false))), [(series, 1.0)]);
    }
}

/// Moves everything, so that every family has a series.
fn all_moved() -> String {
    let metrics = metrics();
    let worker = metrics.worker(0);
    worker.command(0, true, 1);
    worker.duration(0, 1, 1);
    let replica = NodeView {
        up: true,
        role: NodeRole::Replica,
        lag_bytes: Some(1),
        staleness: Some(Duration::ZERO),
        slow: Some(false),
        in_parity: Some(true),
    };
    metrics.set_group(1, false, &[(0, replica), (1, replica)]);
    metrics.set_expiries([("proxy.tls", Some(1)), ("backend.tls", None), ("admin.tls", None)]);
    metrics.episode(&Episode { ordered: false, changed: true, total: Duration::ZERO, phases: vec![] });
    metrics.render().unwrap()
}

#[test]
fn spans_are_counted_by_what_became_of_them() {
    let metrics = metrics();
    for (outcome, label, spans) in [
        (SpanOutcome::Sent, "sent", 3),
        (SpanOutcome::Dropped, "dropped", 5),
        (SpanOutcome::Failed, "failed", 7),
    ] {
        let series = format!("redhold_trace_spans_total{{outcome=\"{label}\"}}");
        let moved = moved(&metrics, || metrics.spans(outcome, spans));
        assert_eq!(moved, owned(&[(&series, f64::from(u32::try_from(spans).unwrap()))]));
        assert_eq!(metrics.spans_so_far(outcome), spans);
    }
}

#[test]
fn every_declared_metric_is_shown_and_no_other() {
    let text = all_moved();
    let shown: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(shown, ALL.iter().map(|metric| metric.name).collect());
    assert_eq!(
        value(&text, &format!("redhold_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))),
        Some(1.0)
    );
}

#[test]
fn names_follow_prometheus_rules() {
    for metric in ALL {
        assert!(metric.name.starts_with("redhold_"));
        assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        let durations = metric.kind == MetricKind::Histogram;
        assert!(!durations || metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn commands_without_requests_have_no_series() {
    let text = metrics().render().unwrap();
    assert!(
        !text.contains("redhold_commands_total") && !text.contains("redhold_command_duration_seconds"),
        "{text}"
    );
}

#[test]
fn the_reference_page_is_generated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        present == reference(),
        "docs/metrics.md is out of date: UPDATE=1 cargo test --lib telemetry:: writes it"
    );
}
