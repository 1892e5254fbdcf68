"""What all pods of one node share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from devcluster.node.addresses import PodAddresses
from devcluster.node.api import ApiClient
from devcluster.node.events import EventRecorder
from devcluster.node.images import ImageTable
from devcluster.node.sources import Sources


@dataclass(frozen=True)
class NodeContext:
    """The node's parts and numbers that its pods need."""

    node_name: str
    host_ip: str
    data_folder: Path
    images: ImageTable
    client: ApiClient
    sources: Sources
    events: EventRecorder
    addresses: PodAddresses
    http: aiohttp.ClientSession
    allocatable: Mapping[str, str]
    isolated: bool
    backoff_initial_seconds: float
    backoff_limit_seconds: float

    @property
    def pods_folder(self) -> Path:
        """Where each pod has its folder."""
        return self.data_folder / "pods"

    @property
    def address_files_folder(self) -> Path:
        """Where the addresses of headless Services are."""
        return self.data_folder / "addresses"


Changed = Callable[[], None]
"""To be called when a container's state has changed."""
