"""What waiting for a replica costs: the same program with `durability.mode` async and semi_sync, in turn."""

import shutil
import statistics
import sys

from . import measure, processes, targets
from .resp import Client

REPLICAS = 2
CASES = [measure.Case(1, 50, "set"), measure.Case(16, 50, "set"), measure.Case(1, 50, "get")]


def run(args, work, tools):
    """Prints one row a case: medians of the rounds, and the median of the ratios within a round."""
    layout = targets.Layout(args.layout)
    stage = Group(["async", "semi_sync"], layout, work, tools)
    rounds, rps = args.rounds or 5, {}
    try:
        for number in range(rounds):
            order = stage.targets[number % 2:] + stage.targets[:number % 2]
            for case in CASES:
                print(f"round {number + 1} of {rounds}: {case.name}", file=sys.stderr)
                for target in order:
                    one = measure.with_load(stage, target, case, args.seconds)
                    rps.setdefault(case.name, {}).setdefault(target.name, []).append(one["rps"])
    finally:
        stage.close()
    print(f"requests per second with {REPLICAS} replicas, {layout}; median of {rounds} rounds of {args.seconds} s")
    for name, found in rps.items():
        ratio = statistics.median(after / before for before, after in zip(found["async"], found["semi_sync"]))
        before, after = (statistics.median(found[mode]) for mode in ("async", "semi_sync"))
        print(f"  {name:12} async {before:9.0f}   semi_sync {after:9.0f}   {ratio:.0%}")
    return 0


class Group(targets.Stage):
    """A primary with its replicas, and one Redhold a mode in front of them, none of which may change the primary."""

    def _start_server(self):
        primary = super()._start_server()
        self.replicas = []
        for number in range(REPLICAS):
            port = processes.free_port()
            argv = [
                shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", str(self.work), "--dbfilename", f"{port}.rdb",
                "--replicaof", f"127.0.0.1 {primary.port}",
            ]
            process = processes.start(argv, self.layout.server, self.work / f"replica-{number}.log")
            self.replicas.append(targets.Target(f"replica-{number}", port, process.pid, process))
        with Client(primary.port) as client:
            processes.wait_until(
                lambda: str(client.info("replication")).count("state=online") == REPLICAS, "the replicas follow"
            )
        return primary

    def _start(self, name):
        port = processes.free_port()
        argv, version = self._redhold(port)
        nodes = ",".join(f"127.0.0.1:{node.port}" for node in [self.server, *self.replicas])
        given = [f"REDHOLD_DURABILITY_MODE={name}", f"REDHOLD_BACKEND_NODES={nodes}", "REDHOLD_FAILOVER_MODE=off"]
        process = processes.start(["env", *given, *argv], self.layout.proxy, self.work / f"{name}.log")
        return targets.Target(name, port, process.pid, process, version)

    def close(self):
        super().close()
        for replica in self.replicas:
            processes.stop(replica.process)
