//! The lock file of the fuzz targets, a workspace of its own: it names what this crate depends on, or `--locked` refuses to build them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

/// Dependencies that the manifest and the entry of this crate in a lock file do not both have.
fn differences(manifest: &str, lock: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().expect("the manifest is TOML");
    let lock: Table = lock.parse().expect("the lock file is TOML");
    let declared = manifest["dependencies"].as_table().expect("dependencies are a table");
    let declared: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
    let packages = lock["package"].as_array().expect("packages are an array");
    let own = packages.iter().find(|package| package.get("name").and_then(Value::as_str) == Some("redhold"));
    let own = own.and_then(|own| own["dependencies"].as_array()).expect("the lock file holds this crate");
    // An entry is a name, with the version behind it where several are locked.
    let locked = own.iter().filter_map(|entry| entry.as_str()?.split(' ').next());
    let locked: BTreeSet<&str> = locked.collect();
    declared.symmetric_difference(&locked).map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_fuzz_targets_lock_what_this_crate_depends_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path| fs::read_to_string(root.join(path)).expect("a file of the repository is readable");
    let differences = differences(&read("Cargo.toml"), &read("fuzz/Cargo.lock"));
    let advice = "`cargo check --manifest-path fuzz/Cargo.toml` brings it up to date";
    assert!(differences.is_empty(), "fuzz/Cargo.lock and Cargo.toml differ in {differences:?}: {advice}");
}

#[test]
fn a_planted_difference_is_found() {
    let manifest = "[dependencies]\na = \"1\"\nb = \"1\"\n";
    let lock = "[[package]]\nname = \"redhold\"\ndependencies = [\"b 1.0.0\", \"c\"]\n";
    assert_eq!(differences(manifest, lock), ["a", "c"]);
}
