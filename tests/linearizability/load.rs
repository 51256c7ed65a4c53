//! Clients that read and write a few keys, one operation each at a time, and write down what they saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::history::{Kind, Operation};
use crate::support::{Client, Value};

/// Few keys and many clients, so that operations on a key overlap.
pub const CLIENTS: usize = 24;
pub const KEYS: usize = 8;
/// Between two operations of a client: what one core can serve beside everything else.
const PAUSE: Duration = Duration::from_micros(500);

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    written: AtomicU64,
    unsure: AtomicU64,
    replies: AtomicU64,
}

/// What one client, or all of them, did.
#[derive(Debug, Default)]
pub struct Account {
    pub history: Vec<Operation>,
    /// Errors that say that nothing was done, and how often each was given.
    pub refused: Vec<String>,
    /// Replies that no client should ever see, lost connections among them.
    pub unexpected: Vec<String>,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<Account>>,
}

impl Load {
    /// On keys that start with `run`.
    pub fn start(address: SocketAddr, run: u32) -> Self {
        let counts = Arc::new(Counts::default());
        let start = Instant::now();
        let threads = (0..CLIENTS).map(|number| {
            let counts = counts.clone();
            let client = Client::connect(address);
            std::thread::spawn(move || Reader { client, run, number, start }.run(&counts))
        });
        Self { threads: threads.collect(), counts }
    }

    /// Writes acknowledged so far.
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::SeqCst)
    }

    /// Writes of which nobody knows whether they last.
    pub fn unsure(&self) -> u64 {
        self.counts.unsure.load(Ordering::SeqCst)
    }

    /// Replies of any kind so far.
    pub fn replies(&self) -> u64 {
        self.counts.replies.load(Ordering::SeqCst)
    }

    pub fn finish(self) -> Account {
        self.counts.stop.store(true, Ordering::SeqCst);
        let mut all = Account::default();
        for thread in self.threads {
            let account = thread.join().expect("a client reports, it does not panic");
            all.history.extend(account.history);
            all.refused.extend(account.refused);
            all.unexpected.extend(account.unexpected);
        }
        all
    }
}

struct Reader {
    client: Client,
    run: u32,
    number: usize,
    start: Instant,
}

impl Reader {
    fn run(mut self, counts: &Counts) -> Account {
        let mut account = Account::default();
        // Each client goes through the keys in a stride of its own, and writes every third time.
        for turn in self.number.. {
            if counts.stop.load(Ordering::SeqCst) || !self.operate(turn, counts, &mut account) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        account
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("hundreds of years") + 1
    }

    /// False when the connection is lost.
    fn operate(&mut self, turn: usize, counts: &Counts, account: &mut Account) -> bool {
        let key = turn * (self.number % 3 + 1) % KEYS;
        let name = format!("{}:register:{key}", self.run);
        let value = (self.number as u64) << 32 | turn as u64;
        let writes = turn % 3 == self.number % 3;
        let called = self.now();
        let reply = if writes {
            self.client.try_cmd(&["SET", &name, &value.to_string()])
        } else {
            self.client.try_cmd(&["GET", &name])
        };
        let returned = Some(self.now());
        counts.replies.fetch_add(1, Ordering::SeqCst);
        let operation = |kind, returned| Operation { key, kind, called, returned };
        match reply {
            Ok(Value::Simple(_)) if writes => {
                counts.written.fetch_add(1, Ordering::SeqCst);
                account.history.push(operation(Kind::Write(value), returned));
            }
            Ok(Value::Error(text)) if text.starts_with("TRYAGAIN") || text.starts_with("NOREPLICAS") => {
                account.refused.push(text);
            }
            Ok(Value::Error(text))
                if writes && (text.starts_with("AMBIGUOUS") || text.starts_with("NOTDURABLE")) =>
            {
                counts.unsure.fetch_add(1, Ordering::SeqCst);
                account.history.push(operation(Kind::Write(value), None));
            }
            Ok(Value::Error(text)) => account.unexpected.push(text),
            Ok(found) if !writes => {
                let found = found.text().map(|text| text.parse().expect("what a client wrote"));
                account.history.push(operation(Kind::Read(found), returned));
            }
            Ok(other) => account.unexpected.push(format!("{other:?}")),
            Err(fault) => {
                if writes {
                    account.history.push(operation(Kind::Write(value), None));
                }
                account.unexpected.push(fault.to_string());
                return false;
            }
        }
        true
    }
}
