"""A relist tells what the watch of MediaPipelines has lost: changes, and deletions in the gap of an expired watch."""

import asyncio
import contextlib
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.relisting import Relisting
from mediapipeline_operator.shell.cluster.errors import (
    ClusterError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnreachableError,
)

SPEC = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]}}


class Server:
    def __init__(self, version: int, *items: dict[str, Any]) -> None:
        self._answer = {"metadata": {"resourceVersion": str(version)}, "items": list(items)}

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        return self._answer


def _pipeline(name: str, version: int, uid: str = "") -> dict[str, Any]:
    meta = {"namespace": "n", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": SPEC}


async def _relisted(server: Any, known: Pipelines) -> list[tuple[str | None, str]]:
    told: list[tuple[str | None, str]] = []

    def seen(kind: str | None, body: dict[str, Any]) -> None:
        told.append((kind, body["metadata"]["name"]))

    await Relisting(server, (), known, seen, 900.0)._relist(None)
    return told


async def test_what_is_listed_is_told_and_what_is_gone_is_told_as_deleted() -> None:
    known = Pipelines()
    known.put(_pipeline("gone", 5))
    known.put(_pipeline("stays", 6))
    told = await _relisted(Server(10, _pipeline("stays", 6), _pipeline("missed", 8)), known)
    assert told == [(None, "stays"), (None, "missed"), ("DELETED", "gone")]


async def test_what_is_newer_than_the_list_is_not_gone() -> None:
    known = Pipelines()
    known.put(_pipeline("new", 11))
    assert await _relisted(Server(10), known) == []


@pytest.mark.parametrize(("first", "second", "kept"), [(5, 9, "b"), (9, 5, "a")])
def test_of_two_resources_of_one_name_the_newer_is_kept(first: int, second: int, kept: str) -> None:
    known = Pipelines()
    known.put(_pipeline("p", first, uid="a"))
    known.put(_pipeline("p", second, uid="b"))
    found = known.get(Key("n", "p"))
    assert found is not None
    assert found.uid == kept


def test_what_is_known_already_is_no_news() -> None:
    known = Pipelines()
    assert [known.put(_pipeline("p", version)) for version in (5, 5, 4, 6)] == [True, False, False, True]


async def test_a_list_that_fails_is_left_to_the_next_time() -> None:
    class Broken:
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            raise UnreachableError("no answer")

    known = Pipelines()
    known.put(_pipeline("stays", 5))
    told: list[str | None] = []
    await Relisting(Broken(), ("n",), known, lambda kind, _: told.append(kind), 900.0).now()  # type: ignore[arg-type]
    assert (told, len(known)) == ([], 1)


async def test_a_watch_begins_at_the_last_list_and_a_second_one_at_a_new_list() -> None:
    server, known = Server(10), Pipelines()
    relisting = Relisting(server, (), known, lambda kind, body: None, 900.0)  # type: ignore[arg-type]
    await relisting.now()
    server._answer["metadata"]["resourceVersion"] = "12"
    assert [await relisting.listed(None), await relisting.listed(None)] == ["10", "12"]


async def test_a_watch_waits_for_a_list_that_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediapipeline_operator.runtime.relisting.Backoff", lambda first_seconds: _NoDelay())
    tries: list[str] = []

    class Flaky(Server):
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            tries.append(path)
            if len(tries) < 3:
                raise UnreachableError("no answer")
            return await super().request(method, path)

    relisting = Relisting(Flaky(7), ("n",), Pipelines(), lambda kind, body: None, 900.0)  # type: ignore[arg-type]
    assert await relisting.listed("n") == "7"
    assert len(tries) == 3


class _NoDelay:
    def next_seconds(self) -> float:
        return 0.0


async def test_a_watch_takes_the_list_that_is_under_way() -> None:
    gate, asked = asyncio.Event(), 0

    class Slow(Server):
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            await gate.wait()
            return await super().request(method, path)

    relisting = Relisting(Slow(7), (), Pipelines(), lambda kind, body: None, 900.0)  # type: ignore[arg-type]
    both = asyncio.gather(relisting.catch_up(), relisting.listed(None))
    await asyncio.sleep(0.01)
    gate.set()
    assert (await both)[1] == "7"
    assert asked == 1


@pytest.mark.parametrize("refusal", [ForbiddenError(403, "Forbidden", "no"), NotFoundError(404, "NotFound", "no kind")])
async def test_catching_up_tries_until_it_has_a_list_or_a_refusal(
    refusal: ClusterError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediapipeline_operator.runtime.relisting.Backoff", lambda first_seconds: _NoDelay())
    answers: list[Any] = [UnreachableError("cut"), GoneError(410, "Expired", "old"), refusal, UnreachableError("cut")]

    class Troubled(Server):
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            if answers:
                raise answers.pop(0)
            return await super().request(method, path)

    known = Pipelines()
    known.put(_pipeline("known-before", 5))
    relisting = Relisting(
        Troubled(10, _pipeline("there", 8)),  # type: ignore[arg-type]
        (),
        known,
        lambda kind, body: (
            known.put(body)
            if kind is None
            else known.remove(Key("n", body["metadata"]["name"]), body["metadata"]["uid"])
        ),
        900.0,
    )
    assert not relisting.synced
    await relisting.catch_up()
    assert relisting.synced
    assert known.known() == ()  # what may not be read is not looked after
    await relisting.catch_up()
    assert known.known() == (Key("n", "there"),)


async def test_catching_up_does_not_take_a_list_that_has_begun_before() -> None:
    asked: list[asyncio.Future[None]] = []

    class Slow(Server):
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            asked.append(asyncio.get_running_loop().create_future())
            await asked[-1]
            return await super().request(method, path)

    relisting = Relisting(Slow(7), (), Pipelines(), lambda kind, body: None, 900.0)  # type: ignore[arg-type]
    earlier = asyncio.create_task(relisting.now())
    await asyncio.sleep(0)
    caught_up = asyncio.create_task(relisting.catch_up())
    await asyncio.sleep(0)
    asked[0].set_result(None)
    await earlier
    await asyncio.sleep(0.01)
    assert not caught_up.done()
    asked[1].set_result(None)
    await caught_up


async def test_without_the_kind_no_watch_asks_and_nobody_waits_for_it_to_be_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mediapipeline_operator.runtime.relisting._UNASKED_SECONDS", 0.005)
    answers = [UnreachableError("cut"), NotFoundError(404, "NotFound", "no kind")]

    class Without:
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            raise answers.pop(0)

    relisting = Relisting(Without(), (), Pipelines(), lambda kind, body: None, 900.0)  # type: ignore[arg-type]
    running = asyncio.create_task(relisting.run())
    async with asyncio.timeout(60):
        while not relisting.synced:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert answers == []


async def test_what_the_watch_has_told_as_deleted_does_not_come_back_with_a_list_that_is_under_way() -> None:
    class Slow(Server):
        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            relisting.gone("uid-old")
            return await super().request(method, path)

    told: list[str] = []
    relisting = Relisting(
        Slow(10, _pipeline("p", 5, uid="uid-old"), _pipeline("q", 6)),  # type: ignore[arg-type]
        (),
        Pipelines(),
        lambda kind, body: told.append(body["metadata"]["uid"]),
        900.0,
    )
    await relisting.now()
    assert told == ["uid-q"]
