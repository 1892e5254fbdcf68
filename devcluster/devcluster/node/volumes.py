"""A pod's volumes as files and folders of this machine, kept up to date while the pod runs."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from devcluster.node.api import ApiError
from devcluster.node.downward import FieldError, PodFacts
from devcluster.node.environment import MissingReferenceError
from devcluster.node.json_types import Json
from devcluster.node.payload import (
    FileContent,
    Files,
    TokenRequest,
    default_mode,
    object_bytes,
    sources_of,
    token_requests,
    volume_files,
    volume_objects,
)
from devcluster.node.published_folder import publish
from devcluster.node.sources import Sources, Token

REFRESH_SECONDS = 60.0
_WITH_FILES = {"projected", "configMap", "secret", "downwardAPI"}


class VolumeError(RuntimeError):
    """A volume cannot be set up (yet); the message names it and the reason."""


@dataclass
class PodVolumes:
    """The volumes of one pod below ``folder``; ``paths`` maps a volume's name to its host path once it is set up."""

    folder: Path
    sources: Sources
    paths: dict[str, Path] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], Token] = field(default_factory=dict)

    async def set_up(self, facts: PodFacts) -> None:
        """Sets up, or brings up to date, every volume. Raises VolumeError."""
        for volume in facts.pod["spec"].get("volumes") or ():
            try:
                self.paths[volume["name"]] = await self._set_up_one(volume, facts)
            except (MissingReferenceError, FieldError, ApiError, OSError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}') from error

    async def _set_up_one(self, volume: Json, facts: PodFacts) -> Path:
        target = self.folder / str(volume["name"])
        kinds = set(volume) - {"name"}
        if not kinds or "emptyDir" in kinds:
            target.mkdir(parents=True, exist_ok=True)
            target.chmod(0o777)
            return target
        if "hostPath" in kinds:
            return _host_path(volume["hostPath"])
        if kinds & _WITH_FILES:
            publish(target, await self._files(volume, facts))
            return target
        raise VolumeError(f'volume "{volume["name"]}": kind {sorted(kinds)} is not available on a process node')

    async def _files(self, volume: Json, facts: PodFacts) -> Files:
        listed, mode = sources_of(volume), default_mode(volume)
        found = await self.sources.objects(facts.pod["metadata"]["namespace"], volume_objects(listed))
        objects = {key: None if item is None else object_bytes(key.kind, item) for key, item in found.items()}
        files = volume_files(listed, objects, facts, mode)
        for request in token_requests(listed, mode):
            token = await self._token(volume["name"], request, facts)
            files[request.path] = FileContent(token.text.encode(), request.mode)
        return files

    async def _token(self, volume_name: str, request: TokenRequest, facts: PodFacts) -> Token:
        key = (volume_name, request.path)
        token = self._tokens.get(key)
        if token is None or time.monotonic() >= token.renew_at:
            token = self._tokens[key] = await self.sources.token(facts.pod, request)
        return token

    def refresh_in_seconds(self) -> float | None:
        """When ``set_up`` should run again; None: nothing here ever changes."""
        if not any((path / "..data").is_symlink() for path in self.paths.values()):
            return None
        until = [token.renew_at - time.monotonic() for token in self._tokens.values()]
        return max(1.0, min([REFRESH_SECONDS, *until]))

    def token_file(self, pod: Json) -> Path | None:
        """The host path of the pod's service-account token, for pods that have one."""
        for volume in pod["spec"].get("volumes") or ():
            for request in token_requests(sources_of(volume), 0):
                return self.folder / str(volume["name"]) / request.path
        return None


def _host_path(source: Json) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wrong = (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file())
    if wrong or not path.exists():
        raise VolumeError(f"hostPath {path} does not exist or is not of type {kind or 'any'}")
    return path


async def keep_fresh(volumes: PodVolumes, facts: Callable[[], PodFacts], warn: Callable[[str], None]) -> None:
    """Refreshes the volumes of a running pod until cancelled; ``facts`` gives the pod as it is then."""
    while (wait_seconds := volumes.refresh_in_seconds()) is not None:
        await asyncio.sleep(wait_seconds)
        try:
            await volumes.set_up(facts())
        except VolumeError as error:
            warn(str(error))
