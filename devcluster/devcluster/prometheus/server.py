"""Prometheus as a local process that scrapes the pods of a local cluster."""

import ssl
import time
from pathlib import Path
from typing import Any, Self

import httpx

from devcluster.controlplane.addresses import LOOPBACK, free_port
from devcluster.controlplane.health import answers_ok
from devcluster.controlplane.processes import ChildProcess, Command, log_tail, start_process, stop_recorded
from devcluster.prometheus.config import ScrapeSettings, render_config

NAME = "prometheus"
START_TIMEOUT_SECONDS = 60.0
QUERY_TIMEOUT_SECONDS = 10.0
RETENTION = "6h"
START_ATTEMPTS = 3
_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used on loopback; loading CAs for each query takes long
_POLL_SECONDS = 0.05
_PORT_TAKEN = "address already in use"


class PrometheusError(Exception):
    """Prometheus does not start or does not answer; the message ends with its last log lines."""


class Prometheus:
    """One Prometheus server with the data folder and port it got at its first start; blocks, like `ControlPlane`."""

    def __init__(self, data_dir: Path, binary: Path, settings: ScrapeSettings, *, tie_to_parent: bool = True) -> None:
        """Args:
        data_dir: the cluster's data folder; its files go to `prometheus/` below it.
        binary: the program.
        settings: what to scrape, and how often.
        tie_to_parent: False lets the process outlive this interpreter.
        """
        self._data_dir = data_dir.absolute()
        self._folder = self._data_dir / NAME
        self._binary = binary
        self._settings = settings
        self._tie_to_parent = tie_to_parent
        self._port: int | None = None
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT; stays the same over `stop` and `start`."""
        if self._port is None:
            raise PrometheusError("Prometheus has not been started")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def config_file(self) -> Path:
        """The generated configuration."""
        return self._folder / "prometheus.yaml"

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Starts it and returns when it answers queries.

        Raises:
            PrometheusError: it ended or did not get ready in time; it is not left running.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(render_config(self._settings))
        deadline = time.monotonic() + timeout_seconds
        first_start = self._port is None
        for attempt in range(1, START_ATTEMPTS + 1):
            self._port = free_port() if first_start else self._port
            try:
                self._launch()
                self._wait_ready(deadline)
            except BaseException as error:
                self.stop()
                retry = first_start and attempt < START_ATTEMPTS and _PORT_TAKEN in str(error)
                if not retry:
                    raise
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        """Ends it (`kill`: by SIGKILL at once), also one that an earlier interpreter left in this folder."""
        child, self._child = self._child, None
        if child is not None:
            child.kill() if kill else child.stop()
        stop_recorded(self._data_dir, (NAME,))

    def restart(self) -> None:
        """Ends and starts it; the data stays."""
        self.stop()
        self.start()

    def alive(self) -> bool:
        """Whether the process is running."""
        return self._child is not None and self._child.alive()

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The vector of an instant query, as the HTTP API gives it: [{"metric": {...}, "value": [time, "1"]}].

        Raises:
            PrometheusError: no answer, or not a vector.
        """
        try:
            answer = httpx.get(
                f"{self.url}/api/v1/query",
                params={"query": promql},
                timeout=QUERY_TIMEOUT_SECONDS,
                trust_env=False,
                verify=_PLAIN,
            )
            data = answer.raise_for_status().json()["data"]
        except httpx.HTTPError as error:
            raise PrometheusError(f"query {promql!r} failed: {error}") from error
        if data["resultType"] != "vector":
            raise PrometheusError(f"query {promql!r} gives a {data['resultType']}, not a vector")
        result: list[dict[str, Any]] = data["result"]
        return result

    def _launch(self) -> None:
        self._child = start_process(self._command(), self._data_dir, tie_to_parent=self._tie_to_parent)

    def _command(self) -> Command:
        flags = {
            "config.file": self.config_file,
            "storage.tsdb.path": self._folder / "data",
            "storage.tsdb.retention.time": RETENTION,
            "web.listen-address": f"{LOOPBACK}:{self._port}",
        }
        return Command(NAME, (str(self._binary), *(f"--{name}={value}" for name, value in flags.items())))

    def _wait_ready(self, deadline: float) -> None:
        child = self._child
        while child is not None and not answers_ok(f"{self.url}/-/ready"):
            if not child.alive():
                raise PrometheusError(f"Prometheus has ended\nlog: {child.log_path}\n{log_tail(child.log_path)}")
            if time.monotonic() > deadline:
                raise PrometheusError(f"not ready in time\nlog: {child.log_path}\n{log_tail(child.log_path)}")
            time.sleep(_POLL_SECONDS)
