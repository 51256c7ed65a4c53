//! What a server says of its commands.

use std::collections::BTreeMap;

use crate::support::{Client, Value};

/// What a server says of one command.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) arity: i64,
    pub(crate) flags: Vec<String>,
    /// First, last, step.
    pub(crate) keys: (i64, i64, i64),
}

impl Live {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|it| it == flag)
    }
}

/// The answer of COMMAND: every command, and from 7.0 every subcommand, by name in lower case.
#[track_caller]
pub(crate) fn commands(client: &mut Client) -> BTreeMap<String, Live> {
    let mut commands = BTreeMap::new();
    for entry in client.call("COMMAND").items() {
        collect(entry, &mut commands);
    }
    assert!(commands.len() > 200, "COMMAND names only {} commands", commands.len());
    commands
}

fn collect(entry: &Value, commands: &mut BTreeMap<String, Live>) {
    let fields = entry.items();
    let number = |at: usize| fields[at].int().expect("a number");
    let name = fields[0].text().expect("a name").to_ascii_lowercase();
    let flags = fields[2].items().iter().filter_map(Value::text).collect();
    commands.insert(name, Live { arity: number(1), flags, keys: (number(3), number(4), number(5)) });
    if let Some(subcommands) = fields.get(9) {
        subcommands.items().iter().for_each(|entry| collect(entry, commands));
    }
}

/// Stops a test with everything that it found.
#[track_caller]
pub(crate) fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} rows are wrong:\n{}", faults.len(), faults.join("\n"));
}
