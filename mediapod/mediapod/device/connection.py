"""One worker's connection to the device process: pictures out of shared memory, through an engine, and back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass

from pydantic import ValidationError

from mediapod.device.engines import Engines, TooManyEngines
from mediapod.engine import Engine, InvalidStages
from mediapod.engine.wire import Hello, InvalidMessage, Outcome, Reply, Request, Welcome
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ring import FrameRing, copy_into
from mediapod.ipc.packets import MESSAGE_BYTES, PacketSocket

HELLO_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Service:
    """What connections share. changes_nothing: of the pipeline's stages."""

    engines: Engines
    device: str
    changes_nothing: bool


class Connection:
    """Serves one connected socket until the worker is gone."""

    def __init__(self, connected: socket.socket, service: Service) -> None:
        self._connected, self._service = connected, service

    async def serve(self) -> None:
        """Until the worker is gone, or says something that is not understood."""
        with contextlib.closing(self._connected):
            try:
                hello, ring = await self._hello()
                engine = await self._service.engines.lend(hello)
            except (InvalidMessage, TimeoutError, OSError):
                return
            except InvalidStages as invalid:
                await self._welcome(Welcome(errors=[dict(error) for error in invalid.errors]))
                return
            except TooManyEngines as error:
                await self._welcome(Welcome(failure=str(error)))
                return
            try:
                await self._exchange(engine, ring)
            finally:
                await self._service.engines.give_back(hello)

    async def _hello(self) -> tuple[Hello, FrameRing]:
        async with asyncio.timeout(HELLO_SECONDS):
            await _readable(self._connected)
        message, descriptors, _, _ = socket.recv_fds(self._connected, MESSAGE_BYTES, 1)
        try:
            hello = Hello.model_validate_json(message)
            (memory,) = descriptors
            return hello, FrameRing(memory, hello.slots, hello.slot_bytes)
        except (ValidationError, ValueError) as invalid:
            raise InvalidMessage("not a hello") from invalid
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _welcome(self, welcome: Welcome) -> None:
        with contextlib.suppress(OSError):
            self._connected.send(welcome.model_dump_json().encode())

    async def _exchange(self, engine: Engine, ring: FrameRing) -> None:
        exchange = Exchange(self._connected, engine, ring)
        await self._welcome(Welcome(device=self._service.device, changes_nothing=self._service.changes_nothing))
        try:
            await exchange.over.wait()
        finally:
            exchange.close()


class Exchange:
    """Requests and replies on a connection; over: set when it ends."""

    def __init__(self, connected: socket.socket, engine: Engine, ring: FrameRing) -> None:
        self.over = asyncio.Event()
        self._engine, self._ring = engine, ring
        self._working: dict[int, asyncio.Task[None]] = {}
        self._packets = PacketSocket(connected, self._request, self.over.set)

    def close(self) -> None:
        """End it; what is being worked on is for nobody."""
        self._packets.close()
        for task in self._working.values():
            task.cancel()

    def _request(self, message: bytes) -> None:
        try:
            request = Request.decode(message)
            picture = self._ring.picture(request.slot, request.width, request.height)
        except (InvalidMessage, IndexError):
            self._packets.close()
            return
        if request.slot in self._working:  # the slot is not the worker's to use
            self._packets.close()
            return
        work = self._work(self._engine, request, picture)
        self._working[request.slot] = asyncio.get_running_loop().create_task(work, name="mediapod-device-frame")

    async def _work(self, engine: Engine, request: Request, picture: I420Frame) -> None:
        try:
            processed = await engine.process(picture, request.deadline)
        except Exception as failure:  # noqa: BLE001  whatever it is, the worker waits for a reply
            reply = Reply.of_failure(request, failure)
        else:
            copy_into(processed.frame, picture)
            times = processed.effect_seconds, processed.queue_seconds
            reply = Reply(request.slot, request.sequence, Outcome.DONE, *times, processed.device)
        del self._working[request.slot]
        if not self._packets.send(reply.encode()):
            self._packets.close()  # a worker that does not read its replies does not get further ones


async def _readable(connected: socket.socket) -> None:
    """Wait until there is something to read."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connected.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connected.fileno())
