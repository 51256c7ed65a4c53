//! All nodes asked at once, and the result as people read it.

use std::fmt;

use crate::config::Config;

use super::super::status::aligned;
use super::judge::{Asked, Finding, Weight, judge};
use super::look::look;

/// What was found.
#[derive(Debug)]
pub(in crate::cli) struct Report {
    pub(super) nodes: Vec<Asked>,
    pub(super) findings: Vec<Finding>,
}

/// Asks every declared node, each on a thread of its own.
pub(in crate::cli) fn examine(config: &Config) -> Report {
    let credentials = &config.control.credentials;
    let nodes: Vec<Asked> = std::thread::scope(|scope| {
        let asked = config.control.nodes.iter().map(|node| {
            let answer = scope.spawn(|| look(&node.address, credentials));
            (node.clone(), answer)
        });
        let asked: Vec<_> = asked.collect();
        let joined = |(node, answer): (_, std::thread::ScopedJoinHandle<'_, _>)| {
            (
                node,
                answer
                    .join()
                    .unwrap_or_else(|_| Err("could not be asked: a fault of this program".to_owned())),
            )
        };
        asked.into_iter().map(joined).collect()
    });
    let shared = config.frontend.workers as u64 * config.backend.pipelines_max as u64;
    let findings = judge(&nodes, shared);
    Report { nodes, findings }
}

impl Report {
    /// Whether a failover would not work as it is.
    pub(in crate::cli) fn failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Fail)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["NODE", "ROLE", "FOLLOWS", "VERSION", "MAXCLIENTS"].map(str::to_owned);
        let dash = || "-".to_owned();
        let rows = self.nodes.iter().map(|(node, facts)| match facts {
            Err(_) => [node.address.to_string(), "?".to_owned(), dash(), dash(), dash()],
            Ok(facts) => [
                node.address.to_string(),
                if facts.role == "master" { "primary".to_owned() } else { "replica".to_owned() },
                facts.follows.clone().unwrap_or_else(dash),
                facts.version.clone(),
                facts.settings.get("maxclients").cloned().unwrap_or_else(dash),
            ],
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        writeln!(f, "{}", aligned(&rows))?;
        if self.findings.is_empty() {
            return writeln!(f, "Nothing speaks against a failover.");
        }
        for finding in &self.findings {
            let weight = match finding.weight {
                Weight::Fail => "FAIL",
                Weight::Warn => "warn",
            };
            writeln!(f, "{weight}  {}", finding.text)?;
        }
        Ok(())
    }
}
