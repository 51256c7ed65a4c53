//! The queues of frameworks, and the two reliable patterns that are made of plain commands.

use crate::queues::Queue;
use crate::rig::{has_program, tool};

/// Celery takes a message out with BRPOP and writes down with a transaction that it has it. What a worker is told of that
/// transaction may be that nobody knows, upon which it ends with the message in its hands: no pop lost that one.
#[test]
fn celery() {
    if tool("venv/bin/celery").is_none() {
        return;
    }
    let queue = Queue {
        name: "celery",
        enqueue: "python celery_jobs.py",
        work: "celery -A celery_jobs worker --concurrency 2 -n worker%n@%h --loglevel WARNING",
        workers: 2,
        waiting: &["LLEN celery", "HLEN unacked"],
        drops: false,
        recover: None,
        aftermath: &["Unrecoverable error: "],
    };
    let outcome = queue.play_plain();
    let reached_nobody = outcome.lost.len() - outcome.held.len();
    assert!(
        reached_nobody <= outcome.pops,
        "lost: {:?}, of which workers had {:?}",
        outcome.lost,
        outcome.held
    );
    assert!(outcome.held.len() <= outcome.ambiguous, "workers had {:?}", outcome.held);
}

/// RQ moves a job to another list with BLMOVE, and removes it there when it is begun. What is left over was in a worker's hands,
/// one each: it was told AMBIGUOUS and ended, or the reply to its BLMOVE was lost, which was sent again and moved another.
#[test]
fn rq() {
    if tool("venv/bin/rq").is_none() {
        return;
    }
    let queue = Queue {
        name: "rq",
        enqueue: "python rq_jobs.py",
        work: "rq worker --quiet --worker-class rq.SimpleWorker",
        // Each waits for seven replies a job, and for a replica with each.
        workers: 4,
        waiting: &["LLEN rq:queue:default"],
        drops: true,
        recover: Some("python rq_jobs.py recover"),
        aftermath: &[],
    };
    let outcome = queue.play_confirming();
    assert_eq!(outcome.lost, Vec::<usize>::new());
    assert!(outcome.recovered <= queue.workers, "{} were left over", outcome.recovered);
    assert!(
        outcome.recovered <= outcome.ambiguous + outcome.reissued,
        "{} were left over",
        outcome.recovered
    );
}

/// Sidekiq's basic fetch is a BRPOP and nothing else.
#[test]
fn sidekiq() {
    if !has_program("sidekiq") {
        return;
    }
    let queue = Queue {
        name: "sidekiq",
        enqueue: "ruby sidekiq_jobs.rb",
        work: "sidekiq -r ./sidekiq_jobs.rb --concurrency 5 --queue default",
        workers: 2,
        waiting: &["LLEN queue:default", "ZCARD retry"],
        drops: false,
        recover: None,
        aftermath: &[],
    };
    let outcome = queue.play_plain();
    assert!(outcome.lost.len() <= outcome.pops, "lost: {:?}", outcome.lost);
}

/// BullMQ moves a job to the list of what is being done, and brings it back when its worker does not say that it still lives.
#[test]
fn bullmq() {
    if tool("node/node_modules/bullmq").is_none() {
        return;
    }
    let queue = Queue {
        name: "bullmq",
        enqueue: "node bullmq_jobs.js enqueue",
        work: "node bullmq_jobs.js work",
        workers: 2,
        waiting: &["LLEN bull:jobs:wait", "LLEN bull:jobs:active"],
        drops: false,
        recover: None,
        // What nobody knew of had been executed: the job is done and no longer there.
        aftermath: &["error: Missing key for job ", "error: Missing lock for job "],
    };
    let outcome = queue.play_confirming();
    assert_eq!(outcome.lost, Vec::<usize>::new());
}

/// BLMOVE to a list of the worker's own, LREM when the job is done.
#[test]
fn reliable_list() {
    pattern("list", &["LLEN jobs", "LLEN doing:0", "LLEN doing:1"]);
}

/// XREADGROUP, XACK when the job is done.
#[test]
fn stream_consumers() {
    pattern("stream", &["XLEN jobs"]);
}

#[track_caller]
fn pattern(name: &'static str, waiting: &'static [&'static str]) {
    if tool("venv/bin/python").is_none() {
        return;
    }
    let (enqueue, work) = match name {
        "list" => ("python patterns.py list enqueue", "python patterns.py list work %n"),
        _ => ("python patterns.py stream enqueue", "python patterns.py stream work %n"),
    };
    let outcome =
        Queue { name, enqueue, work, workers: 2, waiting, drops: false, recover: None, aftermath: &[] }
            .play_confirming();
    assert_eq!(outcome.lost, Vec::<usize>::new());
}
