"""One primary with replicas, and the same program in front of it with several settings."""

import shutil

from . import processes, targets
from .resp import Client


class Group(targets.Stage):
    """A primary with replicas, and one Redhold for each entry of `variants`: its name, and its settings as environment.
    With `certificates` the servers listen for TLS too, where a proxy finds them that is told to speak it."""

    def __init__(self, variants, layout, work, tools, replicas=0, certificates=None):
        self.variants, self.count, self.certificates = variants, replicas, certificates
        super().__init__(list(variants), layout, work, tools)

    def _start_server(self):
        primary = super()._start_server()
        self.replicas = [self._start_replica(primary) for _ in range(self.count)]
        with Client(primary.port) as client:
            processes.wait_until(
                lambda: str(client.info("replication")).count("state=online") == self.count, "the replicas follow"
            )
        for node in [primary, *self.replicas] if self.certificates else []:
            node.tls_port = self._listen_for_tls(node)
        return primary

    def _listen_for_tls(self, node):
        files, port = self.certificates, processes.free_port()
        with Client(node.port) as client:
            try:
                client.ask("CONFIG", "SET", "tls-auth-clients", "no", "tls-cert-file", files.cert, "tls-key-file", files.key,
                           "tls-ca-cert-file", files.ca)
                client.ask("CONFIG", "SET", "tls-port", port)
            except RuntimeError as error:
                raise processes.Failed(f"redis-server without TLS: {error}") from None
        return port

    def _start_replica(self, primary):
        port = processes.free_port()
        argv = [
            shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self.work), "--dbfilename", f"{port}.rdb", "--replicaof", f"127.0.0.1 {primary.port}",
        ]
        process = processes.start(argv, self.layout.server, self.work / f"replica-{port}.log")
        return targets.Target(f"replica-{port}", port, process.pid, process)

    def _start(self, name):
        own, port = self.variants[name], processes.free_port()
        nodes = ",".join(
            f"127.0.0.1:{node.tls_port if 'REDHOLD_BACKEND_TLS_CA' in own else node.port}"
            for node in [self.server, *self.replicas]
        )
        argv, version = self._redhold(port)
        # Nobody may change the primary, and two that kept a record would need a directory each.
        given = {"REDHOLD_FAILOVER_MODE": "off", "REDHOLD_FAILOVER_STATE_DIR": "", "REDHOLD_BACKEND_NODES": nodes}
        settings = [f"{key}={value}" for key, value in {**given, **own}.items()]
        process = self._launch(name, argv, settings)
        ca = self.certificates.ca if "REDHOLD_PROXY_TLS_CERT" in own else None
        return targets.Target(name, port, process.pid, process, version, ca)

    def executed(self):
        """As the stage's; a replica also executes what its primary sends it, but no reads."""
        count = super().executed()
        for replica in self.replicas:
            with Client(replica.port) as client:
                count += client.calls("get")
        return count

    def close(self):
        super().close()
        for replica in self.replicas:
            processes.stop(replica.process)
