"""Valkey GLIDE, asyncio, standalone, one client for what need not have its own; SETs are concurrent calls, as its way is.

Its time-out of 250 ms is shorter than a pause may be; it is set to more than the hold.
"""

import asyncio
from importlib.metadata import version

from glide import (
    Batch,
    GlideClient,
    GlideClientConfiguration,
    NodeAddress,
    RequestError,
    Script,
)

from report import ADD, DEPTH, HOST, PORT, WRITERS, fail, over, say, verdict


async def connect(**options):
    return await GlideClient.create(
        GlideClientConfiguration([NodeAddress(HOST, PORT)], request_timeout=20_000, **options)
    )


async def writer(client, number):
    first = 0
    while not over.is_set():
        say("sent", number, DEPTH)
        calls = (client.set(f"w:{number}:{sequence}", str(sequence)) for sequence in range(first, first + DEPTH))
        replies = await asyncio.gather(*calls, return_exceptions=True)
        say("got", number, "".join(verdict(reply, lambda it: it == "OK") for reply in replies))
        first += DEPTH


async def transactions(client):
    while not over.is_set():
        batch = Batch(is_atomic=True)
        batch.incr("counter").get("counter")
        try:
            await client.exec(batch, raise_on_error=True)
            say("transaction", "o")
        except RequestError as fault:
            say("transaction", verdict(fault, lambda _: False))


async def subscriber():
    channels = {GlideClientConfiguration.PubSubChannelModes.Exact: {"news"}}
    subscriptions = GlideClientConfiguration.PubSubSubscriptions(channels, None, None)
    client = await connect(pubsub_subscriptions=subscriptions)
    text = ""
    while text != "after":
        text = (await client.get_pubsub_message()).message.decode()
        say("heard", text)


async def worker():
    client = await connect()
    job = b""
    while job != b"last":
        _, job = await client.blpop(["jobs"], 0)
        say("job", job.decode())


async def scan(client):
    found, cursor = 0, b"0"
    while True:
        cursor, keys = await client.scan(cursor, match="w:0:*", count=500)
        found += len(keys)
        if cursor == b"0":
            return found


async def guarded(role, *arguments):
    try:
        await role(*arguments)
    except Exception as fault:  # whatever reaches the application is what is tested
        fail(role.__name__, fault)


async def main():
    client = await connect()
    say("client", "valkey-glide", version("valkey-glide"))
    add = Script(ADD)
    say("script", await client.invoke_script(add, keys=["script"], args=["7"]))
    writers = [guarded(writer, client, number) for number in range(WRITERS)]
    await asyncio.gather(*writers, guarded(transactions, client), guarded(subscriber), guarded(worker))
    say("scanned", await scan(client))
    say("script", await client.invoke_script(add, keys=["script"], args=["7"]))


asyncio.run(guarded(main))
