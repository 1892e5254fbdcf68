"""Audio packets come out in order, with no delay while none is missing, and a loss costs milliseconds once."""

import random

from mediapod.audio.jitter import CAPACITY_PACKETS, LONGEST_WAIT_SECONDS, AdaptiveJitterBuffer, AudioPacket


def packet(number: int, arrived: float, first: int = 0) -> AudioPacket:
    return AudioPacket((first + number) % 65536, number * 960 % (1 << 32), 96, bytes([number % 256]), arrived)


def drain(buffer: AdaptiveJitterBuffer, now: float) -> list[int]:
    found = []
    while (one := buffer.pop(now)) is not None:
        found.append(one.timestamp // 960)
    return found


def test_packets_pass_at_once_also_when_the_sequence_wraps():
    buffer = AdaptiveJitterBuffer(48_000)
    for number in range(200):
        buffer.add(packet(number, number * 0.02, first=65_500))
        assert drain(buffer, number * 0.02) == [number]
    assert buffer.lost == 0


def test_after_a_loss_the_delay_is_back_to_nothing_at_once():
    buffer = AdaptiveJitterBuffer(48_000)
    waits = []
    for number in range(300):
        if number == 100:
            continue
        now = number * 0.02
        buffer.add(packet(number, now))
        wait = buffer.wait_seconds(now)
        waits.append(wait or 0.0)
        out = drain(buffer, now + (wait or 0.0))
        assert out == [number]
    assert buffer.lost == 1
    assert max(waits) <= LONGEST_WAIT_SECONDS
    assert waits[-1] < 1e-9


def test_packets_that_overtake_each_other_come_out_in_order_once_jitter_is_known():
    buffer, out, now = AdaptiveJitterBuffer(48_000), [], 0.0
    source = random.Random(5)  # noqa: S311  arrivals, no secret
    arrivals = sorted((number * 0.02 + source.uniform(0, 0.03), number) for number in range(400))
    for now, number in arrivals:
        out += drain(buffer, now)
        buffer.add(packet(number, now))
        out += drain(buffer, now)
    out += drain(buffer, now + 1)
    assert out == sorted(out)
    assert 0 < buffer.target_seconds <= LONGEST_WAIT_SECONDS
    assert len(set(out)) + buffer.lost == 400
    assert buffer.lost < 10


def test_a_wait_ends_by_itself_and_is_bounded():
    buffer = AdaptiveJitterBuffer(48_000)
    for number in range(150):
        buffer.add(packet(number, number * 0.02 + (0.5 if number % 5 == 0 else 0.0)))
        drain(buffer, 1000.0)
    assert buffer.target_seconds == LONGEST_WAIT_SECONDS
    buffer.add(packet(160, 2000.0))
    assert buffer.pop(2000.0) is None
    assert abs(buffer.wait_seconds(2000.0) - LONGEST_WAIT_SECONDS) < 1e-9
    assert drain(buffer, 2000.001 + LONGEST_WAIT_SECONDS) == [160]
    assert buffer.wait_seconds(2001.0) is None


def test_it_never_holds_more_than_its_capacity():
    buffer = AdaptiveJitterBuffer(48_000)
    buffer.add(packet(0, 0.0))
    drain(buffer, 0.0)
    buffer._deviations.extend([1.0] * 10)
    for number in range(2, 200):
        buffer.add(packet(number, 0.0))
        drain(buffer, 0.0)
        assert len(buffer) <= CAPACITY_PACKETS


def test_late_packets_and_duplicates_are_dropped_and_a_restart_is_followed():
    buffer = AdaptiveJitterBuffer(48_000)
    for number in (0, 1, 2, 2, 1):
        buffer.add(packet(number, 0.0))
    assert drain(buffer, 0.0) == [0, 1, 2]
    buffer.add(packet(1, 0.0))
    assert drain(buffer, 0.0) == []
    assert buffer.late == 3
    buffer.add(packet(30_000, 0.0))
    assert drain(buffer, 0.0) == [30_000]
