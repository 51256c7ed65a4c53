"""The shapes of load: what `benches/run` measures, which tool for which, and about how long it takes."""

import re

from .processes import Failed

OPEN_CLIENTS = 100
KIB = 1024
# What redis-benchmark can produce; it has no mixes, no schedule, no transactions, and waits for nothing.
KNOWN_TO_ALL = ("get", "set")


class Case:
    """One shape of load. `share`: an open loop at this share of what the direct connection answers in a closed one.
    `resume`: over TLS, clients come back with keys of earlier connections."""

    def __init__(self, pipeline, clients, mix, size=16, share=None, rate=None, resume=False):
        self.pipeline, self.clients, self.mix, self.size, self.share = pipeline, clients, mix, size, share
        # Requests or connections per second; of an open loop known when the direct connection was measured.
        self.rate, self.resume = rate, resume
        # About 10 MB of values, or one a client: what is measured is the proxy, not the server's cache misses.
        self.keys = 10_000 if size <= 1024 else max(clients, min(2_000, 10_000_000 // size))

    @property
    def name(self):
        """As on the page and in `--cases`."""
        size = "" if self.size == 16 else f" {self.size // KIB} KiB" if self.size < KIB * KIB else " 1 MiB"
        if self.share:
            return f"open {self.share:.0%} c{self.clients} {self.mix.upper()}{size}".replace("%", " %")
        rate, resumed = f" {self.rate}/s" if self.rate else "", " resumed" if self.resume else ""
        return f"P{self.pipeline}c{self.clients} {self.mix.upper()}{size}{rate}{resumed}"

    def tools(self, which):
        """The tools that measure this case: `usual` takes the well known one where it can produce the case."""
        able = ["load", "redis-benchmark"] if self.mix in KNOWN_TO_ALL and not self.share else ["load"]
        return able[-1:] if which == "usual" else [tool for tool in able if which in (tool, "both")]


def full():
    """Everything."""
    shapes = [(1, 1), (1, 10), (1, 50), (16, 50), (64, 10), (1, 500), (1, 2000)]
    cases = [Case(pipeline, clients, mix) for pipeline, clients in shapes for mix in ("get", "set")]
    cases += [Case(pipeline, clients, "mix20") for pipeline, clients in ((1, 50), (16, 50), (1, 500))]
    cases += [Case(1, 50, mix, size) for size in (4 * KIB, 64 * KIB, KIB * KIB) for mix in ("get", "set")]
    cases += [Case(16, 50, mix, 4 * KIB) for mix in ("get", "set")]
    cases += [Case(1, 50, "multi")]
    cases += [Case(pipeline, 50, mix) for mix in ("blpop", "pubsub") for pipeline in (1, 16)]
    return cases + [Case(1, OPEN_CLIENTS, "get", share=share) for share in (0.3, 0.6, 0.9)]


def quick():
    """What a change is looked at with before it is committed."""
    return [Case(1, 50, "get"), Case(1, 50, "set"), Case(16, 50, "get"), Case(64, 10, "get")]


def chosen(cases, patterns):
    """Those that have one of the patterns (with commas between) in their name; a number matches as a whole."""
    found = []
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        ends = r"(?!\d)" if pattern[-1].isdigit() else ""
        begins = r"(?<!\d)" if pattern[0].isdigit() else ""
        matching = [case for case in cases if re.search(begins + re.escape(pattern) + ends, case.name, re.IGNORECASE)]
        if not matching:
            raise Failed(f"no case has a name with {pattern!r} in it; there are: {', '.join(c.name for c in cases)}")
        found += matching
    return [case for case in cases if case in found] if wanted else cases


def estimate(cases, which, targets, rounds, seconds, warmup):
    """Seconds of the whole run: load and warm-up of each cell, and what starting, writing and reading back take."""
    one_round = 0.0
    for case in cases:
        for tool in case.tools(which):
            verified = case.keys * (case.size + 100) * 4 / 150e6 + 0.3
            one_round += seconds + warmup + verified + (0.5 if tool == "redis-benchmark" else 0.0)
    return one_round * targets * rounds
