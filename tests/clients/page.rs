//! The section "Clients" of docs/compatibility.md is written from the tables that the tests play.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::handshakes::handshakes;
use crate::libraries::LIBRARIES;

const TITLE: &str = "## Clients\n";

#[test]
fn is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    let page = fs::read_to_string(&path).unwrap_or_else(|_| "# Compatibility\n\n".to_owned());
    // Other sections of the page are others' business.
    let (before, rest) = page.split_once(TITLE).unwrap_or((&page, ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
    let written = format!("{before}{}{after}", section());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &written).expect("the page can be written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == written,
        "docs/compatibility.md is not what the tables say; UPDATE=1 writes the section anew"
    );
}

fn section() -> String {
    let mut text = format!("{TITLE}\n{PLAYED}");
    for library in LIBRARIES {
        let set = if library.set.is_empty() { "nothing" } else { library.set };
        let says = if library.says.is_empty() { "no name".to_owned() } else { format!("`{}`", library.says) };
        let cells = [
            format!("{} {}", library.name, library.version),
            library.origin.to_owned(),
            format!("RESP{}", library.resp),
            says,
            set.to_owned(),
        ];
        line(&mut text, &cells);
    }
    text.push_str(REPLAYED);
    for one in handshakes() {
        let [language, library, version, way] = one.title;
        line(&mut text, &[format!("{library} {version}"), language.to_owned(), way.to_owned()]);
    }
    text
}

fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

const PLAYED: &str = "\
Each of these libraries, unmodified, goes through a `kill -9` of the primary in the tests (`tests/clients`), while six writers have
four SETs each on their way, transactions run, a subscriber listens and a worker waits in BLPOP. A run passes only when

* the application saw no exception and no connection ended;
* each SET was answered OK, and at most one transaction was AMBIGUOUS;
* what was acknowledged is read back from both nodes that are left, but for what was on its way in the instant of the death, since
  replication is asynchronous;
* the subscriber, doing nothing, heard the new primary, and the worker got its job, once;
* SCAN then finds the keys, and a script that the old primary knew runs on the new one.

Retries and reconnection are switched off where the library lets one, so that nothing is hidden by a second try. GLIDE and redis-rs
give a request up after 250 and 500 ms unless told otherwise: a pause of a death is some tens of milliseconds, but that of a hung primary
is `health.timeout` (1 s), so give them more. redis-rs does not tell the words with which EXEC was refused: what is AMBIGUOUS, and
any other refusal of it, is `UnexpectedReturnType` there. phpredis 5.3 waits for further replies behind an EXEC that was answered with
an error, Redis's own EXECABORT too, until its read time-out is over.

| library | comes from | protocol | calls itself (CLIENT SETINFO) | not at its default |
|---|---|---|---|---|
";

const REPLAYED: &str = "
Not run: of these only what they say first on a connection, taken from their sources, is sent to the proxy and to a node. The
replies are the same but for ids, and so are the words of refusals by which they fall back to RESP2 (`ERR unknown command`, `NOPROTO`).

| library | language | way |
|---|---|---|
";
