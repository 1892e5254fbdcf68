"""The marker-bit jitter buffer: loss, reordering, duplicates, wrapping, bounds."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediapod.rtc.jitter import MarkerJitterBuffer, TimestampUnwrapper


@dataclass
class Packet:
    sequence_number: int
    timestamp: int
    marker: int = 0
    payload_type: int = 97


def packets(frames: list[int], first: int = 0, marker: bool = True) -> list[Packet]:
    """One packet list for frames of the given numbers of packets; 3000 units apart."""
    made: list[Packet] = []
    for index, count in enumerate(frames):
        for position in range(count):
            last = marker and position == count - 1
            made.append(Packet((first + len(made)) % 65536, index * 3000, int(last)))
    return made


def feed(buffer: MarkerJitterBuffer, stream: list[Packet], now: float = 0.0) -> list[int]:
    """Timestamps of the frames that come out."""
    return [f.timestamp for p in stream for f in buffer.add(p, b"%d." % p.sequence_number, now)]


def test_a_frame_leaves_with_its_marker_not_with_the_next_frame():
    buffer = MarkerJitterBuffer()
    first, second, third = packets([3])
    assert buffer.add(first, b"a", 1.0) == []
    assert buffer.add(second, b"b", 1.1) == []
    (frame,) = buffer.add(third, b"c", 1.2)
    assert (frame.data, frame.first_packet, frame.complete) == (b"abc", 1.0, 1.2)
    assert len(buffer) == 0


def test_reordered_packets_make_the_same_frames():
    stream = packets([3, 2, 1])
    shuffled = [stream[0], stream[2], stream[1], stream[4], stream[5], stream[3]]
    assert feed(MarkerJitterBuffer(), shuffled) == [0, 3000, 6000]


def test_several_frames_leave_when_a_hole_is_filled():
    stream = packets([2, 2, 2])
    buffer = MarkerJitterBuffer()
    assert feed(buffer, [stream[0], *stream[2:]]) == []
    assert feed(buffer, [stream[1]]) == [0, 3000, 6000]
    assert not buffer.lost


def test_duplicates_and_packets_of_frames_that_have_left_change_nothing():
    stream = packets([2, 2])
    buffer = MarkerJitterBuffer()
    assert feed(buffer, [stream[0], stream[0], stream[1], stream[1], stream[0], *stream[2:], stream[3]]) == [0, 3000]
    assert len(buffer) == 0


def test_a_hole_is_given_up_after_the_wait_and_reported():
    stream = packets([2, 2, 2, 2])
    buffer = MarkerJitterBuffer(wait_seconds=0.1)
    assert feed(buffer, [stream[0], *stream[2:6]], now=0.0) == []
    assert feed(buffer, [stream[6]], now=0.09) == []
    released = feed(buffer, [stream[7]], now=0.11)
    assert buffer.lost
    assert released == [6000, 9000]  # the frame after the hole may lack its start, it goes as well
    assert len(buffer) == 0


def test_a_sender_without_marker_bits_is_understood():
    assert feed(MarkerJitterBuffer(), packets([2, 2, 1], marker=False)) == [0, 3000]


def test_sequence_numbers_wrap():
    assert feed(MarkerJitterBuffer(), packets([2, 3, 2], first=65533)) == [0, 3000, 6000]


def test_a_restarted_sender_is_followed_and_reported():
    buffer = MarkerJitterBuffer()
    feed(buffer, packets([2], first=100))
    assert feed(buffer, packets([1], first=30_000)) == [0]
    assert buffer.lost


def test_never_more_packets_than_the_capacity_are_held():
    buffer = MarkerJitterBuffer(capacity=16)
    for packet in packets([400], marker=False):
        buffer.add(packet, b"", 0.0)
        assert len(buffer) <= 16
    assert buffer.lost


@given(
    frames=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    lost=st.sets(st.integers(0, 99)),
    seed=st.randoms(use_true_random=False),
    first=st.integers(0, 65535),
)
def test_only_whole_frames_come_out_in_order_whatever_happens(frames, lost, seed, first):
    stream = packets(frames, first)
    whole = {p.timestamp: [q.sequence_number for q in stream if q.timestamp == p.timestamp] for p in stream}
    arriving = [p for index, p in enumerate(stream) if index not in lost]
    arriving += seed.sample(arriving, len(arriving) // 3)  # duplicates, late
    for index in range(len(arriving) - 1):
        if seed.random() < 0.3:
            arriving[index], arriving[index + 1] = arriving[index + 1], arriving[index]
    buffer, out = MarkerJitterBuffer(capacity=32, wait_seconds=0.05), []
    for index, packet in enumerate(arriving):
        out += buffer.add(packet, b"%d." % packet.sequence_number, index * 0.01)
    stamps = [frame.timestamp for frame in out]
    assert stamps == sorted(set(stamps))
    for frame in out:
        got = [int(part) for part in frame.data.split(b".")[:-1]]
        # A frame whose first packets were lost before anything was received cannot be told from a whole one.
        assert got == whole[frame.timestamp] or (frame is out[0] and got == whole[frame.timestamp][-len(got) :])


@pytest.mark.parametrize("start", [0, 2**32 - 3000])
def test_timestamps_unwrap_and_keep_their_differences(start):
    unwrapper = TimestampUnwrapper()
    raw = [(start + step) % 2**32 for step in (0, 3000, 6001, 5000, 9000)]
    assert [unwrapper.unwrap(value) for value in raw] == [0, 3000, 6001, 5000, 9000]


def test_a_whole_frame_behind_a_hole_is_kept_when_its_start_is_known():
    for known in (True, False):
        buffer, stream = MarkerJitterBuffer(), packets([2, 2, 2])
        starts = {0, 2, 4} if known else set()
        out: list[int] = []
        for index, packet in enumerate(stream):
            if index == 1:  # the end of the first frame is lost for good
                continue
            frames = buffer.add(packet, b"x", float(index), lambda index=index, starts=starts: index in starts)
            out += [frame.timestamp for frame in frames]
        assert out == ([3000, 6000] if known else [6000])
        assert buffer.lost
