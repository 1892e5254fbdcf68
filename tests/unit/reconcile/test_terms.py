"""Terms of leadership: measuring begins with what was known from standing by, writing with a list of the term's own;
the Lease is given back before anything else ends.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mediapipeline_operator.api.pipeline import Key
from mediapipeline_operator.runtime import app as app_module
from mediapipeline_operator.runtime import leading
from mediapipeline_operator.runtime.app import App
from mediapipeline_operator.runtime.following import Following
from mediapipeline_operator.runtime.leading import Outside, Term
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.settings import Settings
from mediapipeline_operator.shell.clock import Clock

SPEC = {"pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]}}


def _pipeline(name: str, version: int, uid: str = "", **spec: Any) -> dict[str, Any]:
    meta = {"namespace": "n", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": SPEC | spec}


class Server:
    """Lists wait until they are let go, and then show what is there."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.version = 100
        self.answering = asyncio.Event()

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        await self.answering.wait()
        return {"metadata": {"resourceVersion": str(self.version)}, "items": self.items}


class Prometheus:
    def __init__(self) -> None:
        self.asked: list[list[Key]] = []

    async def read(self, pipelines: Sequence[tuple[Key, Any]]) -> dict[Key, Any]:
        self.asked.append([key for key, _ in pipelines])
        return {}


class Instance:
    """One process: it follows, and leads when told to."""

    def __init__(self) -> None:
        self.server, self.prometheus = Server(), Prometheus()
        self.passes: list[tuple[Key, Any]] = []
        credentials: Any = None
        transport: Any = self.server
        self.following = Following(credentials, transport, (), self._changed, Clock(), 900.0)
        self._term: Term | None = None

    def _changed(self, key: Key) -> None:
        if self._term is not None:
            self._term.changed(key)

    async def reconcile(self, key: Key) -> None:
        found = self.following.pipelines.get(key)
        self.passes.append((key, found.uid if found is not None else None))

    @contextlib.asynccontextmanager
    async def leads(self) -> AsyncIterator[None]:
        cache: Any = SimpleNamespace(synced=True, rolling_out=lambda: ())
        nothing: Any = None
        transport: Any = self.server
        outside = Outside(
            settings=Settings(tick_seconds=60.0),  # one measurement a term, however long a test takes
            transport=transport,
            cache=cache,
            following=self.following,
            admin=nothing,
            writer=nothing,
            events=nothing,
            reader=self.prometheus,
            metrics=Metrics(),
            clock=Clock(),
        )
        self._term = Term(outside)
        task = asyncio.create_task(self._term.run())
        try:
            yield
            assert not task.done(), "a term never ends by itself"
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    made = Instance()
    monkeypatch.setattr(leading, "Reconciler", lambda tools: made)
    return made


async def _stood_by(instance: Instance, *items: dict[str, Any]) -> None:
    instance.server.items = list(items)
    instance.server.answering.set()
    await instance.following._lists.listed(None)
    instance.server.answering.clear()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.005)


async def test_what_is_known_from_standing_by_is_measured_at_once_and_written_only_after_a_list(
    instance: Instance,
) -> None:
    await _stood_by(instance, _pipeline("a", 5))
    async with instance.leads():
        await _until(lambda: instance.prometheus.asked)
        await asyncio.sleep(0.05)
        assert instance.prometheus.asked == [[Key("n", "a")]]
        assert instance.passes == []
        instance.server.answering.set()
        await _until(lambda: instance.passes)


async def test_the_list_of_the_term_replaces_what_a_silent_watch_has_kept_back(instance: Instance) -> None:
    await _stood_by(instance, _pipeline("edited", 5), _pipeline("gone", 6), _pipeline("again", 7, uid="old"))
    instance.server.items = [
        _pipeline("edited", 11, paused=True),
        _pipeline("again", 12, uid="new"),
        _pipeline("made", 13),
    ]
    instance.server.answering.set()
    async with instance.leads():
        await _until(lambda: len(instance.passes) >= 4)
    found = dict(instance.passes)
    assert {key.name: uid for key, uid in found.items()} == {
        "edited": "uid-edited",
        "gone": None,
        "again": "new",
        "made": "uid-made",
    }
    pipeline: Any = instance.following.pipelines.get(Key("n", "edited"))
    assert pipeline.spec.paused


async def test_the_first_term_of_a_process_measures_all_in_one_batch(instance: Instance) -> None:
    instance.server.items = [_pipeline("a", 5), _pipeline("b", 6)]
    async with instance.leads():
        await asyncio.sleep(0.05)
        assert instance.prometheus.asked == []
        instance.server.answering.set()
        await _until(lambda: instance.prometheus.asked)
        assert instance.prometheus.asked == [[Key("n", "a"), Key("n", "b")]]


async def test_a_second_term_looks_at_everything_again(instance: Instance) -> None:
    await _stood_by(instance, _pipeline("a", 5))
    instance.server.answering.set()
    for _ in range(2):
        instance.passes.clear()
        async with instance.leads():
            await _until(lambda: instance.passes)


async def test_what_the_watch_tells_is_followed_between_terms_and_within(instance: Instance) -> None:
    await _stood_by(instance, _pipeline("a", 5, uid="old"))
    following = instance.following
    following.seen("ADDED", _pipeline("a", 8, uid="new"))
    following.seen("DELETED", _pipeline("a", 7, uid="old"))
    following.seen("ADDED", _pipeline("b", 9))
    following.seen("DELETED", _pipeline("b", 10))
    assert [(key.name, following.pipelines.get(key).uid) for key in following.pipelines.known()] == [("a", "new")]  # type: ignore[union-attr]
    instance.server.items = [_pipeline("a", 8, uid="new")]
    instance.server.answering.set()
    async with instance.leads():
        await _until(lambda: instance.passes)
        instance.passes.clear()
        following.seen("MODIFIED", _pipeline("a", 101, uid="new"))
        following.seen("MODIFIED", _pipeline("a", 101, uid="new"))
        await _until(lambda: instance.passes)
        await asyncio.sleep(0.05)
        assert instance.passes == [(Key("n", "a"), "new")]


async def test_the_lease_is_given_back_when_the_passes_have_ended_and_before_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class OneTerm:
        def __init__(self, outside: Any) -> None:
            pass

        async def run(self) -> None:
            order.append("leads")
            try:
                await asyncio.Event().wait()
            finally:
                order.append("passes ended")

    class Held:
        async def acquire(self) -> None:
            pass

        async def renew_until_lost(self) -> None:
            await asyncio.Event().wait()

        async def release(self) -> None:
            order.append("released")

    class Slow:
        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)
                order.append("watch ended")

    monkeypatch.setattr(app_module, "Term", OneTerm)
    outside: Any = SimpleNamespace(cache=Slow(), following=Slow(), events=Slow())
    lease: Any = Held()
    serving = asyncio.create_task(App(Settings())._serve(outside, lease))
    await _until(lambda: order)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    assert order[:3] == ["leads", "passes ended", "released"]
    assert order.count("watch ended") == 3
