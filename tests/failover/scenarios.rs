//! Plays every file under `scripts/` and compares what the machine did with what is written there.
//! `UPDATE=1 cargo test --test failover scenarios` rewrites the expectations; the review happens in the diff.

use std::path::{Path, PathBuf};

use crate::script::Player;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failover/scripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of scripts is there")
        .map(|entry| entry.expect("its entries are readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

/// The script with its expectations replaced by what really happens.
fn replay(text: &str) -> String {
    let mut player = Player::default();
    let mut fresh = String::new();
    for block in text.split("\n\n").map(str::trim_end).filter(|block| !block.trim().is_empty()) {
        let Some((input, _)) = block.split_once("----") else {
            fresh.push_str(block);
            fresh.push_str("\n\n");
            block
                .lines()
                .for_each(|line| assert!(line.starts_with('#'), "a block without ---- is a comment: {line}"));
            continue;
        };
        fresh.push_str(input);
        fresh.push_str("----\n");
        for line in input.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            for said in player.play(line) {
                fresh.push_str(&said);
                fresh.push('\n');
            }
        }
        fresh.push('\n');
    }
    fresh.truncate(fresh.trim_end().len());
    fresh.push('\n');
    fresh
}

#[test]
fn scripts_end_as_written() {
    let paths = scripts();
    assert!(paths.len() >= 50, "only {} scripts were found", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let written = std::fs::read_to_string(&path).expect("a script is readable");
        println!("playing {}", path.display());
        let played = replay(&written);
        if let Some(stray) = played.lines().find(|line| line.starts_with("NOT ASKED")) {
            wrong.push(format!("{}: {stray}", path.display()));
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, played).expect("a script is writable");
        } else if played != written {
            let first = written.lines().zip(played.lines()).find(|(old, new)| old != new);
            wrong.push(format!("{}: {first:?}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "these scripts play differently now (UPDATE=1 rewrites them):\n{}",
        wrong.join("\n")
    );
}
