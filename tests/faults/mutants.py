"""Runs the operator with one of its defences taken out, to show that the suite notices.

`FAULTS_MUTANT=<name> python tests/faults/mutants.py FLAGS`: the same process as `python -m mediapipeline_operator`,
after one function has been replaced. Nothing in the operator knows of this.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

from mediapipeline_operator import __main__ as program  # noqa: E402  the script's folder had to leave the path first
from mediapipeline_operator.core import plan as planning  # noqa: E402
from mediapipeline_operator.core.scaling.model import SetReplicas  # noqa: E402
from mediapipeline_operator.runtime import following, observer, reconciler  # noqa: E402
from mediapipeline_operator.shell import clock, lease  # noqa: E402
from mediapipeline_operator.shell.cluster import credentials, informer, store, transport, writer  # noqa: E402


def drift_ignored() -> None:
    """What was changed by hand stays so, and so does what an edit of the spec should change."""
    planning._drifted = lambda *args: False


def drift_unchecked() -> None:
    """Every pass applies everything."""
    planning._drifted = lambda *args: True


def preconditions_dropped() -> None:
    """Deletes go by name alone."""

    async def delete(self: Any, kind: Any, namespace: str, name: str, uid: str, resource_version: str) -> None:
        await self._write("DELETE", kind.item(namespace, name), {}, "application/json", {})

    writer.Writer.delete = delete  # type: ignore[method-assign]


def versions_dropped() -> None:
    """Applies do not say from which resourceVersion they were planned."""
    original = writer.Writer.apply
    writer.Writer.apply = lambda self, manifest, resource_version: original(self, manifest, None)  # type: ignore[method-assign]


def status_versions_dropped() -> None:
    """Status writes carry the uid alone."""

    async def apply_status(self: Any, namespace: str, name: str, uid: str, version: str, status: Any) -> Any:
        meta = {"name": name, "namespace": namespace, "uid": uid}
        kind = {"apiVersion": writer.labels.API_VERSION, "kind": writer.labels.KIND}
        query = {"fieldManager": writer.labels.STATUS_MANAGER, "force": "true"}
        path = writer.PIPELINE.item(namespace, name, "status")
        return await self._write("PATCH", path, {**kind, "metadata": meta, "status": status}, writer._APPLY, query)

    writer.Writer.apply_status = apply_status  # type: ignore[method-assign]


def mark_versions_dropped() -> None:
    """Marks on pods carry the uid alone."""
    original = writer.Writer._write

    async def unversioned(self: Any, method: str, path: str, body: Any, *rest: Any) -> Any:
        meta = {key: value for key, value in body.get("metadata", {}).items() if key != "resourceVersion"}
        return await original(self, method, path, {**body, "metadata": meta} if "/pods/" in path else body, *rest)

    writer.Writer._write = unversioned  # type: ignore[method-assign]


def token_kept() -> None:
    """A refused token is shown again and again."""
    credentials.Credentials.refused = lambda self: None  # type: ignore[method-assign]


def tombstones_dropped() -> None:
    """A relist does not forget what it no longer lists."""

    def keep(self: Any, items: Any, resource_version: str, namespace: str | None) -> Any:
        return set().union(*(self.put(name, item) for name, item in items), set())

    store.Store.replace = keep  # type: ignore[method-assign]


def fencing_dropped() -> None:
    """Whoever has once led may write."""
    lease.Lease.held = property(lambda self: self._renewed is not None)  # type: ignore[method-assign,assignment]


def retry_after_forgotten() -> None:
    """429 is retried like any failure."""
    transport._retry_after = lambda response: None


def resync_dropped() -> None:
    """Watches are believed for ever."""
    following.Relisting.run = lambda self: asyncio.Event().wait()  # type: ignore[method-assign,assignment]
    original = informer.Informer.__init__

    def without(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._resync_seconds = 1e6

    informer.Informer.__init__ = without  # type: ignore[method-assign]


def terms_unlisted() -> None:
    """A new leader believes what it knew from standing by."""

    async def at_once(self: Any) -> None:
        pass

    following.Following.catch_up = at_once  # type: ignore[method-assign]


def gives_up() -> None:
    """A watch that fails is not tried again."""

    async def once(self: Any, error: Any) -> None:
        await asyncio.Event().wait()

    informer.Informer._wait = once  # type: ignore[method-assign]


def owners_dropped() -> None:
    """Children have no owner."""
    original = planning.desired

    def orphaned(*args: Any, **kwargs: Any) -> Any:
        manifests = original(*args, **kwargs)
        return tuple(
            {**m, "metadata": {k: v for k, v in m["metadata"].items() if k != "ownerReferences"}} for m in manifests
        )

    planning.desired = orphaned
    planning.is_ours = lambda child, pipeline: child.pipeline == pipeline.key.name


def everything_adopted() -> None:
    """Whatever has the name of a child is taken for one."""
    planning.is_ours = lambda child, pipeline: True


def replicas_in_manifest() -> None:
    """The Deployment is applied with its number of replicas."""
    original = planning.desired

    def with_replicas(*args: Any, **kwargs: Any) -> Any:
        for manifest in original(*args, **kwargs):
            deployment = manifest["kind"] == "Deployment"
            yield {**manifest, "spec": {**manifest["spec"], "replicas": 1}} if deployment else manifest

    planning.desired = lambda *args, **kwargs: tuple(with_replicas(*args, **kwargs))


def first_number_forgotten() -> None:
    """The initial number of replicas is set only in the pass that makes the Deployment."""
    original = planning._initial_replicas

    def only_new(snapshot: Any, applies: Any) -> int | None:
        return original(snapshot, applies) if snapshot.deployment is None else None

    planning._initial_replicas = only_new


def lowered_blindly() -> None:
    """Missing measurements count as no load."""
    original = planning.decide

    def blind(spec: Any, workload: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = original(spec, workload, *args, **kwargs)
        least = spec.autoscaling.min_replicas
        if outcome.data_state.value not in ("Missing", "Partial", "Stale") or workload.replicas <= least:
            return outcome
        return replace(outcome, actions=(SetReplicas(to=least, expect=workload.replicas),))

    planning.decide = blind


def created_unseen() -> None:
    """Nothing is looked at before it is created, nor whether its pipeline still exists."""

    async def as_cached(self: Any, snapshot: Any, refs: Any) -> Any:
        return snapshot

    async def surely(self: Any, pipeline: Any) -> bool:
        return True

    observer.Observer.with_live = as_cached  # type: ignore[method-assign]
    observer.Observer.exists = surely  # type: ignore[method-assign]


def memory_leaked() -> None:
    """Each pass leaves something behind."""
    kept: list[bytes] = []
    original = reconciler.Reconciler.reconcile

    async def hoarding(self: Any, key: Any) -> Any:
        kept.append(b"x" * 2_000_000)
        return await original(self, key)

    reconciler.Reconciler.reconcile = hoarding  # type: ignore[method-assign]


def clock_ahead() -> None:
    """No mutant: the wall clock is an hour ahead."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=1)

    clock.datetime = lease.datetime = Ahead  # type: ignore[attr-defined]


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        drift_ignored,
        drift_unchecked,
        preconditions_dropped,
        versions_dropped,
        status_versions_dropped,
        mark_versions_dropped,
        token_kept,
        tombstones_dropped,
        fencing_dropped,
        retry_after_forgotten,
        resync_dropped,
        terms_unlisted,
        gives_up,
        owners_dropped,
        everything_adopted,
        replicas_in_manifest,
        first_number_forgotten,
        lowered_blindly,
        created_unseen,
        memory_leaked,
    )
}


if __name__ == "__main__":
    (MUTANTS | {"clock_ahead": clock_ahead})[os.environ["FAULTS_MUTANT"]]()
    program.main()
