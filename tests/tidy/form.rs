//! Lengths, reminders, front pages, documents and budgets.

use std::collections::BTreeMap;

use crate::source::File;

/// A file that grows past this has a second subject.
const LONGEST: usize = 600;
/// The command table is data: as long as Redis has commands.
const DATA: [&str; 1] = ["src/command/table"];

/// Written in halves so that this file does not find itself.
const REMINDERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Files that are too long.
pub(crate) fn lengths(files: &[File]) -> Vec<String> {
    let is_code = |file: &&File| [".rs", ".js", ".css"].iter().any(|end| file.path.ends_with(end));
    let code = files.iter().filter(is_code);
    code.filter(|file| !DATA.iter().any(|data| file.path.starts_with(data)))
        .filter(|file| file.text.lines().count() > LONGEST)
        .map(|file| {
            format!(
                "{}: {} lines, at most {LONGEST}: split it by subject",
                file.path,
                file.text.lines().count()
            )
        })
        .collect()
}

/// Work left for later.
pub(crate) fn reminders(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = REMINDERS.iter().find(|word| has_word(line, word)) {
                faults.push(format!(
                    "{}:{}: `{word}`: do it, or say in docs/out-of-scope.md",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    faults
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// Logic in a `mod.rs`, which is a front page: documentation, modules, what is offered.
pub(crate) fn front_pages(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/") && file.path.ends_with("/mod.rs")) {
        if !file.text.starts_with("//! ") {
            faults.push(format!("{}:1: a front page begins with what the folder is for", file.path));
        }
        for (number, line) in file.code() {
            if line.split_whitespace().any(|word| word == "fn") {
                faults.push(format!("{}:{number}: a front page holds no logic", file.path));
            }
        }
    }
    faults
}

/// Documents that nobody finds, and links that lead nowhere.
pub(crate) fn documents(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    let pages: Vec<&File> = files.iter().filter(|file| file.path.ends_with(".md")).collect();
    let mut linked = Vec::new();
    for page in &pages {
        for target in links(&page.text) {
            let path = resolve(&page.path, &target);
            let folder = format!("{}/", path.trim_end_matches('/'));
            if !files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
                && path != "LICENSE"
            {
                faults.push(format!("{}: links to {target}, which does not exist", page.path));
            }
            linked.push(path);
        }
    }
    for page in pages.iter().filter(|page| page.path.starts_with("docs/")) {
        if !linked.contains(&page.path) {
            faults.push(format!("{}: no other page links to it", page.path));
        }
    }
    if let Some(readme) = files.iter().find(|file| file.path == "README.md") {
        for command in ["make run", "make test"] {
            if !readme.text.contains(command) {
                faults.push(format!("README.md: does not name `{command}`"));
            }
        }
    }
    faults
}

/// Targets of `[text](target)` that are files here, without their anchors.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or(target).to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
        .collect()
}

fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The tests' budgets: known keys, and sums below what is promised: 15 minutes after the build, and 90.
pub(crate) fn budgets(files: &[File]) -> Vec<String> {
    let Some(file) = files.iter().find(|file| file.path == "tests/budget.toml") else {
        return vec!["tests/budget.toml: missing".to_owned()];
    };
    let groups: BTreeMap<String, BTreeMap<String, toml::Value>> = match toml::from_str(&file.text) {
        Ok(groups) => groups,
        Err(error) => return vec![format!("tests/budget.toml: {error}")],
    };
    let mut faults = Vec::new();
    let (mut the_longer, mut after_build) = (0, 0);
    for (name, group) in &groups {
        let text = |key: &str| group.get(key).and_then(toml::Value::as_str);
        let seconds = group.get("seconds").and_then(toml::Value::as_integer).filter(|seconds| *seconds > 0);
        if seconds.is_none() || text("run").is_none() || !matches!(text("tier"), Some("test" | "all")) {
            faults.push(format!(
                "tests/budget.toml: [{name}] needs tier = \"test\" or \"all\", seconds and run"
            ));
        }
        if let Some(key) =
            group.keys().find(|key| !["tier", "seconds", "needs", "build", "run"].contains(&key.as_str()))
        {
            faults.push(format!("tests/budget.toml: [{name}] has an unknown key {key}"));
        }
        match text("tier") {
            Some("all") => the_longer += seconds.unwrap_or(0),
            _ if name == "build" => {}
            _ => after_build += seconds.unwrap_or(0),
        }
    }
    for (what, sum, most) in
        [("`make test` after the build", after_build, 15 * 60), ("`make test-all`", the_longer, 90 * 60)]
    {
        if sum > most {
            faults.push(format!("tests/budget.toml: {what} may take {sum} s, {most} s are promised"));
        }
    }
    faults
}

#[test]
fn files_are_short() {
    crate::report(lengths);
}

#[test]
fn nothing_is_left_for_later() {
    crate::report(reminders);
}

#[test]
fn front_pages_hold_no_logic() {
    crate::report(front_pages);
}

#[test]
fn documents_are_found() {
    crate::report(documents);
}

#[test]
fn budgets_fit() {
    crate::report(budgets);
}

#[test]
fn planted_long_files_are_found() {
    let long = "\n".repeat(LONGEST + 1);
    assert_eq!(lengths(&[File::planted("src/resp/x.rs", &long)]).len(), 1);
    assert_eq!(lengths(&[File::planted("src/admin/page/x.js", &long)]).len(), 1);
    assert!(lengths(&[File::planted("src/resp/x.rs", &long[1..])]).is_empty());
    assert!(lengths(&[File::planted("src/command/table/strings.rs", &long)]).is_empty());
}

#[test]
fn planted_reminders_are_found() {
    for word in REMINDERS {
        assert_eq!(reminders(&[File::planted("docs/x.md", &format!("later: {word}"))]).len(), 1, "{word}");
    }
    assert!(
        reminders(&[File::planted("tests/x.sh", &format!("mktemp /tmp/{}{}", REMINDERS[2], REMINDERS[2]))])
            .is_empty()
    );
}

#[test]
fn planted_front_page_logic_is_found() {
    assert_eq!(front_pages(&[File::planted("src/resp/mod.rs", "//! Frames.\npub fn scan() {}\n")]).len(), 1);
    assert_eq!(front_pages(&[File::planted("src/resp/mod.rs", "mod frame;\n")]).len(), 1);
    assert!(
        front_pages(&[File::planted("src/resp/mod.rs", "//! Frames.\nmod frame;\npub use frame::scan;\n")])
            .is_empty()
    );
}

#[test]
fn planted_document_faults_are_found() {
    let readme = |text: &str| File::planted("README.md", text);
    let page = || File::planted("docs/x.md", "");
    assert!(
        documents(&[readme("make run, make test, [x](docs/x.md#part), [y](https://y)"), page()]).is_empty()
    );
    assert_eq!(documents(&[readme("make run, make test"), page()]).len(), 1);
    assert_eq!(documents(&[readme("make run, [x](docs/x.md)"), page()]).len(), 1);
    assert_eq!(
        documents(&[readme("make run, make test, [z](docs/z.md), [x](./docs/../docs/x.md)"), page()]).len(),
        1
    );
}

#[test]
fn planted_budget_faults_are_found() {
    let plant = |text: &str| budgets(&[File::planted("tests/budget.toml", text)]).len();
    assert_eq!(plant("[a]\ntier = \"test\"\nseconds = 900\nrun = \"true\"\n"), 0);
    assert_eq!(plant("[a]\ntier = \"test\"\nseconds = 901\nrun = \"true\"\n"), 1);
    assert_eq!(plant("[a]\ntier = \"all\"\nseconds = 5401\nrun = \"true\"\n"), 1);
    assert_eq!(plant("[a]\ntier = \"some\"\nseconds = 1\nrun = \"true\"\n"), 1);
    assert_eq!(plant("[a]\ntier = \"all\"\nseconds = 1\nbuild = \"true\"\nrun = \"true\"\n"), 0);
    assert_eq!(plant("[a]\ntier = \"all\"\nseconds = 1\nrun = \"true\"\nskip = 1\n"), 1);
    assert_eq!(plant("[a\n"), 1);
    assert_eq!(budgets(&[]).len(), 1);
}
