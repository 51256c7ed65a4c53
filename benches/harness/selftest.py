"""Shows that the guards bite: a proxy that lies must void the run, an honest one must not."""

import random
import socket
import threading

from . import measure, processes, targets
from .processes import Failed
from .resp import Client


def run(work, tools):
    """Prints one line a check; 0 when all came out as they must."""
    stage = targets.Stage(["direct"], targets.Layout("unpinned"), work, tools)
    wrong = 0
    try:
        for name, reply_change, request_change, void in CHECKS:
            port = relay(stage.server.port, reply_change, request_change)
            target = targets.Target(name, port)
            for tool, case in (("load", measure.Case(4, 5, "mix20")), ("redis-benchmark", measure.Case(4, 5, "get"))):
                if tool not in void and void:
                    continue
                verdict = _verdict(stage, target, tool, case)
                # A fault of the direct connection would be the self-test's own.
                good = verdict.startswith(f"{name}, ") if void and verdict else bool(void) == bool(verdict)
                wrong += not good
                _quiet(stage)
                print(f"{'ok' if good else 'NOT OK'}: {name}, {tool}: {verdict or 'counted'}")
    finally:
        stage.close()
    return 1 if wrong else 0


def _quiet(stage):
    """A run that was broken off leaves requests on their way, which must not meet the next check."""
    with Client(stage.server.port) as server:
        alone = lambda: server.info("clients")["connected_clients"] == "1"  # noqa: E731
        processes.wait_until(alone, "the server has no other client")


def _verdict(stage, target, tool, case):
    try:
        if tool == "load":
            measure.with_load(stage, target, case, 0.3)
        else:
            measure.with_load(stage, targets.Target("direct", stage.server.port), case, 0.1)
            measure.with_redis_benchmark(stage, target, case, 20_000)
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


def answer_nothing(_):
    """Swallows all replies."""
    return b""


def same(data):
    """An honest relay."""
    return data


# name, what happens to replies, what happens to requests, the tools that must call the run void
CHECKS = [
    ("honest", same, same, ()),
    ("flips a byte", flip_one_byte, same, ("load",)),
    ("loses writes", same, lose_writes, ("load",)),
    ("reads other keys", same, misses, ("load", "redis-benchmark")),
    ("answers nothing", answer_nothing, same, ("load",)),
]


def relay(server_port, reply_change, request_change):
    """A proxy on a port of its own, as daemon threads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", server_port))
            for source, sink, change in ((client, server, request_change), (server, client, reply_change)):
                threading.Thread(target=_pump, args=(source, sink, change), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def _pump(source, sink, change):
    try:
        while data := source.recv(65536):
            sink.sendall(change(data))
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
