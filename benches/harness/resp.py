"""The smallest RESP2 client that the harness can do with: one request, one reply."""

import socket
import ssl


class Client:
    """A connection to a port of 127.0.0.1; `ca`: over TLS, with a certificate of this authority."""

    def __init__(self, port, timeout=5.0, ca=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        if ca:
            context = ssl.create_default_context(cafile=ca)
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        """Sends one request; bytes, None for a null, int, list, or an exception for an error reply."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(request)
        return self._reply()

    def info(self, section):
        """INFO as a dict of strings."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self, *commands):
        """How often the server has executed one of these."""
        stats = self.info("commandstats")
        counts = (stats.get(f"cmdstat_{command}", "calls=0").split(",")[0] for command in commands)
        return sum(int(count.removeprefix("calls=")) for count in counts)

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the other side")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RuntimeError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        raise RuntimeError(f"not RESP2: {line!r}")
