"""The cache of observed objects of one kind: projections only, by namespace and name, and by pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

PipelineName = tuple[str, str]  # namespace, pipeline


class Cached(Protocol):
    """What the cache needs to know of a projection."""

    @property
    def namespace(self) -> str: ...
    @property
    def pipeline(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


T = TypeVar("T", bound=Cached)


class Store(Generic[T]):
    """Holds the newest known state of each object.

    Writes come from a watch, a list and our own writes' answers, in any order.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], T] = {}
        self._by_pipeline: defaultdict[PipelineName, dict[str, T]] = defaultdict(dict)  # by name

    def __len__(self) -> int:
        return len(self._items)

    def get(self, namespace: str, name: str) -> T | None:
        """The object, None when it is not known."""
        return self._items.get((namespace, name))

    def all(self) -> tuple[T, ...]:
        """Everything that is known."""
        return tuple(self._items.values())

    def of_pipeline(self, namespace: str, pipeline: str) -> tuple[T, ...]:
        """All objects that carry the pipeline's label."""
        found = self._by_pipeline.get((namespace, pipeline))
        if not found:
            return ()
        if len(found) == 1:  # of most kinds a pipeline has one
            return tuple(found.values())
        return tuple([found[name] for name in sorted(found)])

    def put(self, name: str, item: T) -> set[PipelineName]:
        """Keeps `item` unless something newer is known. Returns the pipelines that it touches."""
        key = (item.namespace, name)
        known = self._items.get(key)
        if version(item.resource_version) <= self._newest(key):
            return set()
        self._unindex(key)
        self._items[key] = item
        self._by_pipeline[item.namespace, item.pipeline][name] = item
        return {(other.namespace, other.pipeline) for other in (item, known) if other is not None and other.pipeline}

    def remove(self, namespace: str, name: str, resource_version: str) -> set[PipelineName]:
        """Forgets an object that was deleted at `resource_version`, unless a newer one has come."""
        key = (namespace, name)
        known = self._items.get(key)
        if known is None or version(known.resource_version) > version(resource_version):
            return set()
        self._unindex(key)
        del self._items[key]
        return {(known.namespace, known.pipeline)} if known.pipeline else set()

    def replace(
        self, items: Iterable[tuple[str, T]], resource_version: str, namespace: str | None
    ) -> set[PipelineName]:
        """Takes a complete list over: what it lacks is gone, except what is newer than the list (our own late
        writes).
        """
        touched: set[PipelineName] = set()
        listed: set[tuple[str, str]] = set()
        for name, item in items:
            listed.add((item.namespace, name))
            touched |= self.put(name, item)
        for key in [key for key in self._items if key not in listed and namespace in (None, key[0])]:
            touched |= self.remove(*key, resource_version)
        return touched

    def _newest(self, key: tuple[str, str]) -> int:
        known = self._items.get(key)
        return version(known.resource_version) if known is not None else -1

    def _unindex(self, key: tuple[str, str]) -> None:
        known = self._items.get(key)
        if known is None:
            return
        found = self._by_pipeline[known.namespace, known.pipeline]
        found.pop(key[1], None)
        if not found:
            del self._by_pipeline[known.namespace, known.pipeline]


def version(resource_version: str) -> int:
    """A resourceVersion as a number: they are comparable within a kind (Kubernetes 1.35 says so, etcd's always
    were).
    """
    return int(resource_version or 0)
