"""redis-py as an application uses it, with its defaults (RESP3 among them), over the death of the primary.

    redis_py.py HOST PORT PRIMARY_PID

Kills the primary itself, at an instant at which enough writes were acknowledged and enough are in flight. Prints one
line of JSON. An exception that reaches application code is reported, never hidden by a second try: connections that
write are told not to retry.
"""

import json
import os
import signal
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

WRITERS = 6
DEPTH = 4
BEFORE = 1000
AFTER = 1000
IN_FLIGHT = 10
DEADLINE = 30

host, port, primary = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lock = threading.Lock()
report = {
    "client": f"redis-py {redis.__version__}",
    "acknowledged": 0,
    "ambiguous": 0,
    "in_flight": 0,
    "exceptions": [],
    "longest_gap_ms": 0,
    "messages": 0,
    "jobs": 0,
    "scanned": 0,
    "writes": {},
}
in_flight = 0
killed = threading.Event()
stop = threading.Event()


def connect(**options):
    options.setdefault("retry", Retry(NoBackoff(), 0))
    return redis.Redis(host=host, port=port, decode_responses=True, **options)


def guarded(work):
    def run(*arguments):
        try:
            work(*arguments)
        except Exception as fault:  # whatever reaches the application is what is tested
            with lock:
                report["exceptions"].append(f"{work.__name__}: {type(fault).__name__}: {fault}")

    return run


@guarded
def writer(number):
    """Pipelines of SET with unique keys; says of every one what became of it."""
    global in_flight
    client = connect()
    verdicts = []
    while not stop.is_set():
        first = len(verdicts)
        pipeline = client.pipeline(transaction=False)
        for sequence in range(first, first + DEPTH):
            pipeline.set(f"py:{number}:{sequence}", sequence)
        with lock:
            in_flight += DEPTH
        start = time.monotonic()
        replies = pipeline.execute(raise_on_error=False)
        gap = (time.monotonic() - start) * 1000
        with lock:
            in_flight -= DEPTH
            report["longest_gap_ms"] = max(report["longest_gap_ms"], round(gap))
            for reply in replies:
                if reply is True:
                    verdicts.append("ok")
                    report["acknowledged"] += 1
                elif isinstance(reply, redis.ResponseError) and str(reply).startswith("AMBIGUOUS"):
                    verdicts.append("ambiguous")
                    report["ambiguous"] += 1
                else:
                    raise reply
    with lock:
        report["writes"][str(number)] = verdicts


@guarded
def transactions():
    """Optimistic locking as the documentation shows it; a WatchError is retried by the library's own helper."""
    client = connect()
    done = 0
    while not stop.is_set():

        def step(pipeline):
            value = int(pipeline.get("py:counter") or 0)
            pipeline.multi()
            pipeline.set("py:counter", value + 1)

        try:
            client.transaction(step, "py:counter")
            done += 1
        except redis.ResponseError as fault:
            if not str(fault).startswith("AMBIGUOUS"):
                raise
            with lock:
                report["ambiguous"] += 1
    with lock:
        report["transactions"] = done


@guarded
def subscriber(ready, heard_after):
    """A subscriber that only listens: it must hear messages of the new primary without doing anything."""
    pubsub = connect().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("py:news")
    ready.set()
    while not stop.is_set() or not heard_after.is_set():
        message = pubsub.get_message(timeout=1)
        if message:
            with lock:
                report["messages"] += 1
            if message["data"] == "after":
                heard_after.set()


@guarded
def worker(done_after):
    """A queue worker parked in BLPOP."""
    client = connect()
    while not done_after.is_set():
        item = client.blpop(["py:jobs"], timeout=0)
        with lock:
            report["jobs"] += 1
        if item[1] == "last":
            done_after.set()


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            report["exceptions"].append(f"not within {DEADLINE} s: {what}; {in_flight} in flight")
            print(json.dumps(report))
            os._exit(1)
        if not what.startswith("enough"):
            time.sleep(0.005)


def main():
    ready, heard_after, done_after = threading.Event(), threading.Event(), threading.Event()
    threads = [threading.Thread(target=writer, args=(number,)) for number in range(WRITERS)]
    threads.append(threading.Thread(target=transactions))
    threads.append(threading.Thread(target=subscriber, args=(ready, heard_after)))
    threads.append(threading.Thread(target=worker, args=(done_after,)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    wait_for(ready.is_set, "the subscriber is there")
    client = connect()
    client.publish("py:news", "before")
    client.rpush("py:jobs", "first")
    wait_for(lambda: report["messages"] and report["jobs"], "message and job arrive")
    wait_for(
        lambda: report["exceptions"] or (report["acknowledged"] >= BEFORE and in_flight >= IN_FLIGHT),
        "enough writes to make the kill count",
    )
    report["in_flight"] = in_flight
    os.kill(primary, signal.SIGKILL)
    goal = report["acknowledged"] + AFTER
    wait_for(lambda: report["exceptions"] or report["acknowledged"] >= goal, "writes go on")
    client.rpush("py:jobs", "last")
    wait_for(lambda: report["exceptions"] or done_after.is_set(), "the parked worker gets its job")

    def heard():
        client.publish("py:news", "after")
        return heard_after.is_set() or report["exceptions"]

    wait_for(heard, "the subscriber hears the new primary")
    stop.set()
    for thread in threads:
        thread.join(DEADLINE)
    report["scanned"] = sum(1 for _ in client.scan_iter("py:0:*", count=500))
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    report["script"] = script(keys=["py:script"], args=[7])
    report["protocol"] = client.client_info()["resp"]
    print(json.dumps(report))


main()
