"""The node's I/O against small real servers: forwarding of connections, list and watch, child processes."""

import asyncio
import contextlib
import json
import os
import signal
import socket

import pytest
from aiohttp import web

from devcluster.node import forward as forwarding
from devcluster.node.api import ApiClient, ApiError
from devcluster.node.child_process import ChildProcess
from devcluster.node.forward import forward, reset
from devcluster.node.kubeconfig import Connection
from devcluster.node.reflector import Reflector


@contextlib.asynccontextmanager
async def tcp_server(handle):
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@contextlib.asynccontextmanager
async def proxy_to(target):
    async def handle(reader, writer):
        await forward(reader, writer, target)

    async with tcp_server(handle) as address:
        yield address


@contextlib.asynccontextmanager
async def connected_to(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()


async def within_a_minute(awaitable):
    """What should come at once, on however busy a machine."""
    return await asyncio.wait_for(awaitable, 60)


async def test_both_directions_and_half_close_are_passed_on():
    async def shout_back(reader, writer):
        everything = await reader.read()  # until the client has closed its side
        writer.write(everything.upper())
        await writer.drain()
        writer.close()

    async with tcp_server(shout_back) as target, proxy_to(target) as address, connected_to(address) as (reader, writer):
        writer.write(b"hello")
        writer.write_eof()
        assert await within_a_minute(reader.read()) == b"HELLO"


async def test_much_data_goes_through_whole():
    size = 5_000_000

    async def send(_reader, writer):
        writer.write(b"x" * size)
        await writer.drain()
        writer.close()

    async with tcp_server(send) as target, proxy_to(target) as address, connected_to(address) as (reader, _):
        await asyncio.sleep(0.1)  # let the buffers on the way fill up
        assert len(await within_a_minute(reader.read())) == size


async def test_a_target_that_refuses_resets_the_client():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with proxy_to(unused.getsockname()) as address, connected_to(address) as (reader, _):
            with pytest.raises(ConnectionResetError):
                await within_a_minute(reader.read())


async def test_a_reset_is_not_an_end_of_data():
    async def refuse(_reader, writer):
        reset(writer)

    async with tcp_server(refuse) as address, connected_to(address) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await within_a_minute(reader.read())


async def test_a_half_closed_connection_does_not_stay_for_ever(monkeypatch):
    monkeypatch.setattr(forwarding, "HALF_CLOSED_SECONDS", 0.1)
    released = asyncio.Event()

    async def mute(reader, writer):
        await reader.read()
        await released.wait()
        writer.close()

    async with tcp_server(mute) as target, proxy_to(target) as address, connected_to(address) as (reader, writer):
        writer.write_eof()
        try:
            with pytest.raises(ConnectionResetError):
                await within_a_minute(reader.read())
        finally:
            released.set()


class FakeApi:
    """One collection: serves its list, then the scripted watch streams; each entry is a list of events or a status."""

    def __init__(self, lists, watches):
        self.lists, self.watches, self.asked = lists, watches, []

    async def handle(self, request):
        if request.query.get("watch"):
            self.asked.append(request.query["resourceVersion"])
            return await self._watch(request)
        return web.json_response(self.lists.pop(0) if len(self.lists) > 1 else self.lists[0])

    async def _watch(self, request):
        if not self.watches:
            await asyncio.Event().wait()
        stream = web.StreamResponse()
        await stream.prepare(request)
        for event in self.watches.pop(0):
            await stream.write(json.dumps(event).encode() + b"\n")
        return stream


def item(uid, version="1", **fields):
    return {"metadata": {"uid": uid, "resourceVersion": version}, **fields}


def listing(*items, version="1", more=None):
    return {"items": list(items), "metadata": {"resourceVersion": version, "continue": more}}


@contextlib.asynccontextmanager
async def serving(api):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        async with ApiClient(Connection(f"http://127.0.0.1:{port}", None, "", "token")) as client:
            yield client
    finally:
        await runner.cleanup()


async def changes(api, count, **options):
    """The first `count` changes that a reflector of `api` tells about."""
    queue = asyncio.Queue()
    async with serving(api) as client:
        reflector = Reflector(client, "/things", lambda *change: queue.put_nowait(change), **options)
        task = asyncio.create_task(reflector.run())
        try:
            found = [await within_a_minute(queue.get()) for _ in range(count)]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return [(change, thing["metadata"]["uid"]) for change, thing in found]


async def test_all_pages_are_listed_and_watching_goes_on_from_there():
    pages = [listing(item("a"), more="next"), listing(item("b"), version="7")]
    api = FakeApi(pages, [[{"type": "ADDED", "object": item("c", "8")}, {"type": "DELETED", "object": item("a", "9")}]])
    found = await changes(api, 4)
    assert found == [("SET", "a"), ("SET", "b"), ("SET", "c"), ("DELETED", "a")]
    assert api.asked[0] == "7"


async def test_after_410_the_list_is_read_again_and_lost_objects_are_told():
    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    api = FakeApi([listing(item("a"), item("b")), listing(item("b"), version="20")], [[gone]])
    assert await changes(api, 3) == [("SET", "a"), ("SET", "b"), ("DELETED", "a")]


async def test_bookmarks_move_the_version_without_a_change():
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "50"}}}
    api = FakeApi([listing()], [[bookmark], [{"type": "ADDED", "object": item("a", "51")}]])
    assert await changes(api, 1) == [("SET", "a")]
    assert api.asked[:2] == ["1", "50"]


async def test_changes_outside_the_projection_are_not_told():
    events = [{"type": "MODIFIED", "object": item("a", str(n), kept=n // 12, noise=n)} for n in range(10, 14)]
    api = FakeApi([listing(item("a", kept=0))], [events])

    def project(thing):
        return {"metadata": {"uid": thing["metadata"]["uid"]}, "kept": thing["kept"]}

    assert await changes(api, 2, project=project) == [("SET", "a"), ("SET", "a")]


async def test_an_event_larger_than_any_buffer_is_read():
    big = {"type": "ADDED", "object": item("a", "2", data="x" * 1_000_000)}
    assert await changes(FakeApi([listing()], [[big]]), 1) == [("SET", "a")]


async def test_errors_carry_the_servers_words():
    class Refusing(FakeApi):
        async def handle(self, request):
            return web.json_response({"reason": "Forbidden", "message": "not you"}, status=403)

    async with serving(Refusing([], [])) as client:
        with pytest.raises(ApiError, match="403 Forbidden: not you") as caught:
            await client.get("/x")
    assert caught.value.status == 403


async def test_a_server_that_is_away_is_an_api_error():
    async with ApiClient(Connection("http://127.0.0.1:9", None, "", None)) as client:
        with pytest.raises(ApiError):
            await client.get("/x")


async def test_child_processes_give_output_and_exit_code():
    output = bytearray()
    child = ChildProcess(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], output.extend)
    assert await within_a_minute(child.wait()) == 3
    assert output == b"out\nerr\n"
    assert not child.running


async def test_a_child_that_leaves_its_output_open_does_not_hold_us():
    child = ChildProcess(["/bin/sh", "-c", "sleep 300 & exit 0"], lambda _: None)
    try:
        assert await within_a_minute(child.wait()) == 0
    finally:
        os.killpg(child.pid, signal.SIGKILL)  # the sleeper is still there


async def test_a_program_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/no/such/program"], lambda _: None)
