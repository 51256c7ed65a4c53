//! Each metric is named by a test, and each kind of error too: what is exported and never looked at may be anything. Each kind has an alert.

use crate::source::File;

const NAMES: &str = "src/telemetry/names.rs";
const ALERTS: &str = "config/prometheus/alerts.yml";

/// What stands before the kinds of errors in [`NAMES`].
const KINDS: &str = "[(\"kind\", \"";

/// A defect of the proxy, which no test knows how to provoke.
const UNPROVOKED: &str = "unreadable";

/// No fault of anybody's, and what `redhold_ambiguous_writes_total` tells of.
const SILENT: [&str; 2] = ["idle_timeout", "ambiguous"];

fn tests(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.starts_with("tests/") && !file.path.starts_with("tests/tidy/"))
}

/// Metrics that no test names.
pub(crate) fn unnamed(files: &[File]) -> Vec<String> {
    let names = files.iter().filter(|file| file.path == NAMES).flat_map(|file| file.text.split('"'));
    let names = names.filter(|name| name.starts_with("redhold_") && !name.contains([' ', '=']));
    let is_read = |name: &str| tests(files).any(|file| file.text.contains(name));
    names.filter(|name| !is_read(name)).map(|name| format!("{NAMES}: no test reads `{name}`")).collect()
}

/// Kinds of errors of which no test reads the count, and those that raise no alert.
pub(crate) fn overlooked(files: &[File]) -> Vec<String> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let kinds = text_of(NAMES).split_once(KINDS).map_or("", |(_, rest)| rest.split('"').next().unwrap_or(""));
    // In the expressions: prose may have the same words.
    let chosen = text_of(ALERTS).split("redhold_errors_total{kind=").skip(1);
    let alerts: Vec<_> =
        chosen.filter_map(|rest| rest.split('"').nth(1)).flat_map(|it| it.split('|')).collect();
    let mut faults = Vec::new();
    for kind in kinds.split(", ") {
        let counts =
            |file: &File| file.text.contains("redhold_errors_total") || file.text.contains(".errors(");
        let named = [format!("\"{kind}\""), format!("\"{kind}\\\"")];
        let is_read = |file: &File| counts(file) && named.iter().any(|named| file.text.contains(named));
        if kind != UNPROVOKED && !tests(files).any(is_read) {
            faults.push(format!("{NAMES}: no test reads how many errors are of the kind `{kind}`"));
        }
        if !SILENT.contains(&kind) && !alerts.contains(&kind) {
            faults.push(format!("{ALERTS}: nobody is told of errors of the kind `{kind}`"));
        }
    }
    faults
}

#[test]
fn every_metric_is_named() {
    crate::report(unnamed);
}

#[test]
fn no_kind_of_error_is_overlooked() {
    crate::report(overlooked);
}

#[test]
fn an_overlooked_kind_is_found() {
    let files = [
        File::planted(NAMES, "[(\"kind\", \"a_b, c, idle_timeout\")]"),
        File::planted(ALERTS, "expr: redhold_errors_total{kind=~\"a_b|d\"} # c"),
        File::planted(
            "tests/end_to_end/a.rs",
            "proxy.errors(\"c\"); metric(\"redhold_errors_total{kind=\\\"idle_timeout\\\"}\")",
        ),
    ];
    let faults = overlooked(&files);
    assert!(faults.len() == 2 && faults[0].contains("`a_b`") && faults[1].contains("`c`"), "{faults:?}");
}

#[test]
fn a_metric_that_no_test_reads_is_found() {
    let names = "A = \"redhold_a_total\", COUNTER, \"redhold_a and more\"; B = \"redhold_b\", GAUGE";
    let files = [
        File::planted(NAMES, names),
        File::planted("tests/end_to_end/a.rs", "metric(\"redhold_a_total{b}\")"),
    ];
    assert_eq!(unnamed(&files), ["src/telemetry/names.rs: no test reads `redhold_b`"]);
}
