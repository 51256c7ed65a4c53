//! What tracking clients are told, one request at a time: in a pipeline it is the server's turns, which nobody fixes, that decide
//! how often a client is told of one key and between which replies.

use std::collections::VecDeque;

use redhold::command::classify;

use crate::dice::Dice;
use crate::script::{Request, Step};
use crate::support::{Stream, Version};
use crate::words::{Words, changed};

/// How each client says that it tracks what it reads; the last ones only read and write.
const SETUPS: [&str; 8] = [
    "HELLO 3 ; CLIENT TRACKING ON",
    "HELLO 3 ; CLIENT TRACKING ON NOLOOP",
    "HELLO 3 ; CLIENT TRACKING ON OPTIN",
    "HELLO 3 ; CLIENT TRACKING ON OPTOUT",
    "HELLO 3 ; CLIENT TRACKING ON BCAST PREFIX s PREFIX h",
    "HELLO 3 ; CLIENT TRACKING ON BCAST NOLOOP",
    "HELLO 3",
    "PING",
];

/// What ends tracking or the connection, changes who is told, or is compared in runs of its own. A server remembers what a
/// client read after it has ended tracking, and the proxy gives it another connection then.
const UNSAID: [&str; 12] = [
    "reset",
    "hello",
    "auth",
    "quit",
    "client|tracking",
    "client|caching",
    "client|reply",
    "client|kill",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "script|flush",
];

/// Steps of one request each, `count` at least. The same for the same seed.
pub(crate) fn script(version: Version, seed: u64, count: usize) -> Vec<Step> {
    let mut author = Author {
        dice: Dice::new(seed),
        stream: Stream::new(version, 3, seed),
        to_say: SETUPS.iter().map(|line| line.split(" ; ").map(words).collect()).collect(),
    };
    let mut steps: Vec<Step> = (0..count).map(|_| author.step()).collect();
    // Lines clean up behind them, and what is told last is heard.
    for (client, mut rest) in author.to_say.into_iter().enumerate() {
        rest.push_back(words("PING"));
        steps.extend(rest.into_iter().map(|words| say(client, words)));
    }
    steps
}

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn say(client: usize, words: Words) -> Step {
    Step::Say { client, requests: vec![Request::new(words)] }
}

struct Author {
    dice: Dice,
    stream: Stream,
    /// Of each client.
    to_say: Vec<VecDeque<Words>>,
}

impl Author {
    fn step(&mut self) -> Step {
        let client = self.dice.below(SETUPS.len());
        while self.to_say[client].is_empty() {
            let line = self.line(client);
            self.to_say[client].extend(line);
        }
        say(client, self.to_say[client].pop_front().expect("just filled"))
    }

    /// Requests that belong together, or none when one of them is not for this run.
    fn line(&mut self, client: usize) -> Vec<Words> {
        let mut line: Vec<Words> = self.stream.batch(1).into_iter().map(|sample| sample.words).collect();
        if let [only] = &line[..]
            && self.dice.once_in(4)
            && let Some(words) = changed(only, &mut self.dice)
        {
            line = vec![words];
        }
        if line.iter().any(|words| UNSAID.contains(&classify(words).row.spec().name)) {
            return Vec::new();
        }
        let caching = if SETUPS[client].ends_with("OPTIN") { "YES" } else { "NO" };
        if SETUPS[client].contains("OPT") && self.dice.once_in(2) {
            line.insert(0, words(&format!("CLIENT CACHING {caching}")));
        }
        line.iter_mut().flatten().filter(|word| *word == b"t").for_each(|word| {
            *word = format!("t:{client}").into_bytes();
        });
        line
    }
}
