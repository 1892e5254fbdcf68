"""A connection to the device process: the shared memory, who has which slot, and who waits for which reply."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from typing import NamedTuple

from pydantic import ValidationError

from mediapod.engine.interface import DeadlineExceeded, Processed
from mediapod.engine.stages import InvalidStages, StageError
from mediapod.engine.wire import Hello, InvalidMessage, Reply, Request, Welcome
from mediapod.frames.i420 import I420Frame
from mediapod.frames.ring import FrameRing, copy_into, copy_of, new_memory
from mediapod.ipc.packets import MESSAGE_BYTES, PacketSocket


class DeviceGone(ConnectionError):  # noqa: N818  says what is the case
    """The device process ended, or said something that cannot be understood."""


class DeviceSilent(TimeoutError):  # noqa: N818  says what is the case
    """The device process did not reply; the slot stays taken until it does."""


class _Waiting(NamedTuple):
    slot: int
    replied: asyncio.Future[Reply]


class Lease:
    """An open connection. Use `open_lease`."""

    def __init__(self, connected: socket.socket, ring: FrameRing, welcome: Welcome) -> None:
        self.device, self.changes_nothing = welcome.device, welcome.changes_nothing
        self.lost = asyncio.Event()
        self._ring = ring
        self._free: asyncio.LifoQueue[int] = asyncio.LifoQueue()  # last in first out: as few pages as possible
        for slot in range(ring.slots):
            self._free.put_nowait(slot)
        self._sequence = itertools.count()
        self._waiting: dict[int, _Waiting] = {}
        self._socket = PacketSocket(connected, self._on_reply, self._on_close)

    async def process(self, frame: I420Frame, deadline: float, patience_seconds: float) -> Processed:
        """See Engine.process. Raises DeviceGone, and DeviceSilent after `patience_seconds`."""
        if not self._ring.fits(frame.width, frame.height):
            raise DeadlineExceeded(f"a picture of {frame.width}x{frame.height} is too large for the shared memory")
        try:
            async with asyncio.timeout(patience_seconds):
                reply = await self._ask(frame, deadline, await self._free.get())
        except TimeoutError as error:
            raise DeviceSilent(f"the device process has not replied for {patience_seconds:.1f} s") from error
        return self._result(reply, frame)

    def close(self) -> None:
        """End the connection; whoever waits gets DeviceGone."""
        self._socket.close()

    async def _ask(self, frame: I420Frame, deadline: float, slot: int) -> Reply:
        if self.lost.is_set():
            raise DeviceGone("the device process is gone")
        copy_into(frame, self._ring.picture(slot, frame.width, frame.height))
        sequence = next(self._sequence) % 2**32
        waiting = _Waiting(slot, asyncio.get_running_loop().create_future())
        if not self._socket.send(Request(slot, sequence, frame.width, frame.height, deadline).encode()):
            self._free.put_nowait(slot)
            raise DeviceGone("the device process takes no requests")
        self._waiting[sequence] = waiting
        try:
            return await waiting.replied
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def _give_up(self, waiting: _Waiting) -> None:
        """Nobody waits any more. The slot is free at once if the reply is there already, else when it comes."""
        if waiting.replied.done() and not waiting.replied.cancelled() and waiting.replied.exception() is None:
            self._free.put_nowait(waiting.slot)

    def _result(self, reply: Reply, frame: I420Frame) -> Processed:
        """Without waiting in between: from here on the slot is somebody else's as soon as the loop turns."""
        try:
            if (failure := reply.failure()) is not None:
                raise failure
            picture = copy_of(self._ring.picture(reply.slot, frame.width, frame.height))
            return Processed(picture, reply.text, reply.effect_seconds, reply.queue_seconds)
        finally:
            self._free.put_nowait(reply.slot)

    def _on_reply(self, message: bytes) -> None:
        try:
            reply = Reply.decode(message)
            waiting = self._waiting.pop(reply.sequence)
        except (InvalidMessage, KeyError):
            self._socket.close()
            return
        if waiting.replied.done():  # nobody waits for it any more
            self._free.put_nowait(waiting.slot)
        else:
            waiting.replied.set_result(reply)

    def _on_close(self) -> None:
        self.lost.set()
        for waiting in self._waiting.values():
            if not waiting.replied.done():
                waiting.replied.set_exception(DeviceGone("the device process ended"))
        self._waiting.clear()


async def open_lease(path: str, hello: Hello, timeout_seconds: float) -> Lease:
    """Connect to the device process. Raises OSError (TimeoutError, DeviceGone), InvalidStages."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = new_memory(hello.slots * hello.slot_bytes)
    try:
        connected.setblocking(False)
        connected.connect(path)
        ring = FrameRing(memory, hello.slots, hello.slot_bytes)
        socket.send_fds(connected, [hello.model_dump_json().encode()], [memory])
        async with asyncio.timeout(timeout_seconds):
            welcome = _understood(await asyncio.get_running_loop().sock_recv(connected, MESSAGE_BYTES))
        return Lease(connected, ring, welcome)
    except BaseException:
        connected.close()
        raise
    finally:
        os.close(memory)


def _understood(message: bytes) -> Welcome:
    if not message:
        raise DeviceGone("the device process ended")
    try:
        welcome = Welcome.model_validate_json(message)
    except ValidationError as invalid:
        raise DeviceGone("the device process speaks another protocol") from invalid
    if welcome.errors:
        raise InvalidStages([StageError(**error) for error in welcome.errors])  # type: ignore[typeddict-item]
    if welcome.failure:
        raise DeviceGone(welcome.failure)
    return welcome
