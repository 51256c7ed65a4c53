//! What the configuration fills is read: a key that is accepted and then ignored is a promise that nobody keeps.

use crate::source::File;

/// Fields of a folder's Settings that no code outside `config/` and the definition itself names.
pub(crate) fn unread(files: &[File]) -> Vec<String> {
    let code = |file: &File| file.code().into_iter().map(|(_, line)| line).collect::<Vec<_>>();
    let sources: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with("src/") && file.path.ends_with(".rs") && !file.is_test())
        .collect();
    let (settings, others): (Vec<&File>, Vec<&File>) =
        sources.into_iter().partition(|file| file.path.ends_with("/settings.rs"));
    let readers: Vec<String> =
        others.into_iter().filter(|file| file.folder() != Some("config")).flat_map(code).collect();
    let mut faults = Vec::new();
    for file in settings {
        for line in code(file) {
            let Some((name, _)) = line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(": "))
            else {
                continue;
            };
            if name.contains('(') || readers.iter().any(|reader| has_word(reader, name)) {
                continue;
            }
            faults.push(format!("{}: nothing reads `{name}`: the key that fills it is ignored", file.path));
        }
    }
    faults
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |found: Option<char>| found.is_some_and(|one| one.is_alphanumeric() || one == '_');
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

#[test]
fn every_setting_is_read() {
    crate::report(unread);
}

#[test]
fn a_setting_that_only_the_configuration_names_is_found() {
    let settings = "pub struct Settings {\n    /// a\n    pub hidden: bool,\n    pub hidden_too: u64,\n}\n";
    let planted = |reader: &str| {
        unread(&[
            File::planted("src/frontend/settings.rs", settings),
            File::planted("src/config/keys.rs", "set(&mut c.hidden, v); set(&mut c.hidden_too, v)"),
            File::planted("src/frontend/tests.rs", "settings.hidden"),
            File::planted("src/frontend/worker.rs", reader),
        ])
    };
    assert_eq!(planted("// hidden\nif settings.hidden { settings.hidden_too }"), Vec::<String>::new());
    assert_eq!(
        planted("settings.hidden_too"),
        ["src/frontend/settings.rs: nothing reads `hidden`: the key that fills it is ignored"]
    );
}
