"""Where a container sees its volumes."""

from collections.abc import Mapping
from pathlib import Path

from devcluster.node.json_types import Json
from devcluster.node.launch.root import Mount
from devcluster.node.variables import expand


def container_mounts(container: Json, volumes: Mapping[str, Path], environment: Mapping[str, str]) -> list[Mount]:
    """The bind mounts for the container's volumeMounts; ``volumes`` maps volume names to host paths.

    Raises ValueError for a subPath that leaves its volume.
    """
    return [_mount(mount, volumes[mount["name"]], environment) for mount in container.get("volumeMounts") or ()]


def _mount(mount: Json, volume: Path, environment: Mapping[str, str]) -> Mount:
    sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment)
    if ".." in Path(sub_path).parts or sub_path.startswith("/"):
        raise ValueError(f"volumeMounts {mount['mountPath']}: subPath {sub_path!r} must stay inside the volume")
    return Mount(str(volume / sub_path), mount["mountPath"], bool(mount.get("readOnly")))


def make_sub_paths(mounts: list[Mount]) -> None:
    """Makes folders for subPaths that do not exist yet, as the kubelet does."""
    for mount in mounts:
        if not Path(mount.source).exists():
            Path(mount.source).mkdir(parents=True)
