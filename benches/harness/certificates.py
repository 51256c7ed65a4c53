"""An authority and a certificate of its for 127.0.0.1, by the openssl command line. Keys on P-256, as is usual."""

import shutil
import subprocess

from .processes import Failed

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Folder:
    """The files: what clients trust, and what the proxy or a server shows."""

    def __init__(self, path):
        path.mkdir()
        self.ca, self.cert, self.key = path / "ca.crt", path / "tls.crt", path / "tls.key"
        _make(self.ca, path / "ca.key", "basicConstraints=critical,CA:TRUE")
        _make(self.cert, self.key, "basicConstraints=CA:FALSE", "-CA", self.ca, "-CAkey", path / "ca.key",
              "-addext", "subjectAltName=IP:127.0.0.1")

    def towards_clients(self):
        """Settings with which the proxy shows the certificate."""
        return {"REDHOLD_PROXY_TLS_CERT": self.cert, "REDHOLD_PROXY_TLS_KEY": self.key}

    def towards_nodes(self):
        """Settings with which it asks nodes for one."""
        return {"REDHOLD_BACKEND_TLS_CA": self.ca}


def _make(cert, key, constraints, *more):
    if not shutil.which("openssl"):
        raise Failed("no openssl; type: apt-get install -y openssl")
    argv = ["openssl", "req", "-x509", "-config", "/dev/null", *KEY, "-subj", f"/CN={cert.stem}", "-days", "2",
            "-addext", constraints, "-keyout", key, "-out", cert, *more]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Failed(f"openssl: {done.stderr.strip()}")
