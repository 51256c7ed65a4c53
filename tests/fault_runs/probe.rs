//! A client that speaks to the old primary itself, past every proxy, and asks after each write whether a replica has it. Nobody may tell it
//! so once another one has acknowledged a write: that would be two primaries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Client, Value};

/// How long a replica is waited for, and how often a write is tried.
const WAIT: Duration = Duration::from_millis(20);

/// One write, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub at: Instant,
    /// A replica has it.
    pub confirmed: bool,
}

#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Answer>>,
}

/// What the writes of a probe show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    pub written: u64,
    pub confirmed: u64,
    /// Confirmed after another primary had acknowledged a write.
    pub late: u64,
    /// Confirmed, and not there.
    pub lost: u64,
}

impl Probe {
    /// `SET <run>:pinned:<n> <n>` and `WAIT 1`, until it is stopped or turned away.
    pub fn start(address: SocketAddr, run: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = Client::connect(address);
        let thread = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let (number, wait) = (answers.len().to_string(), WAIT.as_millis().to_string());
                    let set = client.try_cmd(&["SET", &key(run, answers.len()), &number]);
                    if !matches!(set, Ok(Value::Simple(_))) {
                        break;
                    }
                    let Ok(Value::Int(replicas)) = client.try_cmd(&["WAIT", "1", &wait]) else { break };
                    answers.push(Answer { at: Instant::now(), confirmed: replicas > 0 });
                    if replicas > 0 {
                        std::thread::sleep(WAIT);
                    }
                }
                answers
            })
        };
        Self { stop, thread }
    }

    pub fn finish(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a probe reports, it does not panic")
    }
}

/// Judges the writes of a probe by what the leader holds; another one led from `other` on. `None`: none was tried after that, so nothing
/// is proven.
pub fn judge(answers: &[Answer], other: Instant, leader: &mut Client, run: u32) -> Option<Pinned> {
    let mut pinned = count(answers, other);
    for (number, _) in answers.iter().enumerate().filter(|(_, answer)| answer.confirmed) {
        pinned.lost += u64::from(leader.cmd(&["GET", &key(run, number)]) != Value::bulk(number.to_string()));
    }
    // A check that does not see a write that is said to be confirmed too late sees nothing.
    let mut planted = answers.to_vec();
    planted.iter_mut().find(|answer| answer.at > other && !answer.confirmed)?.confirmed = true;
    (count(&planted, other).late == pinned.late + 1).then_some(pinned)
}

fn count(answers: &[Answer], other: Instant) -> Pinned {
    let confirmed = || answers.iter().filter(|answer| answer.confirmed);
    Pinned {
        written: answers.len() as u64,
        confirmed: confirmed().count() as u64,
        late: confirmed().filter(|answer| answer.at > other).count() as u64,
        lost: 0,
    }
}

fn key(run: u32, number: usize) -> String {
    format!("{run}:pinned:{number}")
}
