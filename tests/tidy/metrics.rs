//! Each metric is named by a test: what is exported and never looked at may be anything.

use crate::source::File;

const NAMES: &str = "src/telemetry/names.rs";

/// Metrics that no test names.
pub(crate) fn unnamed(files: &[File]) -> Vec<String> {
    let names = files.iter().filter(|file| file.path == NAMES).flat_map(|file| file.text.split('"'));
    let names = names.filter(|name| name.starts_with("redhold_") && !name.contains([' ', '=']));
    let tests = || {
        files.iter().filter(|file| file.path.starts_with("tests/") && !file.path.starts_with("tests/tidy/"))
    };
    let is_read = |name: &str| tests().any(|file| file.text.contains(name));
    names.filter(|name| !is_read(name)).map(|name| format!("{NAMES}: no test reads `{name}`")).collect()
}

#[test]
fn every_metric_is_named() {
    crate::report(unnamed);
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
