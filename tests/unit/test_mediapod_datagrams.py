"""Media sockets: the kernel's time of arrival, turns for others, and that nothing stays open."""

import asyncio
import socket
import struct
import time
from contextlib import closing

from mediapod.rtc.datagrams import SO_TIMESTAMPNS, arrival_of, open_media_socket


class Recorder(asyncio.DatagramProtocol):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()
        self.lost = asyncio.Event()

    def datagram_received(self, data, addr) -> None:
        self.datagrams.put_nowait((bytes(data), data.arrived))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def stamp(seconds: int, nanoseconds: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("qq", seconds, nanoseconds))]


def opened() -> tuple[object, Recorder, tuple[str, int]]:
    transport, recorder = open_media_socket(asyncio.get_running_loop(), ("127.0.0.1", 0), 1 << 16, Recorder)
    return transport, recorder, transport.get_extra_info("sockname")


def test_a_time_stamp_becomes_monotonic_time():
    assert abs(arrival_of(stamp(1_000, 500_000_000), offset=-900.0, now=101.0) - 100.5) < 1e-6


def test_a_time_stamp_that_cannot_be_right_is_left_out():
    assert arrival_of([], offset=0.0, now=7.0) == 7.0
    assert arrival_of(stamp(1_000, 0), offset=0.0, now=7.0) == 7.0  # the future
    assert arrival_of(stamp(1, 0), offset=0.0, now=1_000.0) == 1_000.0  # the wall clock was set


async def test_a_datagram_is_as_old_as_it_is_although_the_loop_was_busy():
    """Linux begins to stamp a moment after the first socket of the machine asks for it (`netstamp_work` of its
    net/core/dev.c), and until then stamps on reading: hence the tries.
    """
    transport, recorder, address = opened()
    with closing(transport), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(20):
            sent = time.monotonic()
            sender.sendto(b"%d" % number, address)
            time.sleep(0.2)  # noqa: ASYNC251  the loop is to be stuck
            stuck = time.monotonic() - sent
            data, arrived = await asyncio.wait_for(recorder.datagrams.get(), 60)
            assert data == b"%d" % number
            if arrived - sent < stuck / 2:
                return
    raise AssertionError(f"20 datagrams were stamped when they were read, {stuck:.1f} s after they were sent")


async def test_a_closed_socket_is_gone_and_silent():
    transport, recorder, _ = opened()
    bound = transport.get_extra_info("socket")
    transport.close()
    transport.close()
    assert transport.is_closing()
    await asyncio.wait_for(recorder.lost.wait(), 60)
    assert bound.fileno() == -1
    transport.sendto(b"x", ("127.0.0.1", 9))


async def test_a_flood_leaves_others_their_turn():
    transport, recorder, address = opened()
    turns = 0
    with closing(transport), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(150):
            sender.sendto(b"x", address)
        while recorder.datagrams.qsize() < 100 and turns < 100:
            await asyncio.sleep(0)
            turns += 1
    assert turns > 1
