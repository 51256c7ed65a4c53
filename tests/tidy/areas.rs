//! Each module of the end-to-end tests has its place in README.md's table of servers, which only a run against every server makes.

use crate::source::File;

const MATRIX: &str = "tests/tools/server_matrix.py";

/// Modules of `tests/end_to_end` that the table's maker does not name.
pub(crate) fn homeless(files: &[File]) -> Vec<String> {
    let Some(matrix) = files.iter().find(|file| file.path == MATRIX) else {
        return vec![format!("{MATRIX}: missing")];
    };
    let is_word = |one: char| one.is_alphanumeric() || one == '_';
    let named: Vec<&str> = matrix.text.split(|one: char| !is_word(one)).collect();
    let main = files.iter().filter(|file| file.path == "tests/end_to_end/main.rs");
    let modules = main
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    modules
        .filter(|module| *module != "support" && !named.contains(module))
        .map(|module| format!("{MATRIX}: {module} is in no area"))
        .collect()
}

#[test]
fn every_module_has_an_area() {
    crate::report(homeless);
}

#[test]
fn a_planted_module_without_an_area_is_found() {
    let planted = |areas: &str| {
        homeless(&[
            File::planted("tests/end_to_end/main.rs", "mod support;\n\nmod reads;\nmod read_tokens;\n"),
            File::planted(MATRIX, areas),
        ])
    };
    assert_eq!(planted("\"reads from replicas\": \"read_tokens reads\""), Vec::<String>::new());
    assert_eq!(
        planted("\"replicas\": \"read_tokens\""),
        ["tests/tools/server_matrix.py: reads is in no area"]
    );
    assert_eq!(homeless(&[]).len(), 1);
}
