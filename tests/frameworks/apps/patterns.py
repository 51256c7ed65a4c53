"""Reliable queues of plain commands, with redis-py: a list with BLMOVE, and a consumer group of a stream.

    patterns.py list|stream enqueue FIRST COUNT    prints what became of it as one line of JSON
    patterns.py list|stream work NUMBER            a worker, until SIGTERM

What a worker has begun stands on a list of its own, or among the pending entries of its own, until it says that it is done. It looks
there whenever nothing else is to do. AMBIGUOUS is therefore no more than a reason to look once more.
"""

import json
import os
import signal
import sys

import redis

client = redis.Redis.from_url(os.environ["BROKER"], decode_responses=True)
ledger = redis.Redis(port=int(os.environ["LEDGER"]))
stopping = []


def is_ambiguous(fault):
    return str(fault).startswith("AMBIGUOUS")


class List:
    def enqueue(self, number):
        client.rpush("jobs", number)

    def begin(self, me):
        job = client.blmove("jobs", f"doing:{me}", 1, "LEFT", "RIGHT")
        return [(job, job)] if job else []

    def begun(self, me):
        return [(job, job) for job in client.lrange(f"doing:{me}", 0, -1)]

    def finish(self, me, job):
        client.lrem(f"doing:{me}", 1, job)


class Stream:
    def __init__(self):
        try:
            client.xgroup_create("jobs", "workers", id="0", mkstream=True)
        except redis.ResponseError as fault:
            if not str(fault).startswith("BUSYGROUP"):
                raise

    def enqueue(self, number):
        client.xadd("jobs", {"number": number})

    def entries(self, me, after, block):
        found = client.xreadgroup("workers", me, {"jobs": after}, count=20, block=block)
        # Without an entry it is nothing at all, or the stream with nothing in it.
        streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or []]
        flat = [entry for entries in streams for entry in (entries[0] if entries and isinstance(entries[0], list) else entries)]
        return [(name, fields["number"]) for name, fields in flat if fields]

    def begin(self, me):
        return self.entries(me, ">", 1000)

    def begun(self, me):
        return self.entries(me, "0", None)

    def finish(self, me, name):
        # Both or none: what is no longer pending nobody would look at.
        with client.pipeline(transaction=True) as pipe:
            pipe.xack("jobs", "workers", name)
            pipe.xdel("jobs", name)
            pipe.execute()


def work(queue, me):
    while not stopping:
        try:
            for name, number in queue.begin(me) or queue.begun(me):
                ledger.hincrby("done", number)
                queue.finish(me, name)
        except redis.ResponseError as fault:
            print(f"ResponseError: {fault}", flush=True)
            if not is_ambiguous(fault):
                raise


def enqueue(queue, first, count):
    report = {"acknowledged": [], "ambiguous": [], "exceptions": []}
    for number in range(first, first + count):
        try:
            queue.enqueue(number)
            report["acknowledged"].append(number)
        except Exception as fault:
            known = is_ambiguous(fault)
            report["ambiguous" if known else "exceptions"].append(number if known else repr(fault))
    print(json.dumps(report))


def main():
    kind, role, *rest = sys.argv[1:]
    queue = {"list": List, "stream": Stream}[kind]()
    if role == "work":
        signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
        work(queue, rest[0])
    else:
        enqueue(queue, int(rest[0]), int(rest[1]))


main()
