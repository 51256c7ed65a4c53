"""Instructions per request, which no neighbour on the machine disturbs: callgrind counts them in user space."""

import dataclasses
import os
import re
import shutil
import subprocess

from . import measure, processes, targets
from .processes import Failed


@dataclasses.dataclass(frozen=True)
class Load:
    """So many clients with so many requests at a time, and as many requests before anything is counted."""

    clients: int
    pipeline: int
    requests: int
    keys: int

    def __str__(self):
        return f"P{self.pipeline}c{self.clients}"


CROWD = Load(clients=50, pipeline=16, requests=40_000, keys=1_000)
# Few keys: those that the generator itself writes and reads through the proxy are few beside its requests.
LONER = Load(clients=1, pipeline=1, requests=5_000, keys=50)


def run(names, work, tools):
    """Prints one row a proxy. Envoy is left out: its allocator and signal handling do not run under valgrind."""
    names = [name for name in names if name in ("redhold", "haproxy", "nutcracker")]
    stage = _stage(names, work, tools)
    print(f"instructions per request, user space, {CROWD}, {CROWD.requests} requests after as many to warm up")
    try:
        for target in stage.targets:
            get, set_ = (count(stage, target, mix, CROWD) for mix in ("get", "set"))
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


def whole_requests(work, tools):
    """Instructions of a whole request through Redhold: name and number, one after the other. No bound can be set to them: timers and
    the control thread go by the clock and batches by who comes when, so that a busy machine takes up to half as many again."""
    stage = _stage(["redhold"], work, tools)
    try:
        for load in (CROWD, LONER):
            for mix in ("get", "set"):
                yield f"request-{mix}-{load}".lower(), round(count(stage, stage.targets[0], mix, load))
    finally:
        stage.close()


def _stage(names, work, tools):
    return Peers(names, layout(), work, tools)


def layout():
    """Everything anywhere, and one worker."""
    if not shutil.which("valgrind"):
        raise Failed("no valgrind; type: apt-get install -y valgrind")
    found = targets.Layout("unpinned")
    found.proxy_threads = 1
    return found


class Counting:
    """Of a stage: its proxies run on one core under callgrind, not counting until told to."""

    def _launch(self, name, argv, settings=()):
        argv = [
            # Valgrind runs one thread at a time; without fair-sched they need not take turns.
            "valgrind", "--tool=callgrind", "--fair-sched=try", "--instr-atstart=no", "--dump-instr=no",
            "--compress-strings=no", f"--callgrind-out-file={_profile(self, name)}", *argv,
        ]
        # One core for all threads, so that a proxy that counts its cores takes one worker, as in the pinned layout.
        core = [sorted(os.sched_getaffinity(0))[-1]]
        return processes.start(["env", *settings, *argv], core, self.work / f"{name}.log")


class Peers(Counting, targets.Stage):
    """Redhold beside others."""


def _profile(stage, name):
    return stage.work / f"callgrind.{name.replace(' ', '-')}"


def count(stage, target, mix, load):
    """Instructions per request of this load."""
    argv = [
        stage.tools["load"], "--target", f"127.0.0.1:{target.port}", "--origin", f"127.0.0.1:{stage.server.port}",
        "--mix", mix, "--clients", load.clients, "--pipeline", load.pipeline, "--keys", load.keys, "--stall-ms", 60_000,
        "--requests", load.requests, *measure.tls(target),
    ]

    def serve():
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{target.name} under callgrind: {done.stderr.strip()}")

    def tell(*words):
        subprocess.run(["callgrind_control", *words, str(target.pid)], capture_output=True, check=True, timeout=60)

    serve()
    tell("-i", "on")
    before = stage.executed()
    serve()
    executed = stage.executed() - before
    tell("-i", "off")
    tell(f"--dump={mix}")
    # The generator writes and reads all keys through the proxy, and reads them at the server twice: not the proxy's.
    return _total(stage, target.name) / (executed - 2 * load.keys)


def _total(stage, name):
    """Sums the newest dump of this proxy; each dump holds what was counted since the one before."""
    dumps = sorted(stage.work.glob(f"{_profile(stage, name).name}.*"), key=os.path.getmtime)
    if not dumps:
        raise Failed(f"callgrind left no dump of {name}")
    for line in dumps[-1].read_text(errors="replace").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise Failed(f"{dumps[-1].name}: no totals")
