//! What a second reading of a file is told to have changed.

use super::Secret;
use crate::config::{Origin, Reload};
use crate::telemetry::LevelHandle;

const NODES: &str = "[backend]\nnodes = [{ address = \"a:1\" }, \"b:2\"]\n";

/// What is said when a file that held `first` at the start holds `second`, and the level of the log after that.
fn reloaded(name: &str, first: &str, second: &str) -> (Result<String, String>, &'static str) {
    let file = Secret::new(name, first);
    let level = LevelHandle::unused();
    let origin = Origin::load(&file.0).unwrap();
    assert!(!format!("{origin:?}").contains("sesame"), "{name}: a secret is never printed");
    let reload = Reload::new(Some(origin), level.clone());
    std::fs::write(&file.0, second).unwrap();
    let said = reload.again();
    assert_eq!(reload.again().is_ok(), said.is_ok(), "{name}: once more");
    (said, level.get())
}

fn said(name: &str, first: &str, second: &str) -> String {
    reloaded(name, first, second).0.unwrap()
}

#[test]
fn only_what_differs_is_named() {
    let same = "[proxy]\ndrain_timeout = \"2s\"\n[failover]\nhold = \"5s\"\n";
    assert_eq!(said("same", same, same), "nothing has changed");
    let in_other_words = "[failover]\nhold = \"5000ms\"\n# other words\n[proxy]\ndrain_timeout = \"2s\"\nmax_clients = 10000\n";
    assert_eq!(said("words", same, in_other_words), "nothing has changed");
    let other = "[failover]\nhold = \"6s\"\n";
    assert_eq!(said("other", same, other), "only a restart changes proxy.drain_timeout, failover.hold");
    assert_eq!(said("moved", NODES, &format!("\n\n{NODES}")), "nothing has changed");
    assert_eq!(said("nodes", NODES, &NODES.replace("a:1", "a:2")), "only a restart changes backend.nodes");
    assert_eq!(said("back", other, same), "only a restart changes proxy.drain_timeout, failover.hold");
}

#[test]
fn secrets_and_rules_are_compared_and_not_told() {
    let [first, second] = ["sesame", "hunter2"].map(|word| format!("[backend]\npassword = \"{word}\"\n"));
    assert_eq!(said("secret", &first, &second), "only a restart changes backend.password");
    let rule = format!("{NODES}[[durability.rules]]\nprefix = \"cart:\"\nmode = \"semi_sync\"\n");
    assert_eq!(said("rule", NODES, &rule), "only a restart changes durability.rules");
    let file = Secret::new("held", "sesame");
    let text = format!("[backend]\npassword_file = \"{}\"", file.0.display());
    let place = Secret::new("holds", &text);
    let origin = Origin::load(&place.0).unwrap();
    std::fs::write(&file.0, "hunter2").unwrap();
    let told = Reload::new(Some(origin), LevelHandle::unused()).again();
    assert_eq!(told.as_deref(), Ok("only a restart changes backend.password_file"));
}

#[test]
fn the_level_of_the_log_is_taken_at_once() {
    let debug = "[log]\nlevel = \"debug\"\n[proxy]\ndrain_timeout = \"3s\"";
    let (said, level) = reloaded("level", "", debug);
    assert_eq!(said.unwrap(), "log.level is now debug; only a restart changes proxy.drain_timeout");
    assert_eq!(level, "debug");
}

#[test]
fn a_faulty_file_changes_nothing_and_every_fault_is_told() {
    let faulty = "[log]\nlevel = \"debug\"\n[proxy]\nworkers = \"many\"\nports = 1\n";
    let (said, level) = reloaded("faulty", "", faulty);
    let said = said.unwrap_err();
    assert_eq!(level, "info");
    for word in ["nothing has changed: ", "proxy.workers", "(line 4); ", "proxy.ports", "(line 5)"] {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert!(!said.contains('\n'), "{said}");
}

#[test]
fn a_file_that_is_no_configuration_is_not_told_whole_nor_in_lines_of_its_own() {
    let faulty: String = (0..1_000).map(|n| format!("\"key{n}\\nforged\" = 1\n")).collect();
    let said = reloaded("noise", "", &faulty).0.unwrap_err();
    assert!(said.ends_with("; and 990 more") && said.len() < 4_000, "{said}");
    assert!(!said.contains(char::is_control), "{said}");
}

#[test]
fn a_configuration_of_no_file_stays_as_it_is() {
    let said = Reload::new(None, LevelHandle::unused()).again().unwrap_err();
    assert_eq!(said, "no file holds this configuration; nothing has changed");
}
