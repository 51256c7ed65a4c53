"""redis-py under load while the primary changes by order and the proxy drains.

    maint_redis_py.py PORT ADMIN_PORT PID NEXT_PORT

Writers that are told not to retry go on all the time. Orders a switchover, says so, and reads a line; then sends SIGTERM,
and waits until the proxy is gone. The client takes the host it is told and keeps its port: NEXT_PORT of 127.0.0.1 is reached there too, at 127.0.0.2.
Prints one line of JSON.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig, MaintNotificationsConnectionHandler
from redis.maint_notifications import MaintNotificationsPoolHandler
from redis.retry import Retry

WRITERS = 4
DEADLINE = 60

port, admin, pid, next_port = (int(word) for word in sys.argv[1:5])
lock = threading.Lock()
notices, exceptions, written = Counter(), [], [0] * WRITERS
stop = threading.Event()


def watched(handle):
    """Counts what the library's own handler gets."""

    def counting(self, notification):
        name = type(notification).__name__.removeprefix("Node").removesuffix("Notification").upper()
        with lock:
            notices[name] += 1
        return handle(self, notification)

    return counting


for handler in (MaintNotificationsConnectionHandler, MaintNotificationsPoolHandler):
    handler.handle_notification = watched(handler.handle_notification)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def forward():
    """127.0.0.2 at the first proxy's port leads to the next proxy."""
    listener = socket.create_server(("127.0.0.2", port))
    while True:
        client, _ = listener.accept()
        node = socket.create_connection(("127.0.0.1", next_port))
        for pair in ((client, node), (node, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def write(number):
    while not stop.is_set():
        try:
            assert client.set(f"maint:{number}", written[number])
            written[number] += 1
        except Exception as fault:  # whatever reaches the application is what is tested
            with lock:
                exceptions.append(f"{type(fault).__name__}: {fault}")
            return


def until(what, condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            with lock:
                exceptions.append(f"not within {DEADLINE} s: {what}")
            return
        time.sleep(0.01)


def more(count):
    before = list(written)
    until(f"{count} writes more by each", lambda: exceptions or all(now - then >= count for now, then in zip(written, before)))


def switched_over():
    request = urllib.request.Request(f"http://127.0.0.1:{admin}/api/switchover", method="POST", headers={"X-Redhold": "1"})
    try:
        return urllib.request.urlopen(request).status == 200
    except urllib.error.HTTPError as refusal:
        refusal.read()
        return False


def is_gone():
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return False
    except OSError:
        return True


threading.Thread(target=forward, daemon=True).start()
client = redis.Redis(
    host="127.0.0.1",
    port=port,
    retry=Retry(NoBackoff(), 0),
    maint_notifications_config=MaintNotificationsConfig(enabled=True),
)
writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
for writer in writers:
    writer.start()
more(100)
until("the switchover", switched_over)
more(100)
print("switched", flush=True)
sys.stdin.readline()
os.kill(pid, signal.SIGTERM)
until("the proxy is gone", is_gone)
more(100)
stop.set()
for writer in writers:
    writer.join()
connection = client.connection_pool.get_connection()
moved = connection._sock.getpeername()[0] == "127.0.0.2"
with lock:
    report = {"client": f"redis-py {redis.__version__}", "written": sum(written), "notices": notices, "moved": moved, "exceptions": exceptions}
    print(json.dumps(report))
os._exit(0)
