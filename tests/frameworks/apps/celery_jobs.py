"""A Celery application as its first steps show it: a broker, one task.

    celery -A celery_jobs worker            its own worker
    celery_jobs.py FIRST COUNT              enqueues; prints what became of it as one line of JSON

Besides, a worker writes into the ledger which job it had got when it could not write down that it has it.
"""

import json
import os
import sys

import redis
from celery import Celery
from kombu.transport.redis import QoS

app = Celery("jobs", broker=os.environ["BROKER"])
app.conf.task_ignore_result = True
# Where it is written down that a job was done, beside the group that is tested.
ledger = redis.Redis(port=int(os.environ["LEDGER"]))


append = QoS.append


def append_or_tell(qos, message, delivery_tag):
    try:
        append(qos, message, delivery_tag)
    except redis.RedisError:
        (number,), _, _ = message.payload
        ledger.sadd("held", number)
        raise


QoS.append = append_or_tell


@app.task(name="jobs.job")
def job(number):
    ledger.hincrby("done", number)


def main():
    first, count = int(sys.argv[1]), int(sys.argv[2])
    report = {"acknowledged": [], "ambiguous": [], "exceptions": []}
    for number in range(first, first + count):
        try:
            job.delay(number)
            report["acknowledged"].append(number)
        except Exception as fault:
            known = "AMBIGUOUS" in str(fault)
            report["ambiguous" if known else "exceptions"].append(number if known else repr(fault))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
