//! `check`: the faults of a configuration, and with `--connect` those of the nodes behind it.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::app::descriptors::{self, Descriptors};
use crate::control::{Finding, Severity, preflight};
use crate::net::TlsClient;

use super::args::CheckArgs;
use super::program::{Fault, print};
use super::run::load;

/// Checks; on success one line says so.
pub(super) fn check(args: &CheckArgs) -> Result<(), Fault> {
    let mut config = load(&args.file)?;
    for note in &config.notes {
        eprintln!("redhold: {note}");
    }
    if !args.connect {
        return print("The configuration has no faults.\n");
    }
    config.control.look_for_nodes().map_err(Fault::Failed)?;
    let shortage =
        Descriptors::of(&config).shortage(config.frontend.limits.max_clients, descriptors::allowed());
    let tls = config.backend.tls.map(TlsClient::load).transpose().map_err(Fault::Failed)?.map(Arc::new);
    let mut findings = preflight(&config.control, tls.as_ref())
        .map_err(|error| Fault::Failed(format!("cannot ask the nodes: {error}")))?;
    findings.extend(shortage.map(|(text, always)| Finding {
        severity: if always { Severity::Warning } else { Severity::Info },
        node: None,
        text: format!("{text}, if the proxy may open as many as this shell"),
        cure: descriptors::CURE.to_owned(),
    }));
    print(&report(&findings))?;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Fault::Failed("the proxy could not do its work with these nodes".to_owned()));
    }
    Ok(())
}

/// One line a finding, and one for its cure.
fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Info => "info ",
            Severity::Warning => "WARN ",
            Severity::Error => "ERROR",
        };
        let _ = writeln!(text, "{severity}  {}", finding.text);
        if !finding.cure.is_empty() {
            let _ = writeln!(text, "       cure: {}", finding.cure);
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(text, "\n{} errors, {} warnings", count(Severity::Error), count(Severity::Warning));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_their_cures_and_counted() {
        let finding = |severity, text: &str, cure: &str| Finding {
            severity,
            node: None,
            text: text.to_owned(),
            cure: cure.to_owned(),
        };
        let findings = [
            finding(Severity::Info, "a:1 is the primary", ""),
            finding(Severity::Warning, "one node only", "add replicas"),
            finding(Severity::Error, "b:2 gives no INFO", "start it"),
        ];
        let expected = "\
info   a:1 is the primary
WARN   one node only
       cure: add replicas
ERROR  b:2 gives no INFO
       cure: start it

1 errors, 1 warnings
";
        assert_eq!(report(&findings), expected);
    }
}
