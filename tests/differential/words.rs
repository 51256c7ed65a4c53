//! The words of single requests: those of any row of the command table with whatever arguments, and good requests with one
//! thing changed.

use redhold::command::{Spec, rows};

use crate::dice::Dice;
use crate::safe::{is_for_lines_only, is_safe};
use crate::support::Version;

/// A request as its words.
pub(crate) type Words = Vec<Vec<u8>>;

/// Tries to find words that are safe, before a PING is said instead.
const TRIES: usize = 8;

/// Keys: those of [`crate::support::Stream`], of every type, and some that a careless proxy would trip over.
const KEYS: [&[u8]; 22] = [
    b"s0",
    b"s1",
    b"n0",
    b"n1",
    b"f0",
    b"b0",
    b"h0",
    b"h1",
    b"l0",
    b"l1",
    b"t0",
    b"t1",
    b"i0",
    b"z0",
    b"z1",
    b"g0",
    b"p0",
    b"x0",
    b"e0",
    b"",
    b"\x00\xff\r\n",
    b"k\r\n$1\r\nx\r\n+OK",
];

const NUMBERS: [&[u8]; 24] = [
    b"0",
    b"1",
    b"2",
    b"3",
    b"7",
    b"10",
    b"100",
    b"-1",
    b"-2",
    b"-100",
    b"+1",
    b"01",
    b" 1",
    b"1.5",
    b"-0.25",
    b"1e3",
    b"inf",
    b"-inf",
    b"nan",
    b"(1",
    b"4102444800",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"99999999999999999999999",
];

const OTHERS: [&[u8]; 16] = [
    b"a",
    b"b",
    b"1",
    b"value",
    b"two words",
    b"quote\"'",
    b"\xf0\x9f\x98\x80",
    b"\x80\x81\x00",
    b"-",
    b"+",
    b"[a",
    b"(b",
    b"$",
    b"0-0",
    b"5-1",
    b"return redis.call('GET', KEYS[1])",
];

/// Words that mean something to some command.
const OPTIONS: [&str; 76] = [
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "COUNT",
    "MATCH",
    "TYPE",
    "LIMIT",
    "WITHSCORES",
    "WITHSCORE",
    "WITHVALUES",
    "BYSCORE",
    "BYLEX",
    "REV",
    "LEFT",
    "RIGHT",
    "MIN",
    "MAX",
    "BEFORE",
    "AFTER",
    "AGGREGATE",
    "SUM",
    "WEIGHTS",
    "STORE",
    "STOREDIST",
    "WITHDIST",
    "WITHCOORD",
    "WITHHASH",
    "ASC",
    "DESC",
    "ANY",
    "ALPHA",
    "BY",
    "REPLACE",
    "ABSTTL",
    "IDLETIME",
    "FREQ",
    "DB",
    "ASYNC",
    "SYNC",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "NOMKSTREAM",
    "MKSTREAM",
    "STREAMS",
    "GROUP",
    "NOACK",
    "JUSTID",
    "FORCE",
    "ENTRIESREAD",
    "IDLE",
    "FULL",
    "FROMMEMBER",
    "FROMLONLAT",
    "BYRADIUS",
    "BYBOX",
    "km",
    "FIELDS",
    "RANK",
    "BIT",
    "OVERFLOW",
    "WITHCODE",
    "HELP",
    "AUTH",
    "SETNAME",
];

/// Everything that such words are drawn from.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    names: Vec<&'static Spec>,
    next: usize,
}

impl Vocabulary {
    /// Of all rows but those that would end the run, the ones that the server does not know among them: their reply is an
    /// error as any other.
    pub(crate) fn new(version: Version) -> Self {
        let said = |row: &&Spec| !is_for_lines_only(row.name) && row.name != "unknown";
        let known = |row: &&Spec| version.has(row.servers);
        let mut names: Vec<&Spec> = rows().iter().filter(said).filter(known).collect();
        // Most of what it does not know is of modules, and one of them is like the next.
        names.extend(rows().iter().filter(said).filter(|row| !known(row)).step_by(7));
        Self { names, next: 0 }
    }

    /// The next row with arguments by chance, somewhat more often in the number that it needs.
    pub(crate) fn request(&mut self, dice: &mut Dice) -> Words {
        let row = self.names[self.next % self.names.len()];
        self.next += 1;
        (0..TRIES).find_map(|_| arbitrary(row, dice)).unwrap_or_else(|| vec![b"PING".to_vec()])
    }
}

/// The row's name with arguments by chance, unless they are not safe.
fn arbitrary(row: &Spec, dice: &mut Dice) -> Option<Words> {
    let mut words: Words = row.name.split('|').map(|word| in_some_case(word.as_bytes(), dice)).collect();
    let least = usize::from(row.arity.unsigned_abs()).max(words.len());
    let count = match dice.below(10) {
        0 => dice.below(8),
        1 | 2 => least + 1,
        3 => least + dice.below(6),
        4 => least.saturating_sub(1),
        _ => least,
    };
    while words.len() < count {
        // The first argument mostly is a key.
        let word = if words.len() == 1 && !dice.once_in(4) { dice.pick(&KEYS).to_vec() } else { any(dice) };
        words.push(word);
    }
    Some(words).filter(|words| is_safe(words))
}

/// The same request with one thing changed, unless it is not safe then.
pub(crate) fn changed(words: &Words, dice: &mut Dice) -> Option<Words> {
    let mut words = words.clone();
    let at = dice.below(words.len());
    match dice.below(7) {
        0 if words.len() > 1 => drop(words.remove(at)),
        1 => words.insert(at + 1, any(dice)),
        2 => words.push(any(dice)),
        3 => {
            let other = dice.below(words.len());
            // The name stays in front: what a key's name does as a command is seen often enough.
            if at > 0 && other > 0 {
                words.swap(at, other);
            }
        }
        4 => words[0] = in_some_case(&words[0], dice),
        _ if at > 0 => words[at] = any(dice),
        _ => words.push(dice.pick(&KEYS).to_vec()),
    }
    Some(words).filter(|words| is_safe(words))
}

fn any(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => dice.pick(&KEYS).to_vec(),
        1 => dice.pick(&NUMBERS).to_vec(),
        2 => in_some_case(dice.pick(&OPTIONS).as_bytes(), dice),
        _ => dice.pick(&OTHERS).to_vec(),
    }
}

fn in_some_case(word: &[u8], dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => word.to_ascii_lowercase(),
        1 => {
            word.iter().map(|byte| if dice.once_in(2) { byte.to_ascii_uppercase() } else { *byte }).collect()
        }
        _ => word.to_ascii_uppercase(),
    }
}
