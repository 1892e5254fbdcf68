"""The node's settings."""

import os
from dataclasses import dataclass, field
from pathlib import Path

HOST_IP = "127.0.0.1"


@dataclass(frozen=True)
class NodeSettings:
    """All of the node agent's settings; capacities are Kubernetes quantities."""

    kubeconfig: Path
    data_folder: Path
    images_file: Path
    name: str = "devnode"
    cpu: str = field(default_factory=lambda: str(os.cpu_count() or 1))
    memory: str = field(default_factory=lambda: f"{_memory_mebibytes()}Mi")
    pods: int = 110
    simulated_gpus: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    """``key=value:Effect`` or ``key:Effect``."""
    backoff_initial_seconds: float = 10.0
    backoff_limit_seconds: float = 300.0
    stop_grace_seconds: float = 10.0
    """Longest grace period of pods when the agent itself is stopped."""
    service_proxy: bool = True
    isolation: bool = True
    """False: never use namespaces, as on systems that do not allow them."""


def _memory_mebibytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
