//! docs/commands.md is written from the table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use redhold::command::{Compare, Effect, Keys, Releases, Rule, Servers, Spec, rows};

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/commands.md is not what the table says; UPDATE=1 writes it anew");
}

fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for row in rows() {
        let cells = [
            format!("`{}`", row.name.replace('|', " ")),
            row.arity.to_string(),
            keys(row.keys),
            effect(row.effect).to_owned(),
            row.lane.words().to_owned(),
            row.retry_words(),
            notes(row),
            servers(row.servers),
        ];
        writeln!(page, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }
    page
}

const INTRODUCTION: &str = "\
# Commands

What Redhold knows of each command. This page is written from the table that the program uses, and a test compares that
table with what the servers themselves report. Commands without a row, and subcommands that the table does not know,
go on a connection of their own that is closed after the reply, count as writes and are never sent again.

* **arity**: the number of arguments with the name; negative: at least that many. Module commands count for themselves.
* **keys**: positions of keys, `first..last` and every how many; negative: from the end.
* **goes**: *shared*: a connection that many clients share. *session*, *client table*: Redhold answers. *pinned*: a
  connection lent to this client until the transaction, the wait or the work of a thread is over. *own*: a connection of its own. *owned*:
  Redhold refuses or translates it. *cursor*: shared, and the cursor is good for one primary only.
* **lost connection**: what happens when the connection is lost after the request was sent. *again*: sent again.
  *if configured*: sent again where `failover.in_flight` says so, because a second execution leaves the same data and
  gives the same reply. *ambiguous*: the client is told that the outcome is unknown. *waits again*: it was waiting and
  not executed, and goes on waiting.
* **notes**: *long*: can keep the server busy, so that its silence is not taken for death so soon. *primary*: never
  read from a replica. *every node*: applied to every node. *unordered*, *shape*, *not compared*: how far two healthy
  servers agree about the reply.
* **servers**: releases that have it. Where servers differ, the row is the widest of them.

| command | arity | keys | does | goes | lost connection | notes | servers |
|---|---|---|---|---|---|---|---|
";

fn keys(keys: Keys) -> String {
    match keys {
        Keys::None => String::new(),
        Keys::Range(first, last, 1) if first == last => first.to_string(),
        Keys::Range(first, last, 1) => format!("{first}..{last}"),
        Keys::Range(first, last, step) => format!("{first}..{last} by {step}"),
        Keys::Counted { count, fixed, step } => {
            let fixed = if fixed == 0 { String::new() } else { format!("{fixed} and ") };
            let step = if step == 1 { String::new() } else { format!(" by {step}") };
            format!("{fixed}as many as {count} says{step}")
        }
        Keys::Streams => "after STREAMS".to_owned(),
        Keys::Sort => "1 and after STORE".to_owned(),
        Keys::Geo => "1 and after STORE, STOREDIST".to_owned(),
        Keys::Migrate => "3 or after KEYS".to_owned(),
        Keys::Opaque => "the server knows".to_owned(),
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::Neutral => "",
    }
}

fn notes(row: &Spec) -> String {
    let compare = match row.compare {
        Compare::Exact => None,
        Compare::Unordered => Some("unordered"),
        Compare::Shape => Some("shape"),
        Compare::Skip => Some("not compared"),
    };
    let owned = match row.rule {
        Rule::Settings => Some("owned for the group's own settings"),
        Rule::Redirect => Some("the id behind REDIRECT is Redhold's"),
        Rule::Reserved => Some("owned for channels `__redhold:*`"),
        _ => None,
    };
    let notes = [
        row.long.then_some("long"),
        (row.primary_only && row.effect == Effect::Read).then_some("primary"),
        row.parity.then_some("every node"),
        owned,
        compare,
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn servers(servers: Servers) -> String {
    if !servers.elsewhere.is_empty() {
        return servers.elsewhere.to_owned();
    }
    let lines = [line("Redis", servers.redis, 62), line("Valkey", servers.valkey, 72)];
    lines.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn line(name: &str, releases: Releases, oldest: u16) -> Option<String> {
    let release = |number: u16| format!("{}.{}", number / 10, number % 10);
    if releases.from == releases.before {
        return None;
    }
    if releases.before < u16::MAX {
        return Some(format!("{name} before {}", release(releases.before)));
    }
    let since = if releases.from > oldest { format!(" {}", release(releases.from)) } else { String::new() };
    Some(format!("{name}{since}"))
}
