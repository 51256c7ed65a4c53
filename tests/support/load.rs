//! A load of writes on many connections whose every reply is accounted for, and the check of what a node holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Client, encode};
use super::counts::Counts;
use super::value::Value;
use super::wait::{LONG, eventually};

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answered as a server that executed it answers.
    Acknowledged,
    /// `-AMBIGUOUS`: executed or not.
    Ambiguous,
    /// Any other error, by its text.
    Refused(String),
    /// The connection ended before the reply.
    Dropped,
}

/// The account of one connection: verdicts by sequence number. Even numbers were `SET load:set:<c>:<n> <n>`, odd
/// ones `RPUSH load:list:<c> <n>`.
#[derive(Debug, Default)]
struct Account {
    verdicts: Vec<Verdict>,
    longest_gap: Duration,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<Account>>,
}

/// What a finished load saw.
#[derive(Debug)]
pub struct Outcome {
    accounts: Vec<Account>,
}

impl Load {
    /// Starts `connections` connections to `address`, each of which sends `depth` requests, reads their replies,
    /// and goes on. At least four connections, as a fault under less proves little.
    #[track_caller]
    pub fn start(address: SocketAddr, connections: usize, depth: usize) -> Self {
        assert!(connections >= 4, "a load has at least four connections");
        let counts = Arc::new(Counts::default());
        let threads = (0..connections).map(|number| {
            let counts = counts.clone();
            let client = Client::connect(address);
            std::thread::spawn(move || run(client, number, depth, &counts))
        });
        Self { threads: threads.collect(), counts }
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged()
    }

    /// Waits until `more` further writes were acknowledged.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.acknowledged() + more;
        eventually(LONG, "the load makes progress", || self.acknowledged() >= goal);
    }

    /// Does `fault` while enough is in flight, and returns how much was: see [`Counts::strike`].
    #[track_caller]
    pub fn strike(&self, fault: impl FnOnce()) -> u64 {
        self.counts.strike(fault)
    }

    /// Ends the load after the replies that are owed.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        self.counts.stop();
        let join =
            |thread: JoinHandle<Account>| thread.join().expect("a load thread reports, it does not panic");
        Outcome { accounts: self.threads.into_iter().map(join).collect() }
    }
}

impl Outcome {
    /// How many requests ended with a verdict that `which` accepts.
    pub fn count(&self, which: impl Fn(&Verdict) -> bool) -> u64 {
        self.verdicts().filter(|verdict| which(verdict)).count() as u64
    }

    /// Acknowledged requests.
    pub fn acknowledged(&self) -> u64 {
        self.count(|verdict| *verdict == Verdict::Acknowledged)
    }

    /// Requests of unknown outcome.
    pub fn ambiguous(&self) -> u64 {
        self.count(|verdict| *verdict == Verdict::Ambiguous)
    }

    /// The texts of all other errors, with how often each was seen; dropped connections included.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = BTreeMap::new();
        for verdict in self.verdicts() {
            let text = match verdict {
                Verdict::Acknowledged | Verdict::Ambiguous => continue,
                Verdict::Refused(text) => text.clone(),
                Verdict::Dropped => "connection dropped".to_owned(),
            };
            *faults.entry(text).or_insert(0) += 1;
        }
        faults
    }

    /// The longest time in which a connection got no reply.
    pub fn longest_gap(&self) -> Duration {
        self.accounts.iter().map(|account| account.longest_gap).max().unwrap_or_default()
    }

    /// Reads everything back from one node. Returns how many acknowledged writes it lacks; panics when it holds a
    /// write twice, out of order, or one that was refused.
    #[track_caller]
    pub fn missing_on(&self, node: SocketAddr) -> u64 {
        let mut client = Client::connect(node);
        (0..self.accounts.len())
            .map(|number| self.missing_sets(&mut client, number) + self.missing_pushes(&mut client, number))
            .sum()
    }

    #[track_caller]
    fn missing_sets(&self, client: &mut Client, number: usize) -> u64 {
        let mut missing = 0;
        for (sequence, verdict) in self.accounts[number].verdicts.iter().enumerate().step_by(2) {
            let expected = Value::bulk(sequence.to_string());
            let found = client.call(&format!("GET load:set:{number}:{sequence}"));
            match verdict {
                Verdict::Acknowledged => missing += u64::from(found != expected),
                Verdict::Ambiguous | Verdict::Dropped => assert!(found == expected || found == Value::Nil),
                Verdict::Refused(text) => {
                    assert_eq!(found, Value::Nil, "refused with {text}, and yet executed")
                }
            }
        }
        missing
    }

    #[track_caller]
    fn missing_pushes(&self, client: &mut Client, number: usize) -> u64 {
        let list = client.call(&format!("LRANGE load:list:{number} 0 -1"));
        let found: Vec<usize> = list
            .items()
            .iter()
            .map(|item| item.text().and_then(|text| text.parse().ok()).expect("a number"))
            .collect();
        assert!(
            found.is_sorted_by(|a, b| a < b),
            "connection {number}: a push twice or out of order: {found:?}"
        );
        let mut missing = 0;
        for (sequence, verdict) in self.accounts[number].verdicts.iter().enumerate().skip(1).step_by(2) {
            let held = found.binary_search(&sequence).is_ok();
            match verdict {
                Verdict::Acknowledged => missing += u64::from(!held),
                Verdict::Ambiguous | Verdict::Dropped => {}
                Verdict::Refused(text) => assert!(!held, "refused with {text}, and yet executed"),
            }
        }
        missing
    }

    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.accounts.iter().flat_map(|account| &account.verdicts)
    }
}

fn run(mut client: Client, number: usize, depth: usize, counts: &Counts) -> Account {
    let mut account = Account::default();
    let mut last_reply = Instant::now();
    while !counts.is_stopped() {
        let first = account.verdicts.len();
        let mut bytes = Vec::new();
        for sequence in first..first + depth {
            bytes.extend(request(number, sequence));
        }
        counts.sent(depth);
        let sent = client.try_send_raw(&bytes).is_ok();
        for answered in 0..depth {
            let verdict = if sent { judge(client.try_read()) } else { Verdict::Dropped };
            if verdict == Verdict::Dropped {
                account.verdicts.resize(first + depth, Verdict::Dropped);
                counts.given_up(depth - answered);
                return account;
            }
            counts.answered(verdict == Verdict::Acknowledged);
            account.longest_gap = account.longest_gap.max(last_reply.elapsed());
            last_reply = Instant::now();
            account.verdicts.push(verdict);
        }
    }
    account
}

fn request(number: usize, sequence: usize) -> Vec<u8> {
    let text = sequence.to_string();
    if sequence.is_multiple_of(2) {
        encode(&["SET", &format!("load:set:{number}:{sequence}"), &text])
    } else {
        encode(&["RPUSH", &format!("load:list:{number}"), &text])
    }
}

fn judge(reply: std::io::Result<Value>) -> Verdict {
    match reply {
        Err(_) => Verdict::Dropped,
        Ok(Value::Error(text)) if text.starts_with("AMBIGUOUS") => Verdict::Ambiguous,
        Ok(Value::Error(text)) => Verdict::Refused(text),
        Ok(_) => Verdict::Acknowledged,
    }
}
