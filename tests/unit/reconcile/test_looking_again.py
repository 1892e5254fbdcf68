"""What a write finds out about an object is taken over at once, also while the watches say nothing."""

from typing import Any

import pytest

from mediapipeline_operator.api import labels
from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.core.model import ChildRef, Delete, Plan
from mediapipeline_operator.core.scaling.model import SetReplicas
from mediapipeline_operator.runtime.executor import Executor
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.observer import Observer
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.cache import ClusterCache
from mediapipeline_operator.shell.cluster.errors import ConflictError, NotFoundError

KEY = Key("media", "studio")


def _live(kind: str, version: int, **spec: Any) -> dict[str, Any]:
    meta = {"name": KEY.name, "namespace": KEY.namespace, "uid": f"uid-{kind}", "resourceVersion": str(version)}
    return {"kind": kind, "metadata": {**meta, "labels": {labels.PIPELINE: KEY.name}}, "spec": spec}


class Server:
    """Answers the writes and reads of one pass; `problem` is raised by each write to `at`."""

    def __init__(self, at: str = "", problem: Exception | None = None) -> None:
        self.at, self.problem = at, problem
        self.written: list[str] = []
        self.live: dict[str, Any] | None = None

    def _write(self, what: str) -> None:
        self.written.append(what)
        if what == self.at and self.problem is not None:
            raise self.problem

    async def delete(self, kind: Any, namespace: str, name: str, uid: str, resource_version: str) -> None:
        self._write(f"delete {kind.name}")

    async def scale(self, kind: Any, namespace: str, name: str, replicas: int, resource_version: str) -> Any:
        self._write(f"scale {kind.name} {replicas} {resource_version}")
        return {"metadata": {"resourceVersion": "9"}}

    async def request(self, method: str, path: str) -> dict[str, Any]:
        if self.live is None:
            raise NotFoundError(404, "NotFound", path)
        return self.live


@pytest.fixture
def cache() -> ClusterCache:
    """A Deployment of two replicas and an Ingress, both at version 5."""
    nobody: Any = None
    cache = ClusterCache(nobody, (), lambda names: None, lambda: None, Clock(), resync_seconds=900.0)
    cache.learn_child(_live("Deployment", 5, replicas=2, template={}, selector={}))
    cache.learn_child(_live("Ingress", 5))
    return cache


def _kinds(cache: ClusterCache) -> dict[str, str]:
    return {child.ref.kind: child.resource_version for child in cache.children(KEY.namespace, KEY.name)}


async def _execute(server: Any, cache: ClusterCache, snapshot: Any, plan: Plan) -> Any:
    nobody: Any = None
    return await Executor(server, cache, nobody, nobody, Metrics()).execute(snapshot, plan)


class Snapshot:
    class pipeline:  # noqa: N801  stands for the attribute
        key = KEY


DELETE = Plan(
    deletes=(Delete(ChildRef("Ingress", KEY.name), "uid-Ingress", "5"),), actions=(SetReplicas(to=3, expect=2),)
)


@pytest.mark.parametrize("problem", [None, NotFoundError(404, "NotFound", "gone")])
async def test_what_is_gone_is_forgotten_and_does_not_hold_up_scaling(
    cache: ClusterCache, problem: Exception | None
) -> None:
    server = Server("delete Ingress", problem)
    done = await _execute(server, cache, Snapshot, DELETE)
    assert server.written == ["delete Ingress", "scale Deployment 3 5"]
    assert (done.stale, _kinds(cache)) == ("", {"Deployment": "9"})


async def test_a_conflict_names_the_object_that_had_changed(cache: ClusterCache) -> None:
    server = Server("delete Ingress", ConflictError(409, "Conflict", "changed"))
    done = await _execute(server, cache, Snapshot, DELETE)
    assert (done.at, bool(done.stale), server.written) == (ChildRef("Ingress", KEY.name), True, ["delete Ingress"])


@pytest.mark.parametrize(("version", "known"), [(7, {"Deployment": "7", "Ingress": "5"}), (None, {"Ingress": "5"})])
async def test_looking_again_takes_over_what_is_there(
    cache: ClusterCache, version: int | None, known: dict[str, str]
) -> None:
    server: Any = Server()
    nobody: Any = None
    if version is not None:
        server.live = _live("Deployment", version, replicas=4, template={}, selector={})
    await Observer(server, cache, nobody, Clock()).look_again(KEY.namespace, ChildRef("Deployment", KEY.name))
    assert _kinds(cache) == known
