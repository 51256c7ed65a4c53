//! What is said, by whom and in which pieces: made whole before anything is sent, so that it can be said again and cut short.

use std::collections::VecDeque;

use redhold::command::classify;

use crate::dice::Dice;
use crate::lines::{DURING, LINES, SILENCED};
use crate::support::{Stream, Version, encode};
use crate::words::{Vocabulary, Words, changed};

/// Requests of one pipeline at most.
const DEPTH: usize = 40;

/// Inline requests are not longer, by far, than what servers take.
const INLINE: usize = 1_000;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) words: Words,
    /// A line as people type it, not an array.
    pub(crate) inline: bool,
    /// CLIENT REPLY has taken its reply away.
    pub(crate) silent: bool,
}

impl Request {
    pub(crate) fn new(words: Words) -> Self {
        Self { words, inline: false, silent: false }
    }

    /// As it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if !self.inline {
            return encode(&self.words);
        }
        let quoted: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        format!("{}\r\n", quoted.join(" ")).into_bytes()
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        let words: Vec<String> = self
            .words
            .iter()
            .map(|word| match word.len() {
                0..=200 => quoted(word),
                length => format!("<{length} bytes>"),
            })
            .collect();
        format!("{}{}", words.join(" "), if self.inline { " (inline)" } else { "" })
    }
}

/// As servers read it in a line.
fn quoted(word: &[u8]) -> String {
    // A line that begins with an asterisk is none.
    if !word.is_empty()
        && word[0] != b'*'
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-+.:_*".contains(byte))
    {
        return String::from_utf8_lossy(word).into_owned();
    }
    let inside: String = word
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    format!("\"{inside}\"")
}

/// One turn of one client; nobody else speaks meanwhile. Whatever the client began before is finished first.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Says all of them at once and awaits the replies.
    Say { client: usize, requests: Vec<Request> },
    /// Sends the first bytes of one request and awaits nothing.
    Begin { client: usize, request: Request, sent: usize },
    /// Says something that is no request, awaits the end of the connection and comes anew.
    Garble { client: usize, bytes: Vec<u8> },
}

/// Steps with at least `count` requests by so many clients. The same for the same seed.
pub(crate) fn script(version: Version, seed: u64, count: usize, clients: usize) -> Vec<Step> {
    let mut author = Author {
        dice: Dice::new(seed),
        stream: Stream::new(version, 3, seed),
        vocabulary: Vocabulary::new(version),
        to_say: vec![VecDeque::new(); clients],
    };
    let (mut steps, mut said) = (Vec::new(), 0);
    while said < count {
        let client = author.dice.below(clients);
        let turn = author.turn(client);
        said += turn
            .iter()
            .map(|step| match step {
                Step::Say { requests, .. } => requests.len(),
                Step::Begin { .. } => 1,
                Step::Garble { .. } => 0,
            })
            .sum::<usize>();
        steps.extend(turn);
    }
    steps
}

struct Author {
    dice: Dice,
    stream: Stream,
    vocabulary: Vocabulary,
    /// Of each client: the rest of the line that it is at.
    to_say: Vec<VecDeque<Request>>,
}

impl Author {
    /// One step, or some that belong together.
    fn turn(&mut self, client: usize) -> Vec<Step> {
        let others = self.to_say.len() > 1;
        let is_between = self.to_say[client].is_empty();
        match self.dice.below(400) {
            // Who comes anew has forgotten what it wrote.
            0 if is_between && others => vec![self.garbled(client)],
            1..=8 if others && self.to_say[client].iter().all(|request| !request.silent) => {
                self.interrupted(client)
            }
            9..=12 if is_between => self.parked(client),
            _ => vec![self.say(client)],
        }
    }

    fn say(&mut self, client: usize) -> Step {
        // Mostly few, now and then many.
        let most = 1 + self.dice.below(DEPTH);
        let depth = 1 + self.dice.below(most);
        let mut requests: Vec<Request> = (0..depth).map(|_| self.next(client)).collect();
        // What has no reply is known to be executed when what comes behind it is.
        while requests.last().is_some_and(|request| request.silent) {
            requests.push(self.next(client));
        }
        Step::Say { client, requests }
    }

    /// Half a request, then others' turns, then the rest.
    fn interrupted(&mut self, client: usize) -> Vec<Step> {
        let request = self.next(client);
        let length = request.bytes().len();
        let sent = self.dice.below(length);
        let mut steps = vec![Step::Begin { client, request, sent }];
        for _ in 0..=self.dice.below(2) {
            let other = self.other_than(client);
            steps.push(self.say(other));
        }
        steps.push(self.say(client));
        steps
    }

    /// Waits at the server until another client brings what it waits for.
    fn parked(&mut self, client: usize) -> Vec<Step> {
        let key = format!("queue{client}");
        let (waiting, bringing) = *self.dice.pick(&[
            ("BLPOP ~ 20", "RPUSH ~ a"),
            ("BRPOP none ~ 20", "LPUSH ~ a b"),
            ("BLMOVE ~ l0 LEFT RIGHT 20", "RPUSH ~ a"),
            ("BRPOPLPUSH ~ l1 20", "RPUSH ~ a b"),
            ("BZPOPMIN ~ 20", "ZADD ~ 1.5 a"),
            ("BZPOPMAX none ~ 20", "ZADD ~ 1 a"),
            ("XREAD BLOCK 20000 STREAMS ~ 0", "XADD ~ 7-7 f v"),
        ]);
        let words =
            |text: &str| text.replace('~', &key).split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let request = Request::new(words(waiting));
        let sent = request.bytes().len();
        // Neither of them is in the middle of something.
        let bringer = (0..self.to_say.len()).find(|other| *other != client && self.to_say[*other].is_empty());
        let Some(bringer) = bringer else { return vec![self.say(client)] };
        vec![
            Step::Begin { client, request, sent },
            Step::Say { client: bringer, requests: vec![Request::new(words(bringing))] },
            Step::Say { client, requests: vec![Request::new(words("DEL ~"))] },
        ]
    }

    fn garbled(&mut self, client: usize) -> Step {
        let bytes = *self.dice.pick(&[
            &b"*abc\r\n"[..],
            b"*1\r\nPING\r\n",
            b"*1\r\n$-1\r\n",
            b"*2\r\n$3\r\nGET\r\n:1\r\n",
            b"*2147483648\r\n",
            b"*1\r\n$536870913\r\n",
            b"GET \"open\r\n",
            b"GET 'a'b\r\n",
            b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
            b"*1\r\n$4\r\nQUIT\r\nPING\r\n",
            b"quit now\r\n",
        ]);
        Step::Garble { client, bytes: bytes.to_vec() }
    }

    fn other_than(&mut self, client: usize) -> usize {
        let count = self.to_say.len();
        (client + 1 + self.dice.below(count - 1)) % count
    }

    fn next(&mut self, client: usize) -> Request {
        while self.to_say[client].is_empty() {
            let line = self.line(client);
            self.to_say[client].extend(line);
        }
        let mut request = self.to_say[client].pop_front().expect("just filled");
        let length: usize = request.words.iter().map(|word| 4 * word.len() + 3).sum();
        request.inline = length < INLINE && self.dice.once_in(4);
        request
    }

    /// Requests that belong together; nothing that hinders what comes later stands after them.
    fn line(&mut self, client: usize) -> Vec<Request> {
        let requests = match self.dice.below(1_000) {
            0 => vec![self.large()],
            1..=50 => self.transaction(),
            51..=60 => self.silenced(),
            61..=200 => self.of(LINES),
            201..=400 => vec![Request::new(self.changed())],
            401..=650 => vec![Request::new(self.vocabulary.request(&mut self.dice))],
            _ => self.stream.batch(1).into_iter().map(|sample| Request::new(sample.words)).collect(),
        };
        let mut requests: Vec<Request> =
            requests.into_iter().map(|request| for_client(request, client)).collect();
        requests.retain(|request| !forgets_scripts(&request.words));
        requests
    }

    fn of(&mut self, lines: &[&str]) -> Vec<Request> {
        self.stream.one_of(lines).into_iter().map(|sample| Request::new(sample.words)).collect()
    }

    /// A good request of one that is no part of a line, with something changed.
    fn changed(&mut self) -> Words {
        loop {
            if let [sample] = &self.stream.batch(1)[..]
                && let Some(words) = changed(&sample.words, &mut self.dice)
            {
                return words;
            }
        }
    }

    /// MULTI, anything, and EXEC or DISCARD; sometimes a key is watched, which others may touch meanwhile.
    fn transaction(&mut self) -> Vec<Request> {
        let mut requests =
            if self.dice.once_in(3) { self.of(&["WATCH @s @h", "WATCH @any"]) } else { Vec::new() };
        requests.extend(self.of(&["MULTI"]));
        for _ in 0..self.dice.below(8) {
            match self.dice.below(4) {
                0 => requests.push(Request::new(self.vocabulary.request(&mut self.dice))),
                1 => requests.extend(self.of(DURING)),
                _ => {
                    let batch = self.stream.batch(1);
                    // Lines end what they began, and what is queued begins nothing.
                    if let [sample] = &batch[..] {
                        requests.push(Request::new(sample.words.clone()));
                    }
                }
            }
        }
        // It ends where it is to end: what is queued might wait for ever outside.
        requests.retain(|request| !ends_transaction(&request.words));
        requests.extend(self.of(&["EXEC", "EXEC", "EXEC", "DISCARD", "EXEC x ; DISCARD", "RESET"]));
        requests
    }

    /// Requests whose replies are not wanted.
    fn silenced(&mut self) -> Vec<Request> {
        let skips = self.dice.once_in(2);
        let (first, last) =
            if skips { ("CLIENT REPLY SKIP", "PING") } else { ("CLIENT REPLY OFF", "CLIENT REPLY ON") };
        let count = if skips { 1 } else { 1 + self.dice.below(4) };
        // Refused to those who watch: see `runs.rs`.
        let mut requests = self.of(&["UNWATCH"]);
        requests.extend(self.of(&[first]));
        (0..count).for_each(|_| requests.extend(self.of(SILENCED)));
        requests[1..].iter_mut().for_each(|request| request.silent = true);
        requests.extend(self.of(&[last]));
        requests
    }

    /// Longer than a socket holds.
    fn large(&mut self) -> Request {
        let size = 1 << (14 + self.dice.below(8));
        let value = vec![b'a' + self.dice.below(26) as u8; size + self.dice.below(100)];
        let key = format!("s{}", self.dice.below(3)).into_bytes();
        Request::new(vec![b"SET".to_vec(), key, value])
    }
}

/// What the proxy loads for EVALSHA's sake may come right behind it: see "Differences" in docs/compatibility.md.
fn forgets_scripts(words: &[Vec<u8>]) -> bool {
    classify(words).row.spec().name == "script|flush"
}

fn ends_transaction(words: &[Vec<u8>]) -> bool {
    ["exec", "discard", "reset"].iter().any(|name| words[0].eq_ignore_ascii_case(name.as_bytes()))
}

/// The key of lines that clean up behind them is each client's own.
fn for_client(mut request: Request, client: usize) -> Request {
    for word in &mut request.words {
        if word == b"t" {
            *word = format!("t:{client}").into_bytes();
        }
    }
    request
}
