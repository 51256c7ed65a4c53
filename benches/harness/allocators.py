"""Which allocator: the same program with each one, preloaded, in turn. What a request costs, and what memory stays."""

import glob
import statistics
import sys
import time

from . import measure, processes, targets
from .group import Group
from .resp import Client

# glibc keeps what was freed for later, unless it may not raise its own limits.
GLIBC = {
    "glibc": {},
    "glibc-fixed": {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"},
}
LIBRARIES = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}
CASES = [
    measure.Case(1, 50, "get"), measure.Case(16, 50, "get"), measure.Case(1, 50, "multi"), measure.Case(1, 50, "blpop"),
    measure.Case(1, 50, "get", 64 * 1024), measure.Case(1, 10, "get", 1 << 20), measure.Case(1, 10, "set", 1 << 20),
]
IDLE = 3_000
# More than the kernel holds for each client: a few large values, and many small ones.
BURST_CLIENTS, BURST_BYTES = 24, 16 << 20
BURSTS = {"2 MiB": 2 << 20, "16 KiB": 16 << 10}
# What gives memory back after a while does it within this.
PATIENCE = 12


def run(args, work, tools):
    """Prints two tables; those libraries that are installed take part."""
    ways = dict(GLIBC)
    for name, file in LIBRARIES.items():
        found = glob.glob(f"/usr/lib/*/{file}")
        if found:
            ways[name] = {"LD_PRELOAD": found[0]}
    wanted = [name for name in args.targets.split(",") if name in ways]
    ways = {name: ways[name] for name in wanted} or ways
    stage = Group(ways, targets.Layout(args.layout), work, tools)
    rounds, cost, kept = 5 if args.rounds is None else args.rounds, {}, {}
    try:
        for target in stage.targets:
            kept[target.name] = memory(stage, target)
        for number in range(rounds):
            shift = number % len(stage.targets)
            for case in CASES:
                print(f"round {number + 1} of {rounds}: {case.name}", file=sys.stderr)
                for target in stage.targets[shift:] + stage.targets[:shift]:
                    one = measure.with_load(stage, target, case, args.seconds)
                    cost.setdefault(case.name, {}).setdefault(target.name, []).append(one["proxy_us"])
    finally:
        stage.close()
    print(f"\nCPU us per request of the proxy, median of {rounds} rounds of {args.seconds} s; ratio to glibc within a round")
    for name, found in cost.items():
        print(f"  {name}")
        for way, times in found.items():
            ratio = statistics.median(own / other for own, other in zip(times, found["glibc"]))
            print(f"    {way:14} {statistics.median(times):8.2f}   {ratio:.2f}")
    print(f"\nresident memory, KiB; {IDLE} idle clients, then {BURST_CLIENTS} that are sent "
          f"{BURST_BYTES >> 20} MiB each and read late")
    print("  " + " ".join(f"{title:>13}" for title in ["", *kept["glibc"]]))
    for way, sizes in kept.items():
        print("  " + " ".join(f"{text:>13}" for text in [way, *sizes.values()]))
    return 0


def memory(stage, target):
    """Resident memory before, with and after idle clients, and after a burst, at once and later."""
    begin = processes.rss_kib(target.pid)
    idle = [Client(target.port) for _ in range(IDLE)]
    for client in idle:
        client.ask("PING")
    sizes = {"at first": begin, "bytes/idle": (processes.rss_kib(target.pid) - begin) * 1024 // IDLE}
    for client in idle:
        client.__exit__()
    time.sleep(PATIENCE)
    sizes["they left"] = processes.rss_kib(target.pid)
    for name, size in BURSTS.items():
        burst(stage, target, size)
        sizes[f"peak, {name}"] = processes.peak_rss_kib(target.pid)
        time.sleep(PATIENCE)
        sizes[f"left, {name}"] = processes.rss_kib(target.pid)
    return sizes


def burst(stage, target, size):
    """Clients that ask for more than they read at first."""
    with Client(stage.server.port) as server:
        server.ask("SET", "large", b"x" * size)
    processes.forget_peak(target.pid)
    clients = [Client(target.port, 30) for _ in range(BURST_CLIENTS)]
    for client in clients:
        client.socket.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n" * (BURST_BYTES // size))
    time.sleep(1)
    for client in clients:
        for _ in range(BURST_BYTES // size):
            if len(client._reply()) != size:
                raise processes.Failed(f"{target.name}: WRONG: a reply of another length")
    for client in clients:
        client.__exit__()
