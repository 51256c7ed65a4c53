//! How far two replies have to be the same: the column of the command table, taken as strictly as it allows.

use redhold::command::{Compare, classify};

use crate::connection::Reply;
use crate::support::{Value, agree};

/// What one client's queued requests are judged by, while a transaction is open.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    invalidations: Invalidations,
    queued: Option<Vec<Compare>>,
}

/// Whether it matters what tracking clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalidations {
    /// Each, and between which replies.
    Compared,
    /// Requests come in pipelines: see `tracking.rs`.
    Ignored,
}

impl Judge {
    pub(crate) fn new(invalidations: Invalidations) -> Self {
        Self { invalidations, queued: None }
    }

    /// Whether all that came for a request is the same, as far as it can be.
    pub(crate) fn agree(&mut self, words: &[Vec<u8>], left: &[Reply], right: &[Reply]) -> bool {
        let compare = column(words);
        let alike = |(left, right): (&Reply, &Reply)| {
            left.is_push == right.is_push && self.one(words, compare, left, right)
        };
        let counts =
            |reply: &&Reply| self.invalidations == Invalidations::Compared || !reply.is_invalidation();
        let [ours, theirs] =
            [left, right].map(|replies| -> Vec<&Reply> { replies.iter().filter(counts).collect() });
        let same = if names_nothing(words) {
            channels(&ours) == channels(&theirs)
        } else {
            ours.len() == theirs.len() && ours.into_iter().zip(theirs).all(alike)
        };
        if let Some(last) = left.last() {
            self.follow(words, compare, &last.value);
        }
        same
    }

    fn one(&self, words: &[Vec<u8>], compare: Compare, left: &Reply, right: &Reply) -> bool {
        if left.bytes == right.bytes {
            return true;
        }
        let is_error = |reply: &Reply| matches!(reply.bytes.first(), Some(b'-' | b'!'));
        // Words of a refusal are the same whatever else is not, and so is the kind of a reply.
        if is_error(left) || is_error(right) || left.is_push || left.bytes.first() != right.bytes.first() {
            return false;
        }
        if name(words) == "hello" {
            return without_id(&left.value) == without_id(&right.value);
        }
        match (&self.queued, &left.value, &right.value) {
            (Some(queued), Value::Array(ours), Value::Array(theirs)) if name(words) == "exec" => {
                queued.len() == ours.len()
                    && queued.len() == theirs.len()
                    && queued
                        .iter()
                        .zip(ours.iter().zip(theirs))
                        .all(|(compare, (left, right))| agree(*compare, left, right))
            }
            _ => agree(compare, &left.value, &right.value),
        }
    }

    fn follow(&mut self, words: &[Vec<u8>], compare: Compare, reply: &Value) {
        let text = match reply {
            Value::Simple(text) => text.as_str(),
            _ => "",
        };
        match (name(words), text) {
            ("multi", "OK") => self.queued = Some(Vec::new()),
            (_, "QUEUED") => self.queued.get_or_insert_default().push(compare),
            ("exec", _) => self.queued = None,
            ("discard" | "reset", _) if reply.error().is_none() => self.queued = None,
            _ => {}
        }
    }
}

fn name(words: &[Vec<u8>]) -> &'static str {
    if words.is_empty() { "" } else { classify(words).row.spec().name }
}

/// The column, and where the arguments tell that nothing is left to chance, more.
fn column(words: &[Vec<u8>]) -> Compare {
    if words.is_empty() {
        return Compare::Exact;
    }
    let row = classify(words).row.spec();
    match row.name {
        // What nobody knows is refused in the same words.
        "unknown" => Compare::Exact,
        "xadd" if !words.iter().any(|word| word == b"*" || word.ends_with(b"-*")) => Compare::Exact,
        _ => row.compare,
    }
}

/// UNSUBSCRIBE and its like without a name: the server's own order.
fn names_nothing(words: &[Vec<u8>]) -> bool {
    words.len() == 1 && ["unsubscribe", "punsubscribe", "sunsubscribe"].contains(&name(words))
}

/// What was told of, and how many were left each time, whichever came first.
fn channels(replies: &[&Reply]) -> [Vec<String>; 2] {
    let told = |at: usize| {
        let mut told: Vec<String> = replies
            .iter()
            .map(|reply| match (reply.value.items(), reply.is_push) {
                (items, false) if items.len() == 3 => format!("{:?}", items[at]),
                _ => format!("{:?}", reply.value),
            })
            .collect();
        told.sort();
        told
    };
    [told(1), told(2)]
}

/// HELLO tells a client the number that it has.
fn without_id(hello: &Value) -> Value {
    let mut hello = hello.clone();
    let is_id = |name: &Value| name.text().as_deref() == Some("id");
    match &mut hello {
        Value::Map(pairs) => {
            pairs.iter_mut().filter(|(name, _)| is_id(name)).for_each(|(_, id)| *id = Value::Nil)
        }
        Value::Array(items) => {
            if let Some(at) = items.iter().position(is_id)
                && let Some(id) = items.get_mut(at + 1)
            {
                *id = Value::Nil;
            }
        }
        _ => {}
    }
    hello
}
