//! What Prometheus and Grafana are given: the metrics as Prometheus's own tool wants them, alerts that fire and stay silent when they
//! should and lead to a text that says what to do, a dashboard that can be imported; and none asks for what the proxy does not export.
//! Without `promtool`, and unless `REDHOLD_ALL` is set, a test that needs it says so and is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::support::{Group, ProxyOptions, Value, scratch_folder};

const ALERTS: &str = "config/prometheus/alerts.yml";
const OPERATIONS: &str = "docs/operations.md";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs promtool in the folder of the rules: whether it is content, and what it says. `None`: there is none.
fn promtool(words: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(words).current_dir(path("config/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        assert!(std::env::var_os("REDHOLD_ALL").is_none(), "promtool is not installed");
        eprintln!("not installed, so not tested: promtool");
        return None;
    };
    // It may end without reading.
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Some((output.status.success(), said.concat()))
}

#[track_caller]
fn assert_content(words: &[&str]) {
    if let Some((content, said)) = promtool(words, "") {
        assert!(content, "promtool {words:?}: {said}");
    }
}

/// Every metric that is declared, with its kind, by the page that is made of the declarations.
fn declared() -> BTreeMap<String, String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `redhold_")?.split_once("` | "));
    rows.map(|(name, rest)| {
        let kind = rest.split(' ').next().expect("a kind");
        (format!("redhold_{name}"), kind.to_owned())
    })
    .collect()
}

/// The declared metric that a name in an expression stands for.
fn metric_of<'a>(declared: &BTreeMap<String, String>, name: &'a str) -> Option<&'a str> {
    let is =
        |name: &str, histogram| declared.get(name).is_some_and(|kind| (kind == "histogram") == histogram);
    if is(name, false) {
        return Some(name);
    }
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    is(base, true).then_some(base)
}

/// Names of metrics in a text, and the matchers of labels behind each: label and value, alternatives one by one.
fn selectors(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let starts = text.match_indices("redhold_").map(|(at, _)| &text[at..]);
    let selector = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let inside = behind.strip_prefix('{').and_then(|inside| inside.split('}').next()).unwrap_or("");
        let positive = inside.split(", ").flat_map(|part| part.split(',')).filter(|part| !part.contains('!'));
        let matchers = positive.filter_map(|part| {
            let (label, values) = part.split_once('=')?;
            let values = values.trim_start_matches('~').trim_matches('"');
            Some(values.split('|').map(|value| (label.to_owned(), value.to_owned())).collect::<Vec<_>>())
        });
        (name.to_owned(), matchers.flatten().collect())
    };
    starts.map(selector).collect()
}

fn dashboard() -> Json {
    serde_json::from_str(&read("config/grafana/redhold.json")).expect("the dashboard is JSON")
}

/// Every expression of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let noted = dashboard["annotations"]["list"].as_array().expect("a list of annotations").iter();
    targets.chain(noted).filter_map(|target| target["expr"].as_str().map(str::to_owned)).collect()
}

/// The alerts by name, each with its own lines.
fn alerts() -> BTreeMap<String, String> {
    let text = read(ALERTS);
    let blocks = text.split("- alert: ").skip(1).filter_map(|block| block.split_once('\n'));
    let alerts: BTreeMap<_, _> = blocks.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect();
    assert_eq!(alerts.len(), text.matches("- alert: ").count(), "each has a name of its own");
    alerts
}

/// What stands behind a key, without quotes.
fn field<'a>(block: &'a str, key: &str) -> Option<&'a str> {
    let line = block.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
    line.map(|value| value.trim_matches('"'))
}

#[test]
fn the_proxy_exports_what_prometheus_accepts_and_rules_and_dashboard_ask_for() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\"").start();
    let (mut writer, mut reader) = (proxy.client(), proxy.client());
    for _ in 0..50 {
        assert_eq!(writer.call("SET k 1"), Value::ok());
        reader.call("GET k");
    }
    proxy.switch_over();
    assert_eq!(writer.call("SET k 2"), Value::ok());
    proxy.wait_well();
    let (code, text) = proxy.http("GET", "/metrics").expect("the admin page answers");
    assert_eq!(code, 200, "{text}");
    if let Some(verdict) = promtool(&["check", "metrics"], &text) {
        assert_eq!(verdict, (true, String::new()));
    }
    let asked: Vec<_> =
        expressions().iter().chain(alerts().values()).flat_map(|text| selectors(text)).collect();
    assert!(asked.iter().filter(|(_, matchers)| !matchers.is_empty()).count() > 50, "{asked:?}");
    for (name, matchers) in asked {
        for (label, value) in matchers.into_iter().filter(|(_, value)| !value.contains('$')) {
            let wanted = format!("{label}=\"{value}\"");
            let is = |line: &str| line.starts_with(&format!("{name}{{")) && line.contains(&wanted);
            assert!(text.lines().any(is), "no {name} with {wanted} in:\n{text}");
        }
    }
}

#[test]
fn promtool_accepts_configuration_rules_and_expressions() {
    assert_content(&["check", "config", "scrape.yml"]);
    assert_content(&["check", "rules", "alerts.yml"]);
    let folder = scratch_folder("expressions");
    let file = folder.join("rules.yml");
    let mut rules = "groups: [{name: dashboard, rules: [".to_owned();
    for (number, expression) in expressions().iter().enumerate() {
        let expression = Json::from(expression.replace("$__rate_interval", "1m"));
        rules.push_str(&format!("{{record: \"panel:{number}\", expr: {expression}}}, "));
    }
    fs::write(&file, rules + "]}]").expect("the temporary folder is writable");
    assert_content(&["check", "rules", &file.display().to_string()]);
    fs::remove_dir_all(folder).ok();
}

#[test]
fn alerts_fire_and_stay_silent_as_promtool_sees_it() {
    assert_content(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn each_alert_is_tested_firing_and_not_firing() {
    let tests = read("config/prometheus/alerts_test.yml");
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in tests.split("- eval_time: ").skip(1) {
        let alert = field(case, "alertname").expect("a case names its alert").to_owned();
        let silence = case.contains("exp_alerts: []");
        assert_ne!(silence, case.contains("- exp_labels: "), "either or: {case}");
        if silence { &mut silent } else { &mut firing }.insert(alert);
    }
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!((&firing, &silent), (&alerts, &alerts));
}

#[test]
fn each_alert_says_what_happened_how_bad_it_is_and_where_to_read_on() {
    let operations = read(OPERATIONS);
    let headings: BTreeSet<_> =
        operations.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    for (name, alert) in alerts() {
        assert!(name.starts_with("Redhold"), "{name}");
        for key in ["expr", "for", "summary", "description"] {
            assert!(field(&alert, key).is_some_and(|text| !text.is_empty()), "{name} has no {key}");
        }
        assert!(matches!(field(&alert, "severity"), Some("critical" | "warning")), "{name}");
        let runbook = format!("{OPERATIONS}#{}", name.to_lowercase());
        assert_eq!(field(&alert, "runbook"), Some(runbook.as_str()), "{name}");
        assert!(headings.contains(&name), "{OPERATIONS} has no heading {name}");
    }
    let known = alerts();
    let forgotten: Vec<_> =
        headings.iter().filter(|name| name.starts_with("Redhold") && !known.contains_key(*name)).collect();
    assert!(forgotten.is_empty(), "{OPERATIONS} tells of alerts that there are not: {forgotten:?}");
}

#[test]
fn rules_and_dashboard_know_every_metric_and_no_other() {
    let declared = declared();
    assert!(declared.len() > 30, "{declared:?}");
    let dashboard = read("config/grafana/redhold.json");
    let tests = read("config/prometheus/alerts_test.yml");
    let mut shown = BTreeSet::new();
    for (file, text) in [(ALERTS, &read(ALERTS)), ("dashboard", &dashboard), ("alerts_test.yml", &tests)] {
        for (name, _) in selectors(text) {
            let metric = metric_of(&declared, &name);
            let metric = metric.unwrap_or_else(|| panic!("{file}: {name} is no metric"));
            if file == "dashboard" {
                shown.insert(metric.to_owned());
            }
        }
    }
    let missing: Vec<_> = declared.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
}

#[test]
fn the_dashboard_can_be_imported_and_no_panel_covers_another() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null(), "Grafana gives one");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(41) && dashboard["title"].is_string());
    let variables = dashboard["templating"]["list"].as_array().expect("a list of variables");
    assert!(variables.iter().any(|one| one["name"] == "datasource" && one["type"] == "datasource"));
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each has an id of its own");
    let mut taken: BTreeMap<(u64, u64), &Json> = BTreeMap::new();
    for panel in panels {
        let title = &panel["title"];
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{title} has no {key}"));
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is outside");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert_eq!(taken.insert(cell, title), None, "{title} covers another one");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{title}");
        for target in panel["targets"].as_array().expect("a list of targets").iter().chain([panel]) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
