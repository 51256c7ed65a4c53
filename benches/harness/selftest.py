"""Shows that the guards bite: a proxy that lies must void the run, an honest one must not."""

import pathlib
import random
import select
import socket
import ssl
import threading

from . import measure, processes, targets
from .certificates import Folder
from .processes import Failed
from .resp import Client


KINDS = {
    "load": measure.Case(4, 5, "mix20"),
    "multi": measure.Case(4, 5, "multi"),
    # Three lists, of which one has a single client that pops.
    "blpop": measure.Case(4, 5, "blpop"),
    # Two channels.
    "pubsub": measure.Case(4, 20, "pubsub"),
    "churn": measure.Case(1, 5, "churn", rate=500),
    "idle": measure.Case(1, 200, "idle"),
    "redis-benchmark": measure.Case(4, 5, "get"),
    "load, TLS": measure.Case(4, 5, "mix20"),
    "churn, TLS": measure.Case(1, 5, "churn", rate=300),
    "churn, TLS, resumed": measure.Case(1, 5, "churn", rate=300, resume=True),
    "idle, TLS": measure.Case(1, 200, "idle"),
}
OVER_TLS = [kind for kind in KINDS if ", TLS" in kind]


def run(work, tools):
    """Prints one line a check; 0 when all came out as they must."""
    stage = targets.Stage(["direct"], targets.Layout("unpinned"), work, tools)
    stage.warmup, stage.patience = 0.2, 2.0
    own, foreign = (Folder(pathlib.Path(work) / name) for name in ("own", "foreign"))
    shown = {TICKETS: context(own, 2), NO_TICKETS: context(own, 0), FOREIGN: context(foreign, 2), NOTHING: None}
    wrong = 0
    try:
        for name, reply_change, request_change, void, *shows in CHECKS:
            for kind in void or KINDS:
                over_tls = kind in OVER_TLS
                server_side = shown[shows[0] if shows else TICKETS] if over_tls else None
                port = relay(stage.server.port, reply_change, request_change, server_side)
                target = targets.Target(name, port, ca=own.ca if over_tls else None)
                verdict = _verdict(stage, target, kind)
                # A fault of the direct connection would be the self-test's own.
                good = verdict.startswith(f"{name}, ") if void and verdict else bool(void) == bool(verdict)
                wrong += not good
                _quiet(stage)
                print(f"{'ok' if good else 'NOT OK'}: {name}, {kind}: {verdict or 'counted'}", flush=True)
    finally:
        stage.close()
    return 1 if wrong else 0


def _quiet(stage):
    """A run that was broken off leaves requests on their way, which must not meet the next check."""
    with Client(stage.server.port) as server:
        alone = lambda: server.info("clients")["connected_clients"] == "1"  # noqa: E731
        processes.wait_until(alone, "the server has no other client")


def _verdict(stage, target, kind):
    case = KINDS[kind]
    try:
        if kind == "redis-benchmark":
            measure.with_load(stage, targets.Target("direct", stage.server.port), case, 0.1)
            measure.with_redis_benchmark(stage, target, case, 0.3)
        else:
            measure.with_load(stage, target, case, 0.3)
    except Failed as fault:
        return str(fault).splitlines()[-1][:160]
    return None


def flip_one_byte(data):
    """Changes one byte of about every fiftieth piece."""
    if random.randrange(50):
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def lose_writes(data):
    """Turns every SET into a GET, which a server answers, but not with +OK."""
    return data.replace(b"*3\r\n$3\r\nSET", b"*3\r\n$3\r\nGET")


def misses(data):
    """Reads keys that are not there instead of those that were asked for."""
    for word in (b"GET", b"get"):
        data = data.replace(word + b"\r\n$16\r\nkey:", word + b"\r\n$16\r\nnop:")
    return data


def misses_in_transactions(data):
    """The same, only between MULTI and EXEC: all that is read afterwards is right."""
    return misses(data) if b"MULTI" in data else data


def answer_nothing(_):
    """Swallows all replies."""
    return b""


def exchange(old, new):
    """A change that puts `new` wherever `old` is."""
    return lambda data: data.replace(old, new)


def push_twice(data):
    """Hands on the first push of a piece once more."""
    end = data.find(b"*3\r\n$5\r\nRPUSH", 1)
    return data[: end if end > 0 else None] + data if data.startswith(b"*3\r\n$5\r\nRPUSH") else data


MESSAGE = len(b"*3\r\n$7\r\nmessage\r\n$16\r\nchan000000000000\r\n$16\r\n0123456789abcdef\r\n")


def drop_message(data):
    """Leaves out the first message of about every fiftieth piece."""
    return data[MESSAGE:] if data.startswith(b"*3\r\n$7\r\nmessage") and not random.randrange(50) else data


def repeat_message(data):
    """Gives the first message of about every fiftieth piece twice."""
    first = data[:MESSAGE] if data.startswith(b"*3\r\n$7\r\nmessage") and not random.randrange(50) else b""
    return first + data


def same(data):
    """An honest relay."""
    return data


# What a relay shows clients over TLS.
TICKETS, NO_TICKETS, FOREIGN, NOTHING = "a certificate", "one, and no tickets", "one of somebody else's", "no TLS"
# name, what happens to replies, what happens to requests, the kinds of load that must be void; empty: all must count; and what it
# shows over TLS, if not a certificate that counts
CHECKS = [
    ("honest", same, same, ()),
    ("flips a byte", flip_one_byte, same,
     ("load", "multi", "blpop", "pubsub", "churn", "idle", "load, TLS", "churn, TLS", "idle, TLS")),
    ("loses writes", same, lose_writes, ("load", "multi", "churn", "idle", "churn, TLS", "idle, TLS")),
    ("reads other keys", same, misses, ("load", "multi", "churn", "idle", "redis-benchmark", "churn, TLS", "idle, TLS")),
    ("reads other keys in transactions", same, misses_in_transactions, ("multi",)),
    ("answers nothing", answer_nothing, same, ("load", "multi", "blpop", "pubsub", "churn", "idle", "churn, TLS", "idle, TLS")),
    ("gives no tickets", same, same, ("churn, TLS, resumed",), NO_TICKETS),
    ("shows somebody else's certificate", same, same, OVER_TLS, FOREIGN),
    ("speaks no TLS", same, same, OVER_TLS, NOTHING),
    ("discards transactions", same, exchange(b"$4\r\nEXEC", b"$7\r\nDISCARD"), ("multi",)),
    ("loses elements", same, exchange(b"RPUSH\r\n$16\r\nlist", b"RPUSH\r\n$16\r\nlost"), ("blpop",)),
    ("pushes twice", same, push_twice, ("blpop",)),
    ("pushes at the wrong end", same, exchange(b"RPUSH", b"LPUSH"), ("blpop",)),
    ("pops the other list", same, exchange(b"BLPOP\r\n$16\r\nlist000000000000", b"BLPOP\r\n$16\r\nlist000000000001"),
     ("blpop",)),
    ("publishes to the other channel", same, exchange(b"PUBLISH\r\n$16\r\nchan000000000000",
                                                      b"PUBLISH\r\n$16\r\nchan000000000001"), ("pubsub",)),
    ("drops messages", drop_message, same, ("pubsub",)),
    ("repeats messages", repeat_message, same, ("pubsub",)),
]


def context(files, tickets):
    """The server's side of TLS: a certificate, and how many tickets each session is given to come back with."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(files.cert, files.key)
    made.num_tickets = tickets
    return made


def relay(server_port, reply_change, request_change, server_side=None):
    """A proxy on a port of its own, as daemon threads; with `server_side` it speaks TLS to clients."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client):
        with client, socket.create_connection(("127.0.0.1", server_port)) as server:
            try:
                if server_side:
                    client = server_side.wrap_socket(client, server_side=True)
                with client:
                    _pump(client, server, request_change, reply_change)
            except OSError:
                pass  # the client sees it too

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def _pump(client, server, request_change, reply_change):
    """Until one side ends. One thread for both ways: a TLS session is not for two."""
    ways = {client: (server, request_change), server: (client, reply_change)}
    while True:
        held = [client] if isinstance(client, ssl.SSLSocket) and client.pending() else []
        for source in held or select.select(list(ways), [], [])[0]:
            sink, change = ways[source]
            data = source.recv(65536)
            if not data:
                return
            sink.sendall(change(data))
