//! What a second reading of a file is told to have changed.

use std::sync::Arc;

use super::Secret;
use crate::config::keys::SECTIONS;
use crate::config::read::parse;
use crate::config::reload::is_live;
use crate::config::{Declare, Origin, Reload};
use crate::frontend::{Entrance, Limits, LimitsInForce};
use crate::telemetry::LevelHandle;

const NODES: &str = "[backend]\nnodes = [{ address = \"a:1\" }, \"b:2\"]\n";

/// As the process has them that was started so.
fn in_force(origin: &Origin) -> LimitsInForce {
    Arc::new(Arc::new(origin.config().frontend.limits.clone()).into())
}

/// Takes every list with the node a:1.
fn declare() -> Declare {
    Box::new(|declared| {
        let nodes: Vec<_> = declared.nodes.iter().map(|node| node.address.to_string()).collect();
        if nodes.iter().any(|node| node == "a:1") { Ok(nodes.join(" ")) } else { Err("a:1 leads".to_owned()) }
    })
}

/// What is said when a file that held `first` at the start holds `second`, and the level of the log after that.
fn reloaded(name: &str, first: &str, second: &str) -> (Result<String, String>, &'static str) {
    let file = Secret::new(name, first);
    let level = LevelHandle::unused();
    let origin = Origin::load(&file.0).unwrap();
    assert!(!format!("{origin:?}").contains("sesame"), "{name}: a secret is never printed");
    let limits = in_force(&origin);
    let mut reload = Reload::new(Some(origin), level.clone(), limits, declare());
    std::fs::write(&file.0, second).unwrap();
    let said = reload.again();
    assert_eq!(reload.again().is_ok(), said.is_ok(), "{name}: once more");
    (said, level.get())
}

pub(super) fn said(name: &str, first: &str, second: &str) -> String {
    reloaded(name, first, second).0.unwrap()
}

#[test]
fn only_what_differs_is_named() {
    let same = "[proxy]\ndrain_timeout = \"2s\"\n[failover]\nhold = \"5s\"\n";
    assert_eq!(said("same", same, same), "nothing has changed");
    let in_other_words = "[failover]\nhold = \"5000ms\"\n# other words\n[proxy]\ndrain_timeout = \"2s\"\nmax_clients = 10000\n";
    assert_eq!(said("words", same, in_other_words), "nothing has changed");
    let other = "[failover]\nhold = \"6s\"\n";
    assert_eq!(
        said("other", same, other),
        "now as the file says: proxy.drain_timeout; failover.hold waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    assert_eq!(said("moved", NODES, &format!("\n\n{NODES}")), "nothing has changed");
    assert_eq!(
        said("back", other, same),
        "now as the file says: proxy.drain_timeout; failover.hold waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
}

#[test]
fn nodes_are_declared_before_anything_else_is_taken_and_nothing_is_if_they_can_not_be() {
    let other = NODES.replace("b:2", "c:3");
    assert_eq!(said("nodes", NODES, &other), "nodes: a:1 c:3");
    let more = format!("{other}[proxy]\nmax_clients = 7\n");
    assert_eq!(said("and", NODES, &more), "nodes: a:1 c:3; now as the file says: proxy.max_clients");
    let file = Secret::new("leads", NODES);
    let origin = Origin::load(&file.0).unwrap();
    let limits = in_force(&origin);
    let mut reload = Reload::new(Some(origin), LevelHandle::unused(), limits.clone(), declare());
    let mut again = |text: &str| {
        std::fs::write(&file.0, text).unwrap();
        reload.again()
    };
    let refused = again(&more.replace("a:1", "a:2")).unwrap_err();
    assert!(refused.ends_with("nothing has changed: backend.nodes: a:1 leads"), "{refused}");
    assert_ne!(limits.load().max_clients, 7, "nothing else has changed either");
    assert_eq!(again(&other).as_deref(), Ok("nodes: a:1 c:3"));
    assert_eq!(again(&other).as_deref(), Ok("nothing has changed"));
    assert_eq!(again(NODES).as_deref(), Ok("nodes: a:1 b:2"));
    let unknown = again("[backend]\nnodes = [\"a:1\", \"dns:no-such-name.invalid:2\"]\n").unwrap_err();
    assert!(unknown.contains("backend.nodes: backend.nodes[1]: dns:no-such-name.invalid:2"), "{unknown}");
}

#[test]
fn secrets_and_rules_are_compared_and_not_told() {
    let [first, second] = ["sesame", "hunter2"].map(|word| format!("[backend]\npassword = \"{word}\"\n"));
    assert_eq!(
        said("secret", &first, &second),
        "backend.password waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    let rule = format!("{NODES}[[durability.rules]]\nprefix = \"cart:\"\nmode = \"semi_sync\"\n");
    assert_eq!(
        said("rule", NODES, &rule),
        "durability.rules waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    let file = Secret::new("held", "sesame");
    let text = format!("[backend]\npassword_file = \"{}\"", file.0.display());
    let place = Secret::new("holds", &text);
    let origin = Origin::load(&place.0).unwrap();
    std::fs::write(&file.0, "hunter2").unwrap();
    let limits = in_force(&origin);
    let told = Reload::new(Some(origin), LevelHandle::unused(), limits, declare()).again();
    assert_eq!(
        told.as_deref(),
        Ok("backend.password_file waits for an upgrade in place (`redhold upgrade`) or a restart")
    );
}

/// The keys that a reload takes, each with another value than its default.
const LIVE: &str = r#"
proxy.max_clients = 7
proxy.idle_timeout = "8s"
proxy.drain_delay = "1s"
proxy.drain_timeout = "2m"
proxy.proxy_protocol = true
proxy.trusted = ["10.0.0.2"]
proxy.allow = ["10.0.0.0/8"]
proxy.deny = ["10.66.0.0/16"]
limits.memory = "6MiB"
limits.clients_per_address = 11
limits.connections_per_second = 12
tracing.sample = 0.5
"#;

#[test]
fn what_is_taken_is_all_that_a_key_means_and_no_other_key_means_it() {
    let of = |text: &str| parse(text, []).unwrap();
    let first = of("");
    for line in LIVE.lines().filter(|line| !line.is_empty()) {
        // The two need each other.
        let text = if line.contains("proxy_protocol") {
            format!("proxy.trusted = [\"::1\"]\n{line}")
        } else {
            line.to_owned()
        };
        let mut config = of(&text);
        assert!(is_live(line.split_once(" =").unwrap().0), "{line}");
        assert_ne!(config.frontend.limits, first.frontend.limits, "{line}");
        config.frontend.limits = first.frontend.limits.clone();
        assert_eq!(config, first, "{line} means something else as well");
    }
    let live =
        SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section.name, key.name)));
    let live = live.filter(|(section, key)| is_live(&format!("{section}.{key}"))).count();
    assert_eq!(live, LIVE.trim().lines().count() + 2, "and log.level, backend.nodes");
    // Whoever adds a limit adds it here, and its key above.
    let Limits { max_clients, entrance, idle_timeout, drain_delay, drain_timeout, memory, traced_ppm } =
        of(LIVE).frontend.limits;
    let Entrance { allow, deny, trusted, proxy_protocol, per_address, per_second } = entrance;
    assert_eq!((max_clients, memory, per_address, per_second, traced_ppm), (7, 6 << 20, 11, 12, 500_000));
    assert_eq!([idle_timeout, drain_delay, drain_timeout].map(|time| time.as_secs()), [8, 1, 120]);
    assert_eq!([allow.len(), deny.len(), trusted.len(), usize::from(proxy_protocol)], [1; 4]);
}

#[test]
fn limits_are_those_of_the_last_sound_file() {
    let file = Secret::new("limits", "proxy.max_clients = 7");
    let limits = LimitsInForce::default();
    let mut reload =
        Reload::new(Some(Origin::load(&file.0).unwrap()), LevelHandle::unused(), limits.clone(), declare());
    let mut again = |text: &str| {
        std::fs::write(&file.0, text).unwrap();
        (reload.again(), limits.load().max_clients)
    };
    assert_eq!(again("proxy.max_clients = 8"), (Ok("now as the file says: proxy.max_clients".to_owned()), 8));
    assert_eq!(again("proxy.max_clients = 8"), (Ok("nothing has changed".to_owned()), 8));
    let (said, most) = again("proxy.max_clients = 9\nproxy.workers = -1");
    assert!(said.is_err() && most == 8, "{said:?}");
    // A share is of what there is now, and that may be something else than before.
    limits.store(Arc::new(Limits { memory: 1, ..Limits::clone(&limits.load()) }));
    assert_eq!(again("proxy.max_clients = 8"), (Ok("now as the file says: limits.memory".to_owned()), 8));
    assert_eq!(again("proxy.max_clients = 7"), (Ok("now as the file says: proxy.max_clients".to_owned()), 7));
}

#[test]
fn the_level_of_the_log_is_taken_at_once() {
    let debug = "[log]\nlevel = \"debug\"\n[proxy]\ndrain_timeout = \"3s\"";
    let (said, level) = reloaded("level", "", debug);
    assert_eq!(said.unwrap(), "log.level is now debug; now as the file says: proxy.drain_timeout");
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
    assert!(said.ends_with("; and 900 more") && said.len() < 40_000, "{said}");
    assert!(!said.contains(char::is_control), "{said}");
}

#[test]
fn a_configuration_of_no_file_stays_as_it_is() {
    let said =
        Reload::new(None, LevelHandle::unused(), LimitsInForce::default(), declare()).again().unwrap_err();
    assert_eq!(said, "no file holds this configuration; nothing has changed");
}
