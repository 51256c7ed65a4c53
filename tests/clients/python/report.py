"""The words of tests/clients/README.md, for the scripts in Python."""

import os
import sys
import threading

WRITERS = 6
DEPTH = 4
ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
HOST, PORT = sys.argv[1], int(sys.argv[2])
over = threading.Event()


def say(*words):
    """One line in one write, so that those of threads do not mix."""
    os.write(1, (" ".join(str(word).replace("\n", " ") for word in words) + "\n").encode())


def fail(role, fault):
    say("exception", f"{role}: {type(fault).__name__}: {fault}")


def verdict(reply, good):
    """One letter for a reply; what is neither good nor AMBIGUOUS is the application's to see."""
    if good(reply):
        return "o"
    if isinstance(reply, Exception):
        if str(reply).startswith("AMBIGUOUS"):
            return "a"
        raise reply
    raise ValueError(f"unexpected reply {reply!r}")


def listen():
    sys.stdin.read()
    over.set()


threading.Thread(target=listen, daemon=True).start()
