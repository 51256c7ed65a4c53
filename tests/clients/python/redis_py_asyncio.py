"""redis-py, asyncio, a task for each role; retries are switched off, so that nothing is hidden by a second try."""

import asyncio

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.utils import HIREDIS_AVAILABLE

from report import ADD, DEPTH, HOST, PORT, WRITERS, fail, over, say, verdict


def connect():
    return Redis(host=HOST, port=PORT, decode_responses=True, retry=Retry(NoBackoff(), 0))


async def writer(number):
    client = connect()
    first = 0
    while not over.is_set():
        pipeline = client.pipeline(transaction=False)
        for sequence in range(first, first + DEPTH):
            pipeline.set(f"w:{number}:{sequence}", sequence)
        say("sent", number, DEPTH)
        replies = await pipeline.execute(raise_on_error=False)
        say("got", number, "".join(verdict(reply, lambda it: it is True) for reply in replies))
        first += DEPTH


async def transactions():
    client = connect()
    while not over.is_set():
        try:
            async with client.pipeline(transaction=True) as pipeline:
                await pipeline.incr("counter").get("counter").execute()
            say("transaction", "o")
        except redis.ResponseError as fault:
            say("transaction", verdict(fault, lambda _: False))


async def subscriber():
    pubsub = connect().pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("news")
    async for message in pubsub.listen():
        say("heard", message["data"])
        if message["data"] == "after":
            return


async def worker():
    client = connect()
    job = ""
    while job != "last":
        _, job = await client.blpop(["jobs"], timeout=0)
        say("job", job)


async def guarded(role, *arguments):
    try:
        await role(*arguments)
    except Exception as fault:  # whatever reaches the application is what is tested
        fail(role.__name__, fault)


async def main():
    client = connect()
    say("client", "redis-py-asyncio" + ("+hiredis" if HIREDIS_AVAILABLE else ""), redis.__version__)
    add = client.register_script(ADD)
    say("script", await add(keys=["script"], args=[7]))
    writers = [guarded(writer, number) for number in range(WRITERS)]
    await asyncio.gather(*writers, guarded(transactions), guarded(subscriber), guarded(worker))
    say("scanned", len([key async for key in client.scan_iter("w:0:*", count=500)]))
    say("script", await add(keys=["script"], args=[7]))


asyncio.run(guarded(main))
