//! Every key that works is moved by some test to where its effect is seen.

use std::path::Path;

use super::super::*;

/// How a test moves a key.
enum How {
    /// By the name of the key: `.set("section.key", …)`.
    Set,
    /// By these words.
    Words(&'static str),
}

use How::{Set, Words};

/// Key, the file of the test that moves it, and how it does.
const MOVED: &[(&str, &str, How)] = &[
    ("proxy.listen", "tests/support/proxy.rs", Set),
    ("proxy.workers", "tests/end_to_end/shared_connection.rs", Set),
    ("proxy.batching", "tests/end_to_end/batching.rs", Set),
    ("proxy.max_clients", "tests/end_to_end/bad_input.rs", Set),
    ("proxy.idle_timeout", "tests/end_to_end/inactive.rs", Set),
    ("proxy.drain_delay", "tests/cli/proxy.rs", Set),
    ("proxy.drain_timeout", "tests/end_to_end/bounds.rs", Set),
    ("proxy.proxy_protocol", "tests/end_to_end/entrance.rs", Set),
    ("proxy.trusted", "tests/end_to_end/entrance.rs", Set),
    ("proxy.allow", "tests/end_to_end/entrance.rs", Set),
    ("proxy.deny", "tests/end_to_end/entrance.rs", Set),
    ("proxy.hide_topology", "tests/end_to_end/hidden.rs", Set),
    ("proxy.owned_commands", "tests/end_to_end/owned.rs", Set),
    ("proxy.maint_notifications", "tests/maintenance/notices.rs", Set),
    ("proxy.announce", "tests/maintenance/notices.rs", Set),
    ("proxy.tls.cert", "tests/support/certificates.rs", Set),
    ("proxy.tls.key", "tests/support/certificates.rs", Set),
    ("proxy.tls.client_ca", "tests/support/certificates.rs", Set),
    ("proxy.tls.min_version", "tests/end_to_end/tls.rs", Set),
    ("backend.nodes", "tests/support/proxy.rs", Set),
    ("backend.username", "tests/control/lives.rs", Words(r#"username: "ops""#)),
    ("backend.password", "tests/end_to_end/client_table.rs", Set),
    ("backend.password_file", "src/config/tests.rs", Words("fn a_password_file_is_read_without_its_newline")),
    ("backend.pipelines_max", "tests/end_to_end/shared_connection.rs", Set),
    ("backend.pinned_max", "tests/end_to_end/pinned_max.rs", Set),
    ("backend.tls.ca", "tests/support/certificates.rs", Set),
    ("backend.tls.cert", "tests/support/certificates.rs", Set),
    ("backend.tls.key", "tests/support/certificates.rs", Set),
    ("backend.tls.server_name", "tests/end_to_end/tls_nodes.rs", Set),
    ("health.interval", "tests/end_to_end/monitor.rs", Set),
    ("health.timeout", "tests/end_to_end/reads.rs", Set),
    ("health.busy_timeout", "tests/end_to_end/failover.rs", Set),
    ("health.slow_primary", "tests/end_to_end/slow_primary.rs", Set),
    ("failover.mode", "tests/failover/scripts/manual.txt", Words("set mode=manual")),
    ("failover.hold", "tests/end_to_end/node_faults.rs", Set),
    ("failover.hold_memory", "tests/end_to_end/bounds.rs", Set),
    ("failover.in_flight", "tests/end_to_end/bounds.rs", Set),
    (
        "failover.on_no_quorum",
        "tests/failover/scripts/no_quorum_proceed.txt",
        Words("set on_no_quorum=proceed"),
    ),
    ("failover.burst", "tests/failover/scripts/brake.txt", Words("set burst=1")),
    ("failover.refill", "tests/failover/scripts/brake_refilled.txt", Words("refill=")),
    (
        "failover.empty_primary",
        "tests/failover/scripts/restarted_empty_accepted.txt",
        Words("set empty_primary=accept"),
    ),
    ("failover.tune_nodes", "tests/failover/scripts/tuned.txt", Words("set tune_nodes=true")),
    ("failover.state_dir", "tests/control/lives.rs", Words("settings.state_dir = ")),
    (
        "failover.quarantine_files",
        "tests/end_to_end/quarantine.rs",
        Words(r#""failover.quarantine_files", "#),
    ),
    ("failover.quarantine_size", "tests/end_to_end/quarantine.rs", Words(r#""failover.quarantine_size", "#)),
    ("reads.policy", "tests/end_to_end/reads.rs", Set),
    ("reads.read_your_writes", "tests/end_to_end/reads.rs", Words(r#"("reads.read_your_writes", "#)),
    ("reads.max_staleness", "tests/end_to_end/reads.rs", Words(r#"("reads.max_staleness", "#)),
    ("reads.during_outage", "tests/end_to_end/reads.rs", Set),
    ("reads.zone", "tests/end_to_end/reads.rs", Set),
    ("reads.spill", "tests/end_to_end/read_spread.rs", Set),
    ("durability.mode", "tests/end_to_end/durability.rs", Set),
    ("durability.replicas", "tests/end_to_end/durability.rs", Set),
    ("durability.timeout", "tests/end_to_end/durability.rs", Set),
    ("durability.degrade_after", "tests/end_to_end/durability_degraded.rs", Set),
    ("durability.reads", "tests/end_to_end/durability_reads.rs", Set),
    ("durability.rules.prefix", "tests/end_to_end/durability_rules.rs", Words("prefix = ")),
    ("durability.rules.mode", "tests/end_to_end/durability_rules.rs", Words("mode = ")),
    ("admin.listen", "tests/support/proxy.rs", Set),
    ("admin.users", "tests/end_to_end/proxy_command.rs", Set),
    ("admin.token_file", "tests/cli/proxy.rs", Set),
    ("admin.tls.cert", "tests/cli/admin_tls.rs", Set),
    ("admin.tls.key", "tests/cli/admin_tls.rs", Set),
    ("admin.tls.client_ca", "tests/cli/admin_tls.rs", Set),
    ("admin.tls.min_version", "tests/cli/admin_tls.rs", Set),
    ("admin.roles.name", "tests/cli/admin_roles.rs", Words("name = ")),
    ("admin.roles.token_file", "tests/cli/admin_roles.rs", Words("token_file = ")),
    ("admin.roles.role", "tests/cli/admin_roles.rs", Words("role = ")),
    ("users.name", "tests/end_to_end/users.rs", Words("name = ")),
    ("users.password_file", "tests/end_to_end/users.rs", Words("password_file = ")),
    ("users.password_env", "tests/end_to_end/users.rs", Words("password_env = ")),
    ("users.password_sha256", "tests/end_to_end/users.rs", Words("password_sha256 = ")),
    ("users.commands", "tests/end_to_end/users.rs", Words("commands = ")),
    ("users.keys", "tests/end_to_end/users.rs", Words("keys = ")),
    ("users.channels", "tests/end_to_end/users.rs", Words("channels = ")),
    ("users.rate", "tests/end_to_end/users.rs", Words("rate = ")),
    ("users.admin", "tests/end_to_end/users.rs", Words("admin = ")),
    ("users.backend_user", "tests/end_to_end/users.rs", Words("backend_user = ")),
    ("users.backend_password_file", "tests/end_to_end/users.rs", Words("backend_password_file = ")),
    ("limits.request_size", "tests/end_to_end/bad_input.rs", Set),
    ("limits.client_output", "tests/end_to_end/bad_input.rs", Set),
    ("limits.in_flight_per_client", "tests/end_to_end/bounds.rs", Set),
    ("limits.memory", "tests/end_to_end/memory.rs", Set),
    ("limits.clients_per_address", "tests/end_to_end/entrance.rs", Set),
    ("limits.connections_per_second", "tests/end_to_end/entrance.rs", Set),
    ("limits.script_cache", "tests/end_to_end/parity.rs", Set),
    ("log.level", "src/telemetry/log.rs", Words("fn the_level_changes_while_the_process_runs")),
    ("log.format", "src/telemetry/log.rs", Words("fn auto_is_text_on_a_terminal_and_json_elsewhere")),
    ("log.slowlog", "tests/end_to_end/slow_log.rs", Set),
    ("log.slowlog_len", "tests/end_to_end/slow_log.rs", Set),
    ("log.hotkeys_one_in", "tests/end_to_end/hot_keys.rs", Set),
    ("log.bigkeys_min", "tests/end_to_end/big_keys.rs", Set),
    ("tracing.otlp", "tests/end_to_end/traces.rs", Set),
    ("tracing.sample", "tests/end_to_end/traces.rs", Set),
];

#[test]
fn every_key_that_works_is_moved_by_a_test_and_no_other_is_listed() {
    let works = SECTIONS.iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)));
    let works = works.filter(|(_, key)| key.works());
    let works: Vec<String> = works.map(|(section, key)| format!("{}.{}", section.name, key.name)).collect();
    let listed: Vec<&str> = MOVED.iter().map(|(key, ..)| *key).collect();
    assert_eq!(listed, works, "a key that works is moved by a test, or is not yet supported and refused");
}

#[test]
fn each_of_those_tests_is_there() {
    for (key, file, how) in MOVED {
        let words = match how {
            Set => format!(".set(\"{key}\", "),
            Words(words) => (*words).to_owned(),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{key}: {file}: {fault}"));
        assert!(text.contains(&words), "{key}: `{words}` is not in {file}");
    }
}

/// A feature that is missing is said to be missing where people look for it.
#[test]
fn every_key_of_a_later_feature_is_named_on_the_page_of_what_is_missing() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/out-of-scope.md")).unwrap();
    for section in SECTIONS {
        let whole = page.contains(&format!("`[{}]`", section.name))
            || page.contains(&format!("`[[{}]]`", section.name));
        for key in section.keys.iter().filter(|key| !key.works() || section.form.is_later()) {
            let named = page.contains(&format!("`{}.{}`", section.name, key.name));
            assert!(
                whole || named,
                "docs/out-of-scope.md names neither [{}] nor its key `{}`",
                section.name,
                key.name
            );
        }
    }
}
