#!/usr/bin/env python3
"""Runs the end-to-end tests against every server version, and sees to it that README.md tells what that gave.

    tests/tools/server_matrix.py [--threads N] [--logs FOLDER] [--known VERSION=LOG]

What the very same test program, newer than which the log is, did with a version is not done again when the log tells all of it.

The table between the markers in README.md has a row for each area of the tests and a column for each version: a tick when all of the
area's tests passed, with letters for what the tests say does not apply to that server. Exits with 1 when a test failed or the table
is another one; UPDATE=1 writes it instead. The servers are those of tests/tools/servers.sh.
"""

import argparse
import difflib
import os
import pathlib
import re
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
README = REPO / "README.md"
BEGIN, END = "<!-- servers: UPDATE=1 tests/tools/server_matrix.py -->\n", "<!-- end of servers -->\n"

# As tests/tools/servers.sh names them, and as people do.
VERSIONS = {"6.2.5": "Redis 6.2.5", "7.0.15": "Redis 7.0.15", "8.2.3": "Redis 8.2.3", "valkey-9.1.2": "Valkey 9.1.2"}

# Area -> modules of tests/end_to_end. Each module belongs to one.
AREAS = {
    "who may come in, and what one may take": "declared entrance inactive memory reload tls upgrade",
    "requests and replies": "bad_input batching bounds data_path large_requests streams",
    "who a client is: HELLO, AUTH, CLIENT": "client_table forged identity other_users strangers users",
    "transactions, blocking commands, WAIT": "blocking pause transactions wait",
    "Pub/Sub, MONITOR, tracking": "monitor own_traffic pubsub redirect",
    "SCAN, scripts, functions": "busy primary_only scan_epochs",
    "connections, shared and of one's own": "idle_connections own_connection pinned_max shared_connection",
    "death of the primary": "black_box failover failover_rows failover_sessions lost_pops own_state pinned_lanes standing",
    "failing, slow and exchanged nodes": "ailing_primary another_process kept_back node_faults refusals slow_primary tls_nodes",
    "planned and forced changes of primary": "forced_failover quarantine switchover_pinned",
    "what every node gets, what Redhold owns and hides": "hidden owned parity proxy_command put_back",
    "slow requests, hot keys, metrics": "big_keys hot_keys metrics slow_log slow_parts traces",
    "reads from replicas": "read_outage read_spread read_tokens reads",
    "durability": "durability durability_bounds durability_degraded durability_disks durability_edges durability_quorum"
    " durability_reads durability_rules",
    "the test kit": "kit",
}
AREA_OF = {module: area for area, modules in AREAS.items() for module in modules.split()}


def build():
    """The test program."""
    command = ["cargo", "test", "--locked", "--test", "end_to_end", "--no-run"]
    said = subprocess.run(command, cwd=REPO, check=True, stderr=subprocess.PIPE, text=True).stderr
    return REPO / re.search(r"\((\S*/end_to_end-[0-9a-f]+)\)", said).group(1)


def run(program, version, threads, logs):
    """Runs all tests with one version. Returns the tests that passed, what did not apply as {(module, what)}, and the faults."""
    begin = time.monotonic()
    out, err = logs / f"{version}.out", logs / f"{version}.err"
    environment = {**os.environ, "REDHOLD_SERVER": version, "REDHOLD_ALL_SERVERS": "1"}
    with open(out, "w") as stdout, open(err, "w") as stderr:
        command = [program, f"--test-threads={threads}"]
        code = subprocess.run(command, cwd=REPO, env=environment, stdout=stdout, stderr=stderr).returncode
    text, told = out.read_text(errors="replace"), err.read_text(errors="replace")
    passed, left_out, faults = read(version, text, told)
    if code != 0:
        print(text, told, sep="\n")
        faults = faults or [f"{version}: the test program ended with {code}"]
    print(f"server_matrix.py: {version}: {len(passed)} passed, {time.monotonic() - begin:.0f} s", flush=True)
    return passed, left_out, faults


def known(program, version, log):
    """The same, of a log; `None` when it does not tell of every test of this program that it passed."""
    if not log.exists() or log.stat().st_mtime < program.stat().st_mtime:
        return None
    text = log.read_text(errors="replace")
    passed, left_out, faults = read(version, text, text)
    listed = subprocess.run([program, "--list"], cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout
    if faults or passed != set(re.findall(r"^(\S+): test$", listed, re.M)):
        return None
    print(f"server_matrix.py: {version}: {len(passed)} passed, as {log} tells", flush=True)
    return passed, left_out, faults


def read(version, text, told):
    """What the test program said, and what it said to stderr."""
    results = dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (\w+)", text, re.M))
    passed = {test for test, result in results.items() if result == "ok"}
    faults = [f"{version}: {test}: {result}" for test, result in results.items() if result != "ok"]
    left_out = set()
    for where, test, what in re.findall(r"^not applicable on (\S+): (\S+): (.*)$", told, re.M):
        assert where == version, f"{version}: the tests ran with {where}"
        left_out.add((test.split("::")[0], what))
    return passed, left_out, faults


def table(left_out):
    """The table and its legend, of {version: {(module, what)}}."""
    letters = {}
    lines = ["| tests/end_to_end | " + " | ".join(VERSIONS.values()) + " |", "|---" * (len(VERSIONS) + 1) + "|"]
    for area in AREAS:
        cells = []
        for version in VERSIONS:
            whats = sorted({what for module, what in left_out[version] if AREA_OF[module] == area})
            marks = [letters.setdefault(what, chr(ord("a") + len(letters))) for what in whats]
            cells.append(" ".join(["✓", *sorted(marks)]))
        lines.append(f"| {area} | " + " | ".join(cells) + " |")
    legend = "; ".join(f"*{letter}* {what}" for what, letter in letters.items())
    wrapped, line = [], ""
    for word in f"Left out where the server has it not, or does otherwise: {legend}.".split(" "):
        if len(line) + len(word) >= 130:
            wrapped.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, "", *wrapped, line]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=6, help="most tests wait most of the time")
    parser.add_argument("--logs", type=pathlib.Path, default=REPO / "target/server-matrix")
    parser.add_argument("--known", action="append", default=[], metavar="VERSION=LOG")
    options = parser.parse_args()
    logs = dict(one.split("=", 1) for one in options.known)
    options.logs.mkdir(parents=True, exist_ok=True)
    program = build()
    left_out, faults = {}, []
    for version in VERSIONS:
        told = known(program, version, REPO / logs[version]) if version in logs else None
        passed, left_out[version], bad = told or run(program, version, options.threads, options.logs)
        faults += bad
        for module in sorted({test.split("::")[0] for test in passed} ^ AREA_OF.keys()):
            faults.append(f"tests/tools/server_matrix.py: {module} is in no area, or has no tests that passed")
    if not faults:
        faults = compare(table(left_out))
    print("\n".join(dict.fromkeys(faults)))
    return 1 if faults else 0


def compare(made):
    """Faults, when README.md has another table than the one that was just made."""
    readme = README.read_text()
    before, rest = readme.split(BEGIN)
    shown, after = rest.split(END)
    if shown == made:
        return []
    if os.environ.get("UPDATE"):
        README.write_text(before + BEGIN + made + END + after)
        return []
    difference = difflib.unified_diff(shown.splitlines(), made.splitlines(), "README.md", "as the tests ran", lineterm="")
    return [*difference, "README.md tells of the servers what the tests do not; UPDATE=1 tests/tools/server_matrix.py writes it"]


if __name__ == "__main__":
    sys.exit(main())
