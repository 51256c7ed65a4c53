//! Every command has a row, and every row a server that has it.

use std::collections::BTreeSet;

use redhold::command::{find, rows};

use crate::live::{commands, report};
use crate::support::{Client, V6_2, Version, for_each_server, installed};

/// Commands that a server has and does not list, with the reason.
const UNLISTED: [(Version, &str, &str); 1] = [(V6_2, "quit", "answered before the command table is asked")];

#[test]
fn every_command_of_a_server_has_a_row_and_the_reverse() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        let live = commands(client);
        for name in live.keys() {
            match find(name.as_bytes()) {
                None => faults.push(format!("{}: {name}: no row", version.name)),
                Some(row) if !version.has(row.spec().servers) => {
                    let servers = row.spec().servers;
                    faults.push(format!("{}: {name}: it has it, unlike {servers:?}", version.name));
                }
                Some(_) => {}
            }
        }
        let unlisted = |name: &str| UNLISTED.iter().any(|it| (it.0, it.1) == (version, name));
        for row in rows().iter().filter(|row| version.has(row.servers)) {
            // Before 7.0 COMMAND knows no subcommands; the test below asks HELP.
            let is_listed = version.release >= 70 || !row.name.contains('|');
            if is_listed && !live.contains_key(row.name) && !unlisted(row.name) {
                faults.push(format!("{}: {}: the row says that it has it", version.name, row.name));
            }
        }
    });
    report(&faults);
}

#[test]
fn a_row_that_no_server_here_has_says_where_it_is_from() {
    for row in rows() {
        let servers = row.servers;
        let nobody =
            servers.redis.from == servers.redis.before && servers.valkey.from == servers.valkey.before;
        assert_eq!(nobody, !servers.elsewhere.is_empty(), "{}: {servers:?}", row.name);
    }
}

#[test]
fn subcommands_of_6_2_are_those_that_its_help_names() {
    let Some(version) = installed().into_iter().find(|&version| version == V6_2) else {
        return;
    };
    // Before 7.0 CLUSTER refuses even HELP without cluster support.
    let server = version.options().set("cluster-enabled", "yes").start();
    let mut client = server.client();
    let containers: BTreeSet<&str> =
        rows().iter().filter_map(|row| Some(row.name.split_once('|')?.0)).collect();
    let mut faults = Vec::new();
    for container in containers {
        if !find(container.as_bytes()).is_some_and(|row| version.has(row.spec().servers)) {
            continue;
        }
        let help = help_words(&mut client, container);
        let table: BTreeSet<String> = rows()
            .iter()
            .filter(|row| version.has(row.servers))
            .filter_map(|row| Some(row.name.strip_prefix(container)?.strip_prefix('|')?.to_owned()))
            .collect();
        faults.extend(help.difference(&table).map(|word| format!("{container}|{word}: in its HELP, no row")));
        let unnamed =
            table.difference(&help).filter(|word| !OUTSIDE_HELP.contains(&(container, word.as_str())));
        faults.extend(unnamed.map(|word| format!("{container}|{word}: not in its HELP")));
    }
    report(&faults);
}

/// Subcommands of 6.2 that its HELP leaves out: the old name of CLUSTER REPLICAS.
const OUTSIDE_HELP: [(&str, &str); 1] = [("cluster", "slaves")];

/// The words that HELP begins its lines with.
fn help_words(client: &mut Client, container: &str) -> BTreeSet<String> {
    let help = client.call(&format!("{container} HELP"));
    let lines = help.items().iter().filter_map(|line| line.text()).skip(1);
    lines
        .filter(|line| !line.starts_with([' ', '(']))
        .filter_map(|line| line.split_whitespace().next().map(str::to_ascii_lowercase))
        .collect()
}
