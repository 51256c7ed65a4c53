//! What is accepted, what is refused and with which words, and that the files in the repository keep up.

mod every_key;
mod faulty;
mod moved;
mod reload;
mod roles;
mod tls;

use std::path::Path;
use std::time::Duration;

use self::faulty::FAULTS;
use self::reload::said;
use super::*;
use crate::failover::Mode;
use crate::frontend::Listen;
use crate::{admin, backend, control, failover, frontend, routing, telemetry};

fn read(text: &str) -> Result<Config, Faults> {
    parse(text, [])
}

fn faults(text: &str) -> String {
    read(text).expect_err("must be refused").to_string()
}

fn with(variables: &[(&str, &str)]) -> Result<Config, Faults> {
    parse("", variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn the_table_and_every_folders_own_defaults_agree() {
    let config = read("").unwrap();
    let workers = std::thread::available_parallelism().unwrap().get();
    assert_eq!(
        config.frontend,
        frontend::Settings {
            workers,
            limits: frontend::Limits { memory: memory::limit("50%").unwrap(), ..Default::default() },
            ..Default::default()
        }
    );
    assert_eq!(config.backend, backend::Settings::default());
    assert_eq!(config.control.failover, failover::Settings::default());
    assert_eq!(config.control.reads, routing::Settings::default());
    assert_eq!(config.control.credentials, control::Credentials::default());
    assert_eq!(config.control.state_dir.as_deref(), Some(Path::new("/var/lib/redhold")));
    assert_eq!((config.control.quarantine_files, config.control.quarantine_size), (16, 256 << 20));
    assert_eq!(config.control.nodes.len(), 1);
    assert_eq!(config.control.nodes[0].address.to_string(), "127.0.0.1:6379");
    assert_eq!(config.admin, admin::Settings::default());
    assert_eq!(config.log, telemetry::Settings::default());
    assert_eq!(config.notes, Vec::<String>::new());
}

/// Compares a file with what the code generates; `UPDATE=1` writes it instead.
fn keep(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == generated, "{file} is out of date: UPDATE=1 cargo test --lib config:: writes it");
}

#[test]
fn the_full_file_is_generated_and_equals_the_defaults() {
    keep("config/full.toml", &full());
    assert_eq!(read(&full()).unwrap(), read("").unwrap());
}

#[test]
fn the_full_file_writes_every_key_with_a_default_and_comments_every_other() {
    let text = full();
    for section in SECTIONS {
        for key in section.keys {
            let (live, value) = match key.preset {
                Preset::Value(value) => (!matches!(section.form, Form::Rows(_)), value),
                Preset::Absent(value) => (false, value),
            };
            let line = format!("{}{} = {value}", if live { "" } else { "# " }, key.name);
            assert!(text.lines().any(|l| l == line), "{}: no line `{line}`", section.name);
        }
    }
}

#[test]
fn every_example_is_toml_that_its_key_takes_or_calls_not_yet() {
    let uncommented: String = full()
        .lines()
        .filter_map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let is_toml =
                bare.starts_with('[') || bare.split_once(" = ").is_some_and(|(k, _)| !k.contains(' '));
            is_toml.then(|| format!("{bare}\n"))
        })
        .collect();
    // Nobody comes in without a password.
    let uncommented = uncommented.replace("password_env = \"\"", "password_env = \"PATH\"");
    let faults = read(&uncommented).unwrap_err();
    let odd: Vec<_> =
        faults.0.iter().filter(|fault| !fault.text.contains("not yet")).map(Fault::to_string).collect();
    // What is contradicted by the whole file: certificates and a secret that are no files here, two passwords, and replicas for
    // the rule.
    let starts = [
        "proxy.tls: cannot read /etc/redhold/tls/tls.crt: ",
        "backend.password_file: cannot read `/run/secrets/redhold`: ",
        "backend.password_file: is given besides backend.password",
        "backend.tls: cannot read /etc/redhold/tls/ca.crt: ",
        "durability.replicas: 1 replicas can not acknowledge",
        "admin.token_file: cannot read `/run/secrets/admin`: ",
        "admin.tls: cannot read /etc/redhold/tls/tls.crt: ",
        "admin.roles[0].token_file: cannot read `/run/secrets/ops`: ",
    ];
    assert_eq!(odd.len(), starts.len(), "{odd:#?}");
    odd.iter().zip(starts).for_each(|(text, start)| assert!(text.starts_with(start), "{odd:#?}"));
}

#[test]
fn the_reference_page_is_generated() {
    keep("docs/configuration.md", &reference());
}

#[test]
fn the_other_files_of_the_repository_are_accepted() {
    for (file, listen) in [
        ("minimal", "127.0.0.1:6380"),
        ("container", "0.0.0.0:6380"),
        ("compose/redhold", "0.0.0.0:6380"),
        ("debian/redhold", "127.0.0.1:6380"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{file}.toml"));
        let config = Origin::load(&path).unwrap();
        let config = config.config();
        assert_eq!(config.frontend.listen, [Listen::Tcp(listen.parse().unwrap())], "{file}");
    }
}

#[test]
fn retry_all_retries_idempotent_writes_too() {
    let config = read("failover.in_flight = \"retry_all\"").unwrap();
    assert!(config.frontend.retry_all && config.frontend.retry_idempotent);
    let config = read("failover.in_flight = \"retry_idempotent\"").unwrap();
    assert!(!config.frontend.retry_all && config.frontend.retry_idempotent);
}

#[test]
fn writes_that_wait_to_be_safe_are_not_sent_again_unless_it_is_asked_for() {
    for (in_flight, retried) in
        [("auto", false), ("error", false), ("retry_idempotent", true), ("retry_all", true)]
    {
        let durable = "durability.mode = \"semi_sync\"\nbackend.nodes = [\"a:1\", \"b:1\"]\n";
        let config = read(&format!("{durable}failover.in_flight = \"{in_flight}\"")).unwrap();
        assert_eq!(config.frontend.retry_idempotent, retried, "{in_flight}");
    }
    assert!(read("").unwrap().frontend.retry_idempotent);
}

#[test]
fn a_rule_alone_demands_of_a_failover_what_the_mode_would() {
    let rule = "[[durability.rules]]\nprefix = \"order:\"\nmode = \"semi_sync\"";
    let config = read(&format!("backend.nodes = [\"a:1\", \"b:1\"]\n{rule}")).unwrap();
    assert_eq!(config.control.failover.durability.replicas, 1);
    assert!(!config.frontend.retry_idempotent);
    assert_eq!(config.control.durability, config.frontend.durability);
}

#[test]
fn committed_reads_are_taken_where_the_primary_alone_answers() {
    let durable =
        "backend.nodes = [\"a:1\", \"b:1\"]\ndurability = { mode = \"semi_sync\", reads = \"committed\" }";
    assert!(read(durable).unwrap().frontend.durability.reads_wait);
    assert!(!read("durability.reads = \"uncommitted\"").unwrap().frontend.durability.reads_wait);
}

#[test]
fn more_rules_than_a_key_is_compared_with_are_refused() {
    let rules = |count: usize| -> String {
        (0..count).map(|at| format!("[[durability.rules]]\nprefix = \"{at}:\"\nmode = \"async\"\n")).collect()
    };
    assert!(read(&rules(64)).is_ok());
    assert_eq!(faults(&rules(65)), "durability.rules: 65 rules, more than 64 (line 1)");
}

#[test]
fn each_fault_has_its_words_and_its_line() {
    for (text, expected) in FAULTS {
        assert_eq!(faults(text), *expected, "for {text}");
    }
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    let text = faults("[proxy]\nworkers = \n");
    assert!(text.starts_with("not TOML: ") && text.ends_with("(line 2)"), "{text}");
    let text = faults("[proxy]\nworkers = 1\nworkers = 2\n");
    assert!(text.contains("duplicate key") && text.ends_with("(line 3)"), "{text}");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_lines() {
    let text = faults(
        "[proxy]\nworkers = -1\nmax_clint = 1\n[failover]\nmode = \"never\"\n[cache]\nprefixes = [\"a:\"]\n",
    );
    let starts: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["proxy.workers", "proxy.max_clint", "failover.mode", "cache.prefixes"], "{text}");
}

#[test]
fn keys_of_later_features_take_their_default_and_nothing_else() {
    let mut later = 0;
    for section in SECTIONS.iter().filter(|section| matches!(section.form, Form::Table)) {
        for key in section.keys.iter().filter(|key| !key.works()) {
            later += 1;
            if let Preset::Value(value) = key.preset {
                let text = format!("[{}]\n{} = {value}", section.name, key.name);
                assert_eq!(read(&text).map_err(|faults| faults.to_string()), Ok(read("").unwrap()));
            }
            let text = format!("[{}]\n{} = {}", section.name, key.name, another(key));
            let told = faults(&text);
            assert!(told.starts_with(&format!("{}.{}: `", section.name, key.name)), "{told}");
            assert!(told.contains("` is not yet supported; ") && told.ends_with("(line 2)"), "{told}");
        }
    }
    assert!(later > 15, "{later} keys were looked at");
    assert_eq!(
        faults("[coordinator]\nmode = \"raft\""),
        "coordinator.mode: `raft` is not yet supported; only \"local\" works in this version (line 2)"
    );
}

/// A valid value of the key's kind that is not its default.
fn another(key: &Key) -> String {
    match (&key.kind, key.preset) {
        (_, Preset::Absent(example)) => example.to_owned(),
        (Kind::Duration(..), _) => "\"77s\"".to_owned(),
        (Kind::Size(..), _) => "\"77MiB\"".to_owned(),
        (Kind::Count(..), _) => "7".to_owned(),
        (Kind::Flag(_), Preset::Value(value)) => (value != "true").to_string(),
        (Kind::Choice(words, _), Preset::Value(value)) => {
            let word = words.iter().find(|word| format!("\"{word}\"") != value).unwrap();
            format!("\"{word}\"")
        }
        (Kind::Share(_), _) => "0.77".to_owned(),
        (Kind::Texts(_) | Kind::Networks(_) | Kind::Listens(_), _) => "[\"a\"]".to_owned(),
        (Kind::Nodes(_), _) => "[\"a:1\"]".to_owned(),
        (Kind::Text(_) | Kind::Secret(_), _) => "\"something\"".to_owned(),
        (Kind::Tables, _) => "{ a = 1 }".to_owned(),
    }
}

#[test]
fn sections_of_later_features_are_refused_by_name_and_their_keys_too() {
    let text = faults("[archive]\nstore = \"file:///x\"\n[[compression]]\nprefx = \"a\"\n[mirror]\n");
    let expected = "archive: [archive] is not yet supported; leave it out (line 1)\n\
                    archive.store: `file:///x` is not yet supported; leave it out (line 2)\n\
                    compression: [[compression]] is not yet supported; leave it out (line 3)\n\
                    compression.prefx: unknown key; did you mean `prefix`? (line 4)\n\
                    mirror: [mirror] is not yet supported; leave it out (line 5)";
    assert_eq!(text, expected);
}

#[test]
fn the_same_value_in_other_words_is_still_the_default() {
    let text = "[proxy]\nidle_timeout = \"0ms\"\n[cache]\nmemory = \"262144KiB\"\n[tracing]\nsample = 0\n";
    assert_eq!(read(text).unwrap(), read("").unwrap());
}

#[test]
fn a_name_that_stands_for_several_nodes_is_kept_as_one_until_it_is_looked_up() {
    let config = read(
        "[backend]\nnodes = [\"a:1\", { address = \"dns:redis:6379\", zone = \"z\", expect = 3 }, \"dns:b:2\"]\n\
         [durability]\nmode = \"semi_sync\"\nreplicas = 3\n",
    );
    let control = config.unwrap().control;
    let address = |text: &str| text.parse().unwrap();
    let names = [
        crate::control::NodeName::new(1, 3, address("redis:6379")),
        crate::control::NodeName::new(2, 1, address("b:2")),
    ];
    assert_eq!(control.names, names);
    assert_eq!(control.nodes.len(), 3);
    assert_eq!((&control.nodes[1].address, control.nodes[1].zone.as_str()), (&address("redis:6379"), "z"));
}

#[test]
fn variables_win_over_the_file() {
    let text = "[proxy]\nmax_clients = 5\n[failover]\nhold = \"1s\"\n";
    let variables = [("REDHOLD_PROXY_MAX_CLIENTS", "6"), ("REDHOLD_BACKEND_NODES", "a:1, b:2")];
    let config = parse(text, variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    assert_eq!(config.frontend.limits.max_clients, 6);
    assert_eq!(config.frontend.hold, Duration::from_secs(1));
    assert_eq!(config.control.nodes[1].address.to_string(), "b:2");
}

#[test]
fn every_scalar_that_works_has_its_variable() {
    let config = with(&[
        ("REDHOLD_PROXY_HIDE_TOPOLOGY", "true"),
        ("REDHOLD_FAILOVER_MODE", "off"),
        ("REDHOLD_LIMITS_REQUEST_SIZE", "2KiB"),
        ("REDHOLD_BACKEND_PASSWORD", "hunter2"),
        ("REDHOLD_LOG_LEVEL", "trace"),
    ])
    .unwrap();
    assert!(config.frontend.hide_topology);
    assert_eq!(config.control.failover.mode, Mode::Off);
    assert_eq!(config.frontend.request_size, 2048);
    assert_eq!(config.control.credentials.password, "hunter2");
    assert_eq!(config.log.level, "trace");
}

#[test]
fn faults_of_variables_name_the_variable() {
    let cases = [
        (
            "REDHOLD_PROXY_MAX_CLIENTS",
            "many",
            "proxy.max_clients: `many` is not a whole number (REDHOLD_PROXY_MAX_CLIENTS)",
        ),
        (
            "REDHOLD_PROXY_HIDE_TOPOLOGY",
            "1",
            "proxy.hide_topology: `1` is not true or false (REDHOLD_PROXY_HIDE_TOPOLOGY)",
        ),
        (
            "REDHOLD_BACKEND_NODES",
            "a:1,b",
            "backend.nodes[1]: `b` is not host:port or [v6]:port (REDHOLD_BACKEND_NODES)",
        ),
        (
            "REDHOLD_COORDINATOR_MODE",
            "raft",
            "coordinator.mode: `raft` is not yet supported; only \"local\" works in this version (REDHOLD_COORDINATOR_MODE)",
        ),
        (
            "REDHOLD_MIRROR_SHARE",
            "0.5",
            "mirror.share: `0.5` is not yet supported; leave it out (REDHOLD_MIRROR_SHARE)",
        ),
    ];
    for (name, value, expected) in cases {
        assert_eq!(with(&[(name, value)]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_variable_that_only_looks_like_a_key_is_noted_and_an_orchestrators_is_not() {
    let config = with(&[
        ("REDHOLD_PROXY_MAX_CLIENT", "5"),
        ("REDHOLD_SERVICE_HOST", "10.0.0.1"),
        ("REDHOLD_PORT_6380_TCP", "tcp://10.0.0.1:6380"),
        ("REDHOLD_ADMIN_SERVICE_PORT_HTTP", "9380"),
        ("REDHOLD_PORT", "tcp://10.0.0.1:6380"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(
        config.notes,
        [
            "environment variable REDHOLD_PROXY_MAX_CLIENT names no key and is ignored; did you mean REDHOLD_PROXY_MAX_CLIENTS?"
        ]
    );
}

/// A file of its own for each test, removed at the end.
struct Secret(std::path::PathBuf);

impl Secret {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redhold-config-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_password_file_is_read_without_its_newline() {
    for (name, content) in [("lf", "hunter2\n"), ("crlf", "hunter2\r\n"), ("none", "hunter2")] {
        let file = Secret::new(name, content);
        let config = read(&format!("[backend]\npassword_file = \"{}\"", file.0.display())).unwrap();
        assert_eq!(config.control.credentials.password, "hunter2", "{name}");
    }
    let file = Secret::new("empty", "\n");
    let told = faults(&format!("[backend]\npassword_file = \"{}\"", file.0.display()));
    assert_eq!(told, format!("backend.password_file: `{}` is empty (line 2)", file.0.display()));
}

#[test]
fn two_passwords_are_one_too_many() {
    let file = Secret::new("two", "hunter2");
    let text = format!("[backend]\npassword = \"a\"\npassword_file = \"{}\"", file.0.display());
    assert_eq!(
        faults(&text),
        "backend.password_file: is given besides backend.password; keep one of them (line 3)"
    );
}

#[test]
fn a_secret_is_never_printed() {
    let config = read("[backend]\npassword = \"hunter2\"").unwrap();
    assert!(!format!("{config:?}").contains("hunter2") && format!("{config:?}").contains("***"));
    let told = faults("[[users]]\npassword_sha256 = \"hunter2\"\n[backend]\npassword = [\"hunter2\"]\n");
    assert!(told.contains("users[0].password_sha256: must be 64 hex digits"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let told = Origin::load(Path::new("/no/such.toml")).unwrap_err().to_string();
    assert_eq!(
        told,
        "cannot read /no/such.toml: No such file or directory (os error 2); \
         `redhold config > redhold.toml` writes one with every default"
    );
}

#[test]
fn a_file_beyond_any_configuration_is_refused() {
    let file = Secret::new("large", &"# x\n".repeat(300_000));
    assert!(Origin::load(&file.0).unwrap_err().to_string().contains("larger than 1MiB"));
}

proptest::proptest! {
    /// Bytes from outside never panic the reader: any text is a configuration or a list of faults.
    #[test]
    fn any_text_is_read_or_refused(text in r#"(\[[a-z.]{0,12}\]\n|[a-z_]{1,10} = |"[^"]{0,8}"|[\[\]{},="']|-?[0-9]{1,22}|\n|\PC){0,40}"#) {
        let outcome = parse(&text, []);
        proptest::prop_assert!(outcome.is_ok() || !outcome.unwrap_err().0.is_empty());
    }

    /// The same for the value of each key that works, from a variable.
    #[test]
    fn any_variable_is_read_or_refused(index in 0..200usize, value in "[0-9a-z:\\[\\].,/-]{0,24}") {
        let keys: Vec<_> = SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |key| (s, key))).collect();
        let (section, key) = keys[index % keys.len()];
        // Names to listen on would be looked up.
        if !matches!(key.name, "listen") {
            let name = format!("REDHOLD_{}_{}", section.name.replace('.', "_"), key.name).to_uppercase();
            let outcome = parse("", [(name, value)]);
            proptest::prop_assert!(outcome.is_ok() || !outcome.unwrap_err().0.is_empty());
        }
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("[backend]\nnodes = {}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(read(&text).is_err());
    }
}
