//! Two servers, or a server and the proxy in front of another, are sent the same stream: do they agree as far as the
//! command table says?

use std::collections::BTreeMap;
use std::net::SocketAddr;

use redhold::command::Compare;

use super::client::{Client, encode};
use super::size::number;
use super::stream::{Sample, Stream};
use super::value::Value;
use super::versions::Version;

/// Requests that are sent at once.
const BATCH: usize = 64;

/// So many disagreements tell enough: what one of them left behind makes more of them.
const ENOUGH: usize = 8;

/// What a stream showed.
#[derive(Debug, Default)]
pub struct Findings {
    /// Replies that differ although the table says that they agree.
    pub faults: Vec<String>,
    /// For each row that was not always refused: whether its replies differed in any way.
    pub differed: BTreeMap<&'static str, bool>,
    /// Requests sent to each.
    pub sent: usize,
}

/// The seed of a stream and how many requests it is to have: `SEED` and `STREAM`, or one that changes from run to run and
/// `count`.
pub fn seed(count: usize) -> (u64, usize) {
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    (seed, number("STREAM").map_or(count, |count| count as usize))
}

/// Sends `count` requests to both, half of them in RESP2 and half in RESP3. Both are new, and of the same version.
#[track_caller]
pub fn compare(version: Version, one: SocketAddr, other: SocketAddr, seed: u64, count: usize) -> Findings {
    // Shown when the test fails, for whatever reason.
    eprintln!("{}: SEED={seed} STREAM={count}", version.name);
    let mut findings = Findings::default();
    let listeners = [listen(version, one), listen(version, other)];
    for proto in [2, 3] {
        let connect = if proto == 2 { Client::connect } else { Client::connect_resp3 };
        let (mut one, mut other) = (connect(one), connect(other));
        let mut stream = Stream::new(version, proto, seed.wrapping_mul(2).wrapping_add(proto.into()));
        let end = findings.sent + count / 2;
        let title = format!("{} SEED={seed}", version.name);
        while findings.sent < end && findings.faults.len() < ENOUGH {
            if !findings.play(&stream.batch(BATCH), &mut one, &mut other, &title) {
                return findings;
            }
        }
    }
    drop(listeners);
    findings
}

/// Somebody whom PUBSUB shows and PUBLISH counts. Nothing of what comes is read: it is less than a socket holds.
#[track_caller]
fn listen(version: Version, address: SocketAddr) -> [Client; 2] {
    let channels: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    let mut listeners = [Client::connect(address), Client::connect(address)];
    let plain = format!("SUBSCRIBE {}", channels.join(" "));
    let sharded = format!("SSUBSCRIBE {}", channels.join(" "));
    // Before 7.0 there are no shards' channels.
    for (listener, request) in
        listeners.iter_mut().zip([plain, sharded]).take(if version.release < 70 { 1 } else { 2 })
    {
        let first = listener.call(&request);
        assert!(first.error().is_none(), "{first:?}");
        (1..channels.len()).for_each(|_| drop(listener.read()));
    }
    listeners
}

impl Findings {
    /// Sends both the same; false when a reply is missing, so that nothing more can be compared.
    fn play(&mut self, batch: &[Sample], one: &mut Client, other: &mut Client, title: &str) -> bool {
        let bytes: Vec<u8> = batch.iter().flat_map(|sample| encode(&sample.words)).collect();
        one.send_raw(&bytes);
        other.send_raw(&bytes);
        for sample in batch {
            self.sent += 1;
            let replies = (one.try_read(), other.try_read());
            let (Ok(left), Ok(right)) = replies else {
                let (number, request) = (self.sent, shown(sample));
                self.faults.push(format!("{title}, request {number}: {request}: {replies:?}"));
                return false;
            };
            if left.error().is_none() {
                *self.differed.entry(sample.row.name).or_default() |= left != right;
            }
            if !agree(sample.row.compare, &left, &right) && self.faults.len() < ENOUGH {
                let (number, compare, request) = (self.sent, sample.row.compare, shown(sample));
                self.faults.push(format!(
                    "{title}, request {number}: {request} ({compare:?}):\n  {left:?}\n  {right:?}"
                ));
            }
        }
        true
    }
}

fn shown(sample: &Sample) -> String {
    let words: Vec<String> = sample.words.iter().map(|word| word.escape_ascii().to_string()).collect();
    words.join(" ")
}

/// Whether two replies to the same request agree as far as the column says.
pub fn agree(compare: Compare, left: &Value, right: &Value) -> bool {
    match compare {
        Compare::Skip => true,
        _ if left == right => true,
        // What a server refuses does not depend on how it orders or counts.
        _ if left.error().is_some() || right.error().is_some() => false,
        Compare::Exact => false,
        Compare::Unordered => sorted(left) == sorted(right),
        Compare::Shape => shape(left) == shape(right),
    }
}

/// Elements in an order that does not depend on the server.
fn sorted(value: &Value) -> Vec<String> {
    let mut elements: Vec<String> = match value {
        Value::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        other => other.items().iter().map(|item| format!("{item:?}")).collect(),
    };
    elements.sort();
    // An empty reply is not another empty reply, and what has no elements agrees only with itself.
    elements.push(format!("{:?}", std::mem::discriminant(value)));
    if elements.len() == 1 {
        elements.push(format!("{value:?}"));
    }
    elements
}

/// Type and number of elements; of a number whether it says that there is none.
fn shape(value: &Value) -> (std::mem::Discriminant<Value>, i64) {
    let length = match value {
        Value::Int(number) => (*number).min(0),
        Value::Map(pairs) => pairs.len() as i64,
        other => other.items().len() as i64,
    };
    (std::mem::discriminant(value), length)
}
