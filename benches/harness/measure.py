"""One cell: one target under one load, measured twice, verified always."""

import csv
import io
import json
import math
import random
import subprocess

from . import processes
from .processes import Failed
from .resp import Client


# What adapts to its load (our batching, the peers' buffers) has had the time for it.
WARMUP_MS = 2_000


class Case:
    """One shape of load."""

    def __init__(self, pipeline, clients, mix, size=16, rate=None):
        self.pipeline, self.clients, self.mix, self.size, self.rate = pipeline, clients, mix, size, rate
        # About 10 MB of values at most: what is measured is the proxy, not the server's cache misses.
        self.keys = 10_000 if size <= 1024 else 2_000

    @property
    def name(self):
        size = "" if self.size == 16 else f" {self.size // 1024} KiB"
        if self.rate:
            return f"open {self.rate // 1000}k/s c{self.clients} {self.mix.upper()}{size}"
        return f"P{self.pipeline}c{self.clients} {self.mix.upper()}{size}"


def full_cases():
    """The table of docs/performance.md."""
    shapes = [(1, 1), (1, 10), (1, 50), (16, 50), (64, 10), (1, 500)]
    cases = [Case(pipeline, clients, mix) for pipeline, clients in shapes for mix in ("get", "set")]
    cases += [Case(pipeline, 50, "mix20") for pipeline in (1, 16)]
    cases += [Case(1, 50, mix, size) for size in (1024, 4096) for mix in ("get", "set")]
    cases += [Case(16, 50, mix, 4096) for mix in ("get", "set")]
    return cases + [Case(1, 100, "get", rate=rate) for rate in (10_000, 30_000)]


def quick_cases():
    """What a change is looked at with before it is committed."""
    return [Case(1, 50, "get"), Case(1, 50, "set"), Case(16, 50, "get"), Case(64, 10, "get")]


def with_load(stage, target, case, seconds):
    """The verifying generator. Raises Failed when one reply is wrong."""
    pids = [pid for pid in (target.pid, stage.server.pid) if pid]
    argv = [
        stage.tools["load"], "--target", f"127.0.0.1:{target.port}", "--origin", f"127.0.0.1:{stage.server.port}",
        "--mix", case.mix, "--clients", case.clients, "--pipeline", case.pipeline, "--size", case.size,
        "--keys", case.keys, "--warmup-ms", WARMUP_MS, "--measure-ms", int(seconds * 1000),
    ]
    if case.rate:
        argv += ["--rate", case.rate]
    for pid in pids:
        argv += ["--pid", pid]
    answer = json.loads(_run(stage, argv, f"{target.name}, {case.name}"))
    cpu = answer.pop("cpu_us_per_request")
    answer["proxy_us"] = cpu.get(str(target.pid), 0.0)
    answer["redis_us"] = cpu[str(stage.server.pid)]
    answer["sum_us"] = answer["proxy_us"] + answer["redis_us"]
    answer["rss_kib"] = processes.rss_kib(target.pid) if target.pid else 0
    return answer


def with_redis_benchmark(stage, target, case, requests):
    """The well known tool, which looks at no reply: so the server is asked what it did, and the values are read back."""
    mark = f"{target.name}-{random.randrange(1 << 32):08x}"[-case.size:].ljust(case.size, "x")
    command = ["get", "key:__rand_int__"] if case.mix == "get" else ["set", "rb:__rand_int__", mark]
    def argv(count):
        return [
            stage.tools["redis-benchmark"], "-h", "127.0.0.1", "-p", target.port, "-c", case.clients, "-n", count,
            "-P", case.pipeline, "-r", case.keys, "--csv", *command,
        ]

    # It sends otherwise than the generator before it: what adapts gets time for that too.
    _run(stage, argv(3 * requests), f"{target.name}, {case.name}, redis-benchmark before")
    with Client(stage.server.port) as server:
        server.ask("CONFIG", "RESETSTAT")
        before = {pid: processes.cpu_seconds(pid) for pid in (target.pid, stage.server.pid) if pid}
        output = _run(stage, argv(requests), f"{target.name}, {case.name}, redis-benchmark")
        cpu = {pid: (processes.cpu_seconds(pid) - began) * 1e6 / requests for pid, began in before.items()}
        _executed(server, case, requests, f"{target.name}, {case.name}, redis-benchmark")
    if case.mix == "set":
        _read_back(target, case, mark, requests)
    row = list(csv.reader(io.StringIO(output)))[-1]
    # "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    proxy, redis = cpu.get(target.pid, 0.0), cpu[stage.server.pid]
    return {
        "requests": requests, "rps": float(row[1]), "p50_us": float(row[4]) * 1e3, "p99_us": float(row[6]) * 1e3,
        "max_us": float(row[7]) * 1e3, "proxy_us": proxy, "redis_us": redis, "sum_us": proxy + redis,
    }


def _run(stage, argv, what):
    argv = list(map(str, argv))
    if stage.layout.client:
        argv = ["taskset", "-c", ",".join(map(str, stage.layout.client)), *argv]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what}: no end after 120 s") from None
    if done.returncode != 0 or not done.stdout.strip():
        raise Failed(f"{what}: {done.stderr.strip()[-1000:] or 'no output'}")
    return done.stdout


def _executed(server, case, requests, what):
    """The server itself must have seen every request, refused none, and found every key that was read."""
    facts = server.info("commandstats")
    counts = dict(pair.split("=") for pair in facts.get(f"cmdstat_{case.mix}", "calls=0").split(","))
    calls, bad = int(counts["calls"]), int(counts.get("failed_calls", 0)) + int(counts.get("rejected_calls", 0))
    hits = int(server.info("stats")["keyspace_hits"])
    if calls < requests or bad or case.mix == "get" and hits < calls:
        raise Failed(f"{what}: WRONG: {requests} requests, the server counted {calls}, {bad} failed, {hits} hits")


def _read_back(target, case, mark, requests):
    """A sample of what redis-benchmark wrote, read through the target: as many hold this run's mark as must."""
    sample = random.sample(range(case.keys), 200)
    with Client(target.port) as client:
        values = [client.ask("GET", f"rb:{key:012d}") for key in sample]
    mine = sum(value == mark.encode() for value in values)
    expected = 200 * (1 - math.exp(-requests / case.keys))
    if mine < expected * 0.5:
        raise Failed(f"{target.name}, {case.name}: WRONG: {mine} of 200 keys hold what was written, not {expected:.0f}")
