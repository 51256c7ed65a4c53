//! A second client, whose every reply must be its own while the first one misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Client, LONG, Value, eventually};

/// Clients that send requests whose replies nobody else could get.
pub struct Witness {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Witness {
    /// Starts `count` clients; each checks every reply.
    pub fn start(address: SocketAddr, count: usize) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|number| {
            let (stop, rounds) = (stop.clone(), rounds.clone());
            let client = Client::connect(address);
            std::thread::spawn(move || testify(client, number, &stop, &rounds))
        });
        let threads = threads.collect();
        let witness = Self { stop, rounds, threads };
        witness.wait_for(1);
        witness
    }

    /// Waits until `more` further rounds were answered right.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.rounds.load(Ordering::SeqCst) + more;
        eventually(LONG, "the second client is served", || {
            self.rounds.load(Ordering::SeqCst) >= goal || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    /// Ends it; panics when any reply was not its own. Returns the longest time that a round took.
    #[track_caller]
    pub fn finish(self) -> Duration {
        self.wait_for(1);
        self.stop.store(true, Ordering::SeqCst);
        let join =
            |thread: JoinHandle<Duration>| thread.join().expect("every reply was the second client's own");
        self.threads.into_iter().map(join).max().unwrap_or_default()
    }
}

fn testify(mut client: Client, number: usize, stop: &AtomicBool, rounds: &AtomicU64) -> Duration {
    let mut slowest = Duration::ZERO;
    for round in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let (token, database) = (format!("witness {number}.{round}"), format!("{round}"));
        let start = Instant::now();
        let replies = client.pipelined(&[
            &["ECHO", &token][..],
            &["PING", &database],
            &["SETRANGE", "witness:none", "0", ""],
            &["ECHO", &token],
        ]);
        slowest = slowest.max(start.elapsed());
        let own = [Value::bulk(&token), Value::bulk(&database), Value::Int(0), Value::bulk(&token)];
        assert_eq!(replies, own, "round {round}");
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    slowest
}
