"""redis-py, blocking, a thread for each role; retries are switched off, so that nothing is hidden by a second try."""

import os
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.utils import HIREDIS_AVAILABLE

from report import ADD, DEPTH, HOST, PORT, WRITERS, fail, over, say, verdict


FOLDER = os.environ.get("CERTIFICATES")
TLS = FOLDER and {
    "ssl": True,
    "ssl_ca_certs": f"{FOLDER}/ca.crt",
    "ssl_certfile": f"{FOLDER}/client.crt",
    "ssl_keyfile": f"{FOLDER}/client.key",
}


def connect():
    return redis.Redis(host=HOST, port=PORT, decode_responses=True, retry=Retry(NoBackoff(), 0), **(TLS or {}))


def writer(number):
    client = connect()
    first = 0
    while not over.is_set():
        pipeline = client.pipeline(transaction=False)
        for sequence in range(first, first + DEPTH):
            pipeline.set(f"w:{number}:{sequence}", sequence)
        say("sent", number, DEPTH)
        replies = pipeline.execute(raise_on_error=False)
        say("got", number, "".join(verdict(reply, lambda it: it is True) for reply in replies))
        first += DEPTH


def transactions():
    """Optimistic locking as the documentation shows it; a WatchError is retried by the library's own helper."""
    client = connect()

    def step(pipeline):
        value = int(pipeline.get("counter") or 0)
        pipeline.multi()
        pipeline.set("counter", value + 1)

    while not over.is_set():
        try:
            client.transaction(step, "counter")
            say("transaction", "o")
        except redis.ResponseError as fault:
            say("transaction", verdict(fault, lambda _: False))


def subscriber():
    pubsub = connect().pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    for message in pubsub.listen():
        say("heard", message["data"])
        if message["data"] == "after":
            return


def worker():
    client = connect()
    job = ""
    while job != "last":
        _, job = client.blpop(["jobs"], timeout=0)
        say("job", job)


def guarded(role, *arguments):
    try:
        role(*arguments)
    except Exception as fault:  # whatever reaches the application is what is tested
        fail(role.__name__, fault)


def main():
    client = connect()
    say("client", "redis-py" + ("+hiredis" if HIREDIS_AVAILABLE else ""), redis.__version__)
    add = client.register_script(ADD)
    say("script", add(keys=["script"], args=[7]))
    roles = [(writer, number) for number in range(WRITERS)] + [(transactions,), (subscriber,), (worker,)]
    threads = [threading.Thread(target=guarded, args=role, daemon=True) for role in roles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("scanned", sum(1 for _ in client.scan_iter("w:0:*", count=500)))
    say("script", add(keys=["script"], args=[7]))


guarded(main)
