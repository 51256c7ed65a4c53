"""An RQ application: one function, one queue, RQ's own worker.

    rq worker --worker-class rq.SimpleWorker    its own worker
    rq_jobs.py FIRST COUNT                      enqueues; prints what became of it as one line of JSON
    rq_jobs.py recover                          enqueues again what workers had begun when they ended; prints how many

A worker that is told that nobody knows ends, and leaves its job on the list on which it put it or among those that are being
done. RQ's own clean-up moves such jobs to the failed ones after a minute or more, for somebody to enqueue them again.
"""

import json
import os
import sys

import redis
from rq import Queue

ledger = redis.Redis(port=int(os.environ["LEDGER"]))


def job(number):
    ledger.hincrby("done", number)


def recover():
    connection = redis.Redis.from_url(os.environ["BROKER"])
    queue = Queue(connection=connection)
    # In this version a started job is known by a name of its execution, in front of which stands that of the job.
    started = [name.split(":")[0] for name in queue.started_job_registry.get_job_ids()]
    begun = {*queue.intermediate_queue.get_job_ids(), *started, *queue.failed_job_registry.get_job_ids()}
    waiting = set(queue.get_job_ids())
    connection.delete(queue.intermediate_queue_key)
    count = 0
    for name in begun - waiting:
        job = queue.fetch_job(name)
        if job:
            queue.failed_job_registry.remove(job)
            queue.enqueue_job(job)
            count += 1
    print(count)


def main():
    first, count = int(sys.argv[1]), int(sys.argv[2])
    import rq_jobs

    queue = Queue(connection=redis.Redis.from_url(os.environ["BROKER"]))
    report = {"acknowledged": [], "ambiguous": [], "exceptions": []}
    for number in range(first, first + count):
        try:
            queue.enqueue(rq_jobs.job, number, result_ttl=0)
            report["acknowledged"].append(number)
        except Exception as fault:
            known = "AMBIGUOUS" in str(fault)
            report["ambiguous" if known else "exceptions"].append(number if known else repr(fault))
    print(json.dumps(report))


if __name__ == "__main__":
    recover() if sys.argv[1] == "recover" else main()
