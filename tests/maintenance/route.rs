//! PROXY ROUTE says of every command what docs/commands.md says of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use redhold::command::{Rule, Spec, rows};

use crate::support::{Client, Proxy, Server};

/// Lane and retry class of each command, as the page has them.
fn page() -> BTreeMap<String, [String; 2]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    let text = fs::read_to_string(path).expect("the page is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let name = cells[0].trim_end_matches('`').to_owned();
        (name, [cells[4].to_owned(), cells[5].to_owned()])
    })
    .collect()
}

/// What PROXY ROUTE says after the name of this line.
fn said<'a>(answer: &'a str, line: &str) -> &'a str {
    let found = answer.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no line `{line}` in {answer}"))
}

fn route(client: &mut Client, row: &Spec) -> String {
    let mut words: Vec<&str> = ["PROXY", "ROUTE"].into_iter().chain(row.name.split('|')).collect();
    words.resize((2 + usize::from(row.arity.unsigned_abs())).max(words.len()), "1");
    client.cmd(&words).text().unwrap_or_else(|| panic!("PROXY ROUTE answers of {}", row.name))
}

#[test]
fn every_row_of_the_page_is_what_proxy_route_answers() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut client = proxy.client();
    let page = page();
    assert_eq!(page.len(), rows().len(), "every row of the table has one on the page");
    for row in rows() {
        let name = row.name.replace('|', " ");
        let [lane, retry] = page.get(&name).unwrap_or_else(|| panic!("`{name}` is on the page"));
        let answer = route(&mut client, row);
        assert_eq!(said(&answer, "row"), format!("{name} | {lane} | {retry}"));
        // Where the arguments matter, and `1` is a subcommand of none, the request is told apart from its row.
        let has_subcommands = rows().iter().any(|other| other.name.starts_with(&format!("{}|", row.name)));
        if row.rule == Rule::Fixed && !has_subcommands {
            assert_eq!(
                (said(&answer, "goes"), said(&answer, "lost connection")),
                (lane.as_str(), retry.as_str()),
                "{name}"
            );
        }
    }
}

#[test]
fn what_the_arguments_make_of_a_row_is_told() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut client = proxy.client();
    let cases = [
        ("SET k v", "shared", "if configured"),
        ("SET k v NX", "shared", "ambiguous"),
        ("SORT k", "shared", "again"),
        ("SORT k STORE d", "shared", "ambiguous"),
        ("XREAD STREAMS s 0", "shared", "again"),
        ("XREAD BLOCK 0 STREAMS s 0", "pinned: blocking", "waits again"),
        ("no.such k", "own", "ambiguous"),
    ];
    for (request, goes, lost) in cases {
        let answer = client.call(&format!("PROXY ROUTE {request}")).text().expect("text");
        assert_eq!((said(&answer, "goes"), said(&answer, "lost connection")), (goes, lost), "{request}");
    }
    assert_eq!(server.call("DBSIZE").int(), Some(0), "nothing was executed");
}
