//! A connection that keeps the bytes of each reply beside its meaning, and knows how many replies a request gets.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::script::Request;
use crate::support::Value;

/// One reply, or a push that came before one.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) value: Value,
    /// Nobody asked for it.
    pub(crate) is_push: bool,
}

impl Reply {
    /// It tells a tracking client that a key may have changed.
    pub(crate) fn is_invalidation(&self) -> bool {
        self.is_push && first_word(&self.value).as_deref() == Some("invalidate")
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Recorder<BufReader<TcpStream>>,
    /// Channels, patterns and shards' channels that it is subscribed to.
    subscribed: [BTreeSet<Vec<u8>>; 3],
}

/// What stands for one of [`Connection::subscribed`] in the words of a server.
const FAMILIES: [&str; 3] = ["subscribe", "psubscribe", "ssubscribe"];

impl Connection {
    pub(crate) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let input = Recorder { input: BufReader::new(stream.try_clone()?), seen: Vec::new() };
        Ok(Self { stream, input, subscribed: Default::default() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Everything until the other side closes.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.input.read_to_end(&mut bytes) {
            Err(fault) if fault.kind() != io::ErrorKind::ConnectionReset => Err(fault),
            _ => Ok(bytes),
        }
    }

    /// All that comes for a request: the pushes before its reply, and its reply, or as many as it names channels.
    pub(crate) fn replies(&mut self, request: &Request) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::new();
        if request.silent {
            return Ok(replies);
        }
        let mut owed = 1;
        let mut is_first = true;
        while owed > 0 {
            let reply = self.read()?;
            if !reply.is_push {
                if is_first && !matches!(reply.value, Value::Error(_) | Value::Simple(_)) {
                    owed = self.expected(&request.words);
                }
                is_first = false;
                owed -= 1;
                self.note(&request.words, &reply.value);
            }
            replies.push(reply);
        }
        Ok(replies)
    }

    fn read(&mut self) -> io::Result<Reply> {
        self.input.seen.clear();
        let value = Value::read(&mut self.input)?;
        let is_push = first_word(&value).is_some_and(|word| {
            ["message", "pmessage", "smessage", "invalidate", "tracking-redir-broken"]
                .contains(&word.as_str())
        });
        Ok(Reply { bytes: std::mem::take(&mut self.input.seen), value, is_push })
    }

    /// Replies to a request that was taken.
    fn expected(&self, words: &[Vec<u8>]) -> usize {
        match family_of(words) {
            Some((at, false)) if words.len() == 1 => self.subscribed[at].len().max(1),
            Some(_) => words.len() - 1,
            // Nor is anything more owed for RESET; what was subscribed is gone without a word.
            None => 1,
        }
    }

    fn note(&mut self, words: &[Vec<u8>], value: &Value) {
        if let Value::Simple(text) = value
            && text == "RESET"
        {
            self.subscribed = Default::default();
        }
        // A list of commands, in any order, may begin with the name of one of these.
        if family_of(words).is_none() && !matches!(value, Value::Push(_)) {
            return;
        }
        let (Some(word), Some(Value::Bulk(channel))) = (first_word(value), value.items().get(1)) else {
            return;
        };
        for (family, subscribed) in FAMILIES.iter().zip(&mut self.subscribed) {
            if word == *family {
                subscribed.insert(channel.clone());
            } else if word == opposite(family) {
                subscribed.remove(channel);
            }
        }
    }
}

/// Which of [`Connection::subscribed`] a request is about, and whether it adds to it.
fn family_of(words: &[Vec<u8>]) -> Option<(usize, bool)> {
    let name = String::from_utf8(words.first()?.to_ascii_lowercase()).ok()?;
    let at = |names: [String; 3]| names.iter().position(|family| *family == name);
    let added = at(FAMILIES.map(str::to_owned)).map(|at| (at, true));
    added.or_else(|| at(FAMILIES.map(opposite)).map(|at| (at, false)))
}

fn opposite(family: &str) -> String {
    match family.strip_suffix("subscribe") {
        Some(prefix) => format!("{prefix}unsubscribe"),
        None => family.to_owned(),
    }
}

fn first_word(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) | Value::Push(items) => match items.first()? {
            Value::Bulk(word) if word.len() < 32 => String::from_utf8(word.clone()).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Keeps what is read through it.
struct Recorder<R> {
    input: R,
    seen: Vec<u8>,
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(available) = self.input.fill_buf() {
            self.seen.extend(&available[..count]);
        }
        self.input.consume(count);
    }
}
