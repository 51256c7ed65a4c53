//! What the supported servers do not have in common: what some lack, and what they say in other words.

use std::io::Write;

use super::value::Value;
use super::versions::chosen;

/// What came with a release, and cannot be tested with the servers before it.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// As [`super::versions::Version::release`] counts.
    from: u16,
    what: &'static str,
}

pub const BLMPOP: Feature = Feature::of_7_0("BLMPOP and BZMPOP");
pub const CONFIG_SET_SEVERAL: Feature = Feature::of_7_0("CONFIG SET of several settings");
pub const EVAL_RO: Feature = Feature::of_7_0("EVAL_RO");
pub const FUNCTIONS: Feature = Feature::of_7_0("functions");
pub const NO_EVICT: Feature = Feature::of_7_0("CLIENT NO-EVICT");
pub const SHARD_CHANNELS: Feature = Feature::of_7_0("shard channels");

impl Feature {
    const fn of_7_0(what: &'static str) -> Self {
        Self { from: 70, what }
    }

    /// Whether the chosen version has it; as [`applies`].
    pub fn is_there(self) -> bool {
        applies(chosen().release >= self.from, self.what)
    }
}

/// Whether a test, or a part of one, makes sense with the chosen version. Where it does not, it says so on the error output itself,
/// beside what the harness catches, and the test is to leave that out; `tests/tools/server_matrix.py` puts it into the README. `what`
/// names what the server lacks, or does otherwise than the test says.
pub fn applies(holds: bool, what: &str) -> bool {
    if !holds {
        let thread = std::thread::current();
        let test = thread.name().expect("the harness names the thread of a test");
        let line = format!("not applicable on {}: {test}: {what}\n", chosen().name);
        std::io::stderr().write_all(line.as_bytes()).expect("the error output is open");
    }
    holds
}

/// An error of the chosen version, from the words that Redis 8 has for it.
pub fn in_its_words(newest: &str) -> Value {
    let mut text = newest.to_owned();
    let version = chosen();
    if !version.valkey && version.release <= 70 {
        text = text.replace("HELLO <proto> AUTH", "HELLO AUTH");
        if let Some((_, rest)) = text.split_once("NOPERM User ").and_then(|(_, rest)| rest.split_once(' ')) {
            text = format!("NOPERM this user {rest}");
        }
        let key = "this user has no permissions to access one of the keys used as arguments";
        text = text.replace("No permissions to access a key", key);
    }
    if version.release < 70 {
        text = words_of_6_2(&text);
    }
    if version.valkey {
        text = text.replace("No matching script. Please use EVAL.", "No matching script.");
    }
    Value::Error(text)
}

fn words_of_6_2(newer: &str) -> String {
    if let Some(rest) = newer.strip_prefix("ERR unknown command '") {
        let (name, arguments) = rest.split_once("', with args beginning with: ").expect("as 7.0 says it");
        let arguments: String =
            arguments.split_whitespace().map(|word| format!("`{}`, ", word.trim_matches('\''))).collect();
        return format!("ERR unknown command `{name}`, with args beginning with: {arguments}");
    }
    let mut text = newer.replace("(P|S)", "(P)").replace("'config|get'", "'config'");
    text =
        text.replace("ERR unknown subcommand '", "ERR Unknown subcommand or wrong number of arguments for '");
    text = text.replace("expire time in 'set' command", "expire time in set");
    if text.starts_with("NOPERM ") && text.ends_with("' command") {
        text.push_str(" or its subcommand");
    }
    text
}
