"""A Django site whose cache and sessions are in Redis, as its documentation sets them up, over the death of the primary.

Kills the primary (PRIMARY) itself when enough was done and prints one line of JSON. Threads are visitors with a cookie, of whom each
counts its visits in its session, and workers with the cache. An exception is reported unless it says AMBIGUOUS.
"""

import json
import os
import signal
import threading
import time

import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

VISITORS, CACHERS = 4, 4
BEFORE, AFTER = 2000, 2000
DEADLINE = 200

settings.configure(
    DEBUG=False,
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    INSTALLED_APPS=["django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["BROKER"]}},
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.test import Client  # noqa: E402


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


urlpatterns = [path("", visit)]

lock = threading.Lock()
stop = threading.Event()
report = {"visits": 0, "cached": 0, "sessions": 0, "ambiguous": 0, "longest_ms": 0, "exceptions": []}
written = {}
counted = {}


def repeated(work):
    """Until it is over; `None` from `work` is AMBIGUOUS."""

    def run(number):
        state = {}
        while not stop.is_set():
            start = time.monotonic()
            try:
                work(number, state)
            except Exception as fault:
                with lock:
                    if "AMBIGUOUS" not in str(fault):
                        report["exceptions"].append(f"{work.__name__}: {type(fault).__name__}: {fault}")
                        return
                    report["ambiguous"] += 1
                state["ambiguous"] = state.get("ambiguous", 0) + 1
            with lock:
                report["longest_ms"] = max(report["longest_ms"], round((time.monotonic() - start) * 1000))

    return run


@repeated
def visitor(number, state):
    client = state.setdefault("client", Client())
    visits = int(client.get("/").content)
    expected = state.get("visits", 0) + 1
    # One whose outcome nobody knew may have counted as well.
    assert expected <= visits <= expected + state.get("ambiguous", 0), f"visit {expected} was counted as {visits}"
    state["visits"] = visits
    with lock:
        report["visits"] += 1


@repeated
def cacher(number, state):
    turn = state["turn"] = state.get("turn", -1) + 1
    key, value = f"{number}:{turn}", {"turn": turn}
    cache.set(key, value, timeout=None)
    assert cache.get(key) == value, f"{key} is not what was set"
    with lock:
        written[key] = value
    if state.setdefault("begun", cache.add(f"count:{number}", 0, timeout=None)):
        state["count"] = cache.incr(f"count:{number}")
    session = SessionStore()
    session["turn"] = turn
    session.create()
    with lock:
        written[f"session {session.session_key}"] = turn
        counted[number] = (state.get("count", 0), state.get("ambiguous", 0))
        report["cached"] += 1


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition() and not report["exceptions"]:
        if time.monotonic() > deadline:
            report["exceptions"].append(f"not within {DEADLINE} s: {what}")
        time.sleep(0.005)


def done():
    return report["visits"] + report["cached"]


def read_back():
    """Everything that was acknowledged, through the proxy."""
    for key, value in written.items():
        if key.startswith("session "):
            found = SessionStore(session_key=key.split()[1]).get("turn")
            report["sessions"] += 1
        else:
            found = cache.get(key)
        if found != value:
            report["exceptions"].append(f"{key} is {found!r} and not {value!r}")
    for number, (count, ambiguous) in counted.items():
        found = cache.get(f"count:{number}")
        if not count <= found <= count + ambiguous + 1:
            report["exceptions"].append(f"count {number} is {found}, {count} were told, {ambiguous} ambiguous")


def main():
    threads = [threading.Thread(target=visitor, args=(number,), daemon=True) for number in range(VISITORS)]
    threads += [threading.Thread(target=cacher, args=(number,), daemon=True) for number in range(CACHERS)]
    for thread in threads:
        thread.start()
    wait_for(lambda: done() >= BEFORE, "visits before the kill")
    os.kill(int(os.environ["PRIMARY"]), signal.SIGKILL)
    goal = done() + AFTER
    wait_for(lambda: done() >= goal, "visits after the kill")
    stop.set()
    for thread in threads:
        thread.join(DEADLINE)
    read_back()
    print(json.dumps(report))


main()
