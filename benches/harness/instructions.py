"""Instructions per request, which no neighbour on the machine disturbs: callgrind counts them in user space."""

import os
import re
import shutil
import subprocess

from . import processes, targets
from .processes import Failed
from .resp import Client

REQUESTS = 40_000
CLIENTS, PIPELINE = 50, 16


def run(names, work, tools):
    """Prints one row a proxy. Envoy is left out: its allocator and signal handling do not run under valgrind."""
    valgrind, control = shutil.which("valgrind"), shutil.which("callgrind_control")
    if not valgrind or not control:
        raise Failed("no valgrind; type: apt-get install -y valgrind")
    names = [name for name in names if name in ("redhold", "haproxy", "nutcracker")]
    layout = targets.Layout("unpinned")
    layout.proxy_threads = 1
    stage = Counting(names, layout, work, tools)
    print(f"instructions per request, user space, P{PIPELINE}c{CLIENTS}, {REQUESTS} requests after as many to warm up")
    try:
        for target in stage.targets:
            get, set_ = (_count(stage, target, control, mix) for mix in ("get", "set"))
            print(f"  {target.name:12} GET {get:8.0f}   SET {set_:8.0f}")
    finally:
        stage.close()
    keep = os.environ.get("CALLGRIND_OUT")
    if keep:
        os.makedirs(keep, exist_ok=True)
        for file in stage.work.glob("callgrind.*"):
            shutil.copy(file, keep)
        print(f"profiles kept in {keep}; read them with callgrind_annotate")
    return 0


class Counting(targets.Stage):
    """A stage whose proxies run on one core under callgrind, not counting until told to."""

    def _start(self, name):
        port = processes.free_port()
        argv, version = getattr(self, "_" + name)(port)
        argv = [
            "valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=no", "--compress-strings=no",
            f"--callgrind-out-file={self.work}/callgrind.{name}", *argv,
        ]
        # One core for all threads, so that a proxy that counts its cores takes one worker, as in the pinned layout.
        process = processes.start(argv, [sorted(os.sched_getaffinity(0))[-1]], self.work / f"{name}.log")
        return targets.Target(name, port, process.pid, process, version)


def _count(stage, target, control, mix):
    argv = [
        stage.tools["load"], "--target", f"127.0.0.1:{target.port}", "--origin", f"127.0.0.1:{stage.server.port}",
        "--mix", mix, "--clients", CLIENTS, "--pipeline", PIPELINE, "--keys", 1000, "--stall-ms", 60_000,
    ]

    def load():
        done = subprocess.run([*map(str, argv), "--requests", str(REQUESTS)], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{target.name} under callgrind: {done.stderr.strip()}")

    def tell(*words):
        subprocess.run([control, *words, str(target.pid)], capture_output=True, check=True, timeout=60)

    load()
    tell("-i", "on")
    with Client(stage.server.port) as server:
        server.ask("CONFIG", "RESETSTAT")
        load()
        calls = sum(
            int(re.search(r"calls=(\d+)", facts).group(1))
            for name, facts in server.info("commandstats").items()
            if name in ("cmdstat_get", "cmdstat_set")
        )
    tell("-i", "off")
    tell(f"--dump={mix}")
    # The generator writes and reads all keys through the proxy, and reads them at the server twice: not the proxy's.
    through_proxy = calls - 2 * 1000
    return _total(stage, target.name) / through_proxy


def _total(stage, name):
    """Sums the newest dump of this proxy; each dump holds what was counted since the one before."""
    dumps = sorted(stage.work.glob(f"callgrind.{name}.*"), key=os.path.getmtime)
    if not dumps:
        raise Failed(f"callgrind left no dump of {name}")
    for line in dumps[-1].read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise Failed(f"{dumps[-1].name}: no totals")
