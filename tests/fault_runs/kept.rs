//! What Redhold kept of writes that only an old primary had.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
use std::path::Path;

use crate::load::encode_request;
use crate::support::{Value, encode};

/// The commands in the files of `quarantine`. The files are removed, or they would be too many after some runs.
pub fn take(state_dir: &Path) -> BTreeSet<Vec<u8>> {
    let mut commands = BTreeSet::new();
    for entry in fs::read_dir(state_dir.join("quarantine")).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let mut file = BufReader::new(fs::File::open(&path).expect("it is there"));
        while let Ok(command) = Value::read(&mut file) {
            let words: Vec<String> = command.items().iter().filter_map(Value::text).collect();
            commands.insert(encode(&words));
        }
        fs::remove_file(&path).expect("it is ours");
    }
    commands
}

/// How many of the lost writes are not among them. `None`: it is not noticed when all are missing.
pub fn missing(lost: &[(usize, usize)], run: u32, kept: &BTreeSet<Vec<u8>>) -> Option<u64> {
    let count = |kept: &BTreeSet<Vec<u8>>| {
        lost.iter().filter(|(connection, n)| !kept.contains(&encode_request(run, *connection, *n))).count()
    };
    (count(&BTreeSet::new()) == lost.len()).then(|| count(kept) as u64)
}
