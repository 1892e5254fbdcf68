"""A proxy between the operator and the API server that breaks things on request: rules matched by request.

It runs in a thread of its own; tests add rules, pause watches and read the record of calls from outside.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from faults.acts import Act, answer

Json = dict[str, Any]
_HOP_HEADERS = ("Content-Type", "Retry-After", "Audit-Id", "Warning")
_NO_ANSWER = 599  # never leaves: the connection is gone
_LINE_BYTES = 4 * 1024 * 1024
MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Call:
    """One request as rules see it. `resource` is the plural; `name` and `namespace` are empty where there is none."""

    method: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    watch: bool = False
    kopf: bool = False

    @property
    def mutates(self) -> bool:
        """Whether it changes the state that pipelines consist of: neither Leases nor events do."""
        return self.method in MUTATING and self.resource not in ("leases", "events")

    def __str__(self) -> str:
        tail = f"/{self.subresource}" if self.subresource else ""
        return f"{'WATCH' if self.watch else self.method} {self.resource}/{self.name}{tail}"


def parse(method: str, path: str, watch: bool, agent: str) -> Call:
    """/apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUBRESOURCE, with most of it optional."""
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "", "")[:3]
    return Call(method, resource, subresource, namespace, name, watch, kopf="kopf" in agent)


@dataclass(frozen=True)
class Record:
    """One call that has ended. `status` 0: no answer was given; `upstream`: what the API server said, 0 if not asked.

    Times are monotonic seconds.
    """

    call: Call
    started: float
    ended: float
    status: int
    upstream: int
    arrived: float  # when the API server answered; 0 if not asked


class Exchange:
    """A request on its way."""

    def __init__(self, proxy: "FaultProxy", request: web.Request, call: Call, body: bytes) -> None:
        self.call = call
        self.request = request
        self.body = body
        self.query = dict(request.query)
        self.path = request.path
        self.upstream = 0
        self.arrived = 0.0
        self._proxy = proxy

    async def forward(self) -> web.StreamResponse:
        """Sends it on; the API server's answer."""
        return await self._proxy.forward(self)

    def hang_up(self) -> web.StreamResponse:
        """Cuts the connection without an answer."""
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response(status=_NO_ANSWER)


Matches = Callable[[Call], bool]
Event = dict[str, Any]
Filter = Callable[[Call, Event], list[Event]]


@dataclass
class Rule:
    """Does `act` to matching requests: `times` of them (None: all) after the first `skip`."""

    matches: Matches
    act: Act
    times: int | None = None
    skip: int = 0
    hits: int = field(default=0, init=False)

    def takes(self, call: Call) -> bool:
        if not self.matches(call):
            return False
        self.hits += 1
        return self.hits > self.skip and (self.times is None or self.hits <= self.skip + self.times)

    @property
    def done(self) -> bool:
        return self.times is not None and self.hits >= self.skip + self.times


class FaultProxy:
    """Serves http://127.0.0.1:PORT for one operator; sends on with the administrator's token, unless told otherwise."""

    def __init__(self, server_url: str, ca_file: Path, token: str, name: str) -> None:
        self.name = name
        self.rules: list[Rule] = []
        self.filters: list[Filter] = []
        self.calls: list[Record] = []
        self.accepted_token: str | None = None  # None: whatever the operator sends is believed
        self.passes_tokens = False  # True: the operator is who it says, and not the administrator
        self.url = ""
        self._server_url = server_url
        self._ca_file = ca_file
        self._token = token
        self._flowing = threading.Event()
        self._flowing.set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the fault proxy did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def add(self, matches: Matches, act: Act, *, times: int | None = None, skip: int = 0) -> Rule:
        """The rule applies from now on."""
        self.rules.append(added := Rule(matches, act, times, skip))
        return added

    @contextmanager
    def rule(self, matches: Matches, act: Act, *, times: int | None = None, skip: int = 0) -> Iterator[Rule]:
        """The rule applies within the block."""
        added = self.add(matches, act, times=times, skip=skip)
        try:
            yield added
        finally:
            self.rules.remove(added)

    @contextmanager
    def filter(self, change: Filter) -> Iterator[None]:
        """Each watch event passes `change` within the block."""
        self.filters.append(change)
        try:
            yield
        finally:
            self.filters.remove(change)

    @contextmanager
    def silent_watches(self) -> Iterator[None]:
        """Watches stay open and say nothing; what was held back comes afterwards."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def end_watches(self) -> None:
        """Cuts all running watches; what was held back in them is lost."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._streams])

    def mutations(self) -> list[Record]:
        """The calls that reached the API server and changed something."""
        return [one for one in self.calls if one.call.mutates and 200 <= one.upstream < 300]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._ca_file))
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=_LINE_BYTES) as self._session:
            app = web.Application(client_max_size=_LINE_BYTES)
            app.router.add_route("*", "/{path:.*}", self._take)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._stop.wait()
            streams = list(self._streams)
            for task in streams:
                task.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
            await runner.cleanup()
        await asyncio.sleep(0.3)  # TLS connections end in the background

    async def _take(self, request: web.Request) -> web.StreamResponse:
        watch = request.query.get("watch") in ("true", "1")
        call = parse(request.method, request.path, watch, request.headers.get("User-Agent", ""))
        exchange = Exchange(self, request, call, await request.read())
        started, status = time.monotonic(), 0
        try:
            found = await self._act(exchange)
            status = found.status % _NO_ANSWER
        except (aiohttp.ClientError, OSError):
            found = exchange.hang_up()
        finally:
            self.calls.append(Record(call, started, time.monotonic(), status, exchange.upstream, exchange.arrived))
        return found

    async def _act(self, exchange: Exchange) -> web.StreamResponse:
        sent = exchange.request.headers.get("Authorization")
        if self.accepted_token is not None and sent != f"Bearer {self.accepted_token}":
            return await answer(401)(exchange)
        for rule in list(self.rules):
            if rule.takes(exchange.call):
                return await rule.act(exchange)
        return await exchange.forward()

    async def forward(self, exchange: Exchange) -> web.StreamResponse:
        """The API server's answer; a watch is passed on line by line."""
        given = exchange.request.headers
        headers = {name: given[name] for name in ("Content-Type", "Accept", "Authorization") if name in given}
        if not self.passes_tokens:
            headers["Authorization"] = f"Bearer {self._token}"
        headers["Accept-Encoding"] = "identity"
        headers["User-Agent"] = f"{given.get('User-Agent', '')} via/{self.name}"
        url, timeout = (
            self._server_url + exchange.path,
            aiohttp.ClientTimeout(total=None if exchange.call.watch else 60),
        )
        async with self._session.request(
            exchange.call.method,
            url,
            params=exchange.query,
            data=exchange.body or None,
            headers=headers,
            timeout=timeout,
        ) as response:
            exchange.upstream, exchange.arrived = response.status, time.monotonic()
            kept = {name: response.headers[name] for name in _HOP_HEADERS if name in response.headers}
            if exchange.call.watch and response.status == 200:
                return await self._stream(exchange, response, kept)
            return web.Response(status=response.status, body=await response.read(), headers=kept)

    async def _stream(
        self, exchange: Exchange, response: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        out = web.StreamResponse(headers=headers)
        await out.prepare(exchange.request)
        pump = asyncio.ensure_future(self._pump(exchange.call, response, out))
        self._streams.add(pump)
        pump.add_done_callback(lambda done: done.cancelled() or done.exception())  # either side may end a watch
        try:
            await asyncio.wait([pump])
        finally:
            pump.cancel()
            self._streams.discard(pump)
        whole = not pump.cancelled() and pump.exception() is None
        if not whole and exchange.request.transport is not None:
            exchange.request.transport.close()
        return out

    async def _pump(self, call: Call, response: aiohttp.ClientResponse, out: web.StreamResponse) -> None:
        async for line in response.content:
            while not self._flowing.is_set():  # noqa: ASYNC110  cleared and set from another thread
                await asyncio.sleep(0.02)
            events = [json.loads(line)]
            for change in list(self.filters):
                events = [after for event in events for after in change(call, event)]
            for event in events:
                await out.write(json.dumps(event).encode() + b"\n")
