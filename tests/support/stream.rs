//! A random stream of requests that gives two servers the same data, so that their replies can be compared as the
//! command table says.

use std::collections::BTreeSet;

use redhold::command::{Spec, classify, rows};

use super::samples::{FILL, LINES, RARE};
use super::versions::Version;

/// `return(7)` by its name.
const SHA: &str = "bc70ae583496ef68242126e5f723b4224435af02";

/// What DUMP of Redis 6.2 says of the string `x`; every newer server restores it.
const DUMP: &[u8] = b"\x00\x01x\x09\x00\xf2r\xd7\x93\xe9n+a";

/// Longer than what servers keep in a list of short elements: a set or hash with it is a hash table, whose order is the
/// server's own.
const LONG: &str = "long-long-long-long-long-long-long-long-long-long-long-long-long-long-member";

/// What `%m` is one of.
const MEMBERS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "1", "2", LONG];

/// What `%v` is one of.
const VALUES: [&[u8]; 9] =
    [b"", b"0", b"7", b"-3", b"2.5", b"value", b"two words", b"\x00\xff\r\n", LONG.as_bytes()];

/// What `%f` is one of.
const FLOATS: [&str; 6] = ["0", "1.5", "-2.25", "3", "10.125", "word"];

/// What `%script` is one of. None depends on the order of a set.
const SCRIPTS: [&str; 4] = [
    "return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], ARGV[1]) return redis.status_reply('DONE')",
    "return {1, 2, {KEYS[1], ARGV[1]}, false}",
    "return redis.pcall('INCR', KEYS[1])",
];

/// Key names of each type, `@s` is one of `s0`, `s1`, `s2`. `r` has an expiry that was relative, `e` one that was not.
const TYPES: &str = "snfbhltizgpxwre";

/// One request and the row that it is of.
#[derive(Clone, Debug)]
pub struct Sample {
    pub row: &'static Spec,
    pub words: Vec<Vec<u8>>,
}

/// `@s`, `@h` …: a key of that type, now and then of another; `@any`: of any; `@none`: none that exists. `%m` member,
/// `%v` value, `%i` number, `%c` and `%c1` count from 0 and from 1, `%f` decimal, `%id` a new and `%id0` a former id of
/// a stream; the others are one thing each.
#[derive(Debug)]
pub struct Stream {
    version: Version,
    proto: u8,
    dice: u64,
    last_id: u64,
}

impl Stream {
    /// The same for the same seed. The connection speaks RESP `proto`.
    pub fn new(version: Version, proto: u8, seed: u64) -> Self {
        // Mixed, since neighbours would give one stream, begun one throw later.
        Self { version, proto, dice: mixed(seed), last_id: 1 }
    }

    /// At least `count` further requests.
    pub fn batch(&mut self, count: usize) -> Vec<Sample> {
        let mut batch = Vec::new();
        while batch.len() < count {
            match self.below(1_000) {
                0 => self.line(RARE, &mut batch),
                1..=330 => self.line(FILL, &mut batch),
                331..=370 => batch.push(self.plain()),
                _ => self.line(LINES, &mut batch),
            }
        }
        batch
    }

    /// One of the lines.
    pub fn one_of(&mut self, lines: &[&str]) -> Vec<Sample> {
        let mut batch = Vec::new();
        self.line(lines, &mut batch);
        batch
    }

    fn line(&mut self, lines: &[&str], batch: &mut Vec<Sample>) {
        let line = lines[self.below(lines.len())];
        for request in line.split(" ; ") {
            let words: Vec<Vec<u8>> = request.split(' ').filter_map(|word| self.word(word)).collect();
            let row = classify(&words).row.spec();
            // What the server does not know it may take for anything: its container refuses it.
            if self.version.has(row.servers) || !row.servers.elsewhere.is_empty() {
                batch.push(Sample { row, words });
            }
        }
    }

    /// A command that nobody can use here: its reply is an error.
    fn plain(&mut self) -> Sample {
        let plain: Vec<&Spec> =
            rows().iter().filter(|row| is_plain(row) && self.version.has(row.servers)).collect();
        let row = plain[self.below(plain.len())];
        let least = usize::from(row.arity.unsigned_abs());
        let name = row.name.split('|').map(|word| word.as_bytes().to_vec());
        let mut words: Vec<Vec<u8>> = name.collect();
        words.resize(least.max(words.len()), b"1".to_vec());
        Sample { row: classify(&words).row.spec(), words }
    }

    fn word(&mut self, word: &str) -> Option<Vec<u8>> {
        let choices: Vec<&str> = word.split('|').collect();
        let word = choices[self.below(choices.len())];
        if let Some(kind) = word.strip_prefix('@') {
            return Some(self.key(kind).into_bytes());
        }
        Some(match word {
            "_" => return None,
            "''" => Vec::new(),
            "%m" => MEMBERS[self.below(MEMBERS.len())].into(),
            "%v" => VALUES[self.below(VALUES.len())].into(),
            "%f" => FLOATS[self.below(FLOATS.len())].into(),
            "%script" => SCRIPTS[self.below(SCRIPTS.len())].into(),
            "%i" => format!("{}", self.below(18) as i64 - 5).into(),
            "(%i" => format!("({}", self.below(18) as i64 - 5).into(),
            "%c" => self.below(6).to_string().into(),
            "%c1" => (1 + self.below(5)).to_string().into(),
            "%id" => {
                self.last_id += 1;
                format!("{}-1", self.last_id).into()
            }
            "%id0" => format!("{}-1", self.last_id.saturating_sub(self.below(20) as u64)).into(),
            "%group" => format!("g{}", self.below(2)).into(),
            "%channel" => format!("c{}", self.below(12)).into(),
            "%proto" => self.proto.to_string().into(),
            "%sha" => SHA.into(),
            "%dump" => DUMP.into(),
            "%lib" => library(1 + self.below(4)),
            _ => match word.strip_prefix("%lib") {
                Some(number) => library(number.parse().expect("a number")),
                None => word.into(),
            },
        })
    }

    fn key(&mut self, kind: &str) -> String {
        let number = self.below(3);
        match kind {
            "none" => "none".to_owned(),
            "any" => self.any(),
            // The wrong type is an error, and what takes any type moves it.
            _ if self.below(20) == 0 => self.any(),
            kind => format!("{kind}{number}"),
        }
    }

    fn any(&mut self) -> String {
        // Not `r`: what is copied from it would have its expiry.
        let kind = self.below(TYPES.len() - 2);
        format!("{}{}", &TYPES[kind..=kind], self.below(3))
    }

    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mixed(self.dice) % limit as u64) as usize
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Rows without a line of their own whose reply is an error everywhere: containers without a subcommand, and what needs
/// cluster mode.
fn is_plain(row: &Spec) -> bool {
    let is_container = rows()
        .iter()
        .any(|other| other.name.strip_prefix(row.name).is_some_and(|rest| rest.starts_with('|')));
    // COMMAND without a subcommand is a command.
    (is_container && row.name != "command") || row.name.starts_with("cluster")
}

/// A library of functions.
fn library(number: usize) -> Vec<u8> {
    let flags = if number == 2 { ", flags = {'no-writes'}" } else { "" };
    let body = format!(
        "function_name = 'f{number}', callback = function(keys, args) return {{keys[1], args[1]}} end{flags}"
    );
    format!("#!lua name=l{number}\nredis.register_function{{{body}}}").into_bytes()
}

/// Names of the rows that streams have requests of, on servers of any version.
pub fn sampled() -> BTreeSet<&'static str> {
    let everything = [FILL, LINES, RARE].concat();
    let mut names: BTreeSet<&'static str> =
        rows().iter().filter(|row| is_plain(row)).map(|row| row.name).collect();
    for request in everything.iter().flat_map(|line| line.split(" ; ")) {
        // Only the first word is a choice between commands.
        let (first, rest) = request.split_once(' ').unwrap_or((request, ""));
        for name in first.split('|') {
            let words: Vec<&str> = [name].into_iter().chain(rest.split(' ')).collect();
            names.insert(classify(&words).row.spec().name);
        }
    }
    names
}
