"""Instructions of one operation of each part of a request's way, beside what was recorded.

Plain callgrind rather than gungraun: that would be one more crate, and a runner of exactly its version to be compiled by
everybody who counts, for what three options and one line of output say.
"""

import json
import os
import re
import shutil
import subprocess

from . import tools
from .processes import Failed

RECORD = tools.ROOT / "benches" / "results" / "instructions.json"
RECORD_ANEW = "UPDATE=1 benches/instructions"

# Percent. Another compiler makes other code, which is nobody's fault here; what is gross is noticed all the same.
BOUND, BOUND_OF_ANOTHER_COMPILER = 5, 15

# glibc chooses its variants of memcpy and the like by the processor. Without these features it takes those that every one has.
FEATURES = ("AVX2", "AVX2_Usable", "AVX_Fast_Unaligned_Load", "ERMS", "FSRM", "SSSE3", "Fast_Unaligned_Copy", "SSE4_1", "SSE4_2")
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{feature}" for feature in FEATURES)}


def build():
    """The program that runs the parts, in release mode, which is what users run."""
    return tools.build("parts", "--bench")


def names(program):
    """All parts, in the order of a request's way."""
    return subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()


def count(program, name):
    """Instructions of one operation of the part called `name`."""
    if not shutil.which("valgrind"):
        raise Failed("no valgrind; type: apt-get install -y valgrind")
    argv = [
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
        "--toggle-collect=*counted_part*", program, name,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": os.environ["PATH"], **ENVIRONMENT})
    operations = re.search(rf"^{name} (\d+)$", done.stdout, re.M)
    collected = re.search(r"^==\d+== Collected : (\d+)$", done.stderr, re.M)
    if done.returncode or not operations or not collected:
        raise Failed(f"{name} under callgrind: {done.stdout}{done.stderr}")
    if collected.group(1) == "0":
        raise Failed(f"{name}: callgrind met no function called counted_part")
    return round(int(collected.group(1)) / int(operations.group(1)), 1)


def compiler():
    """The target that is compiled for and the compiler's name with its version."""
    told = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return re.search(r"^host: (.*)$", told, re.M).group(1), told.splitlines()[0]


class Record:
    """The committed numbers of one target."""

    def __init__(self, target, path=RECORD):
        self.target, self.path = target, path
        self.all = json.loads(path.read_text()) if path.exists() else {}
        known = self.all.get(target, {})
        self.rustc, self.parts, self.requests = known.get("rustc"), known.get("parts", {}), known.get("requests", {})

    def write(self, rustc, parts, requests):
        """Replaces the numbers of this target."""
        self.all[self.target] = {"rustc": rustc, "parts": parts, "requests": requests}
        self.path.write_text(json.dumps(self.all, indent=2) + "\n")


def judge(recorded, counted, bound):
    """Two lists of lines: what is wrong, and what is only worth a word. `bound` in percent."""
    faults, hints = [], []
    for name, now in counted.items():
        before = recorded.get(name)
        if before is None:
            faults.append(f"{name}: {now} instructions, none are recorded")
            continue
        change = 100 * (now - before) / before
        line = f"{name}: {now} instructions, recorded are {before} ({change:+.1f} %)"
        if change > bound:
            faults.append(f"{line}, more than {bound} % too many")
        elif change < -bound:
            hints.append(f"{line}: better, and worth recording")
    return faults, hints


# Percent of a request's instructions that metrics may take, and the part that says what they take of which whole request.
METRICS_MAX = 2
METRICS = {"request-get-p16c50": "metrics-p16", "request-set-p16c50": "metrics-p16",
           "request-get-p1c1": "metrics-p1", "request-set-p1c1": "metrics-p1"}


def metrics(counted, requests):
    """Two lists of lines: what is counted beside each whole request, and where that is too much, or nothing is known of the whole."""
    said, faults = [], []
    for request, part in METRICS.items():
        if part in counted and request not in requests:
            faults.append(f"{request}: no instructions are recorded")
        elif part in counted:
            share = 100 * counted[part] / requests[request]
            line = f"{request}: metrics take {counted[part]} of {requests[request]} instructions, {share:.2f} %"
            said.append(line)
            if share >= METRICS_MAX:
                faults.append(f"{line}; {METRICS_MAX} % is the most")
    return said, faults


def self_test():
    """Shows that a rise fails, that a fall does not, and that nothing is passed over."""
    recorded = {"same": 100.0, "bound": 100.0, "risen": 100.0, "fallen": 100.0}
    counted = {"same": 100.0, "bound": 105.0, "risen": 105.1, "fallen": 94.9, "new": 7.0}
    faults, hints = judge(recorded, counted, BOUND)
    named = [[line.split(":")[0] for line in lines] for lines in (faults, hints)]
    if named != [["risen", "new"], ["fallen"]] or "105.1" not in faults[0] or "100.0" not in faults[0]:
        raise Failed(f"judged wrongly: {faults}, {hints}")
    said, faults = metrics({"metrics-p16": 12.0, "metrics-p1": 199.0},
                           {"request-get-p16c50": 600, "request-set-p16c50": 601, "request-get-p1c1": 10_000})
    named = [line.split(":")[0] for line in faults]
    if len(said) != 3 or named != ["request-get-p16c50", "request-set-p1c1"] or "1.99 %" not in said[2]:
        raise Failed(f"metrics are judged wrongly: {said}, {faults}")
    if judge(recorded, {"risen": 114.9}, BOUND_OF_ANOTHER_COMPILER)[0] or not judge({"a": 1}, {"a": 1.2}, 15)[0]:
        raise Failed("the bound of another compiler is not 15 %")
