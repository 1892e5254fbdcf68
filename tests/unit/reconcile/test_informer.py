"""Informers: pages, relists that find deletions, kinds that come and go, and no end for any reason."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster import informer as module
from mediapipeline_operator.shell.cluster.errors import ForbiddenError, GoneError, NotFoundError, UnreachableError
from mediapipeline_operator.shell.cluster.informer import Informer
from mediapipeline_operator.shell.cluster.kinds import DEPLOYMENT
from mediapipeline_operator.shell.cluster.store import Store


@dataclass(frozen=True)
class Item:
    namespace: str
    pipeline: str
    resource_version: str


def _object(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version)}}


def _read(obj: Any) -> Item:
    meta = obj["metadata"]
    return Item(meta["namespace"], "p", meta["resourceVersion"])


class Server:
    """Answers of lists and watches, in order; the last watch stays open."""

    def __init__(self, lists: list[Any], watches: list[Any] | None = None) -> None:
        self.lists = lists
        self.watches = watches or []
        self.queries: list[dict[str, Any]] = []

    async def request(self, method: str, path: str, query: Any, timeout_seconds: float) -> dict[str, Any]:
        self.queries.append(dict(query))
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: dict[str, Any] = answer
        return found

    async def lines(self, path: str, query: Any, *, silence_seconds: float) -> AsyncIterator[dict[str, Any]]:
        self.queries.append(dict(query))
        for event in self.watches.pop(0) if self.watches else []:
            if isinstance(event, Exception):
                raise event
            yield event
        if not self.watches:
            await asyncio.sleep(3600)


def _page(*objects: dict[str, Any], version: int, more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(objects)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNAVAILABLE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def _running(server: Server) -> AsyncIterator[tuple[Informer[Item], Store[Item], list[Any]]]:
    store: Store[Item] = Store()
    touched: list[Any] = []
    transport: Any = server
    informer = Informer(
        transport, DEPLOYMENT, None, store, _read, touched.append, lambda: None, Clock(), resync_seconds=900.0
    )
    task = asyncio.create_task(informer.run())
    try:
        yield informer, store, touched
        assert not task.done(), "an informer never ends by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.005)


async def test_pages_are_put_together(impatient: None) -> None:
    server = Server([_page(_object("a", 1), version=5, more="next"), _page(_object("b", 2), version=5)])
    async with _running(server) as (informer, store, _):
        await _until(lambda: informer.synced)
        assert len(store) == 2
        assert server.queries[1]["continue"] == "next"


async def test_events_are_taken_over_and_the_watch_goes_on_from_the_bookmark(impatient: None) -> None:
    events = [
        {"type": "ADDED", "object": _object("a", 6)},
        {"type": "DELETED", "object": _object("b", 7)},
        {"type": "BOOKMARK", "object": _object("", 20)},
    ]
    server = Server([_page(_object("b", 1), version=5)], [events, []])
    async with _running(server) as (_, store, __):
        await _until(lambda: len(server.queries) == 3)
        assert store.get("n", "a") == Item("n", "p", "6")
        assert store.get("n", "b") is None
        assert server.queries[2]["resourceVersion"] == "20"


async def test_after_410_a_relist_finds_what_was_deleted_meanwhile(impatient: None) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    server = Server([_page(_object("a", 1), version=5), _page(version=30)], [[gone]])
    async with _running(server) as (_, store, touched):
        await _until(lambda: len(store) == 0 and len(touched) > 1)
        assert {("n", "p")} in touched[1:]


async def test_a_kind_that_is_missing_or_forbidden_is_asked_for_again(impatient: None) -> None:
    missing, forbidden = NotFoundError(404, "NotFound", "x"), ForbiddenError(403, "Forbidden", "no")
    server = Server([missing, forbidden, _page(_object("a", 1), version=5)])
    async with _running(server) as (informer, store, _):
        await _until(lambda: informer.unavailable is not None)
        assert informer.synced
        await _until(lambda: informer.unavailable is None)
        assert len(store) == 1


async def test_trouble_of_any_kind_is_outlived(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Backoff, "next_seconds", lambda self: 0.01)
    trouble = [UnreachableError("reset"), GoneError(410, "Expired", "x"), UnreachableError("reset")]
    server = Server([*trouble, _page(_object("a", 1), version=5)], [[UnreachableError("cut")], []])
    async with _running(server) as (informer, _, __):
        await _until(lambda: informer.synced and not server.watches)
