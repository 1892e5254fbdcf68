"""A real TURN server (Debian's coturn) on loopback, for tests."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devcluster.controlplane.addresses import free_ports

SHARED_SECRET = "north"
USERNAME, PASSWORD = "alice", "wonder land"
START_SECONDS = 60


class Coturn:
    """A running coturn. shared: it knows the shared secret, else the one user. It speaks TLS with the certificate that
    it finds as `folder`/tls.crt and `folder`/tls.key.
    """

    def __init__(self, folder: Path, shared: bool) -> None:
        binary = shutil.which("turnserver")
        if binary is None:
            pytest.skip("coturn is not installed (tools/install-coturn): relayed media cannot be tried")
        self.port, self.tls_port = free_ports(("plain", "tls")).values()
        self.log = folder / f"coturn-{self.port}.log"
        secret = ("--use-auth-secret", f"--static-auth-secret={SHARED_SECRET}")
        user = ("--lt-cred-mech", f"--user={USERNAME}:{PASSWORD}")
        pair = (f"--cert={folder}/tls.crt", f"--pkey={folder}/tls.key", f"--tls-listening-port={self.tls_port}")
        command = (
            *(binary, "-n", "--no-cli", "--no-dtls", *(pair if (folder / "tls.crt").exists() else ("--no-tls",))),
            *("--allow-loopback-peers", "--simple-log"),
            *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={self.port}", "--realm=test"),
            *(secret if shared else user),
            *(f"--log-file={self.log}", f"--pidfile={folder}/coturn-{self.port}.pid", f"--userdb={folder}/turn.db"),
        )
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._await_start()

    @property
    def uri(self) -> str:
        """By UDP."""
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    def stop(self) -> None:
        """Kill it: it says goodbye to nobody."""
        self._process.kill()
        self._process.wait(10)

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"coturn does not listen after {START_SECONDS} s: {self.log.read_text()[-2000:]}")


@contextmanager
def running_coturn(folder: Path, *, shared: bool = True) -> Iterator[Coturn]:
    """A coturn that is ended with the block."""
    server = Coturn(folder, shared)
    try:
        yield server
    finally:
        server.stop()
