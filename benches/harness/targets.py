"""The server, the proxies in front of it, and how each is started."""

import os
import pathlib
import shutil
import subprocess

from . import processes
from .processes import Failed
from .resp import Client

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
ALL = ["direct", "redhold", "haproxy", "nutcracker", "envoy", "envoy-batch"]
BATCHING = ", max_buffer_size_before_flush: 1024, buffer_flush_timeout: 0.001s"


class Target:
    """Something that speaks Redis on `port`; `pid` is the proxy's, None when there is none. `ca`: over TLS, with a certificate
    of this authority."""

    def __init__(self, name, port, pid=None, process=None, version="", ca=None):
        self.name, self.port, self.pid, self.process, self.version = name, port, pid, process, version
        self.ca = ca


class Layout:
    """Which cores whom: `pinned` gives the proxy one of its own, client and server share another when there are two."""

    def __init__(self, kind):
        cores = sorted(os.sched_getaffinity(0))
        self.kind = kind
        if kind == "unpinned":
            self.server = self.client = self.proxy = []
            self.proxy_threads = len(cores)
            return
        if len(cores) < 2:
            raise Failed("the pinned layout needs two cores; type: benches/run --layout unpinned")
        self.server, self.proxy = [cores[0]], [cores[1]]
        self.client = [cores[2]] if len(cores) > 2 else [cores[0]]
        self.proxy_threads = 1

    def __str__(self):
        if self.kind == "unpinned":
            return f"unpinned, {self.proxy_threads} cores for all"
        return f"pinned: proxy on core {self.proxy[0]}, server on {self.server[0]}, client on {self.client[0]}"


class Stage:
    """One redis-server and every target in front of it, all started, all checked to answer."""

    def __init__(self, names, layout, work, tools):
        self.layout, self.work, self.tools = layout, pathlib.Path(work), tools
        self.targets = []
        # Requests per second of redis-benchmark, by target and case: how many requests take how long.
        self.rates = {}
        # Seconds of load before a measurement. What adapts to its load (our batching, the peers' buffers) needs them.
        self.warmup = 2.0
        # A run without a reply for so many seconds has failed.
        self.patience = 10.0
        self.server = self._start_server()
        try:
            for name in names:
                self.targets.append(self._start(name))
            self.targets += self._given_peers()
            for target in self.targets:
                self._answers(target)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Ends every process that the stage started."""
        for target in self.targets:
            if target.process:
                processes.stop(target.process)
        processes.stop(self.server.process)

    def executed(self):
        """Reads and writes that servers have executed for clients."""
        with Client(self.server.port) as client:
            return client.calls("get", "set")

    def _start_server(self):
        # A PEER started by hand has to know the port of the server beforehand.
        port = int(os.environ.get("REDIS_PORT") or processes.free_port())
        argv = [
            shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(self.work), "--maxclients", "8000", "--tcp-backlog", "4096",
        ]
        process = processes.start(argv, self.layout.server, self.work / "redis.log")
        server = Target("direct", port, process.pid, process)
        self._answers(server)
        with Client(port) as client:
            facts = client.info("server")
            if int(facts["process_id"]) != process.pid:
                raise Failed(f"port {port} belongs to another server, process {facts['process_id']}")
            server.version = facts["redis_version"]
        return server

    def _start(self, name):
        if name == "direct":
            return Target("direct", self.server.port, version=f"redis {self.server.version}")
        port = processes.free_port()
        argv, version = getattr(self, "_" + name.replace("-", "_"))(port)
        process = self._launch(name, argv)
        return Target(name, port, process.pid, process, version)

    def _launch(self, name, argv, settings=()):
        """Starts a proxy. env execs the program, so that the process is the proxy."""
        return processes.start(["env", *settings, *argv], self.layout.proxy, self.work / f"{name}.log")

    def _given_peers(self):
        """PEER=name:port:pid, several with spaces between: proxies that someone else started before REDIS_PORT."""
        found = []
        for text in os.environ.get("PEER", "").split():
            try:
                name, port, pid = text.split(":")
                found.append(Target(name, int(port), int(pid), version="given by PEER"))
            except ValueError:
                raise Failed(f"PEER={text}: must be name:port:pid") from None
        return found

    def _answers(self, target):
        def asked():
            if target.process and target.process.poll() is not None:
                log = (self.work / f"{target.name}.log").read_text(errors="replace")[-2000:]
                raise Failed(f"{target.name} ended with code {target.process.returncode}:\n{log}")
            try:
                with Client(target.port, ca=target.ca) as client:
                    return client.ask("SET", "ready", target.name) == b"OK" and client.ask("GET", "ready") is not None
            except (OSError, RuntimeError):
                return False

        processes.wait_until(asked, f"{target.name} answers on port {target.port}")

    def _config(self, name, port, **more):
        """Fills in the committed configuration of a peer."""
        path = self.work / f"{port}-{name}"
        text = (PEERS / name).read_text()
        values = {"port": port, "redis_port": self.server.port, "work": self.work, **more}
        for key, value in values.items():
            text = text.replace("{" + key + "}", str(value))
        path.write_text(text)
        return str(path)

    def _redhold(self, port):
        binary = self.tools["redhold"]
        work = self.work / "state"
        work.mkdir(exist_ok=True)
        config = self._config("redhold.toml", port, admin_port=processes.free_port(), work=work)
        return [binary, "run", "--config", config], first_line(binary, "--version")

    def _haproxy(self, port):
        binary = self.tools["haproxy"]
        return [binary, "-db", "-f", self._config("haproxy.cfg", port)], first_line(binary, "-v")

    def _nutcracker(self, port):
        binary = self.tools["nutcracker"]
        config = self._config("nutcracker.yml", port)
        argv = [binary, "-c", config, "-a", "127.0.0.1", "-s", str(processes.free_port()), "-m", "16384", "-v", "5"]
        return argv, first_line(binary, "-V")

    def _envoy(self, port, batching=""):
        binary = self.tools["envoy"]
        argv = [
            binary, "-c", self._config("envoy.yaml", port, batching=batching), "--log-level", "error",
            "--concurrency", str(self.layout.proxy_threads),
            # Two Envoys of one machine must not take each other for the one to be restarted.
            "--disable-hot-restart",
        ]
        return argv, first_line(binary, "--version")

    def _envoy_batch(self, port):
        return self._envoy(port, BATCHING)


def first_line(*argv):
    """The first line that a program prints of itself."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    lines = (done.stdout + done.stderr).strip().splitlines()
    # Envoy begins with the path of its program, which is nobody's business.
    return " ".join(lines[0].replace(argv[0], pathlib.Path(argv[0]).name).split()) if lines else "unknown"
