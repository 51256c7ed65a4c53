"""One cell: one target under one load, measured, and verified always."""

import json
import math
import random
import re
import statistics
import subprocess

from . import cases, processes, targets
from .cases import Case  # noqa: F401  what is measured with this module is named with it
from .processes import Failed
from .resp import Client

# The length of a command line's argument is limited by the kernel (128 KiB): larger values come through a pipe.
LONGEST_ARGUMENT = 100 * 1024


def capacity(stage, seconds):
    """Requests per second that the direct connection answers in a closed loop, of which open loops take their share."""
    direct = targets.Target("direct", stage.server.port)
    case = Case(1, cases.OPEN_CLIENTS, "get")
    return statistics.median(with_load(stage, direct, case, seconds)["rps"] for _ in range(3))


def with_load(stage, target, case, seconds, warmup=None):
    """The verifying generator. Raises Failed when one reply is wrong."""
    pids = [pid for pid in (target.pid, stage.server.pid) if pid]
    warmup = stage.warmup if warmup is None else warmup
    argv = [
        stage.tools["load"], "--target", f"127.0.0.1:{target.port}", "--origin", f"127.0.0.1:{stage.server.port}",
        "--mix", case.mix, "--clients", case.clients, "--pipeline", case.pipeline, "--size", case.size,
        "--keys", case.keys, "--warmup-ms", int(warmup * 1000), "--measure-ms", int(seconds * 1000),
        "--stall-ms", int(stage.patience * 1000),
    ]
    if case.rate:
        argv += ["--rate", case.rate]
    argv += tls(target, case.resume)
    for pid in pids:
        argv += ["--pid", pid]
    processes.forget_peak(target.pid)
    answer = json.loads(_run(stage, argv, f"{target.name}, {case.name}"))
    if not answer["requests"]:
        raise Failed(f"{target.name}, {case.name}: no request was answered in {seconds} s")
    cpu = answer.pop("cpu_us_per_request")
    return _with_usage(stage, target, answer, cpu.get(str(target.pid), 0.0), cpu[str(stage.server.pid)])


def tls(target, resume=False):
    """The generator's options for a target that speaks TLS."""
    return ["--tls", target.ca, *(["--resume"] if resume else [])] if target.ca else []


def _with_usage(stage, target, answer, proxy_us, redis_us):
    rss_kib = processes.peak_rss_kib(target.pid)
    return {**answer, "proxy_us": proxy_us, "redis_us": redis_us, "sum_us": proxy_us + redis_us, "rss_kib": rss_kib}


def with_redis_benchmark(stage, target, case, seconds):
    """The well known tool, which looks at no reply: so the server is asked what it did, and the values are read back.

    The keys that it reads were written, through the same target, by the generator, which ran before it.
    """
    what = f"{target.name}, {case.name}, redis-benchmark"
    tool = RedisBenchmark(stage, target, case, what)
    processes.forget_peak(target.pid)
    known = (target.name, case.name)
    few = max(2 * case.clients * case.pipeline, 1000 if case.size <= 4096 else 200)
    if known not in stage.rates:
        stage.rates[known] = tool.run(few)["rps"]
    # It sends otherwise than the generator before it: what adapts gets time for that too.
    stage.rates[known] = tool.run(max(few, int(stage.rates[known] * stage.warmup)))["rps"]
    # Connecting is a part of what the program measures: with so many small requests a client it hardly shows.
    enough = max(few, 50 * case.clients) if case.size <= 4096 else few
    requests = max(enough, int(stage.rates[known] * seconds))
    with Client(stage.server.port) as server:
        server.ask("CONFIG", "RESETSTAT")
        before = {pid: processes.cpu_seconds(pid) for pid in (target.pid, stage.server.pid) if pid}
        answer = tool.run(requests)
        cpu = {pid: (processes.cpu_seconds(pid) - began) * 1e6 / requests for pid, began in before.items()}
        _executed(server, case, requests, what)
    if case.mix == "set":
        _read_back(target, case, tool.mark, requests)
    return _with_usage(stage, target, answer, cpu.get(target.pid, 0.0), cpu[stage.server.pid])


class RedisBenchmark:
    """The program, as it is called for one cell."""

    def __init__(self, stage, target, case, what):
        self.stage, self.what, self.piped = stage, what, None
        self.mark = f"{target.name}-{random.randrange(1 << 32):08x}"[-case.size:].ljust(case.size, "x")
        self.before = [
            stage.tools["redis-benchmark"], "-h", "127.0.0.1", "-p", target.port, "-c", case.clients,
            "-P", case.pipeline, "-r", case.keys, "--precision", 3,
        ]
        self.command = ["get", "key:__rand_int__"]
        if case.mix == "set":
            self.command = ["set", "rb:__rand_int__", self.mark]
            if case.size > LONGEST_ARGUMENT:
                self.before.append("-x")
                self.piped = self.command.pop()

    def run(self, requests):
        """What it prints of so many requests. Its CSV has no quantile beyond p99, so the text is read."""
        output = _run(self.stage, [*self.before, "-n", requests, *self.command], self.what, self.piped)
        # "99.902% <= 0.319 milliseconds (cumulative count 59942)", in steps that halve what is left to 100 %
        quantiles = re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", output.split("Cumulative")[0], re.M)
        rps = re.search(r"throughput summary: ([\d.]+) requests", output)
        # avg, min, p50, p95, p99, max
        times = re.search(r"^\s*avg\s+min\s+p50\s+p95\s+p99\s+max\s*\n\s*([\d. ]+)$", output, re.M)
        if not quantiles or not rps or not times:
            raise Failed(f"{self.what}: this version of it prints something else: {output[-500:]}")
        p50, _, p99, longest = (float(text) * 1e3 for text in times.group(1).split()[2:])
        p999 = next(float(value) for share, value in quantiles if float(share) >= 99.9) * 1e3
        return {
            "requests": requests, "rps": float(rps.group(1)),
            "p50_us": p50, "p99_us": p99, "p999_us": p999, "max_us": longest,
        }


def _run(stage, argv, what, piped=None):
    argv = list(map(str, argv))
    if stage.layout.client:
        argv = ["taskset", "-c", ",".join(map(str, stage.layout.client)), *argv]
    given = {"stdin": subprocess.DEVNULL} if piped is None else {"input": piped}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, **given)
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
    sample = random.sample(range(case.keys), min(case.keys, 200 if case.size <= 4096 else 20))
    with Client(target.port) as client:
        values = [client.ask("GET", f"rb:{key:012d}") for key in sample]
    mine = sum(value == mark.encode() for value in values)
    expected = len(sample) * (1 - math.exp(-requests / case.keys))
    if mine < expected * 0.5:
        raise Failed(
            f"{target.name}, {case.name}: WRONG: {mine} of {len(sample)} keys hold what was written, not {expected:.0f}"
        )
