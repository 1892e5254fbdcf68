"""Servers of an aggregated API as local processes that end together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import httpx

from devcluster.controlplane.addresses import LOOPBACK
from devcluster.controlplane.processes import ChildProcess, Command, start_process


class Servers(ABC):
    """A context manager: whatever was run is ended with the block."""

    def __init__(self, data_dir: Path) -> None:
        """data_dir: for logs."""
        self._data_dir = data_dir
        self._running: list[ChildProcess] = []

    def run(
        self, name: str, program: Path, flags: tuple[str, ...], environment: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start one more process."""
        command = Command(name, (str(program), *flags), environment or {})
        self._running.append(start_process(command, self._data_dir))
        return self._running[-1]

    def start(self, client: httpx.Client, apply: Callable[[str], object]) -> Self:
        """Starts and registers them; returns when the API server serves their group. Nothing is left when that fails.

        Args:
            client: of the API server.
            apply: applies a text of YAML documents, server-side.

        Raises:
            AutoscalerError: a server ended or was not found in time.
        """
        try:
            self._register(client, apply)
        except BaseException:
            self.stop()
            raise
        return self

    @abstractmethod
    def _register(self, client: httpx.Client, apply: Callable[[str], object]) -> None:
        """Run what is needed and tell the API server."""

    def stop(self) -> None:
        """Ends all, the last first; what they registered stays."""
        while self._running:
            self._running.pop().stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def api_flags(kubeconfig: Path, port: int, certificates: Path) -> tuple[str, ...]:
    """What every server of an aggregated API is told: whom to ask about callers, and where to listen."""
    return (
        *(f"--{name}-kubeconfig={kubeconfig}" for name in ("lister", "authentication", "authorization")),
        f"--secure-port={port}",
        f"--bind-address={LOOPBACK}",
        f"--cert-dir={certificates}",
    )
