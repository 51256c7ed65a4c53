"""What a feature costs: the same program with and without it, in turn, in front of a primary with replicas."""

import pathlib
import statistics
import sys
import threading
import urllib.request

from . import instructions, measure, processes, targets
from .certificates import Folder
from .group import Group

REPLICAS = 2
# So often metrics are read where that is what is measured: 60 times as often as Prometheus does by default.
SCRAPE_SECONDS = 0.25
SCRAPED = "metrics read"
# Name, what it is compared with, settings.
REPLICA_READS = {"READS_POLICY": "prefer_replica"}
TLS_CLIENTS, TLS_NODES = "TLS to clients", "TLS to nodes"
FEATURES = [
    ("none", "none", {}),
    ("nothing kept", "none", {"LOG_SLOWLOG_LEN": "0", "LOG_HOTKEYS_ONE_IN": "0"}),
    (SCRAPED, "none", {}),
    ("semi_sync", "none", {"DURABILITY_MODE": "semi_sync"}),
    ("committed reads", "none", {"DURABILITY_MODE": "semi_sync", "DURABILITY_READS": "committed"}),
    ("replicas read", "none", {**REPLICA_READS, "READS_READ_YOUR_WRITES": "off"}),
    ("own writes", "replicas read", {**REPLICA_READS, "READS_READ_YOUR_WRITES": "session"}),
    ("writes of a key", "replicas read", {**REPLICA_READS, "READS_READ_YOUR_WRITES": "key"}),
    # Their settings are files, made for the run.
    (TLS_CLIENTS, "none", {}),
    (TLS_NODES, "none", {}),
]
CASES = [
    measure.Case(1, 50, "get"), measure.Case(1, 50, "set"), measure.Case(16, 50, "get"), measure.Case(16, 50, "set"),
]


def run(args, work, tools):
    """Prints a row for each case and feature."""
    chosen = _chosen(args.cases)
    files = Folder(pathlib.Path(work) / "certificates")
    towards = {TLS_CLIENTS: files.towards_clients(), TLS_NODES: files.towards_nodes()}
    admin = {name: processes.free_port() for name, *_ in chosen}
    variants = {
        name: {"REDHOLD_ADMIN_LISTEN": f"127.0.0.1:{admin[name]}", **towards.get(name, {}),
               **{f"REDHOLD_{key}": value for key, value in own.items()}}
        for name, _, own in chosen
    }
    if args.instructions:
        return _count(Counted(variants, instructions.layout(), work, tools, REPLICAS, files), admin, chosen)
    return _measure(args, Group(variants, targets.Layout(args.layout), work, tools, REPLICAS, files), admin, chosen)


def _chosen(patterns):
    """Features with one of the patterns (with commas between) in their name, and those that they stand beside."""
    wanted = [pattern for pattern in patterns.split(",") if pattern]
    beside = {name: other for name, other, _ in FEATURES}
    named = {name for name in beside if not wanted or any(each in name for each in wanted)}
    if not named:
        raise processes.Failed(f"--cases {patterns}: there are {', '.join(beside)}")
    while missing := {beside[name] for name in named} - named:
        named |= missing
    return [feature for feature in FEATURES if feature[0] in named]


class Counted(instructions.Counting, Group):
    """Its proxies under callgrind."""


def _count(stage, admin, chosen):
    """Instructions per request, and how many more than without the feature."""
    print(f"{REPLICAS} replicas; instructions per request in user space, {instructions.CROWD}")
    print("| feature | beside | GET | more, % | SET | more, % |\n|---|---|---|---|---|---|")
    found = {}
    try:
        for target, (name, beside, _) in zip(stage.targets, chosen):
            with Scraper(admin[name] if name == SCRAPED else None):
                found[name] = [instructions.count(stage, target, mix, instructions.CROWD) for mix in ("get", "set")]
            cells = [name, "" if name == beside else beside]
            for own, other in zip(found[name], found[beside]):
                cells += [f"{own:.0f}", "" if name == beside else f"{100 * (own / other - 1):+.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    finally:
        stage.close()
    return 0


def _measure(args, stage, admin, chosen):
    """Medians of the rounds, and the median of the ratios within a round."""
    rounds, found = 5 if args.rounds is None else args.rounds, {}
    try:
        for number in range(rounds):
            shift = number % len(stage.targets)
            for case in CASES:
                print(f"round {number + 1} of {rounds}: {case.name}", file=sys.stderr)
                for target in stage.targets[shift:] + stage.targets[:shift]:
                    with Scraper(admin[target.name] if target.name == SCRAPED else None):
                        one = measure.with_load(stage, target, case, args.seconds)
                    found.setdefault(case.name, {}).setdefault(target.name, []).append(one)
    finally:
        stage.close()
    print(f"{REPLICAS} replicas, {stage.layout}; median of {rounds} rounds of {args.seconds} s, ratios within a round")
    print("| case | feature | thousand requests/s | proxy CPU, us | Redis CPU, us | beside | requests/s | proxy CPU | Redis CPU |")
    print("|---" * 9 + "|")
    for case, samples in found.items():
        for name, beside, _ in chosen:
            print(_row(case, name, beside, samples))
    return 0


def _row(case, name, beside, samples):
    cells = [case, name]
    for key, scale in (("rps", 1000), ("proxy_us", 1), ("redis_us", 1)):
        cells.append(f"{statistics.median(one[key] for one in samples[name]) / scale:.2f}")
    cells.append("" if name == beside else beside)
    for key in ("rps", "proxy_us", "redis_us"):
        pairs = zip(samples[name], samples[beside])
        ratio = statistics.median(own[key] / other[key] for own, other in pairs)
        cells.append("" if name == beside else f"{ratio:.2f}")
    return f"| {' | '.join(cells)} |"


class Scraper:
    """Reads the metrics of an admin endpoint as long as it is entered; None: of nobody."""

    def __init__(self, port):
        self.port, self.ended = port, threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        if self.port:
            self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        if self.port:
            self.thread.join()

    def _read(self):
        while not self.ended.wait(SCRAPE_SECONDS):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                page.read()
