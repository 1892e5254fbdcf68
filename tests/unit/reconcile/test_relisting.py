"""A relist tells what the watch of MediaPipelines has lost: changes, and deletions in the gap of an expired watch."""

from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime.pipelines import Pipelines
from mediapipeline_operator.runtime.relisting import Relisting
from mediapipeline_operator.shell.cluster.errors import UnreachableError

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
