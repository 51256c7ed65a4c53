//! 10,000 jobs through one queue, and the death of the primary in their middle.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value as Json;

use crate::rig::{DEADLINE, JOBS, Rig, Worker};
use crate::support::eventually;

/// How often workers are started again to do what was left by the ones before.
const ROUNDS_MAX: usize = 5;

/// One framework's queue.
pub struct Queue {
    pub name: &'static str,
    /// What enqueues: `FIRST COUNT` follows. It prints as JSON which ones were acknowledged.
    pub enqueue: &'static str,
    /// A worker, until SIGTERM; `%n` becomes its number.
    pub work: &'static str,
    pub workers: usize,
    /// Requests that count what waits or was begun.
    pub waiting: &'static [&'static str],
    /// Whether a worker that is asked to end leaves what it has just taken. Workers are asked when all are parked, then.
    pub drops: bool,
    /// What an operator types when workers ended with jobs that they had begun; it prints how many there were.
    pub recover: Option<&'static str>,
    /// How the framework says in its own words that a worker was told AMBIGUOUS.
    pub aftermath: &'static [&'static str],
}

/// What became of the jobs.
pub struct Outcome {
    /// Acknowledged and never done.
    pub lost: Vec<usize>,
    /// Those of them that a worker had got, and with which it ended since nobody knew whether it had written that down.
    pub held: Vec<usize>,
    /// Pops whose reply was lost, by the proxy's count.
    pub pops: usize,
    /// Replies that said AMBIGUOUS, by the proxy's count.
    pub ambiguous: usize,
    /// Requests sent again after their connection was lost, by the proxy's count.
    pub reissued: usize,
    /// Jobs that an operator had to bring back.
    pub recovered: usize,
}

impl Queue {
    /// A queue whose workers confirm. The jobs come while others are done, and what is acknowledged is on a replica: without
    /// that, a primary takes along what it acknowledged in its last milliseconds, whatever the queue.
    #[track_caller]
    pub fn play_confirming(&self) -> Outcome {
        let mut rig = Rig::start(true);
        let mut workers = self.start_workers(&rig);
        let mut command = self.enqueuing(&rig);
        let enqueuing = std::thread::spawn(move || command.output().expect("the program can be started"));
        let killed_at = rig.kill_in_the_middle();
        eventually(DEADLINE, "all jobs are enqueued", || {
            workers.iter_mut().for_each(|worker| worker.supervise(&rig));
            enqueuing.is_finished()
        });
        let acknowledged = acknowledged(&enqueuing.join().expect("it does not panic"));
        let recovered = self.drain(&rig, &mut workers);
        self.outcome(&rig, &acknowledged, &workers, killed_at, recovered)
    }

    /// A queue whose workers take jobs out before they do them. All jobs are on all nodes before the first is done, so that only
    /// a pop can lose one.
    #[track_caller]
    pub fn play_plain(&self) -> Outcome {
        let mut rig = Rig::start(false);
        let enqueued = self.enqueuing(&rig).output().expect("the program can be started");
        let acknowledged = acknowledged(&enqueued);
        rig.group.wait_in_sync(0);
        let mut workers = self.start_workers(&rig);
        let killed_at = rig.kill_in_the_middle();
        let recovered = self.drain(&rig, &mut workers);
        self.outcome(&rig, &acknowledged, &workers, killed_at, recovered)
    }

    /// Lets the workers go on until nothing is left. One that ends may put back what it has not begun.
    #[track_caller]
    fn drain(&self, rig: &Rig, workers: &mut [Worker]) -> usize {
        let mut recovered = 0;
        for _ in 0..ROUNDS_MAX {
            eventually(DEADLINE, "nothing waits any more", || {
                workers.iter_mut().for_each(|worker| worker.supervise(rig));
                rig.sum(self.waiting) == 0 && (!self.drops || rig.parked() == workers.len())
            });
            workers.iter_mut().for_each(Worker::finish);
            if let Some(line) = self.recover {
                let output = command(rig, line).output().expect("the program can be started");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                recovered += text.trim().parse::<usize>().unwrap_or_else(|_| panic!("{text}{errors}"));
            }
            if rig.sum(self.waiting) == 0 {
                return recovered;
            }
            workers.iter_mut().for_each(|worker| worker.start_again(rig));
        }
        panic!("there is always something left");
    }

    fn start_workers(&self, rig: &Rig) -> Vec<Worker> {
        let start = |number: usize| {
            let line = self.work.replace("%n", &number.to_string());
            rig.worker(&format!("{}-{number}", self.name), move |rig| command(rig, &line))
        };
        (0..self.workers).map(start).collect()
    }

    fn enqueuing(&self, rig: &Rig) -> Command {
        let mut command = command(rig, self.enqueue);
        command.arg("0").arg(JOBS.to_string());
        command
    }

    #[track_caller]
    fn outcome(
        &self,
        rig: &Rig,
        acknowledged: &[usize],
        workers: &[Worker],
        killed_at: usize,
        recovered: usize,
    ) -> Outcome {
        let done = rig.done();
        let metric = |name: &str| rig.proxy.metric(name).expect("it is always listed") as usize;
        let lost = missing(acknowledged, &done);
        let outcome = Outcome {
            held: rig.held().into_iter().filter(|job| lost.contains(job)).collect(),
            lost,
            pops: metric("redhold_lost_pops_total"),
            ambiguous: metric("redhold_ambiguous_writes_total"),
            reissued: metric("redhold_reissued_total"),
            recovered,
        };
        println!(
            "{}: acknowledged {}, done at the kill {killed_at}, lost {}, {} of them in a worker's hands, done twice {}, \
             pops in flight {}, ambiguous {}, sent again {}, brought back {recovered}, workers restarted {}",
            self.name,
            acknowledged.len(),
            outcome.lost.len(),
            outcome.held.len(),
            done.values().sum::<usize>() - done.len(),
            outcome.pops,
            outcome.ambiguous,
            outcome.reissued,
            workers.iter().map(|worker| worker.restarts).sum::<usize>()
        );
        assert_eq!(rig.proxy.status()["epoch"], 2, "exactly one failover");
        assert!(killed_at < JOBS * 9 / 10, "the kill came in the middle, not after {killed_at} jobs");
        self.check_logs(workers, outcome.ambiguous);
        outcome
    }

    /// Workers were told nothing else than that nobody knows, and no more often than the proxy said so.
    #[track_caller]
    fn check_logs(&self, workers: &[Worker], ambiguous: usize) {
        let lines: Vec<String> = workers.iter().flat_map(|worker| faults(&worker.log())).collect();
        let is_aftermath = |line: &str| self.aftermath.iter().any(|words| line.contains(words));
        let strange: Vec<&String> =
            lines.iter().filter(|line| !line.contains("AMBIGUOUS") && !is_aftermath(line)).collect();
        assert_eq!(strange, Vec::<&String>::new());
        let aftermaths = lines.iter().filter(|line| is_aftermath(line)).count();
        assert!(aftermaths <= ambiguous, "{aftermaths} after {ambiguous} AMBIGUOUS: {lines:?}");
    }
}

/// A line as one types it.
fn command(rig: &Rig, line: &str) -> Command {
    rig.command(&line.split(' ').collect::<Vec<_>>())
}

/// Lines that tell of an exception, without the source text and the notes that stand under some.
fn faults(log: &str) -> Vec<String> {
    let tells =
        |line: &&str| ["Error", "error:", "Exception", "CRITICAL"].iter().any(|word| line.contains(word));
    log.lines().filter(|line| !line.starts_with(' ')).filter(tells).map(str::to_owned).collect()
}

/// The jobs that were acknowledged. Of the others it may only have been said that nobody knows.
#[track_caller]
fn acknowledged(output: &Output) -> Vec<usize> {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Json =
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("no report: {text}{errors}"));
    assert_eq!(report["exceptions"], Json::Array(vec![]), "{errors}");
    let numbers = |key: &str| -> Vec<usize> {
        let list = report[key].as_array().expect("a list");
        list.iter().map(|number| number.as_u64().expect("a number") as usize).collect()
    };
    let acknowledged = numbers("acknowledged");
    assert_eq!(acknowledged.len() + numbers("ambiguous").len(), JOBS, "of each it is known what it was told");
    acknowledged
}

fn missing(acknowledged: &[usize], done: &BTreeMap<usize, usize>) -> Vec<usize> {
    acknowledged.iter().copied().filter(|number| !done.contains_key(number)).collect()
}
