#!/usr/bin/env python3
"""Redis's own test suite, in its external mode, against a redis-server and against Redhold in front of one or three.

    tests/suite/run.py [--modes direct,one,replicas] [--runs N] [--units unit/multi,...] [--program target/release/redhold]

Each unit of the suite gets fresh servers and a fresh proxy, so that what one unit leaves behind fails no other. What
passes directly has to pass through Redhold, unless docs/compatibility.md names it. Failures are those of any run. Exits
with 1 when anything else failed. The servers' and the suite's version is the one of the redis-server on PATH.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPO / "docs/compatibility.md"
SOURCE = REPO / ".tools/redis-source"
TAGS = "-needs:repl -needs:debug -large-memory -slow"
# A unit without progress for so long is ended; the slowest test of the suite takes some 10 s.
SILENCE = 120
UNIT_MAX = 600
START = 120

# The suite orders what its clients say by the time at which they say it, without waiting for replies; that holds over one
# thread only. Its big scripts keep a server silent for a second where other work shares the processor.
COMMON = """[proxy]
workers = 1
listen = ["127.0.0.1:{port}"]
[health]
timeout = "10s"
"""

MODES = {
    "direct": (1, None),
    "one": (1, COMMON),
    "replicas": (3, COMMON + '[reads]\npolicy = "prefer_replica"\nread_your_writes = "global"\n'),
}


def source():
    """The unpacked source of the installed redis-server, from Debian's source package; fetched once."""
    says = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=([0-9.]+)", says).group(1)
    tree = SOURCE / f"redis-{version}"
    if (tree / "runtest").exists() and (tree / "src/redis-cli").exists():
        return tree
    shutil.rmtree(SOURCE, ignore_errors=True)
    (SOURCE / "lists/partial").mkdir(parents=True)
    # A list of its own: the machine's keeps naming binary packages only.
    release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M).group(1)
    (SOURCE / "src.list").write_text(f"deb-src http://deb.debian.org/debian {release} main\n")
    options = [
        f"Dir::Etc::sourcelist={SOURCE}/src.list",
        "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={SOURCE}/lists",
        "APT::Sandbox::User=root",
    ]
    options = [word for option in options for word in ("-o", option)]
    # The newest source package of this version's upstream release: its tests are the installed server's.
    subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    fetch = ["apt-get", *options, "-qq", "source", "--download-only", "redis"]
    subprocess.run(fetch, check=True, cwd=SOURCE)
    archive = SOURCE / f"redis_{version}.orig.tar.gz"
    if not archive.exists():
        sys.exit(f"the source package is not {version}: {[path.name for path in SOURCE.glob('*.dsc')]}")
    subprocess.run(["tar", "xzf", archive.name], check=True, cwd=SOURCE)
    for tool in ("cli", "benchmark", "server", "sentinel", "check-aof", "check-rdb"):
        link = tree / f"src/redis-{tool}"
        if not link.exists():
            link.symlink_to(shutil.which(f"redis-{tool}") or f"/usr/bin/redis-{tool}")
    return tree


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what):
    end = time.monotonic() + START
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {START} s: {what}")
        time.sleep(0.02)


def ask(port, *words):
    """One command and what its reply begins with."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(" ".join(words).encode() + b"\r\n")
        return line.recv(65536).decode(errors="replace")


class Stand:
    """Servers and, perhaps, Redhold in front of them; `port` is where the suite connects."""

    def __init__(self, mode, program):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="redhold-suite-"))
        self.processes = []
        count, settings = MODES[mode]
        try:
            nodes = [self.server() for _ in range(count)]
            for node in nodes[1:]:
                ask(node, "REPLICAOF", "127.0.0.1", str(nodes[0]))
            for node in nodes[1:]:
                until(lambda node=node: "master_link_status:up" in ask(node, "INFO", "replication"), "a replica")
            self.port = nodes[0] if settings is None else self.proxy(program, nodes, settings)
        except BaseException:
            self.end()
            raise

    def start(self, name, command, **more):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **more)
        self.processes.append(process)
        return process

    def server(self):
        port = free_port()
        folder = self.folder / str(port)
        folder.mkdir()
        options = {"port": port, "dir": folder, "bind": "127.0.0.1", "repl-diskless-sync-delay": 0}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        process = self.start(f"server-{port}", ["redis-server", *words])

        def is_mine():
            assert process.poll() is None, (self.folder / f"server-{port}.log").read_text()
            try:
                return f"process_id:{process.pid}\r" in ask(port, "INFO", "server")
            except OSError:
                return False

        until(is_mine, f"the redis-server at {port}")
        return port

    def proxy(self, program, nodes, settings):
        port, admin = free_port(), free_port()
        config = self.folder / "redhold.toml"
        addresses = ", ".join(f'"127.0.0.1:{node}"' for node in nodes)
        config.write_text(
            f'{settings.format(port=port)}[backend]\nnodes = [{addresses}]\n'
            f'[failover]\nstate_dir = "{self.folder}/state"\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
        )
        (self.folder / "state").mkdir()
        process = self.start("redhold", [program, "run", "--config", config])

        def is_ready():
            assert process.poll() is None, (self.folder / "redhold.log").read_text()
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5).status == 200
            except OSError:
                return False

        until(is_ready, "Redhold")
        return port

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


ANSI = re.compile(r"\x1b\[[0-9;]*m")
END = "The End"
LINE = re.compile(r"^\[(ok|err|exception|TIMEOUT)\]: (.*)$")


class Report:
    """What became of a unit's tests: how often each name was ok, and the words about those that were not."""

    def __init__(self):
        self.ok = collections.Counter()
        self.words = {}
        # Units that did not come to their end, with their last words: what they would have tested is not known.
        self.cut = {}

    def take(self, unit, text):
        lines = ANSI.sub("", text).splitlines()
        if END not in text:
            self.cut[unit] = "\n".join(lines[-6:])
        for at, line in enumerate(lines):
            found = LINE.match(line)
            if not found:
                continue
            kind, rest = found.groups()
            if kind == "ok":
                self.ok[unit, re.sub(r" \(\d+ ms\)$", "", rest)] += 1
            else:
                name = re.sub(r" in tests/\S+\.tcl$", "", rest)
                self.words[unit, name] = "\n".join([line, *lines[at + 1 : at + 6]])


def run_unit(tree, mode, unit, program):
    stand = Stand(mode, program)
    command = ["./runtest", "--host", "127.0.0.1", "--port", str(stand.port), "--durable", "--tags", TAGS]
    command += ["--timeout", str(SILENCE), "--single", unit, "--baseport", str(base_port())]
    # The suite keeps its temporary files beside itself, and two runs of it in one place would remove each other's.
    with tempfile.TemporaryDirectory(prefix="redhold-suite-tree-") as place:
        copy = pathlib.Path(place)
        for part in ("runtest", "src", "redis.conf", "utils", "deps"):
            (copy / part).symlink_to(tree / part)
        shutil.copytree(tree / "tests", copy / "tests", ignore=shutil.ignore_patterns("tmp"))
        (copy / "tests/tmp").mkdir()
        process = subprocess.Popen(
            command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            text = process.communicate(timeout=UNIT_MAX)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text = process.communicate()[0] + b"\n[TIMEOUT]: the unit\n"
        finally:
            # What the suite started goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    stand.end()
    return unit, text.decode(errors="replace")


BASES = itertools.cycle(range(12_000, 30_000, 64))
# The suite's own server listens so far below its base port, or the unit ends before it began.
OWN = 32


def base_port():
    """A base port below those that outgoing connections get, for each unit another one, where nobody listens."""
    for base in BASES:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", base - OWN))
            return base


def all_units(tree):
    listed = subprocess.run(["./runtest", "--list-tests"], cwd=tree, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def run_mode(tree, mode, units, arguments):
    report = Report()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for unit, text in pool.map(lambda unit: run_unit(tree, mode, unit, arguments.program), units):
            report.take(unit, text)
            if arguments.logs:
                place = pathlib.Path(arguments.logs) / mode / f"{unit.replace('/', '-')}.log"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
    seconds = round(time.monotonic() - began)
    print(f"{mode}: {sum(report.ok.values())} ok, {len(report.words)} not, {seconds} s", flush=True)
    return report


def excused():
    """(unit, test) pairs that the page names."""
    row = re.compile(r"^\| `([a-z]+/\S+)` \| `(.+?)` \|")
    rows = (row.match(line) for line in PAGE.read_text().splitlines())
    return {found.group(1, 2) for found in rows if found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default="direct,one,replicas")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--units", default="")
    parser.add_argument("--jobs", type=int, default=2, help="units beside each other")
    parser.add_argument("--program", default=str(REPO / "target/release/redhold"))
    parser.add_argument("--logs", default="", help="folder for the suite's own words")
    arguments = parser.parse_args()
    arguments.program = str(pathlib.Path(arguments.program).resolve())
    tree = source()
    units = arguments.units.split(",") if arguments.units else all_units(tree)
    modes = arguments.modes.split(",")
    named, directly, faults = excused(), None, []
    for run in range(arguments.runs):
        for mode in modes:
            report = run_mode(tree, mode, units, arguments)
            faults += [f"run {run + 1}, {mode}: {unit} did not end:\n{last}" for unit, last in report.cut.items()]
            if mode == "direct":
                # What failed directly once is no measure.
                directly = report.ok if directly is None else directly & report.ok
                continue
            wanted = directly if directly is not None else collections.Counter()
            missing = (wanted - report.ok).keys() | report.words.keys()
            for key in sorted(missing):
                if key not in named:
                    faults.append(f"run {run + 1}, {mode}: {key[0]}: {report.words.get(key, key[1] + ': did not run')}")
            for unit, name in sorted(named & report.ok.keys()):
                print(f"{mode}: named in {PAGE.name}, but passed: {unit}: {name}")
    print("\n".join(faults))
    print(f"{len(faults)} failures beyond {PAGE.name}")
    sys.exit(1 if faults else 0)


main()
