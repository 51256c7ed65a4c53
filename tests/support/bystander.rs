//! A second client while a first one misbehaves: every reply must be its own, and it may not wait much longer than one
//! that asks the server itself in the same moments.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::Client;
use super::value::Value;
use super::wait::eventually;

/// Through the proxy nobody waits longer than this many times the worst wait at the server itself …
const FACTOR: u32 = 10;
/// … and this, which is far more than ten times what a call takes on an idle machine.
const FLOOR: Duration = Duration::from_secs(2);
/// Ten times the longest work that a test gives a node.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two calls: it listens all the time and is no load.
const PAUSE: Duration = Duration::from_millis(1);

/// Two callers that do the same, one through the proxy and one at the server.
#[derive(Debug)]
pub struct Bystander {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    through: JoinHandle<Seen>,
    direct: JoinHandle<Seen>,
}

/// What one of them saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls answered.
    pub rounds: u64,
    /// The longest that one took.
    pub worst: Duration,
    /// What speaks of a node that was lost: errors that say so, and a read that lacks the write before it. Any other
    /// wrong reply ends the test.
    pub refused: Vec<String>,
    /// Its connection ended.
    pub dropped: bool,
}

impl Bystander {
    /// Starts both. The direct one ends quietly with its server, or when that is busy with a script.
    #[track_caller]
    pub fn start(through: SocketAddr, direct: SocketAddr) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = |address: SocketAddr, at_server: bool, rounds: Arc<AtomicU64>| {
            let (stop, client) = (stop.clone(), Client::connect(address));
            client.set_read_timeout(PATIENCE);
            std::thread::spawn(move || Caller::new(client).run(at_server, &stop, &rounds))
        };
        let (through, direct) =
            (caller(through, false, rounds.clone()), caller(direct, true, Arc::default()));
        let bystander = Self { stop, rounds, through, direct };
        bystander.wait_for(3);
        bystander
    }

    /// Waits until `more` further calls through the proxy were answered.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.rounds.load(Ordering::SeqCst) + more;
        eventually(PATIENCE, "the second client is served", || {
            self.rounds.load(Ordering::SeqCst) >= goal || self.through.is_finished()
        });
    }

    /// Ends both; panics when a reply was not its caller's own. For faults that cost the node its life: errors that
    /// say so are handed back, and time is the caller's to judge.
    #[track_caller]
    pub fn finish(self) -> (Seen, Seen) {
        self.wait_for(1);
        self.stop.store(true, Ordering::SeqCst);
        let through = self.through.join().expect("every reply through the proxy was the second client's own");
        let direct = self.direct.join().expect("every reply of the server was the second client's own");
        println!(
            "second client: {} calls, worst {:?}; at the server {} calls, worst {:?}; refused {:?}",
            through.rounds, through.worst, direct.rounds, direct.worst, through.refused
        );
        assert!(!through.dropped, "the proxy closed nobody who did nothing");
        (through, direct)
    }

    /// Ends both; panics unless every call was answered as by the server, and as timely.
    #[track_caller]
    pub fn finish_undisturbed(self) -> Seen {
        let (through, direct) = self.finish();
        assert_eq!(through.refused, Vec::<String>::new(), "nothing concerned the second client");
        through.assert_as_timely_as(&direct);
        through
    }
}

impl Seen {
    /// Panics when its longest call took much longer than that of `direct`, who asked the server itself.
    #[track_caller]
    pub fn assert_as_timely_as(&self, direct: &Self) {
        assert!(
            self.worst <= direct.worst * FACTOR + FLOOR,
            "the second client waited {:?}, at the server itself {:?}",
            self.worst,
            direct.worst
        );
    }
}

struct Caller {
    client: Client,
    key: String,
    seen: Seen,
}

impl Caller {
    fn new(client: Client) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        Self { client, key: format!("bystander:{}:{number}", std::process::id()), seen: Seen::default() }
    }

    fn run(mut self, at_server: bool, stop: &AtomicBool, rounds: &AtomicU64) -> Seen {
        for round in 0_u64.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let start = Instant::now();
            let Ok(replies) = self.call(round) else {
                self.seen.dropped = true;
                break;
            };
            self.seen.worst = self.seen.worst.max(start.elapsed());
            self.seen.rounds += 1;
            if at_server && replies.iter().any(is_busy) {
                break;
            }
            self.judge(round, &replies);
            rounds.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
        self.seen
    }

    fn token(&self, round: u64) -> String {
        format!("{}.{round}", self.key)
    }

    fn call(&mut self, round: u64) -> io::Result<Vec<Value>> {
        let token = self.token(round);
        let requests: [&[&str]; 4] =
            [&["ECHO", &token], &["SET", &self.key, &token], &["GET", &self.key], &["PING", &token]];
        let bytes: Vec<u8> = requests.iter().flat_map(|request| super::client::encode(request)).collect();
        self.client.try_send_raw(&bytes)?;
        requests.iter().map(|_| self.client.try_read()).collect()
    }

    fn judge(&mut self, round: u64, replies: &[Value]) {
        let token = self.token(round);
        let own = [Value::bulk(&token), Value::ok(), Value::bulk(&token), Value::bulk(&token)];
        for (at, (reply, own)) in replies.iter().zip(&own).enumerate() {
            match reply {
                reply if reply == own => {}
                Value::Error(text) if is_of_a_lost_node(text) => self.seen.refused.push(text.clone()),
                // A new primary may lack the SET before it.
                Value::Nil if at == 2 => self.seen.refused.push("nil".to_owned()),
                Value::Bulk(text) if at == 2 && text.starts_with(self.key.as_bytes()) => {
                    self.seen.refused.push("an earlier value".to_owned());
                }
                reply => panic!("round {round}, reply {at}: {reply:?} is not {own:?}"),
            }
        }
    }
}

/// A server that has run a script for `busy-reply-threshold` says so; the proxy has given it up by then.
fn is_busy(reply: &Value) -> bool {
    reply.error().is_some_and(|text| text.starts_with("BUSY Redis is busy running a script."))
}

fn is_of_a_lost_node(text: &str) -> bool {
    text.starts_with("AMBIGUOUS write may have been executed: connection to the primary lost")
        || (text.starts_with("TRYAGAIN request was in flight when node ")
            && text.ends_with("it changed nothing and was not sent again"))
}
