//! Which folder may name which: arrows only go down, and pure folders do nothing but think.

use crate::source::File;

/// Folder, and the folders it may name. What is not listed may not be named.
const ARROWS: [(&str, &[&str]); 22] = [
    ("main", &["cli"]),
    ("lib", &[]),
    (
        "cli",
        &[
            "app",
            "config",
            "frontend",
            "admin",
            "control",
            "backend",
            "session",
            "routing",
            "durability",
            "failover",
            "command",
            "topology",
            "resp",
            "net",
            "telemetry",
            "traces",
            "users",
            "error",
        ],
    ),
    (
        "app",
        &[
            "config",
            "frontend",
            "supervisor",
            "upgrade",
            "admin",
            "control",
            "backend",
            "session",
            "routing",
            "durability",
            "failover",
            "command",
            "topology",
            "resp",
            "net",
            "telemetry",
            "traces",
            "users",
            "error",
        ],
    ),
    (
        "config",
        &[
            "frontend",
            "admin",
            "control",
            "backend",
            "session",
            "routing",
            "durability",
            "failover",
            "command",
            "topology",
            "resp",
            "net",
            "telemetry",
            "traces",
            "users",
            "error",
        ],
    ),
    (
        "frontend",
        &[
            "control",
            "backend",
            "session",
            "routing",
            "durability",
            "failover",
            "command",
            "topology",
            "resp",
            "net",
            "telemetry",
            "traces",
            "users",
            "error",
        ],
    ),
    (
        "admin",
        &[
            "control",
            "backend",
            "session",
            "routing",
            "failover",
            "command",
            "topology",
            "resp",
            "net",
            "telemetry",
            "traces",
            "error",
        ],
    ),
    ("supervisor", &["control", "topology"]),
    ("upgrade", &["net"]),
    (
        "control",
        &["durability", "failover", "routing", "topology", "users", "resp", "net", "telemetry", "error"],
    ),
    ("backend", &["topology", "resp", "net", "telemetry", "error"]),
    ("session", &["command", "topology", "resp", "error"]),
    ("routing", &["command", "topology", "error"]),
    ("durability", &["error"]),
    ("users", &["error"]),
    ("failover", &["topology", "error"]),
    ("command", &["resp", "error"]),
    ("topology", &["resp", "error"]),
    ("resp", &["error"]),
    ("net", &["error"]),
    ("telemetry", &["error"]),
    ("traces", &["telemetry", "error"]),
];

/// Folders that only decide, and their files that join threads: marks, the handles for orders, the publisher.
const PURE: [&str; 9] =
    ["resp", "command", "topology", "routing", "session", "durability", "failover", "users", "error"];
const PURE_BUT: [&str; 4] = [
    "src/topology/live.rs",
    "src/topology/orders.rs",
    "src/topology/restraints.rs",
    "src/routing/publish.rs",
];

/// What deciding never needs, and what to do instead.
const IMPURE: [(&str, &str); 22] = [
    ("tokio", "return a value; the shell acts"),
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime", "take `now` as an argument"),
    (".elapsed()", "take `now` as an argument"),
    (".await", "return a value; the shell acts"),
    ("async fn", "return a value; the shell acts"),
    ("TcpStream", "return a value; the shell acts"),
    ("TcpListener", "return a value; the shell acts"),
    ("UdpSocket", "return a value; the shell acts"),
    ("UnixStream", "return a value; the shell acts"),
    ("ToSocketAddrs", "names are resolved by the shell"),
    ("socket2", "return a value; the shell acts"),
    ("rustix", "return a value; the shell acts"),
    ("std::fs", "return a value; the shell acts"),
    ("std::thread", "return a value; the shell acts"),
    ("std::process", "return a value; the shell acts"),
    ("std::env", "take it as an argument"),
    ("Mutex", "state is owned, not shared"),
    ("RwLock", "state is owned, not shared"),
    ("prometheus", "return a value; the shell counts"),
    ("rand::", "take the dice as an argument"),
    ("println!", "return a value; the shell prints"),
];

/// Crates from outside and the folders that may name them.
const HOMES: [(&str, &[&str]); 19] = [
    ("sd_notify", &["supervisor"]),
    ("listenfd", &["net"]),
    ("der", &["net"]),
    ("rustls", &["net", "frontend"]),
    ("redis_protocol", &["resp"]),
    ("arc_swap", &["routing", "frontend"]),
    ("prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("toml", &["config"]),
    ("serde", &["config", "admin", "control"]),
    ("serde_json", &["admin", "cli", "control", "traces"]),
    ("hyper", &["admin", "cli", "traces"]),
    ("hyper_util", &["admin", "cli", "traces"]),
    ("clap", &["cli"]),
    ("ratatui", &["cli"]),
    ("subtle", &["admin", "users"]),
    ("sha1", &["control"]),
    ("sha2", &["users"]),
    ("clap_complete", &["cli"]),
];

/// Arrows that the table does not allow.
pub(crate) fn arrows(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        let Some(folder) = file.folder() else { continue };
        let allowed = ARROWS.iter().find(|(name, _)| *name == folder).map_or(&[][..], |(_, allowed)| allowed);
        for (line, target) in named_folders(file) {
            if target != folder && !allowed.contains(&target.as_str()) {
                faults.push(format!(
                    "{}:{line}: {folder} may not name {target} (tests/tidy/arrows.rs)",
                    file.path
                ));
            }
        }
    }
    faults
}

/// Folders that a file names as `crate::folder`, alone or in a group. Climbing to the root by `super` counts as well.
fn named_folders(file: &File) -> Vec<(usize, String)> {
    let code = file.code();
    let mut starts = Vec::new();
    let mut text = String::new();
    for (number, line) in &code {
        starts.push((text.len(), *number));
        text.push_str(line);
        text.push('\n');
    }
    let line_at =
        |at: usize| starts.iter().rev().find(|(start, _)| *start <= at).map_or(0, |(_, number)| *number);
    let mut named = Vec::new();
    for root in roots(file) {
        for (at, _) in text.match_indices(&root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &text[at + root.len()..];
            named.extend(first_names(rest).into_iter().map(|name| (line_at(at), name)));
        }
    }
    named
}

/// The ways in which a file can write the crate's root.
fn roots(file: &File) -> Vec<String> {
    let depth = file
        .path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/')
        .count();
    vec!["crate::".to_owned(), "redhold::".to_owned(), "super::".repeat(depth)]
}

/// `a::b` names a; `{a::{b, c}, d}` names a and d. Lower case only: folders, not types.
fn first_names(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        return Some(word(rest)).filter(|name| is_folder(name)).into_iter().collect();
    };
    let mut depth = 0usize;
    let mut names = Vec::new();
    let mut item = String::new();
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(word(std::mem::take(&mut item).trim())),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth > 0 || c != ',' {
            item.push(c);
        }
    }
    names.push(word(item.trim()));
    names.into_iter().filter(|name| is_folder(name)).collect()
}

fn is_folder(name: &str) -> bool {
    name == "error" || ARROWS.iter().any(|(folder, _)| *folder == name)
}

/// Sockets, clocks, locks and the like in a folder that only decides.
pub(crate) fn purity(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !file.is_test() && !PURE_BUT.contains(&file.path.as_str())) {
        if !file.folder().is_some_and(|folder| PURE.contains(&folder)) {
            continue;
        }
        for (number, line) in file.code() {
            for (word, instead) in IMPURE.iter().filter(|(word, _)| line.contains(word)) {
                faults.push(format!("{}:{number}: `{word}` in a pure folder: {instead}", file.path));
            }
        }
    }
    faults
}

/// A crate from outside that is named away from its home.
pub(crate) fn homes(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        let Some(folder) = file.folder() else { continue };
        for (number, line) in file.code() {
            for (name, homes) in HOMES.iter().filter(|(name, _)| names_crate(&line, name)) {
                if !homes.contains(&folder) {
                    faults.push(format!("{}:{number}: `{name}` is named in {homes:?} only", file.path));
                }
            }
        }
    }
    faults
}

fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.');
        whole && line[at + name.len()..].starts_with("::")
    })
}

#[test]
fn arrows_only_go_down() {
    crate::report(arrows);
}

#[test]
fn deciders_stay_pure() {
    crate::report(purity);
}

#[test]
fn each_outside_crate_has_one_home() {
    crate::report(homes);
}

#[test]
fn planted_arrows_are_found() {
    let plant = |path: &str, text: &str| arrows(&[File::planted(path, text)]).len();
    assert_eq!(plant("src/backend/x.rs", "use crate::frontend::Client;"), 1);
    assert_eq!(
        plant("src/backend/x.rs", "use crate::{\n    resp::Frame,\n    net::{a, b},\n    frontend,\n};"),
        1
    );
    assert_eq!(plant("src/backend/x.rs", "let x = super::super::routing::load();"), 1);
    assert_eq!(plant("src/backend/mod.rs", "use super::session;"), 1);
    assert_eq!(plant("src/failover/machine/x.rs", "use super::super::super::control::Handle;"), 1);
    assert_eq!(plant("src/main.rs", "redhold::app::run()"), 1);
    assert_eq!(plant("src/error.rs", "use crate::resp;"), 1);
    assert_eq!(plant("src/newcomer/x.rs", "use crate::resp;"), 1);
    let fine = "// crate::frontend\nuse crate::{resp, topology::NodeId};\nuse super::state;\nlet s = \"crate::frontend\";";
    assert_eq!(plant("src/backend/x.rs", fine), 0);
}

#[test]
fn planted_impurities_are_found() {
    for (word, _) in IMPURE {
        assert_eq!(
            purity(&[File::planted("src/failover/x.rs", &format!("let x = {word};"))]).len(),
            1,
            "{word}"
        );
        assert!(purity(&[File::planted("src/control/x.rs", word)]).is_empty(), "{word}");
    }
    assert!(purity(&[File::planted("src/routing/publish.rs", "tokio")]).is_empty());
}

#[test]
fn planted_strays_are_found() {
    for (name, _) in HOMES {
        assert_eq!(
            homes(&[File::planted("src/backend/x.rs", &format!("use {name}::Thing;"))]).len(),
            1,
            "{name}"
        );
    }
    assert!(homes(&[File::planted("src/telemetry/x.rs", "use prometheus::Counter;")]).is_empty());
    assert!(homes(&[File::planted("src/admin/x.rs", "let text = metrics.prometheus::<u8>();")]).is_empty());
}
